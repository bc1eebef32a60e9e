"""Scores from the course of training: forgetting events, epochs to learn, margins, errors over epochs.

`correct` is (R, E, N): run r has sample n right at epoch e. Axes in front of E may be any.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from kdlib.utils.errors import choose

# What a run gives to a sample that it never gets right: (correct epochs E) -> events. "easiest" is another word for "zero".
NEVER_LEARNED: dict[str, Callable[[int], float]] = {
    "zero": lambda epochs: 0.0,
    "easiest": lambda epochs: 0.0,
    "hardest": float,
    "infinite": lambda epochs: np.inf,
}
UNTIL = ("for_good", "first")


def forgotten(correct: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Forgetting events, (R, E - 1, N): right at epoch e, wrong at epoch e + 1.

    Toneva et al. 2019, "An empirical study of example forgetting during deep neural network learning", Sec. 3.
    """
    correct = np.asarray(correct, dtype=bool)
    return correct[..., :-1, :] & ~correct[..., 1:, :]


def forgetting(correct: NDArray[np.bool_], never_learned: str = "zero") -> NDArray[np.float64]:
    """Mean number of forgetting events over the runs, (N,); higher = harder.

    correct: (R, E, N). A sample that a run never gets right has no event to count; `never_learned` says what
    the run gives it instead: "zero" (default) no event, so that pruning drops unlearnable samples first (DeepCore,
    the framework of "Distilling the knowledge in data pruning", and CCS); "hardest" the number of epochs E, more
    than any learned sample can reach (the code of Toneva et al. 2019); "infinite" inf (data_diet), which
    `keep_indices` refuses. Raises ValueError for any other `never_learned`.
    """
    correct = np.asarray(correct, dtype=bool)
    instead = choose("never_learned", never_learned, NEVER_LEARNED)
    events = forgotten(correct).sum(axis=1).astype(np.float64)
    events[~correct.any(axis=1)] = instead(correct.shape[1])
    return events.mean(axis=0)


def epochs_to_learn(correct: NDArray[np.bool_], until: str = "for_good") -> NDArray[np.float64]:
    """Mean over the runs of the number of epochs before a sample is learned, (N,) in [0, E]; higher = harder.

    correct: (R, E, N). until="for_good" (default) counts the epochs before the sample is right to the end: 0 if it always
    is, E if it is wrong at the last epoch; the iteration learned of Baldock et al. 2021, "Deep learning through the lens
    of example difficulty", and the presentations needed to learn of Toneva et al. 2019. until="first" counts those before
    it is right for the first time: E if it never is. Raises ValueError for any other `until`.
    """
    choose("until", until, dict.fromkeys(UNTIL))
    correct = np.asarray(correct, dtype=bool)
    if until == "first":
        return np.where(correct.any(axis=1), correct.argmax(axis=1), correct.shape[1]).mean(axis=0)
    wrong = ~correct
    after_last_wrong = correct.shape[1] - wrong[:, ::-1].argmax(axis=1)
    return np.where(wrong.any(axis=1), after_last_wrong, 0).mean(axis=0)


def aum(margin: NDArray[np.floating]) -> NDArray[np.float64]:
    """Minus the area under the margin: -mean over runs and epochs of (label logit - largest other logit), (N,).

    margin: (R, E, N), in logits. The sign makes higher = harder; mislabelled samples score highest.
    Pleiss et al. 2020, "Identifying mislabeled data using the area under the margin ranking", Eqs. 1-2.
    """
    return -np.asarray(margin, dtype=np.float64).mean(axis=(0, 1))


def el2n_training(error: NDArray[np.floating], epochs: int = 10) -> NDArray[np.float64]:
    """EL2N from the training forwards: ||p - onehot(y)||_2, (R, E, N) -> mean over runs and the first epochs, (N,).

    The reading of the coverage-centric code (a sum over 10 epochs of one run: the same order), which costs no pass over
    the data; `el2n` (Paul et al. 2021) scores the clean images at one early epoch instead. Raises ValueError for fewer
    than 1 epoch.
    """
    if epochs < 1:
        raise ValueError(f"el2n_training looks at 1 epoch or more, not {epochs}; choose for example epochs=10")
    return error[:, :epochs].astype(np.float64).mean(axis=(0, 1))
