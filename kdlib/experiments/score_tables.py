"""Scores that are shipped: `data/scores/NAME.csv`, each with a card `NAME.json` beside it.

A table has one row for each training sample, with the columns `image` and `score`. A sample is known by its pixels and its
label (`image_digests`), since copies of a dataset may hold the samples in another order. A run finds the scores of its
scorer by the trainings that they come from, before it carries these out.
"""

from __future__ import annotations

import functools
import hashlib
import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kdlib.data.core import Dataset
from kdlib.experiments.config import Run
from kdlib.experiments.fingerprint import dataset_of, needs_scores, recording, rule_of, scored_runs, scorer_of
from kdlib.experiments.shipped import find, folder, write_card
from kdlib.utils.devices import resolve_device

log = logging.getLogger(__name__)

DIGITS = 12  # of a sample's digest: among 50,000 samples two meet by chance once in 200,000 datasets


@dataclass(frozen=True)
class ShippedScores:
    """Scores (N,) in the order of the dataset, and what the trainings behind them cost: wall time (s), image steps."""

    scores: np.ndarray
    seconds: float
    images: int


def image_digests(data: Dataset) -> list[str]:
    """A name for each training sample, from the SHA-256 of its pixels and label; equal samples are numbered in order."""
    images, labels = data.train_x.numpy(), data.train_y.numpy().astype("<i8")
    found, met = [], Counter[str]()
    for image, label in zip(images, labels, strict=True):
        name = hashlib.sha256(np.ascontiguousarray(image).tobytes() + label.tobytes()).hexdigest()[:DIGITS]
        met[name] += 1
        found.append(name if met[name] == 1 else f"{name}-{met[name]}")
    return found


def can_be_shipped(r: Run) -> bool:
    """Whether the run's samples depend on scores of trainings and on nothing else that these trainings recorded."""
    return needs_scores(r) and bool(scorer_of(r).needs) and not rule_of(r).needs and "released" not in r.scorer


def description(r: Run) -> dict[str, Any]:
    """What identifies the scores of the run's scorer: the scorer with its options, and the trainings that it reads.

    The run's seed is not part of it: a scorer that draws numbers must not be shipped.
    """
    found = {"scorer": r.scorer, "scored": scored_runs(r).identity(resolve_device(r.device))}
    return {**found, "view_augment": r.augment} if recording(r).views else found


def shipped(r: Run) -> ShippedScores | None:
    """The shipped scores of the run's scorer, or None. ValueError for a table that does not fit the dataset."""
    if not can_be_shipped(r):
        return None
    found = find("scores", dataset_of(r).name, description(r))
    if found is None:
        return None
    card, about = found
    table = card.with_suffix(".csv")
    scores = _read(table, table.stat().st_mtime_ns, dataset_of(r))
    return ShippedScores(scores, float(about["seconds"]), int(about["images"]))


@functools.lru_cache(maxsize=16)
def _read(table: Path, changed: int, data: Dataset) -> np.ndarray:
    """The scores (N,) in the dataset's order; `changed` tells the cache when to read again."""
    log.info("the scores come from %s", table.name)
    given = pd.read_csv(table, dtype=str).set_index("image").score.astype(np.float64)
    wanted = image_digests(data)
    if not given.index.is_unique or set(given.index) != set(wanted):
        raise ValueError(
            f"{table} has not exactly one row for each training sample of {data.name}; remove it and its card"
        )
    scores = given.loc[wanted].to_numpy(dtype=np.float64)
    scores.flags.writeable = False
    return scores


def ship(name: str, scores: np.ndarray, r: Run, about: dict[str, Any]) -> Path:
    """Write the scores (N,) of the run's scorer and their card; returns the path of the table.

    about: the cost of the trainings, `seconds` and `images`, and whatever else a reader should know.
    """
    folder("scores").mkdir(parents=True, exist_ok=True)
    target, data = folder("scores") / f"{name}.csv", dataset_of(r)
    pd.DataFrame({"image": image_digests(data), "score": scores}).sort_values("image").to_csv(target, index=False)
    write_card(target, data.name, description(r), about)
    return target
