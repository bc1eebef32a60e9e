"""Many lessons: in parallel, at the points of a grid, and only those that have changed."""

from __future__ import annotations

import os
import re
import shutil
from urllib.parse import unquote

import pytest

from kdlib.course import lessons, notebooks, suite
from kdlib.course.site.grid import write_index
from tests.course.samples import FIXTURES


def test_all_lessons(project):
    """Failures do not stop the others; what is unchanged is kept; any change to inputs or outputs runs again."""
    outcomes = suite.run_all(workers=2)
    assert [bool(o.error) for o in outcomes] == [False, True, False]
    assert "02_failing_lesson" in outcomes[1].error
    assert (project / "figures" / "toy.svg").is_file()
    (project / "notebooks" / "02_failing_lesson.ipynb").unlink()

    def kept():
        return [o.kept for o in suite.run_all(workers=1)]

    assert kept() == [False, False], "a lesson may show the course's map"
    assert kept() == [True, True]
    (project / "figures" / "toy.svg").unlink()
    assert kept() == [False, False], "both lessons write it"
    assert kept() == [True, True]
    (project / "data" / "results").mkdir(parents=True)
    (project / "data" / "results" / "rows.jsonl").write_text("{}\n")
    assert kept() == [False, False]
    path = project / "notebooks" / "01_good_lesson.ipynb"
    nb = notebooks.read(path)
    nb.cells[-1].source += "  # edited"
    notebooks.write(nb, path)
    assert kept() == [False, True]
    assert not any(o.kept for o in suite.run_all(force=True))


@pytest.mark.parametrize("cluster", [None, "local"])
def test_grid(project, cluster):
    if cluster:
        pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")
    tasks = suite.grid_tasks("04", {"seed": [0, 1, 2], "balanced": [False]})
    outcomes = suite.run_tasks(tasks, workers=2, cluster=cluster)
    assert [bool(o.error) for o in outcomes] == [False, True, False]
    assert "seed 1 is bad" in outcomes[1].error
    folder = project / "figures" / "runs" / "04_fails_at_seed_1"
    made = {p.name for p in folder.glob("*.ipynb")}
    names = [f"04_fails_at_seed_1__{point}" for point in ("balanced=False", "seed=1__balanced=False")]
    assert {f"{names[0]}.ipynb", f"{names[1]}.failed.ipynb"} < made and len(made) == 3
    assert (folder / names[0] / "toy.svg").read_text() == "<svg>0</svg>"
    page = write_index(outcomes, folder).read_text()
    assert "3 runs, 1 failed" in page and "seed 1 is bad" in page
    found = [unquote(link) for link in re.findall(r'<(?:a|img)\b[^>]*?\b(?:href|src)="([^"#][^"]*)"', page)]
    assert len(found) == 3, "a link to each notebook"
    assert all((folder / link).is_file() for link in found), found


@pytest.mark.parametrize(
    "values",
    [
        ["a/b", "a-b", "a b", "ab"],
        ["Word", "word"],
        ["1__y=2", "1"],
        ["x" * 300 + "1", "x" * 300 + "2"],
        [[1, 2], ["1", "2"], [1, 23], [12, 3]],
        ["-a", "a", "a-"],
        ["é", "e", "è"],
        ["..", ".", "../x"],
    ],
)
def test_other_parameters_have_another_file_name(values):
    names = [
        lessons.run_name("03_lesson", point) for value in values for point in ({"x": value}, {"x": value, "y": "2"})
    ]
    assert len({name.lower() for name in names}) == len(names)
    assert all(re.fullmatch(r"[\w=.,+-]+", name, re.ASCII) and len(name) < 150 for name in names)


def test_plain_parameters_stand_in_the_file_name():
    assert lessons.run_name("03_lesson", {"seed": 1, "fraction": 0.3}) == "03_lesson__seed=1__fraction=0.3"


def test_templates_run_by_name_only(project):
    shutil.copy(FIXTURES / "good.ipynb", project / "notebooks" / "90_template.ipynb")
    assert "90_template" not in lessons.names() and lessons.templates() == ["90_template"]
    assert lessons.find("90").stem == "90_template"
    outcomes = suite.run_all(workers=1)
    assert [o.task.source.stem for o in outcomes] == lessons.names()


def test_a_parameter_is_in_the_grid_or_fixed(project):
    with pytest.raises(ValueError, match="'seed' is both in the grid and fixed"):
        suite.grid_tasks("04", {"seed": [0, 1]}, {"seed": 9})


def test_grid_is_checked_before_it_runs(project):
    with pytest.raises(ValueError, match="'seed' must be int"):
        suite.grid_tasks("04", {"seed": [0, "x"]})
    with pytest.raises(ValueError, match="did you mean 'seed'"):
        suite.grid_tasks("04", {"sed": [0]})


def test_a_worker_that_dies_takes_no_lesson_along(project):
    """One lesson kills the process that runs it; its neighbour and what waits behind them run all the same."""
    deadly = notebooks.read(FIXTURES / "good.ipynb")
    kill = f"import os, signal\nif os.getppid() != {os.getpid()}:\n    os.kill(os.getppid(), signal.SIGKILL)"
    deadly.cells[-1].source = kill
    notebooks.write(deadly, project / "notebooks" / "05_kills_its_worker.ipynb")
    for name in ("02_failing_lesson", "04_fails_at_seed_1"):
        (project / "notebooks" / f"{name}.ipynb").unlink()
    shutil.copy(FIXTURES / "good.ipynb", project / "notebooks" / "06_good_as_well.ipynb")
    outcomes = suite.run_all(workers=2)
    died = ["the worker died" in outcome.error for outcome in outcomes]
    assert died == [False, True, False] and not outcomes[0].error and not outcomes[2].error
