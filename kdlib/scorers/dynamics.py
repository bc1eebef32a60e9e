"""Scores from the course of training: forgetting events."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray


def forgetting_events(correct: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Forgetting events per run and sample, (R, N): times a right answer turns wrong at the next epoch.

    correct: (R, E, N). Toneva et al. 2019, "An empirical study of example forgetting", Definition 1.
    """
    correct = np.asarray(correct, dtype=bool)
    return (correct[:, :-1] & ~correct[:, 1:]).sum(axis=1)


def forgetting(
    correct: NDArray[np.bool_], never_learned: Literal["hardest", "easiest"] = "hardest"
) -> NDArray[np.float64]:
    """Mean number of forgetting events over the runs, (N,); higher = harder.

    correct: (R, E, N). A sample that a run never gets right has no event to count. "hardest" (default) gives it the
    number of epochs E, more than any learned sample can reach; "easiest" leaves it at 0, so that pruning drops the
    unlearnable samples first. Public code does both; the first is the original authors'.
    Raises ValueError for any other `never_learned`.
    """
    if never_learned not in ("hardest", "easiest"):
        raise ValueError(f"never_learned must be 'hardest' or 'easiest', not {never_learned!r}")
    events = forgetting_events(correct).astype(np.float64)
    if never_learned == "hardest":
        events[~np.any(correct, axis=1)] = correct.shape[1]
    return events.mean(axis=0)
