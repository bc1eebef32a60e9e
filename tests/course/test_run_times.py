"""Run times: what lessons say of themselves, and the time left of many, right within a factor of two from the start."""

import re
from pathlib import Path

import nbformat
import pytest

from kdlib.course import lessons, notebooks, run_times, suite
from kdlib.course.run_times import Ahead, stated
from kdlib.utils import progress

FOLDER = Path(__file__).parent.parent.parent / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("[01]*.ipynb"))


def lesson_with(time: str) -> nbformat.NotebookNode:
    rows = ["preset | seeds | run time on 2 cores", "---|---|---", "`smoke` | 2 | 20 s", f"`class` | 10 | {time}"]
    table = "\n".join(f"| {row} |" for row in rows)
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(f"{table}\n\nWords.")])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("35 s", (35, 35)),
        ("about 2 minutes; again: 20 s", (120, 20)),
        ("about 1 minute", (60, 60)),
        ("1 to 2 minutes", (85, 85)),
        ("20 s to 4 minutes, by the figure", (69, 69)),
        ("CPU hours; seconds where rows are committed", None),
    ],
)
def test_stated_times(text: str, expected: tuple | None) -> None:
    found = stated(lesson_with(text), "class")
    assert found == (pytest.approx(expected, abs=0.5) if expected else None)
    assert stated(lesson_with(text), "smoke") == (20, 20) and stated(lesson_with(text), "paper") is None


def test_a_notebook_without_the_table_states_nothing() -> None:
    assert (
        stated(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("| a | b |\n|---|---|")]), "class") is None
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("preset", ["smoke", "class"])
def test_every_lesson_states_its_times(name: str, preset: str) -> None:
    first, again = stated(notebooks.read(FOLDER / f"{name}.ipynb"), preset) or (0, 0)
    assert 10 <= again <= first <= 600


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(run_times.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("workers", "cores", "true_seconds"),
    [(1, 2, 600), (2, 2, 600), (4, 4, 300), (1, 1, 1200), (1, 8, 600)],
    ids=["one", "two share two cores", "four share four cores", "one core", "one of eight cores"],
)
def test_the_first_estimate_counts_cores(workers: int, cores: int, true_seconds: float, clock: list[float]) -> None:
    """Ten lessons of a minute on two cores each."""
    ahead = Ahead({str(i): 60.0 for i in range(10)}, workers, cores)
    assert ahead.seconds() == pytest.approx(true_seconds)


def test_time_left_runs_down_and_follows_what_lessons_take(clock: list[float]) -> None:
    ahead = Ahead({"a": 60.0, "b": 60.0, "c": 120.0}, workers=1, cores=2)
    ahead.started("a")
    clock[0] = 30.0
    assert ahead.seconds() == 210 and ahead.words() == "0:03:30 left"
    clock[0] = 120.0
    ahead.finished("a", 120.0)  # half as fast as stated; as much trust as in the statement
    ahead.started("b")
    assert ahead.seconds() == pytest.approx(180 * 1.5)
    ahead.finished("b", 0.0)
    assert ahead.seconds() == pytest.approx(120 * 1.5), "a failure says nothing of the others"


def test_the_longest_lesson_is_waited_for(clock: list[float]) -> None:
    assert Ahead({"long": 600.0, "short": 10.0}, workers=2, cores=4).seconds() == 600


def test_lessons_of_unknown_length_are_named(clock: list[float]) -> None:
    ahead = Ahead({"a": 60.0, "b": None, "c": None}, workers=1, cores=2)
    assert ahead.words() == "0:01:00 left, and 2 of unknown length"


def test_what_is_expected_of_a_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the lesson says, until it has run in this store: then what it took, or says of a run of stored trainings."""
    monkeypatch.setenv("KDLIB_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("KDLIB_FIGURES", str(tmp_path / "figures"))
    name = next(n for n in NAMES if n.startswith("03"))
    first, again = stated(notebooks.read(FOLDER / f"{name}.ipynb"), "class") or (0, 0)
    short, _ = stated(notebooks.read(FOLDER / f"{name}.ipynb"), "smoke") or (0, 0)
    task = suite.task(name)
    assert suite.expected(task) == first > again
    assert (
        suite.expected(suite.task(name, preset="smoke"))
        == suite.expected(suite.task(name, {"preset": "smoke"}))
        == short
    )
    monkeypatch.setenv("KDLIB_PRESET", "smoke")
    assert suite.expected(suite.task(name)) == short
    monkeypatch.delenv("KDLIB_PRESET")
    for took, expected in ((first * 1.5, again), (again / 2, again / 2)):
        suite.remember(suite.Outcome(task, (), took))
        assert suite.expected(task) == pytest.approx(expected)


# -- the display of many lessons


def fixture_lesson(project: Path, name: str, *sources: str) -> None:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    notebooks.write(notebooks.clean(nbformat.v4.new_notebook(cells=cells)), project / "notebooks" / f"{name}.ipynb")


@pytest.mark.parametrize("workers", [1, 2])
def test_lessons_share_one_line(workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many are done, the last one, the time left; behind it the cells of those that run, and what their sweeps say."""
    (tmp_path / "notebooks").mkdir()
    work = (
        "import time\nfrom kdlib.utils import progress\n"
        "with progress.line() as line:\n    for i in range(8):\n        time.sleep(1)\n        line.say(f'{i} of 9 runs')"
    )
    fixture_lesson(tmp_path, "01_first", work)
    fixture_lesson(tmp_path, "02_second", "import time\ntime.sleep(6)  # long enough to be seen at work\n1 / 0")
    for name, value in (("ROOT", tmp_path), ("STORE", tmp_path / "store"), ("FIGURES", tmp_path / "figures")):
        monkeypatch.setenv(f"KDLIB_{name}", str(value))
    texts: list[str] = []
    with progress.shown_by(lambda text, milestone: texts.append(text)):
        outcomes = suite.run_all(workers=workers)
    # The other lesson's cell may stand behind it, as long as that one runs.
    assert any(re.search(r"01_first: cell 1/1, 0:00:\d\d left · \d of 9 runs", text) for text in texts), texts
    assert any(text.startswith("0 of 2 lessons, 0:00:00 left, and 2 of unknown length · 0") for text in texts), texts
    assert any("02_second: FAILED, lesson 02_second failed in cell 1 of 1" in text for text in texts)
    assert {text[:21] for text in texts if "last" in text} >= {"1 of 2 lessons, last ", "2 of 2 lessons, last "}
    done = notebooks.read(outcomes[0].task.notebook)
    assert done.cells[0].outputs == [], "nothing of it is saved"


def test_the_site_says_which_page_it_is_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kdlib.course.site import build

    class Enough(Exception):
        pass

    def folders() -> None:
        raise Enough

    monkeypatch.setattr(build, "_lesson", lambda outcome, links: build.Lesson("x.html", "X", "", "", []))
    monkeypatch.setattr(build.reference, "folders", folders)
    said: list[str] = []
    with pytest.raises(Enough):
        build.all_pages([suite.Outcome(suite.task(name)) for name in lessons.names()[:2]], said.append)
    pages = [f"the page of {name}, {k} of 2" for k, name in enumerate(lessons.names()[:2], 1)]
    assert said == [*pages, "the API reference"]
