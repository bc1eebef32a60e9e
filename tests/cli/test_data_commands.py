"""`python -m kdlib data`: a line, a picture, and one-line mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from kdlib.__main__ import main
from kdlib.cli.data_commands import _word
from kdlib.data.datasets import DATASETS, place


def test_ls_names_every_dataset_and_where_it_is(capsys: pytest.CaptureFixture) -> None:
    assert main(["data", "ls"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(DATASETS)
    assert all(line.split(maxsplit=1)[1] == place(line.split()[0]) for line in lines)
    assert main(["data"]) == 0


def test_where_a_dataset_is(tmp_path: Path) -> None:
    assert place("digits", tmp_path) == "ships with scikit-learn"
    assert place("svhn", tmp_path) == f"is downloaded on first use, to {tmp_path / 'svhn'}"
    (tmp_path / "svhn").mkdir()
    assert place("svhn", tmp_path) == f"downloaded to {tmp_path / 'svhn'}"
    (tmp_path / "svhn" / "train").mkdir()
    assert place("svhn", tmp_path) == f"class folders in {tmp_path / 'svhn'}"


def test_show_prints_the_line_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["data", "show", "digits"]) == 0
    said = capsys.readouterr()
    assert said.out == "train 1,347, test 450, 10 classes, 8x8 grey\n"
    assert said.err == "picture written to data_digits.png\n"
    with Image.open(tmp_path / "data_digits.png") as image:
        assert image.format == "PNG"
    assert main(["data", "show", "diabetes"]) == 0
    assert capsys.readouterr().out == "train 332, test 110, 10 features, continuous target\n"


def test_show_names_the_skipped_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("KDLIB_ROOT", str(tmp_path / "project"))
    for name in ("a", "b"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(3):
            Image.new("L", (8, 8), 50 * i).save(tmp_path / "pets" / name / f"{i}.png")
    (tmp_path / "pets" / "a" / "readme.md").write_text("cats")
    assert main(["data", "show", f"folder:{tmp_path / 'pets'}", "--out", str(tmp_path / "x.png")]) == 0
    said = capsys.readouterr()
    assert said.out == "train 4, test 2, 2 classes, 8x8 grey, 1 file skipped\n"
    assert said.err.splitlines()[0] == "skipped a/readme.md: not an image" and (tmp_path / "x.png").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["shwo"], "did you mean 'show'"),
        (["show"], "data show needs a name: digits, "),
        (["show", "digit"], "did you mean 'digits'"),
        (["show", "folder:/no/such"], "no such folder"),
        (["show", "digits", "--out", "x.jpg"], "ends in .png"),
        (["show", "diabetes", "--out", "x.png"], "choose a dataset of images"),
        (["show", "digits", "--out", "/dev/null"], "is a device or pipe; name a file"),
        (["ls", "digits"], "did you mean: data show NAME"),
    ],
)
def test_mistakes_are_one_line(args: list[str], message: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["data", *args]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("kdlib: ") and message in said.err and said.err.count("\n") == 1


def test_the_pictures_name_comes_from_the_datasets() -> None:
    assert [_word(n) for n in ("digits", "folder:/a/my pets@32", "folder:..", "folder:/")] == [
        "digits", "my_pets_32", "images", "images",
    ]  # fmt: skip
