"""Kept images from tables and lists, and what does not fit."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kdlib.imagenet.config import settings as make
from kdlib.imagenet.folders import Split, read_split
from kdlib.imagenet.run import Folders, score_folder
from kdlib.imagenet.scoring import card_of
from kdlib.imagenet.subsets import class_std, kept_ids
from tests.imagenet.folder import TRAIN, UNREADABLE
from tests.imagenet.jobs import ALONE, QUIET, SMALL


@pytest.fixture(scope="module")
def split(root: Path) -> Split:
    return read_split(root / "train")


@pytest.fixture(scope="module")
def scores(root: Path, weights: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("scores") / "scores.csv"
    score_folder(dataclasses.replace(SMALL, teacher_weights=weights), Folders(str(root)), QUIET, ALONE, out)
    return out


def test_random_is_balanced_and_drawn_from_the_seed(split: Split) -> None:
    kept = [kept_ids(dataclasses.replace(SMALL, fraction=0.3, seed=seed), split) for seed in (0, 0, 1)]
    assert np.array_equal(kept[0], kept[1]) and not np.array_equal(kept[0], kept[2])
    assert np.bincount(split.labels[kept[0]]).tolist() == [12, 12, 12, 12]
    assert len(kept_ids(SMALL, split)) == TRAIN


@pytest.mark.parametrize("centre", [0.0, 0.5, 1.0])
def test_scores_rank_the_readable_images(split: Split, scores: Path, centre: float) -> None:
    settings = dataclasses.replace(SMALL, scorer="difficulty", scores=str(scores), fraction=0.5, centre=centre)
    kept = kept_ids(settings, split)
    table = pd.read_csv(scores).set_index("file")
    names = [split.name(i) for i in kept]
    assert not set(names) & set(UNREADABLE) and len(names) == round(0.5 * len(table))
    for label in table["class"].unique():
        ranked = table[table["class"] == label]["difficulty"].sort_values()
        ours = sorted(table.loc[name, "difficulty"] for name in names if name.startswith(label))
        first = {0.0: 0, 1.0: len(ranked) - len(ours)}.get(centre)
        if first is None:
            first = int(np.searchsorted(ranked, ours[0]))
            assert abs(first - (len(ranked) - len(ours) - first)) <= 1, "as many easier as harder ones are left out"
        assert ranked.iloc[first : first + len(ours)].tolist() == ours


def test_a_released_table_is_another_source(split: Split, tmp_path: Path) -> None:
    """High = keep, only file names without folders, other rows beside; and the other direction."""
    file = tmp_path / "released.csv"
    names = [split.name(i).split("/")[1] for i in range(TRAIN)]
    unique = len(set(names)) == TRAIN
    parts = 1 if unique else 2
    rows = pd.DataFrame({"image": [split.name(i) for i in range(TRAIN)], "memorization": np.arange(TRAIN) % 40})
    rows.to_csv(file, index=False)
    settings = dataclasses.replace(
        SMALL, scorer="memorization", scores=str(file), fraction=0.25, score_parts=parts, class_balanced=False
    )
    assert (kept_ids(settings, split) % 40 >= 30).all()
    assert (kept_ids(dataclasses.replace(settings, score_high="drop"), split) % 40 < 10).all()
    with pytest.raises(ValueError, match="column 'memorisation'; did you mean 'memorization'"):
        kept_ids(dataclasses.replace(settings, scorer="memorisation"), split)
    rows[1:].to_csv(file, index=False)
    with pytest.raises(ValueError, match="1 files have no row"):
        kept_ids(settings, split)


@pytest.mark.parametrize("header", ["", "id\n"])
def test_kept_images_by_id(split: Split, tmp_path: Path, header: str) -> None:
    file = tmp_path / "kept.csv"
    file.write_text(header + "7\n3\n150\n")
    assert kept_ids(dataclasses.replace(SMALL, kept_file=str(file)), split).tolist() == [3, 7, 150]


@pytest.mark.parametrize("header", ["", "file,score\n"])
def test_kept_images_by_name(split: Split, tmp_path: Path, header: str) -> None:
    file = tmp_path / "kept.csv"
    file.write_text(header + "".join(f"{split.name(i)},0.5\n" for i in (90, 2)))
    assert kept_ids(dataclasses.replace(SMALL, kept_file=str(file)), split).tolist() == [2, 90]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("3\n160\n", "1 entries are no image of .*: 160"),
        ("ant/000.jpg\nelk/1.jpg\n", "1 entries are no image of .*: elk/1.jpg"),
        ("3\n3\n4\n", "names 1 images more than once"),
        ("id\n", "the list is empty"),
        ("", "no CSV that can be read"),
    ],
)
def test_lists_that_do_not_fit(split: Split, tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "kept.csv"
    file.write_text(content)
    with pytest.raises(ValueError, match=message):
        kept_ids(dataclasses.replace(SMALL, kept_file=str(file)), split)


def test_scores_of_other_images_or_changed_ones_are_refused(split: Split, scores: Path, tmp_path: Path) -> None:
    copy = tmp_path / "scores.csv"
    copy.write_bytes(scores.read_bytes())
    card = json.loads(card_of(scores).read_text())
    settings = dataclasses.replace(SMALL, scorer="el2n", scores=str(copy), fraction=0.5)
    card_of(copy).write_text(json.dumps({**card, "listing": "0" * 64}))
    with pytest.raises(ValueError, match="are of other images"):
        kept_ids(settings, split)
    card_of(copy).write_text(json.dumps(card))
    copy.write_text(copy.read_text().replace("1", "2", 1))
    with pytest.raises(ValueError, match="score anew"):
        kept_ids(settings, split)
    with pytest.raises(ValueError, match="needs a table of scores"):
        dataclasses.replace(SMALL, scorer="el2n")


def test_class_std_is_the_mean_of_each_class_over_all_images(split: Split, scores: Path, weights: str) -> None:
    settings = dataclasses.replace(
        SMALL, loss="kd", reshape="classwise_std", scores=str(scores), teacher_weights=weights, fraction=0.1
    )
    found = class_std(settings, split)
    assert found is not None and class_std(SMALL, split) is None
    table = pd.read_csv(scores)
    for label, name in enumerate(split.classes):
        assert float(found[label]) == pytest.approx(table[table["class"] == name]["logit_std"].mean(), rel=1e-6)
    with pytest.raises(ValueError, match="needs the scores of resnet18"):
        class_std(dataclasses.replace(settings, teacher="resnet18"), split)
    with pytest.raises(ValueError, match="the teacher's own table"):
        make("md", reshape="classwise_std")
