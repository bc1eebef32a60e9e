"""The template `90_reproduce_figure`: no lesson, so it keeps a few of the lessons' rules, and runs as it says it does."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import papermill
import pytest
from PIL import Image

from kdlib.analysis.reproduction import FIGURES
from kdlib.course import lessons, notebooks

from .test_notebooks import PARAMETER, code

ROOT = Path(__file__).parent.parent.parent
TEMPLATES = [ROOT / "notebooks" / f"{name}.ipynb" for name in lessons.templates()]
TEMPLATE = ROOT / "notebooks" / "90_reproduce_figure.ipynb"


def printed_command():
    """The words of the first papermill command in the template."""
    text = "\n".join(cell.source for cell in notebooks.read(TEMPLATE).cells if cell.cell_type == "markdown")
    return shlex.split(re.search(r"^papermill .*$", text, re.MULTILINE)[0])


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_parameters_and_committed_form(path):
    nb = notebooks.read(path)
    tagged = [c for c in nb.cells if "parameters" in notebooks.tags(c)]
    assert len(tagged) == 1 and tagged[0] is code(nb)[0]
    assert all(PARAMETER.match(line) for line in tagged[0].source.splitlines())
    assert set(papermill.inspect_notebook(str(path))) == set(notebooks.parameters(nb))
    assert nb == notebooks.clean(nb), f"write it with: python -m kdlib lesson {path.stem} --update"
    assert [c.execution_count for c in code(nb)] == list(range(1, len(code(nb)) + 1)), "every cell was executed"
    assert path.stat().st_size <= 300_000


def papermill_in(folder, *changes):
    """Run the printed command in another folder, with plain papermill and the smallest size."""
    _, _, _, *rest = printed_command()
    command = [sys.executable, "-m", "papermill", str(TEMPLATE), "out.ipynb", *rest, *changes, "--no-progress-bar"]
    environment = {**os.environ, "KDLIB_PRESET": "smoke", "KDLIB_FIGURES": str(folder / "figures")}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def test_the_printed_command_works_from_any_folder(tmp_path):
    words = printed_command()
    assert (
        words == "papermill notebooks/90_reproduce_figure.ipynb out.ipynb -p figure dkdp-fig7 -p preset class".split()
    )
    done = papermill_in(tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    nb = notebooks.read(tmp_path / "out.ipynb")
    assert all(c.execution_count for c in code(nb)) and "DKDP Fig. 7" in str(nb.cells)
    said = "".join(o.text for c in code(nb) for o in c.outputs if o.output_type == "stream" and o.name == "stderr")
    assert "One process of this machine needs" in said or "Nothing needs to be trained" in said
    assert min(Image.open(tmp_path / "figures" / "90_dkdp-fig7.png").size) > 100


def test_boundaries_while_students_train_are_drawn_from_any_folder(tmp_path):
    done = papermill_in(tmp_path, "-p", "figure", "md-fig7")
    assert done.returncode == 0, done.stderr[-2000:]
    nb = notebooks.read(tmp_path / "out.ipynb")
    said = "".join(o.text for c in code(nb) for o in c.outputs if o.output_type == "stream" and o.name == "stderr")
    assert "3 students" in said or "Nothing needs to be trained" in said
    assert "All 3 runs of the figure have a row." in str(nb.cells)
    assert min(Image.open(tmp_path / "figures" / "90_md-fig7.png").size) > 100


def test_what_cannot_be_made_is_said_before_any_training(tmp_path):
    done = papermill_in(tmp_path, "-p", "figure", "dkdp-fg7")
    assert done.returncode != 0 and "did you mean 'dkdp-fig7'" in done.stderr
    assert not (tmp_path / "figures").exists()


def test_committed_figures_stay_when_somebody_runs_it_by_hand(monkeypatch, tmp_path):
    monkeypatch.delenv("KDLIB_FIGURES")
    monkeypatch.setenv("KDLIB_ROOT", str(tmp_path))
    assert lessons.figures_by_hand() == tmp_path / "figures" / "runs"
    monkeypatch.setenv("KDLIB_FIGURES", str(tmp_path / "elsewhere"))
    assert lessons.figures_by_hand() == tmp_path / "elsewhere"


def test_the_default_figure_exists():
    declared = notebooks.parameters(notebooks.read(TEMPLATE))
    assert declared["figure"]["default"] in FIGURES and declared["preset"]["default"] == "class"
