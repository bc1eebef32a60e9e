"""Every door to a lesson: a kernel in another folder, plain papermill, nbconvert; none writes over committed figures."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from kdlib.course import lessons, notebooks, suite

ROOT = Path(__file__).parent.parent.parent
READS_ROWS, DRAWS = "16_which_claims_hold", "01_linear_regression_bias"


def beginning(name, before):
    """The cells of a lesson before a section, without outputs: `before` is how its heading begins."""
    nb = notebooks.student_copy(notebooks.read(ROOT / "notebooks" / f"{name}.ipynb"))
    end = next(k for k, cell in enumerate(nb.cells) if cell.source.startswith(before))
    nb.cells = nb.cells[:end]
    return nb


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with the beginning of a lesson and its committed figures, where nobody has said where figures go."""
    for folder in ("notebooks", "figures", "elsewhere"):
        (tmp_path / folder).mkdir()
    nbformat.write(beginning(DRAWS, "## 2"), tmp_path / "notebooks" / f"{DRAWS}.ipynb")
    for kind in ("svg", "png"):
        (tmp_path / "figures" / f"01_toy.{kind}").write_text("as committed")
    monkeypatch.setenv("KDLIB_ROOT", str(tmp_path))
    monkeypatch.setenv("KDLIB_PRESET", "smoke")
    monkeypatch.delenv("KDLIB_FIGURES")
    monkeypatch.delenv("MPLBACKEND")  # the tests draw without a screen; a notebook draws into itself
    return tmp_path


@pytest.mark.parametrize(("name", "place"), [(READS_ROWS, "elsewhere"), (DRAWS, "the project")])
def test_a_kernel_may_work_in_another_folder_than_its_notebook(name, place, tmp_path, monkeypatch):
    """As in VS Code, which lets a kernel work in the project or in a folder of the user's choice."""
    monkeypatch.delenv("KDLIB_ROOT", raising=False)
    monkeypatch.setenv("KDLIB_PRESET", "smoke")
    monkeypatch.setenv("KDLIB_FIGURES", str(tmp_path / "figures"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    folder = ROOT if place == "the project" else tmp_path
    nb = beginning(name, "## 2")
    nb.cells.append(
        nbformat.v4.new_code_cell("import os\nfrom kdlib.utils import paths\nprint(os.getcwd(), paths.root())")
    )
    NotebookClient(nb, kernel_name="python3", timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    cells = [cell for cell in nb.cells if cell.cell_type == "code"]
    assert [output.text for output in cells[-1].outputs] == [f"{folder} {ROOT}\n"]
    assert any(output.output_type != "stream" for cell in cells[:-1] for output in cell.outputs), "it shows something"
    assert (name != DRAWS) or (tmp_path / "figures" / "01_toy.svg").is_file()


DOORS = {
    "papermill": "papermill {notebook} {out} -p seed 1 --no-progress-bar",
    "nbconvert": "nbconvert --to notebook --execute {notebook} --output {out}",
}


@pytest.mark.parametrize("door", DOORS)
def test_a_plain_run_from_any_folder_leaves_committed_files_alone(door, project):
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    source, out = project / "notebooks" / f"{DRAWS}.ipynb", project / "elsewhere" / "out.ipynb"
    command = [sys.executable, "-m", *DOORS[door].format(notebook=source, out=out).split()]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=project / "elsewhere", env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    cells = [cell for cell in notebooks.read(out).cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    assert any("image/png" in output.get("data", {}) for cell in cells for output in cell.outputs)
    assert {path: path.read_bytes() for path in before} == before
    made = {path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file()} - {
        path.relative_to(project).as_posix() for path in before
    }
    assert made == {"elsewhere/out.ipynb", "figures/runs/01_toy.svg", "figures/runs/01_toy.png"}


def test_figures_with_another_preset_leave_the_lessons_figures_alone(monkeypatch, tmp_path):
    """`kdlib figures --preset smoke`: only a run as written may touch `figures/`; the site is not in git."""
    monkeypatch.setenv("KDLIB_FIGURES", str(tmp_path / "figures"))
    for name in lessons.names():
        other, written = suite.task(name, preset="smoke"), suite.task(name)
        assert other.folder.is_relative_to(tmp_path / "figures" / "runs"), name
        assert written.folder == tmp_path / "figures" and written.notebook.is_relative_to(tmp_path / "figures" / "runs")
    ignored = subprocess.run(
        ["git", "check-ignore", "figures/runs/x.ipynb", "figures/site/index.html"], cwd=ROOT, capture_output=True
    )
    assert ignored.returncode in (0, 128), "outside a checkout git cannot say"
