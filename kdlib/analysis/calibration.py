"""Calibration: whether a network that says 80% is right in 80% of the cases.

Predictions are probabilities (N, K) with labels (N,). Errors are in points (percent), so that they compare with accuracy.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Bins(NamedTuple):
    """Predictions in bins of equal width of their confidence: mean confidence and accuracy in percent (NaN where empty)."""

    confidence: NDArray
    accuracy: NDArray
    counts: NDArray


def reliability(probs: NDArray, labels: NDArray, bins: int = 15) -> Bins:
    """The points of a reliability diagram: confidence is the largest probability, a bin is (k/bins, (k+1)/bins].

    ValueError for fewer than one bin, or where probs and labels differ in length.
    """
    if bins < 1 or len(probs) != len(labels):
        raise ValueError(f"need at least 1 bin and equal lengths, got {bins}, {len(probs)} and {len(labels)}")
    sure, right = probs.max(axis=1), probs.argmax(axis=1) == labels
    place = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    sums = [np.bincount(place, weights=values.astype(float), minlength=bins) for values in (sure, right)]
    confidence, accuracy = (np.divide(100 * s, count, out=np.full(bins, np.nan), where=count > 0) for s in sums)
    return Bins(confidence, accuracy, count)


def calibration_error(probs: NDArray, labels: NDArray, bins: int = 15) -> float:
    """Expected calibration error in points: mean over the samples of |accuracy - confidence| of their bin.

    Guo et al., "On Calibration of Modern Neural Networks" (2017), Eq. 3. It is never negative, so that a perfectly
    calibrated network has one above 0, too, as long as samples are few; see `calibration_floor`.
    """
    found = reliability(probs, labels, bins)
    full = found.counts > 0
    gaps = np.abs(found.accuracy[full] - found.confidence[full])
    return float((found.counts[full] * gaps).sum() / len(labels))


def overconfidence(probs: NDArray, labels: NDArray) -> float:
    """Mean confidence minus accuracy in points: above 0 the network is too sure, below 0 not sure enough."""
    return float(100 * (probs.max(axis=1).mean() - (probs.argmax(axis=1) == labels).mean()))


def calibration_floor(probs: NDArray, rng: np.random.Generator, bins: int = 15, draws: int = 50) -> float:
    """The error in points that these very predictions would have if they were perfectly calibrated: mean over draws.

    Each draw takes the labels from the predicted probabilities themselves, as many as there are samples.
    """
    edges = probs.cumsum(axis=1)
    edges[:, -1] = 1.0
    drawn = [(rng.random((len(probs), 1)) > edges).sum(axis=1) for _ in range(draws)]
    return float(np.mean([calibration_error(probs, labels, bins) for labels in drawn]))
