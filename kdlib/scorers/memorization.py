"""Memorization and influence from subset models. Feldman & Zhang 2020, "What neural networks memorize and
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


def influence(
    trained: NDArray[np.bool_], test_correct: NDArray[np.bool_], empty_group: str = "neutral"
) -> NDArray[np.float64]:
    """infl[j, i] = P(right on test j | trained on i) - P(right on test j | held out i), (M, N).

    trained: (S, N); test_correct: (S, M). Eq. 2 of the paper; `empty_group` as in `memorization`.
    """
    trained, test_correct = np.asarray(trained, dtype=bool), np.asarray(test_correct, dtype=bool)
    if trained.ndim != 2 or test_correct.ndim != 2 or len(trained) != len(test_correct):
        raise ValueError(f"need (S, N) and (S, M) with one S, got {trained.shape} and {test_correct.shape}")
    weights = np.stack([trained, ~trained]).astype(np.float64)  # (2, S, N)
    counts = weights.sum(axis=1)
    means = test_correct.T.astype(np.float64) @ weights / np.maximum(counts, 1)[:, None]
    return _difference(means, counts[:, None], empty_group)


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
