"""The lessons outside a checkout: copied by command, or by themselves where they are to run."""

from pathlib import Path

import pytest

from kdlib.__main__ import main
from kdlib.course import copies, lessons
from kdlib.utils import paths


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """An installation with one lesson and one table in the package, and a working folder outside any checkout."""
    shipped = tmp_path / "site-packages" / "kdlib" / "shipped"
    for part, text in (
        ("notebooks/00_first.ipynb", "{}"),
        ("notebooks/.ipynb_checkpoints/00_first-checkpoint.ipynb", "{}"),
        ("data/paper/claims.csv", "id\n"),
        ("data/results/rows.jsonl", ""),
    ):
        (shipped / part).parent.mkdir(parents=True, exist_ok=True)
        (shipped / part).write_text(text)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.setattr(paths, "SHIPPED", shipped)
    monkeypatch.setenv("KDLIB_ROOT", str(work))
    return work


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


COPY = ["data/paper/claims.csv", "data/results/rows.jsonl", "notebooks/00_first.ipynb"]


def test_an_installation_finds_its_lessons_and_tables(installed):
    assert lessons.names() == ["00_first"] and paths.given("paper") == paths.SHIPPED / "data" / "paper"
    (installed / "data" / "paper").mkdir(parents=True)
    assert paths.given("paper") == installed / "data" / "paper", "the project's own come first"


def test_copy(installed, tmp_path, capsys):
    target = tmp_path / "mine"
    assert main(["lessons", "copy", str(target)]) == 0
    assert files(target) == COPY and f"kdlib lab {target}" in capsys.readouterr().err
    (target / "notebooks" / "00_first.ipynb").write_text("edited")
    (target / "data" / "paper" / "claims.csv").unlink()
    assert main(["lessons", "copy", str(target)]) == 0
    assert files(target) == COPY, "what is missing comes again"
    assert (target / "notebooks" / "00_first.ipynb").read_text() == "edited", "what is there stays"


def test_where_lessons_run_they_are_at_hand(installed):
    said = []
    copies.at_hand(said.append)
    assert files(installed) == COPY and len(said) == 1
    copies.at_hand(said.append)
    assert len(said) == 1, "they are there now"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lessons"], "choose one of: copy"),
        (["lessons", "cpy", "x"], "did you mean 'copy'"),
        (["lessons", "copy"], "kdlib lessons copy FOLDER"),
        (["lessons", "copy", "{full}"], "name a folder that is new or empty"),
        (["lessons", "copy", "{full}/file"], "is a file; name a folder"),
        (["lab", "{full}"], "kdlib lessons copy"),
    ],
)
def test_mistakes_are_said_in_one_line(installed, tmp_path, arguments, message, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    assert main([part.format(full=tmp_path / "full") for part in arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_an_installation_without_lessons_says_so(installed, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(paths, "SHIPPED", tmp_path / "nothing")
    for command in (["figures"], ["lesson", "00"], ["lessons", "copy", str(tmp_path / "new")]):
        assert main(command) == 2
        assert "this installation has no lessons" in capsys.readouterr().err


def test_the_project_of_a_kernel_is_above_its_notebooks(monkeypatch, tmp_path):
    monkeypatch.delenv("KDLIB_ROOT", raising=False)
    monkeypatch.setattr(paths, "__file__", str(tmp_path / "site-packages" / "kdlib" / "utils" / "paths.py"))
    (tmp_path / "mine" / "notebooks").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "mine" / "notebooks")
    assert paths.root() == tmp_path / "mine"
    monkeypatch.chdir(tmp_path)
    assert paths.root() == Path.cwd()
