"""Scores from the course of training: forgetting events, margins, errors summed over epochs.

`correct` is (R, E, N): run r has sample n right at epoch e. Axes in front of E may be any.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kdlib.utils.errors import choose

NEVER_LEARNED = {"hardest": "epochs", "easiest": "zero", "infinite": "inf"}


def forgotten(correct: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Forgetting events, (R, E - 1, N): right at epoch e, wrong at epoch e + 1.

    Toneva et al. 2019, "An empirical study of example forgetting during deep neural network learning", Sec. 3.
    """
    correct = np.asarray(correct, dtype=bool)
    return correct[..., :-1, :] & ~correct[..., 1:, :]


def forgetting(correct: NDArray[np.bool_], never_learned: str = "hardest") -> NDArray[np.float64]:
    """Mean number of forgetting events over the runs, (N,); higher = harder.

    correct: (R, E, N). A sample that a run never gets right has no event to count; `never_learned` says what
    the run gives it instead: "hardest" (default) the number of epochs E, more than any learned sample can
    reach (the original authors' code); "easiest" 0, so that pruning drops unlearnable samples first
    (DeepCore, CCS); "infinite" inf (data_diet), which `keep_indices` refuses.
    Raises ValueError for any other `never_learned`.
    """
    correct = np.asarray(correct, dtype=bool)
    choose("never_learned", never_learned, NEVER_LEARNED)
    events = forgotten(correct).sum(axis=1).astype(np.float64)
    if never_learned != "easiest":
        events[~correct.any(axis=1)] = np.inf if never_learned == "infinite" else correct.shape[1]
    return events.mean(axis=0)


def first_learned(correct: NDArray[np.bool_]) -> NDArray[np.int64]:
    """First epoch, counted from 0, at which each run has each sample right, (R, N); -1 if never."""
    correct = np.asarray(correct, dtype=bool)
    return np.where(correct.any(axis=-2), correct.argmax(axis=-2), -1)


def epochs_to_learn(correct: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Epochs until a sample is right for good, (R, N): 0 if always right, E if wrong at the last epoch."""
    wrong = ~np.asarray(correct, dtype=bool)
    after_last_wrong = wrong.shape[-2] - wrong[..., ::-1, :].argmax(axis=-2)
    return np.where(wrong.any(axis=-2), after_last_wrong, 0)


def aum(margin: NDArray[np.floating]) -> NDArray[np.float64]:
    """Minus the area under the margin: -mean over runs and epochs of (label logit - largest other logit), (N,).

    margin: (R, E, N), in logits. The sign makes higher = harder; mislabelled samples score highest.
    Pleiss et al. 2020, "Identifying mislabeled data using the area under the margin ranking", Eqs. 1-2.
    """
    return -np.asarray(margin, dtype=np.float64).mean(axis=(0, 1))


def label_margin(values: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """values[label] - max over other classes, (..., N), for logits or probabilities values (..., N, K)."""
    values = np.array(values, dtype=np.float64)
    rows = np.arange(len(labels))
    own = values[..., rows, labels].copy()
    values[..., rows, labels] = -np.inf
    return own - values.max(axis=-1)


def accumulated_margin(probs: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Sum over epochs of p[label] - max other p, (N,); HIGHER = EASIER, the one score here that runs that way.

    probs: (E, N, K), one run, every epoch. What the code of "Coverage-centric coreset selection" calls AUM: a
    sum, of probabilities; its hard cut drops the smallest, so hand `keep_stratified` minus this as
    `cut_scores`.
    """
    return label_margin(probs, labels).sum(axis=0)


def el2n_training(error: NDArray[np.floating], epochs: int = 10) -> NDArray[np.float64]:
    """EL2N from the training forwards: ||p - onehot(y)||_2, (R, E, N) -> mean over runs and the first epochs, (N,).

    The reading of the coverage-centric code (a sum over 10 epochs of one run: the same order), which costs no pass over
    the data; `el2n` (Paul et al. 2021) scores the clean images at one early epoch instead.
    """
    return error[:, :epochs].astype(np.float64).mean(axis=(0, 1))
