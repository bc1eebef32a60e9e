"""Memorization from subset models. Feldman & Zhang 2020, "What neural networks memorize and
why"."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kdlib.utils.errors import choose

# What a sample scores when no run held it out (or none trained on it), so that one of its two means does not
# exist.
EMPTY_GROUP = {"neutral": "score 0", "zero": "the empty group's accuracy counts as 0"}


def memorization(
    trained: NDArray[np.bool_], correct: NDArray[np.bool_], empty_group: str = "neutral"
) -> NDArray[np.float64]:
    """mem_i = P(right on i | trained on i) - P(right on i | held out i), (N,), in [-1, 1]; higher = harder.

    trained, correct: (S, N), model s was trained on / is right on sample i; the estimator of Eq. 1, Algorithm
    1. A sample that no run held out (or none trained on) has only one of the two means. empty_group="neutral"
    (default) gives it 0, no evidence of memorization; "zero", as in the authors' code, takes the missing
    accuracy as 0, so that a sample never held out scores its plain accuracy and ranks among the most
    memorized.
    """
    trained, correct = _pair(trained, correct)
    weights = np.stack([trained, ~trained])
    means = (weights * correct).sum(axis=1) / np.maximum(weights.sum(axis=1), 1)
    return _difference(means, weights.sum(axis=1), empty_group)


def _pair(trained: NDArray, correct: NDArray) -> tuple[NDArray, NDArray]:
    trained, correct = np.asarray(trained, dtype=bool), np.asarray(correct, dtype=bool)
    if trained.ndim != 2 or trained.shape != correct.shape:
        raise ValueError(f"trained and correct must share one shape (S, N), got {trained.shape} and {correct.shape}")
    return trained, correct


def _difference(means: NDArray, counts: NDArray, empty_group: str) -> NDArray[np.float64]:
    choose("empty_group", empty_group, EMPTY_GROUP)
    difference = means[0] - means[1]
    if empty_group == "neutral":
        difference = np.where((counts == 0).any(axis=0), 0.0, difference)
    return difference
