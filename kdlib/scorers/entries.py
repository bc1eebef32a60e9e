"""The scorers by name. Each is a function of (signals, labels (N,), rng) to scores (N,), higher = harder.

A function's keyword-only arguments are the scorer's own options. The formulas live in the modules of their families, as
functions of plain arrays; what stands here says which signals they get. To add a scorer: write its function and add one
entry to SCORERS.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kdlib.scorers import coresets, dynamics, errors, geometry
from kdlib.scorers import memorization as subset_models
from kdlib.scorers.signals import Scorer

Scores = NDArray[np.float64]
Labels = NDArray[np.integer]
Rng = np.random.Generator
Recorded = Any  # `Signals`, whose fields named in `needs` have been checked not to be None


def random(signals: Recorded, labels: Labels, rng: Rng) -> Scores:
    """A uniform number for each sample."""
    return rng.random(len(labels))


# -- the course of training


def forgetting(
    signals: Recorded, labels: Labels, rng: Rng, *, never_learned: Literal["zero", "hardest"] = "zero"
) -> Scores:
    """Forgetting events; a sample that is never learned has none ("zero", DKDP's framework), or see `dynamics.forgetting`."""
    return dynamics.forgetting(signals.correct, never_learned)


def forgetting_hardest(signals: Recorded, labels: Labels, rng: Rng) -> Scores:
    """Forgetting events; a sample that is never learned is the hardest (Toneva et al. 2019)."""
    return dynamics.forgetting(signals.correct, "hardest")


def epochs_to_learn(
    signals: Recorded, labels: Labels, rng: Rng, *, until: Literal["for_good", "first"] = "for_good"
) -> Scores:
    """Epochs before a sample is right for good, or with until="first" for the first time: `dynamics.epochs_to_learn`."""
    return dynamics.epochs_to_learn(signals.correct, until)


def aum(signals: Recorded, labels: Labels, rng: Rng) -> Scores:
    """Minus the area under the margin: `dynamics.aum`."""
    return dynamics.aum(signals.margin)


def el2n_training(signals: Recorded, labels: Labels, rng: Rng, *, epochs: int = 10) -> Scores:
    """EL2N over the training forwards of the first epochs: `dynamics.el2n_training`."""
    return dynamics.el2n_training(signals.error, epochs)


# -- errors early in training, after the share `at` of the epochs


def el2n(signals: Recorded, labels: Labels, rng: Rng, *, at: float = 0.1) -> Scores:
    """L2 length of the error: `errors.el2n`."""
    return errors.el2n(signals.early_probs, labels)


def l1_error(signals: Recorded, labels: Labels, rng: Rng, *, at: float = 0.1) -> Scores:
    """L1 length of the error: `errors.l1_error`."""
    return errors.l1_error(signals.early_probs, labels)


def max_margin(signals: Recorded, labels: Labels, rng: Rng, *, at: float = 0.1) -> Scores:
    """Largest other probability minus the label's: `errors.max_margin`."""
    return errors.max_margin(signals.early_probs, labels)


def sum_margin(signals: Recorded, labels: Labels, rng: Rng, *, at: float = 0.1) -> Scores:
    """All other probabilities minus the label's: `errors.sum_margin`."""
    return errors.sum_margin(signals.early_probs, labels)


# -- predictions at the end of training


def difficulty(signals: Recorded, labels: Labels, rng: Rng, *, views: int = 0) -> Scores:
    """The teacher's cross-entropy on the clean image, or its mean over `views` augmented views (MD, Eq. 3)."""
    if views:
        return signals.view_difficulty.mean(axis=0)
    return errors.difficulty_from_probs(signals.late_probs, labels)


def _difficulty_needs(views: int = 0) -> tuple[str, ...]:
    return ("view_difficulty",) if views else ("late_probs",)


def entropy(signals: Recorded, labels: Labels, rng: Rng) -> Scores:
    """Entropy of the prediction: `errors.entropy`."""
    return errors.entropy(signals.late_probs)


def least_confidence(signals: Recorded, labels: Labels, rng: Rng) -> Scores:
    """One minus the largest probability: `errors.least_confidence`."""
    return errors.least_confidence(signals.late_probs)


def margin(signals: Recorded, labels: Labels, rng: Rng) -> Scores:
    """Minus the gap between the two largest probabilities: `errors.margin`."""
    return errors.margin(signals.late_probs)


# -- gradients


def grand(signals: Recorded, labels: Labels, rng: Rng, *, at: float = 0.1) -> Scores:
    """Norm of the gradient in all parameters after the share `at` of the epochs, mean over the runs: `gradients.grand`."""
    return signals.grad_norm.mean(axis=0)


def grand_last(signals: Recorded, labels: Labels, rng: Rng, *, at: float = 0.1) -> Scores:
    """Norm of the gradient in the last layer after the share `at` of the epochs: `gradients.grand_last`."""
    return signals.grad_norm_last.mean(axis=0)


# -- subset models


def memorization(
    signals: Recorded,
    labels: Labels,
    rng: Rng,
    *,
    subsets: int = 10,
    empty_group: Literal["neutral", "zero"] = "neutral",
) -> Scores:
    """How much being trained on it helps a sample, from `subsets` models a seed: `memorization.memorization`."""
    return subset_models.memorization(signals.trained, signals.subset_correct, empty_group)


# -- features: distances and coresets


def herding(signals: Recorded, labels: Labels, rng: Rng, *, rule: Literal["argmin", "argmax"] = "argmin") -> Scores:
    """Order of herding inside each class: `geometry.herding`."""
    return geometry.herding(signals.embedding, labels, rule)


def herding_argmax(signals: Recorded, labels: Labels, rng: Rng) -> Scores:
    """Herding as in DeepCore's code, which takes the farthest candidate."""
    return geometry.herding(signals.embedding, labels, "argmax")


def herding_centre(signals: Recorded, labels: Labels, rng: Rng) -> Scores:
    """Closeness to the class mean, the "herding" of the medium-difficulty paper's comparison."""
    return -geometry.class_distance(signals.embedding, labels, "mean")


def moderate(signals: Recorded, labels: Labels, rng: Rng) -> Scores:
    """Distance to the class median; moderate coresets keep the middle of it: `geometry.class_distance`."""
    return geometry.class_distance(signals.embedding, labels)


def k_center(signals: Recorded, labels: Labels, rng: Rng, *, start: Literal["random", "centre"] = "random") -> Scores:
    """Order of k-center greedy inside each class: `coresets.k_center`."""
    return coresets.k_center(signals.embedding, labels, rng, start)


def craig(signals: Recorded, labels: Labels, rng: Rng) -> Scores:
    """Order of CRAIG inside each class, on the last run's last-layer gradients: `coresets.craig`."""
    return coresets.craig(signals.late_probs[-1], signals.embedding, labels)


# -- a published table


def released(
    signals: Recorded,
    labels: Labels,
    rng: Rng,
    *,
    file: str = "",
    image: str = "",
    column: str = "",
    high: Literal["keep", "drop"] = "keep",
    parts: int = 1,
    extra: Literal["error", "ignore"] = "error",
) -> Scores:
    """The scores of a published table with one row for each training image: `released.released_scores`."""
    return signals.released


SCORERS: dict[str, Scorer] = {
    "random": Scorer(random),
    "forgetting": Scorer(forgetting, ("correct",)),
    "forgetting_hardest": Scorer(forgetting_hardest, ("correct",)),
    "epochs_to_learn": Scorer(epochs_to_learn, ("correct",)),
    "aum": Scorer(aum, ("margin",)),
    "el2n": Scorer(el2n, ("early_probs",)),
    "el2n_training": Scorer(el2n_training, ("error",)),
    "l1_error": Scorer(l1_error, ("early_probs",)),
    "max_margin": Scorer(max_margin, ("early_probs",)),
    "sum_margin": Scorer(sum_margin, ("early_probs",)),
    "difficulty": Scorer(difficulty, _difficulty_needs, of="teacher"),
    "entropy": Scorer(entropy, ("late_probs",)),
    "least_confidence": Scorer(least_confidence, ("late_probs",)),
    "margin": Scorer(margin, ("late_probs",)),
    "grand": Scorer(grand, ("grad_norm",)),
    "grand_last": Scorer(grand_last, ("grad_norm_last",)),
    "memorization": Scorer(memorization, ("trained", "subset_correct")),
    "herding": Scorer(herding, ("embedding",)),
    "herding_argmax": Scorer(herding_argmax, ("embedding",)),
    "herding_centre": Scorer(herding_centre, ("embedding",)),
    "moderate": Scorer(moderate, ("embedding",), centre=0.5),
    "k_center": Scorer(k_center, ("embedding",)),
    "craig": Scorer(craig, ("late_probs", "embedding")),
    "released": Scorer(released, ("released",)),
}
