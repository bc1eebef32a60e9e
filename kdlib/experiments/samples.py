"""Which samples a run keeps, and the workshop where what it needs is trained and kept."""

from __future__ import annotations

import dataclasses
import functools
import logging
from typing import Any

import numpy as np

from kdlib.data.tables import read_kept
from kdlib.experiments import score_tables, teachers
from kdlib.experiments.config import Run
from kdlib.experiments.fingerprint import (
    centre_of,
    dataset_of,
    needed_signals,
    needs_options,
    recording,
    released_table,
    rule_of,
    scored_runs,
    scorer_of,
    scorer_options,
)
from kdlib.scorers import Signals
from kdlib.store.artefacts import Store
from kdlib.training.checkpoint import StoredCheckpoint
from kdlib.training.reference_runs import Arrays, Workshop
from kdlib.training.signals import cost_of, record, sources
from kdlib.utils import seeds
from kdlib.utils.calls import accepted

log = logging.getLogger(__name__)


def workshop(r: Run, store: Store) -> Workshop:
    """Where the run's reference runs are trained and kept."""
    return Workshop(
        dataset_of(r),
        store,
        r.device,
        checkpoint=lambda description, extra, entry: StoredCheckpoint(store, description, extra, aims=[entry]),
        released=functools.partial(_released, r),
        keep=lambda samples: kept_samples(r, store, r.teacher_fraction),
    )


def _released(r: Run, description: dict) -> Arrays | None:
    """A network that need not be trained: the run's own file of a teacher, or a shipped one."""
    if "weights" in description.get("samples", ""):
        return teachers.from_file(r)
    return teachers.shipped(dataset_of(r), description)


def kept_samples(r: Run, store: Store, fraction: float | None = None) -> np.ndarray:
    """Sorted ids (n,) of the training samples that the run keeps, or that its rule keeps at another fraction.

    The run's seed draws ties and random scores. A dynamic rule keeps all samples and chooses among them later.
    """
    data = dataset_of(r)
    if r.kept_file:
        return read_kept(r.kept_file, data)
    if rule_of(r).dynamic:
        return np.arange(len(data.train_y))
    scores, signals, rng = _scored(r, store)
    _warn_of_ties(r, scores)
    return _apply_rule(r, scores, r.fraction if fraction is None else fraction, signals, rng)


def sample_scores(r: Run, store: Store) -> np.ndarray:
    """The scores (N,) of all training samples by the run's scorer, higher is harder; at fraction 1 too.

    ValueError where the run has none: with a table of kept samples or a selection that goes by the training's own losses.
    """
    if r.kept_file or rule_of(r).dynamic:
        raise ValueError("this run goes by no scores; leave kept_file out and choose another selection")
    below = dataclasses.replace(r, fraction=min(r.fraction, 0.5)) if r.fraction == 1 else r
    return _scored(below, store)[0]


def cost_of_scores(r: Run, store: Store) -> tuple[float, int]:
    """Wall time (s) and image steps of the trainings behind the run's scores, zero where it needs none."""
    if (given := score_tables.shipped(r)) is not None:
        return given.seconds, given.images
    return cost_of(needed_signals(r), scored_runs(r), workshop(r, store), recording(r))


def has_scores(r: Run, store: Store) -> bool:
    """Whether the run's scores need no training: they are shipped, or the trainings that they read are stored.

    Predictions of a stored network take no training.
    """
    if score_tables.shipped(r) is not None:
        return True
    needed = sources(needed_signals(r), scored_runs(r), workshop(r, store), recording(r))
    return all(store.has(kind, described) for kind, described in needed if kind != "outputs")


def _scored(r: Run, store: Store) -> tuple[np.ndarray, Signals, np.random.Generator]:
    """Scores (N,), the signals they come from (none, if the scores are shipped), and the generator that draws ties."""
    rng = seeds.stream(r.seed, "subset")
    if (given := score_tables.shipped(r)) is not None:
        return given.scores, Signals(), rng
    signals = record(needed_signals(r), scored_runs(r), workshop(r, store), recording(r))
    if "released" in scorer_of(r).needed(**needs_options(r)):
        signals = dataclasses.replace(signals, released=released_table(r)[0])
    return scorer_of(r)(signals, dataset_of(r).train_y.numpy(), rng, **scorer_options(r)), signals, rng


def _apply_rule(r: Run, scores: np.ndarray, fraction: float, signals: Any, rng: np.random.Generator) -> np.ndarray:
    data, (_, options) = dataset_of(r), r.method("selection")
    balanced = r.class_balanced is not False and not data.is_regression
    supplied = {
        "centre": centre_of(r),
        "labels": data.train_y.numpy() if balanced else None,
        "signals": signals,
        "rng": rng,
    }
    rule = rule_of(r).fn
    return rule(scores, fraction, **accepted(rule, supplied), **options)


def _warn_of_ties(r: Run, scores: np.ndarray) -> None:
    _, counts = np.unique(scores, return_counts=True)
    if counts.max() > len(scores) / 2:
        share = 100 * counts.max() / len(scores)
        _warn_once(f"scorer {r.scorer} gives one score to {share:.0f}% of the samples; ties are drawn at random")


@functools.lru_cache(maxsize=256)
def _warn_once(text: str) -> None:
    """A process says each warning once, however many runs it concerns."""
    log.warning("%s", text)
