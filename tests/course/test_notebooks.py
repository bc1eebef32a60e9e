"""Every lesson: the rules of the course that a program can check, and a real run of each with the smoke preset."""

import ast
import os
import re
import statistics
from pathlib import Path

import papermill
import pytest
from PIL import Image

from kdlib.course import lessons, notebooks

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "notebooks"
LESSONS = [FOLDER / f"{name}.ipynb" for name in lessons.names()]
PARAMETER = re.compile(r"^[a-z_]\w*: (int|float|str|bool|list) = [^=#]+  # [^=]+$")

# What a lesson of 45 to 60 minutes has, solutions apart.
FULL = {
    "cells": (40, 60),
    "code cells": (15, 25),
    "lines of code": (150, 250),
    "words": (1200, 2000),
    "exercises": (3, 5),
}
LONGEST = 66  # words of a markdown cell: about 60
KINDS = {"predict", "compute", "change a parameter", "open"}


@pytest.fixture(params=LESSONS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def nb(path):
    return notebooks.read(path)


def code(nb, without=()):
    return [c for c in nb.cells if c.cell_type == "code" and not set(without) & set(notebooks.tags(c))]


def lines(cell):
    return [line for line in cell.source.splitlines() if line.strip()]


def words(cell):
    """Words of prose: no formulas, code, tables or addresses."""
    text = cell.source
    for pattern in (r"(?s)```.*?```", r"(?s)\$\$.*?\$\$", r"\$[^$]+\$", r"(?m)^\|.*$", r"\]\([^)]*\)", r"<[^>]+>"):
        text = re.sub(pattern, " ", text)
    return re.findall(r"\w*[A-Za-z]\w*(?:[-'’]\w+)*", text)


def test_there_are_lessons():
    assert LESSONS, "the checks below run once for each notebook"


# -- parameters


def test_one_parameters_cell_and_it_comes_first(nb):
    tagged = [c for c in nb.cells if "parameters" in notebooks.tags(c)]
    assert len(tagged) == 1 and tagged[0] is code(nb)[0]
    for line in tagged[0].source.splitlines():
        assert PARAMETER.match(line), f"not `name: type = value  # help`: {line}"


def test_papermill_sees_every_parameter(path, nb):
    declared = notebooks.parameters(nb)
    assert set(papermill.inspect_notebook(str(path))) == set(declared)
    assert all(found["help"] for found in declared.values())
    assert notebooks.check_parameters({n: found["default"] for n, found in declared.items()}, declared)
    assert declared["preset"]["default"] == "class", "the embedded default"


# -- what is in git


def test_committed_as_executed_and_clean(path, nb):
    assert nb == notebooks.clean(nb), f"write it with: python -m kdlib lesson {path.stem} --update"
    assert nb.metadata.kernelspec.name == "python3"
    assert [c.execution_count for c in code(nb)] == list(range(1, len(code(nb)) + 1)), "every cell was executed"
    assert not [o for c in code(nb) for o in c.outputs if o.output_type == "error"]
    assert path.stat().st_size <= 300_000


def test_outputs_hold_nothing_of_the_machine(nb):
    for cell in code(nb):
        for output in cell.outputs:
            texts = [output.get("text", ""), *(v for k, v in output.get("data", {}).items() if k.startswith("text/"))]
            for text in texts:
                assert not re.search(r"(?<![\w.:/])/(?:home|root|Users|work|tmp|opt|mnt)/\w", text), text
                assert not re.search(r"\b[A-Z]:\\\w", text), text
                assert not re.search(r"0x[0-9a-f]{6,}", text), f"an address changes from run to run: {text}"
                assert not re.search(r"\d it/s|\d+%\|", text), f"progress belongs on stderr: {text}"


def test_figures_in_git_are_those_of_the_lesson(path, nb):
    """figures/ is written only by running lessons: each lesson's pictures are there, as PNG and SVG."""
    number = path.stem.split("_")[0]
    committed = {p.stem for p in (ROOT / "figures").glob(f"{number}_*.svg")}
    assert committed == {p.stem for p in (ROOT / "figures").glob(f"{number}_*.png")}
    assert committed, "run: make figures"


# -- size and rhythm


def test_size(path, nb):
    cells = [c for c in nb.cells if "solution" not in notebooks.tags(c)]
    markdown = [c for c in cells if c.cell_type == "markdown"]
    measured = {
        "cells": len(cells),
        "code cells": len(code(nb, without=["solution"])),
        "lines of code": sum(len(lines(c)) for c in code(nb, without=["solution"])),
        "words": sum(len(words(c)) for c in markdown),
        "exercises": len({number for c in markdown for number in re.findall(r"\bExercise (\d)", c.source)}),
    }
    bad = {k: (v, FULL[k]) for k, v in measured.items() if not FULL[k][0] <= v <= FULL[k][1]}
    assert not bad, f"measured, (least, most): {bad}"


def test_rhythm(nb):
    lengths = sorted(len(lines(c)) for c in code(nb))
    assert 3 <= statistics.median(lengths) <= 8
    assert lengths[int(0.9 * (len(lengths) - 1))] <= 20
    assert lengths[-1] <= 30
    kinds = "".join("c" if c.cell_type == "code" else "m" for c in nb.cells)
    assert "ccc" not in kinds, "never more than two code cells in a row"
    for cell in nb.cells:
        if cell.cell_type == "markdown" and "## References" not in cell.source:
            assert len(words(cell)) <= LONGEST, f"a long cell: {cell.source[:60]}"


def test_for_class(path, nb):
    tagged = [tag for cell in nb.cells for tag in notebooks.tags(cell)]
    assert 2 <= tagged.count("discussion") <= 3
    minutes = [int(m) for cell in nb.cells for m in re.findall(r"(?m)^## .* · (\d+) minutes?$", cell.source)]
    assert 45 <= sum(minutes) <= 60, f"time marks of the sections: {minutes}"
    for cell in nb.cells:
        if "solution" in notebooks.tags(cell):
            hidden = cell.metadata.get("jupyter", {}).get("source_hidden") or cell.source.startswith("<details>")
            assert hidden, f"solutions are collapsed: {cell.source[:60]}"


def test_every_exercise_but_the_open_one_has_a_solution(path, nb):
    exercises, solutions = {}, set()
    for cell in nb.cells:
        if "solution" in notebooks.tags(cell):
            solutions |= set(re.findall(r"\bSolution (\d)", cell.source))
        else:
            exercises |= dict(re.findall(r"\*\*Exercise (\d) \(([a-z ]+)\)", cell.source))
            assert not re.search(r"\bSolution \d", cell.source), (
                "a solution without its tag stays in the students' copy"
            )
    assert solutions == {number for number, kind in exercises.items() if kind != "open"}
    assert set(exercises.values()) == KINDS and len(solutions) >= 3


# -- code


def tree(cell):
    return ast.parse(re.sub(r"^\s*[%!].*$", "pass", cell.source, flags=re.MULTILINE))


def test_helper_code_lives_in_the_package(nb):
    for cell in code(nb):
        for node in ast.walk(tree(cell)):
            assert not isinstance(node, ast.ClassDef), "classes live in kdlib"
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 15, f"{node.name} is longer than 15 lines"


def test_randomness_and_progress(nb):
    source = "\n".join(c.source for c in code(nb))
    for forbidden in (
        "np.random.seed",
        "torch.manual_seed",
        "random.seed(",
        "tqdm.auto",
        "tqdm.notebook",
        "torch.load",
    ):
        assert forbidden not in source
    assert not re.search(r"np\.random\.(rand|randn|normal|choice|permutation|shuffle)\(", source), "use a Generator"


def test_the_preset_can_come_from_the_environment(nb):
    assert "chosen_preset(preset)" in "\n".join(c.source for c in code(nb))


def test_students_copy_runs_through(nb):
    """No cell that stays needs a name that only a solution defines."""

    def names(cell, context):
        return {n.id for n in ast.walk(tree(cell)) if isinstance(n, ast.Name) and isinstance(n.ctx, context)}

    only_solutions = set().union(*(names(c, ast.Store) for c in code(nb) if "solution" in notebooks.tags(c)), set())
    kept = code(nb, without=["solution"])
    defined = set().union(*(names(c, ast.Store) for c in kept), set())
    used = set().union(*(names(c, ast.Load) for c in kept), set())
    assert not (only_solutions - defined) & used


# -- a real run


def test_runs_with_smoke(path, tmp_path, monkeypatch):
    monkeypatch.setenv("KDLIB_STORE", os.environ["KDLIB_STORE"])
    ran = lessons.run_lesson(str(path), preset="smoke", out=tmp_path / "out.ipynb", figures=tmp_path / "figures")
    done = notebooks.read(ran.notebook)
    assert all(c.execution_count for c in code(done))
    assert not [o for c in code(done) for o in c.outputs if o.output_type == "error"]
    assert ran.figures, "a lesson makes figures"
    stems = {Path(name).stem for name in ran.figures}
    assert {Path(name).name for name in ran.figures} == {f"{s}.{kind}" for s in stems for kind in ("svg", "png")}
    assert all(stem.startswith(path.stem.split("_")[0] + "_") for stem in stems), "named NN_..., as the lesson"
    for stem in stems:
        picture = Image.open(tmp_path / "figures" / f"{stem}.png")
        assert min(picture.size) > 100 and len(picture.convert("RGB").getcolors(1 << 24)) > 2, "not an empty picture"
        assert (tmp_path / "figures" / f"{stem}.png").stat().st_size <= 250_000
    assert stems == {p.stem for p in (ROOT / "figures").glob(f"{path.stem.split('_')[0]}_*.svg")}, "run: make figures"
