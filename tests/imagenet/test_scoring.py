"""Scores of one pass: the formulas, the table, the card beside it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from kdlib.imagenet.folders import MEAN, STD, Images, read_split
from kdlib.imagenet.networks import build
from kdlib.imagenet.run import Folders, score_folder
from kdlib.imagenet.scoring import COLUMNS, card_of, score
from kdlib.utils import progress
from tests.imagenet.folder import TRAIN, UNREADABLE
from tests.imagenet.jobs import ALONE, QUIET, SMALL


def test_columns_are_the_formulas_of_the_papers(root: Path, weights: str) -> None:
    """Image by image with plain PyTorch: cross-entropy, length of p - onehot(y), std of the logits, argmax."""
    split = read_split(root / "train")
    model = build("tiny", 4, 32, weights=weights).eval()
    rows = score(model, split, SMALL, QUIET, ALONE).set_index("file")
    assert len(rows) == TRAIN - len(UNREADABLE) and set(rows.attrs["skipped"]) == set(UNREADABLE)
    images = Images(split, 32)
    mean, std = (torch.tensor(v)[:, None, None] for v in (MEAN, STD))
    for i in range(2, TRAIN, 9):
        sample, name = images[0, i], split.name(i)
        if name in UNREADABLE:
            continue
        with torch.no_grad():
            logits = model(((sample.image / 255 - mean) / std)[None])[0].double()
        label = torch.tensor(sample.label)
        error = logits.softmax(0) - F.one_hot(label, 4)
        expected = {
            "difficulty": F.cross_entropy(logits[None], label[None]),
            "el2n": error.square().sum().sqrt(),
            "logit_std": logits.std(correction=1),
            "correct": float(logits.argmax() == label),
        }
        assert expected.keys() == COLUMNS.keys()
        for column, value in expected.items():
            assert rows.loc[name, column] == pytest.approx(float(value), rel=1e-4), column
        assert rows.loc[name, "class"] == name.split("/")[0]


def test_scoring_says_how_far_it_is(root: Path, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "REFRESH", 0.0)
    monkeypatch.setattr(progress, "START", 0.0)
    settings, said = dataclasses.replace(SMALL, teacher="tiny", teacher_weights=weights), []
    with progress.shown_by(lambda text, milestone: said.append(text)):
        about = score_folder(settings, Folders(str(root)), QUIET, ALONE, tmp_path / "scores.csv")
    count = f"{about['images']:,}"
    assert f"scoring: {count} of {count} images, 0:00:00 left" in said
    assert said[0] == f"reading the folders of {root}" and said[-1] == f"looking at {count} files of train"


def test_the_table_and_its_card(root: Path, weights: str, tmp_path: Path) -> None:
    settings = dataclasses.replace(SMALL, teacher="tiny", teacher_weights=weights)
    out = tmp_path / "tables" / "scores.csv"
    about = score_folder(settings, Folders(str(root)), QUIET, ALONE, out)
    table, card = pd.read_csv(out), json.loads(card_of(out).read_text())
    assert table.columns.tolist() == ["file", "class", *COLUMNS] and len(table) == about["scored"] == card["scored"]
    assert card["table"] == hashlib.sha256(out.read_bytes()).hexdigest()
    lines = [
        f"{p.relative_to(root / 'train').as_posix()}\0{hashlib.sha256(p.read_bytes()).hexdigest()}\n"
        for p in sorted((root / "train").rglob("*.jpg"))
    ]
    assert card["content"] == hashlib.sha256("".join(lines).encode()).hexdigest(), "every byte of the images"
    assert card["listing"] == read_split(root / "train").listing and card["images"] == TRAIN
    assert str(root) not in card_of(out).read_text(), "the table may be published"
    assert [p.name for p in out.parent.iterdir() if p.name.startswith(".")] == []


def test_no_score_is_of_half_precision(root: Path, weights: str) -> None:
    """A sure teacher's scores tie in half precision: 100 times its logits leave every difficulty apart."""
    model = build("tiny", 4, 32, weights=weights)
    with torch.no_grad():
        model.head.weight.mul_(100)
        model.head.bias.mul_(100)
    settings = dataclasses.replace(SMALL, precision="bfloat16")
    found = score(model, read_split(root / "train"), settings, QUIET, ALONE)["difficulty"]
    assert np.isfinite(found).all() and found.nunique() == len(found)
