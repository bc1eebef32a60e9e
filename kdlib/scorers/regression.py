"""Difficulty where the target is continuous: which scores keep a meaning, and their formulas.

Neither paper scores samples of a regression. A score that compares a prediction with its target, follows a gradient or
measures distances between features carries over; one that needs classes (a prediction that is right or wrong, a margin
between two classes, an uncertainty over classes) does not. As everywhere, higher = harder. f is a network's prediction, y
the target, and the loss is (f - y)^2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from kdlib.scorers import coresets, geometry

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class RegressionSignals:
    """What trainings on a continuous target leave behind for the scorers. R networks, S subset models, N samples."""

    early: Floats  # (R, N) predictions at an early epoch
    gradient: Floats  # (R, N) length of the gradient in all parameters, at the same epoch
    gradient_last: Floats  # (R, N) the same in the last layer
    teacher: Floats  # (N,) the trained teacher's predictions
    embedding: Floats  # (N, D) the trained teacher's features
    trained: NDArray[np.bool_]  # (S, N) whether subset model s was trained on sample n
    subset: Floats  # (S, N) its predictions

    def __post_init__(self) -> None:
        count = len(self.teacher)
        shapes: dict[str, NDArray] = {
            "early": self.early,
            "gradient": self.gradient,
            "gradient_last": self.gradient_last,
        }
        shapes |= {"trained": self.trained, "subset": self.subset}
        for name, value in shapes.items():
            if value.ndim != 2 or value.shape[1] != count:
                raise ValueError(f"signal {name!r} must have {count} columns, got shape {value.shape}")
        if len(self.embedding) != count or self.trained.shape != self.subset.shape:
            raise ValueError("embedding needs a row for each sample, and trained the shape of subset")


def error_length(predictions: Floats, targets: Floats) -> NDArray[np.float64]:
    """|f - y|, mean over the networks, (N,): what EL2N is when the error has one component.

    predictions: (R, N); targets: (N,). Paul et al. 2021, Definition 2.2.
    """
    return np.abs(np.asarray(predictions, dtype=np.float64) - targets).mean(axis=0)


def squared_difficulty(predictions: Floats, targets: Floats) -> NDArray[np.float64]:
    """(f - y)^2 of one network, (N,): the medium-difficulty paper's score, the teacher's loss (Eq. 3), for this loss."""
    return (np.asarray(predictions, dtype=np.float64) - targets) ** 2


def last_layer_length(embedding: Tensor, predictions: Tensor, targets: Tensor) -> NDArray[np.float64]:
    """2 |f - y| sqrt(|h|^2 + 1), (N,): length of the gradient of (f - y)^2 in weight and bias of the last layer.

    embedding h: (N, D); predictions and targets: (N,).
    """
    error = 2 * (predictions.double() - targets.double()).abs()
    return (error * (embedding.double().square().sum(1) + 1).sqrt()).numpy()


def gradient_length(model: nn.Module, x: Tensor, targets: Tensor) -> NDArray[np.float64]:
    """Length of the gradient of (f - y)^2 in all parameters, for each sample, (N,): GraNd for regression.

    x: (N, ...) network input; targets: (N,). The network is asked in the mode it is in.
    """
    weights = {name: p.detach() for name, p in model.named_parameters()}
    buffers = {name: b.detach() for name, b in model.named_buffers()}

    def loss(parameters: dict[str, Tensor], sample: Tensor, target: Tensor) -> Tensor:
        return (functional_call(model, (parameters, buffers), (sample[None],)).squeeze() - target) ** 2

    found = vmap(grad(loss), in_dims=(None, 0, 0))(weights, x, targets)
    squares = torch.stack([g.flatten(1).double().square().sum(1) for g in found.values()]).sum(0)
    return squares.sqrt().numpy()


def memorization(trained: NDArray[np.bool_], predictions: Floats, targets: Floats) -> NDArray[np.float64]:
    """Mean squared error without the sample minus with it, (N,): what being trained on it takes off its own error.

    trained: (S, N) bool; predictions: (S, N) of the subset models. Feldman & Zhang 2020, Eq. 1, with the loss in place of
    the share of wrong answers. A sample that all models or none were trained on gets 0.
    """
    errors = (np.asarray(predictions, dtype=np.float64) - targets) ** 2
    counts = trained.sum(axis=0), (~trained).sum(axis=0)
    inside = np.where(trained, errors, 0.0).sum(axis=0) / np.maximum(counts[0], 1)
    outside = np.where(trained, 0.0, errors).sum(axis=0) / np.maximum(counts[1], 1)
    return np.where((counts[0] > 0) & (counts[1] > 0), outside - inside, 0.0)


def _one_group(signals: RegressionSignals) -> NDArray[np.int64]:
    """Without classes all samples are one group."""
    return np.zeros(len(signals.teacher), dtype=np.int64)


def craig(signals: RegressionSignals, targets: Floats) -> NDArray[np.float64]:
    """Order of CRAIG on the teacher's last-layer gradients, whose error has one component: `coresets.craig`."""
    error = (np.asarray(signals.teacher, dtype=np.float64) - targets)[:, None]
    distance = coresets.gradient_distances(error, np.asarray(signals.embedding, dtype=np.float64))
    return geometry.by_class(_one_group(signals), lambda members: coresets.facility_order(distance.max() - distance))


Score = Callable[[RegressionSignals, Floats, np.random.Generator], NDArray[np.float64]]

# The scores that keep a meaning, by the name of their counterpart in `SCORERS`.
REGRESSION_SCORERS: dict[str, Score] = {
    "random": lambda s, y, rng: rng.random(len(y)),
    "el2n": lambda s, y, rng: error_length(s.early, y),
    "difficulty": lambda s, y, rng: squared_difficulty(s.teacher, y),
    "grand": lambda s, y, rng: s.gradient.mean(axis=0),
    "grand_last": lambda s, y, rng: s.gradient_last.mean(axis=0),
    "memorization": lambda s, y, rng: memorization(s.trained, s.subset, y),
    "herding": lambda s, y, rng: geometry.herding(s.embedding, _one_group(s)),
    "herding_argmax": lambda s, y, rng: geometry.herding(s.embedding, _one_group(s), "argmax"),
    "herding_centre": lambda s, y, rng: -geometry.class_distance(s.embedding, _one_group(s), "mean"),
    "moderate": lambda s, y, rng: geometry.class_distance(s.embedding, _one_group(s)),
    "k_center": lambda s, y, rng: coresets.k_center(s.embedding, _one_group(s), rng, "random"),
    "craig": lambda s, y, rng: craig(s, y),
}
CENTRES = {"moderate": 0.5}  # windows of scorers that are not meant for the hardest end

# What each other score of `SCORERS` needs that a regression has not, or what else it is.
NEEDS_CLASSES: dict[str, str] = {
    "forgetting": "predictions that turn from right to wrong",
    "forgetting_hardest": "predictions that turn from right to wrong",
    "epochs_to_learn": "predictions that become right",
    "aum": "a margin between two classes",
    "el2n_training": "the error of a softmax, in the first epochs",
    "l1_error": "with one component the same number as el2n",
    "max_margin": "a margin between two classes",
    "sum_margin": "a margin between two classes",
    "entropy": "an uncertainty over classes",
    "least_confidence": "an uncertainty over classes",
    "margin": "a margin between two classes",
    "released": "a published table; a table of one's own needs no scorer",
}
