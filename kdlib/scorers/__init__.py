"""Scorers: how hard is each training sample? Pure functions of recorded signals; higher = harder.

    score = SCORERS["el2n"](signals, labels, rng)      # (N,) float64

The formulas live in the module of their family. An entry is a function `(signals, labels, rng, *, options)` that picks the
signals for the formula; its keyword-only arguments are the options of the scorer. To add one: write the function and add
one entry to SCORERS.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kdlib.scorers import dynamics, errors, geometry, memorization
from kdlib.scorers.signals import Scorer, Signals

__all__ = ["SCORERS", "Scorer", "Signals"]

Labels = NDArray[np.integer]
Scores = NDArray[np.float64]


def random(signals: Signals, labels: Labels, rng: np.random.Generator) -> Scores:
    """Uniform scores in [0, 1): random pruning."""
    return rng.random(len(labels))


def forgetting(signals: Any, labels: Labels, rng: Any) -> Scores:
    """Forgetting events; a sample that is never learned has 0 of them (the framework of DKDP)."""
    return dynamics.forgetting(signals.correct, "easiest")


def forgetting_hardest(signals: Any, labels: Labels, rng: Any) -> Scores:
    """Forgetting events; a sample that is never learned counts as the hardest (Toneva et al. 2019)."""
    return dynamics.forgetting(signals.correct, "hardest")


def aum(signals: Any, labels: Labels, rng: Any) -> Scores:
    """Minus the area under the margin."""
    return dynamics.aum(signals.margin)


def el2n(signals: Any, labels: Labels, rng: Any, *, at: float = 0.1) -> Scores:
    """EL2N on the clean images after the share `at` of the epochs."""
    return errors.el2n(signals.early_probs, labels)


def el2n_training(signals: Any, labels: Labels, rng: Any, *, epochs: int = 10) -> Scores:
    """EL2N from the training forwards, mean over the first `epochs` epochs."""
    return dynamics.el2n_training(signals.error, epochs)


def difficulty(signals: Any, labels: Labels, rng: Any, *, views: int = 0) -> Scores:
    """The teacher's cross-entropy on the clean image, or its mean over `views` augmented views (MD, Eq. 3)."""
    if views:
        return signals.view_difficulty.mean(axis=0)
    return errors.difficulty_from_probs(signals.late_probs, labels)


def _difficulty_needs(views: int = 0) -> tuple[str, ...]:
    return ("view_difficulty",) if views else ("late_probs",)


def entropy(signals: Any, labels: Labels, rng: Any) -> Scores:
    """Entropy of the prediction after training."""
    return errors.entropy(signals.late_probs)


def margin(signals: Any, labels: Labels, rng: Any) -> Scores:
    """Minus the gap between the two largest probabilities after training."""
    return errors.margin(signals.late_probs)


def grand(signals: Any, labels: Labels, rng: Any, *, at: float = 0.1) -> Scores:
    """Norm of the gradient in all parameters after the share `at` of the epochs."""
    return signals.grad_norm.mean(axis=0)


def grand_last(signals: Any, labels: Labels, rng: Any, *, at: float = 0.1) -> Scores:
    """Norm of the gradient in the last layer after the share `at` of the epochs."""
    return signals.grad_norm_last.mean(axis=0)


def memorized(
    signals: Any,
    labels: Labels,
    rng: Any,
    *,
    subsets: int = 10,
    empty_group: Literal["neutral", "zero"] = "neutral",
) -> Scores:
    """Memorization from `subsets` models a seed, each trained on 70% of the data."""
    return memorization.memorization(signals.trained, signals.subset_correct, empty_group)


def herding(signals: Any, labels: Labels, rng: Any, *, rule: Literal["argmin", "argmax"] = "argmin") -> Scores:
    """Herding on the embedding, class by class; first picked = highest score."""
    return geometry.herding(signals.embedding, labels, rule)


def herding_centre(signals: Any, labels: Labels, rng: Any) -> Scores:
    """Minus the distance to the mean of the class."""
    return -geometry.class_distance(signals.embedding, labels, "mean")


def moderate(signals: Any, labels: Labels, rng: Any) -> Scores:
    """Distance to the class centre (Xia et al. 2023), whose middle window is kept by default."""
    return geometry.class_distance(signals.embedding, labels)


def released(
    signals: Any,
    labels: Labels,
    rng: Any,
    *,
    file: str = "",
    image: str = "",
    column: str = "",
    high: Literal["keep", "drop"] = "keep",
    parts: int = 1,
    extra: Literal["error", "ignore"] = "error",
) -> Scores:
    """Scores that somebody published, a CSV table with one row for each training image (see `released_scores`)."""
    return signals.released


SCORERS: dict[str, Scorer] = {
    "random": Scorer(random),
    "forgetting": Scorer(forgetting, ("correct",)),
    "forgetting_hardest": Scorer(forgetting_hardest, ("correct",)),
    "aum": Scorer(aum, ("margin",)),
    "el2n": Scorer(el2n, ("early_probs",)),
    "el2n_training": Scorer(el2n_training, ("error",)),
    "difficulty": Scorer(difficulty, _difficulty_needs, of="teacher"),
    "entropy": Scorer(entropy, ("late_probs",)),
    "margin": Scorer(margin, ("late_probs",)),
    "grand": Scorer(grand, ("grad_norm",)),
    "grand_last": Scorer(grand_last, ("grad_norm_last",)),
    "memorization": Scorer(memorized, ("trained", "subset_correct")),
    "herding": Scorer(herding, ("embedding",)),
    "herding_centre": Scorer(herding_centre, ("embedding",)),
    "moderate": Scorer(moderate, ("embedding",), centre=0.5),
    "released": Scorer(released, ("released",)),
}
