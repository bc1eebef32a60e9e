"""The site as files: a page for each lesson, nothing loaded from elsewhere, written again only when something changed."""

import re
import shutil
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from kdlib.analysis import effects
from kdlib.course import notebooks, suite
from kdlib.course.site import build, front, write_site
from kdlib.course.site.front import main_figure

FIXTURES = Path(__file__).parents[2] / "fixtures"


@pytest.fixture
def outcomes(tmp_path, monkeypatch):
    """A lesson that ran (its executed notebook is the committed fixture) and one that failed, in a project of their own."""
    monkeypatch.setenv("KDLIB_ROOT", str(tmp_path))
    monkeypatch.setenv("KDLIB_STORE", str(tmp_path / "store"))
    (tmp_path / "notebooks").mkdir()
    shutil.copytree(Path(__file__).parents[3] / "data" / "paper", tmp_path / "data" / "paper")
    for name, fixture in (("01_good_lesson", "good"), ("02_failing_lesson", "failing")):
        shutil.copy(FIXTURES / f"{fixture}.ipynb", tmp_path / "notebooks" / f"{name}.ipynb")
    good, bad = (suite.Task(path, {}, None, path, tmp_path) for path in sorted((tmp_path / "notebooks").glob("*")))
    return [suite.Outcome(good), suite.Outcome(bad, error="cell 6 of 8: f must be in (0, 1]; it is <3>")]


def test_the_site(outcomes, tmp_path):
    (tmp_path / "notebooks" / "README.md").write_text(
        "# For lecturers\n\nStart with [the first](01_good_lesson.ipynb).\n"
    )
    first = write_site(outcomes, tmp_path / "site")
    pages = {path.name: path.read_text() for path in first.parent.glob("*")}
    assert set(pages) == {"index.html", "api.html", "lecturers.html", "01_good_lesson.html", "02_failing_lesson.html"}
    assert "it is &lt;3&gt;" in pages["02_failing_lesson.html"] and "it is &lt;3&gt;" in pages["index.html"]
    assert '<a href="01_good_lesson.html">the first</a>' in pages["lecturers.html"]
    assert 'rel="next" href="02_failing_lesson.html"' in pages["01_good_lesson.html"]
    assert (
        '<a rel="prev"' not in pages["01_good_lesson.html"] and '<a rel="next"' not in pages["02_failing_lesson.html"]
    )
    for name, text in pages.items():
        assert not re.search(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(?!data:)', text), (
            f"{name} loads something"
        )
        assert "default-src 'none'" in text and "@import" not in text and "url(http" not in text
        assert str(tmp_path) not in text, "no paths of the machine"


def test_nothing_measured_is_said_to_be_not_measured(outcomes, tmp_path):
    page = write_site(outcomes, tmp_path / "site").read_text()
    assert "Not measured yet: on the data" in page and "has not been measured yet" in page
    assert "D13" in page, "what needs no rows is decided all the same"


def test_equal_results_give_an_equal_site_and_unchanged_ones_none(outcomes, tmp_path, monkeypatch):
    first = write_site(outcomes, tmp_path / "site")
    before = {path.name: path.read_bytes() for path in first.parent.glob("*")}
    again = write_site(outcomes, tmp_path / "again")
    assert {path.name: path.read_bytes() for path in again.parent.glob("*")} == before
    made = []
    real = build.all_pages
    monkeypatch.setattr(build, "all_pages", lambda outcomes, say: made.append(1) or real(outcomes, say))
    write_site(outcomes, tmp_path / "site")
    assert not made, "nothing has changed"
    (first.parent / "index.html").write_text("damaged")
    write_site(outcomes, tmp_path / "site")
    assert len(made) == 1 and (first.parent / "index.html").read_bytes() == before["index.html"]
    path = tmp_path / "notebooks" / "01_good_lesson.ipynb"
    nb = notebooks.read(path)
    nb.cells[0].source = "# Another title"
    notebooks.write(nb, path)
    write_site(outcomes[:1], tmp_path / "site")
    assert len(made) == 2 and "Another title" in first.read_text()
    assert not (first.parent / "02_failing_lesson.html").exists(), "the page of a lesson that is no more"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "**The question.** Data is dear. Why? Which samples, at small $f$, *should* stay? More follows.",
            "Which samples, at small",
        ),
        ("Nothing is asked here. It goes on.", "Nothing is asked here."),
        ("", ""),
    ],
)
def test_one_sentence_for_a_lesson(text, sentence):
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(f"# 07 · Title\n\n{text}")])
    found = build.question(nb)
    assert found.startswith(sentence) and "More follows" not in found and "It goes on" not in found
    assert ("<math" in found and "<em>should</em>" in found) == ("$" in text)


def test_the_committed_rows_have_a_main_figure():
    """Students under teachers of several sizes lie in the same study."""
    rows = effects.study_rows("cifar100_study")
    assert rows[rows.loss == "kd"].teacher.nunique() > 1
    shown = main_figure({"study": rows})
    assert shown is not None and "medium minus random" in shown.medium
    larger = rows[rows.loss == "kd"].assign(student="resnet8", teacher="resnet20", teacher_acc=99.0)
    both = main_figure({"students of a larger teacher": larger, "study": rows})
    assert both == shown


def test_the_main_figure_is_that_of_the_study_with_the_best_teacher():
    kinds = [
        {"seed": seed, "loss": loss, "fraction": f, "alpha": 0.5, "test_acc": 30 + 10 * (loss == "kd") + seed}
        for seed in range(3) for f in (0.1, 0.3) for loss in ("cross_entropy", "kd")
    ]  # fmt: skip
    shared = {"dataset": "cifar100", "scorer": "random", "centre": None, "teacher_seed": 0}
    poor = pd.DataFrame([{**shared, **kind, "teacher_acc": 30.0} for kind in [*kinds, {**kinds[0], "seed": 9}]])
    good = pd.DataFrame([{**shared, **kind, "teacher_acc": 60.0} for kind in kinds])
    assert len(poor) > len(good)
    shown = main_figure({"poor": poor, "good": good})
    assert shown is not None and "good; 12 trainings" in shown.caption
    digits = good.assign(dataset="digits")
    assert main_figure({"digits": digits}) is None


def test_a_study_is_named_in_prose():
    named = front._readable("cifar100 (cifar100_study.jsonl; student resnet20, epochs 60, batch_size 64, lr 0.1)")
    assert named == (
        "CIFAR-100, student ResNet-20, 60 epochs, batch size 64, learning rate 0.1 (rows: cifar100_study.jsonl)"
    )
    assert front._readable("") == "", "theory has no study"


def test_rows_of_former_rules_decide_nothing_on_the_front_page(outcomes, tmp_path):
    shutil.copytree(Path(__file__).parents[3] / "data" / "results", tmp_path / "data" / "results")
    assert (tmp_path / "data" / "results" / "cifar100_laptop.jsonl").is_file()
    page = write_site(outcomes, tmp_path / "site").read_text()
    assert "cifar100_study.jsonl" in page and "cifar100_laptop.jsonl" not in page
