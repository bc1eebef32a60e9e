"""Scores and kept samples as CSV: back to the last bit, and refused when they belong to other data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kdlib.data.core import Dataset
from kdlib.data.datasets import load, with_validation
from kdlib.data.folders import load_folder
from kdlib.data.tables import read_kept, read_scores, write_kept, write_scores


@pytest.fixture
def odd(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A folder with a comma, a quote and letters beyond ASCII in its files' names."""
    (pictures / "train" / "cat" / "0.png").rename(pictures / "train" / "cat" / 'a,"b" ü.png')
    return load_folder(str(pictures), tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("which", ["digits", "validation", "files"])
def test_scores_come_back_to_the_last_bit(which: str, odd: Dataset, tmp_path: Path) -> None:
    data = {"digits": load("digits"), "validation": with_validation(load("digits")), "files": odd}[which]
    scores = np.random.default_rng(0).normal(size=len(data.train_y))
    scores[:5] = [0.1, 1 / 3, -0.0, 5e-324, 1.7976931348623157e308]
    path = write_scores(tmp_path / "new" / "scores.csv", scores, data)
    assert read_scores(path, data).tobytes() == scores.tobytes()
    assert path.read_text().splitlines()[0] == ("file,score" if which == "files" else "row,score")


def test_scores_follow_the_names_not_the_order(odd: Dataset, tmp_path: Path) -> None:
    path = write_scores(tmp_path / "scores.csv", np.arange(6), odd)
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([f"note,{header}", *(f"x,{row}" for row in rows[::-1])]))
    assert read_scores(path, odd).tolist() == [0, 1, 2, 3, 4, 5]


def test_kept_samples_come_back(odd: Dataset, tmp_path: Path) -> None:
    path = write_kept(tmp_path / "kept.csv", np.array([5, 0, 3]), odd)
    assert path.read_text(encoding="utf-8").splitlines()[:2] == ["file", "train/cat/1.png"]
    assert '"train/cat/a,""b"" ü.png"' in write_kept(path, [2], odd).read_text(encoding="utf-8")
    path = write_kept(path, [5, 0, 3], odd)
    kept = read_kept(path, odd)
    assert kept.tolist() == [0, 3, 5] and kept.dtype == np.int64
    assert read_kept(write_kept(path, [7, 3], load("digits")), load("digits")).tolist() == [3, 7]
    assert path.read_text() == "row\n3\n7\n"


WRITES: dict[str, tuple[Callable[[Path, Dataset], object], str]] = {
    "another count": (
        lambda p, d: write_scores(p, [1, 2], d),
        "has 1347 training samples, but the scores are of shape",
    ),
    "not finite": (
        lambda p, d: write_scores(p, np.full(1347, np.nan), d),
        "1347 scores are not finite, samples: 0, 1, 2",
    ),
    "outside": (lambda p, d: write_kept(p, [1347, 2], d), r"1 ids outside 0\.\.1346: 1347; choose samples of digits"),
    "twice": (lambda p, d: write_kept(p, [2, 2], d), "1 ids come twice: 2"),
    "none": (lambda p, d: write_kept(p, [], d), "must be one or more integer ids"),
    "a mask": (lambda p, d: write_kept(p, np.ones(1347, bool), d), "must be one or more integer ids, got bool"),
}


@pytest.mark.parametrize("case", WRITES)
def test_what_cannot_be_read_back_is_not_written(case: str, tmp_path: Path) -> None:
    write, message = WRITES[case]
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "x.csv", load("digits"))
    assert not (tmp_path / "x.csv").exists()
