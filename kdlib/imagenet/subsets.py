"""Which training images are kept, from a score table or a list; and the class statistics that a reshape needs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdlib.imagenet.config import Settings
from kdlib.imagenet.folders import Split
from kdlib.imagenet.networks import weights_identity
from kdlib.imagenet.scoring import card_of
from kdlib.scorers.released import released_scores
from kdlib.selection.rules import keep_indices
from kdlib.utils import seeds


def kept_ids(settings: Settings, split: Split) -> NDArray[np.int64]:
    """Sorted ids of the images to train on. ValueError for a table or list that does not fit the folder."""
    if settings.kept_file:
        return read_kept(Path(settings.kept_file), split)
    rng = seeds.stream(settings.seed, "subset")
    scores, scored = _scores(settings, split, rng)
    labels = split.labels[scored] if settings.class_balanced else None
    chosen = keep_indices(scores, settings.fraction, centre=settings.centre, labels=labels, rng=rng)
    return scored[chosen]


def _scores(
    settings: Settings, split: Split, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(scores, ids of the images that have one): all images, but for those that our own scoring could not read."""
    everything = np.arange(len(split))
    if settings.scorer == "random":
        return rng.random(len(split)), everything
    file = Path(settings.scores)
    card = read_card(file, split)
    skipped = {name.encode() for name in card.get("skipped", {})}
    scored = everything[[name not in skipped for name in split.names.tolist()]]
    try:
        scores = released_scores(
            file,
            [split.name(i) for i in scored],
            image="file" if card else "",
            column=settings.scorer,
            high=settings.score_high,
            parts=settings.score_parts,
            extra=settings.score_extra,
        )
    except OSError as problem:
        raise ValueError(f"scores {file} cannot be read: {problem.strerror}") from problem
    return scores, scored


def read_card(file: Path, split: Split) -> dict:
    """What `write_scores` noted beside a table ({} for a released one); ValueError if the table or folder differs."""
    if not card_of(file).is_file():
        return {}
    card = json.loads(card_of(file).read_text())
    if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != card["table"]:
        raise ValueError(f"scores {file} are missing or not what was written with {card_of(file).name}; score anew")
    if card["listing"] != split.listing:
        raise ValueError(f"scores {file} are of other images than {split.folder}; score this folder")
    return card


def read_kept(file: Path, split: Split) -> NDArray[np.int64]:
    """Ids from a CSV with or without a header: whole numbers, or paths `CLASS/FILE`, in its first column."""
    try:
        column = pd.read_csv(file, header=None, usecols=[0], dtype=str)[0].str.strip()
    except (OSError, ValueError) as problem:
        raise ValueError(f"kept_file {file} is no CSV that can be read: {problem}") from problem
    positions = {name: i for i, name in enumerate(split.names.tolist())}
    entries = [_position(entry, positions, len(split)) for entry in column]
    if entries and entries[0] is None:  # a header
        entries, column = entries[1:], column[1:]
    unknown = [entry for entry, found in zip(column, entries, strict=True) if found is None]
    if unknown or not entries:
        shown = ", ".join(map(str, unknown[:5])) or "the list is empty"
        raise ValueError(f"kept_file {file}: {len(unknown)} entries are no image of {split.folder}: {shown}")
    ids = np.array(entries, dtype=np.int64)
    if len(np.unique(ids)) < len(ids):
        raise ValueError(f"kept_file {file} names {len(ids) - len(np.unique(ids))} images more than once")
    return np.sort(ids)


def _position(entry: str, positions: dict[bytes, int], count: int) -> int | None:
    if entry.isdigit():
        return int(entry) if int(entry) < count else None
    return positions.get(entry.replace("\\", "/").encode())


def class_std(settings: Settings, split: Split) -> Tensor | None:
    """k_c of the teacher over the full training set, (C,), for the class-wise reshapes (medium-difficulty paper, Eq. 4).

    From the column `logit_std` of the teacher's own table; ValueError if that is another teacher's.
    """
    if not settings.reshape.startswith("classwise"):
        return None
    file = Path(settings.scores)
    card = read_card(file, split)
    theirs = (card.get("teacher"), card.get("teacher_weights"))
    if theirs != (settings.teacher, weights_identity(settings.teacher_weights)):
        raise ValueError(f"reshape {settings.reshape} needs the scores of {settings.teacher} "
                         f"{settings.teacher_weights}, but {file} is of {theirs[0]} {theirs[1]}")  # fmt: skip
    table = pd.read_csv(file, dtype={"class": str})
    means = table.groupby("class")["logit_std"].mean().reindex(list(split.classes))
    return torch.from_numpy(means.fillna(means.mean()).to_numpy(np.float32))
