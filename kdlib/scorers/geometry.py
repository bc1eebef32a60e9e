"""Scores from distances in feature space: herding and the distance to the class centre.

`embedding` is (N, D), penultimate features; `labels` (N,).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from kdlib.utils.errors import choose

# Which candidate herding takes next, given the squared distances to the target.
RULES: dict[str, Callable[[NDArray], np.intp]] = {"argmin": np.argmin, "argmax": np.argmax}
CENTRES: dict[str, Callable[..., NDArray]] = {"median": np.median, "mean": np.mean}


def herding_order(embedding: NDArray[np.floating], count: int | None = None, rule: str = "argmin") -> NDArray[np.int64]:
    """Ids in the order herding picks them, (count,); all N for None.

    Pick t + 1 is the sample x left over that minimises ||(t + 1) mu - sum(picked) - x||, so that the mean of
    the picks follows the mean mu of all: rule="argmin" (default), Welling 2009, "Herding dynamical weights to learn",
    as for features. rule="argmax" takes the farthest instead, as the code of DeepCore does. Ties: the lower
    id. Float64.
    """
    take = choose("herding rule", rule, RULES)
    x = np.asarray(embedding, dtype=np.float64)
    x = x - x.mean(axis=0)  # with mu = 0 the target is minus the sum of the picks
    count = len(x) if count is None else count
    left, picked = np.arange(len(x)), np.empty(count, dtype=np.int64)
    target, square = np.zeros(x.shape[1]), np.square(x).sum(axis=1)
    for t in range(count):
        best = take(square[left] - 2 * (x[left] @ target))  # the squared distance, less a constant
        picked[t] = left[best]
        target = target - x[picked[t]]
        left = np.delete(left, best)
    return picked


def herding(embedding: NDArray[np.floating], labels: NDArray[np.integer], rule: str = "argmin") -> NDArray[np.float64]:
    """Minus the share of its class picked before each sample, (N,), in (-1, 0]; higher = picked earlier.

    Herding runs inside each class; rule as in `herding_order`, default "argmin". A coreset of fraction f is the head of
    every class's order, which is `keep_indices(scores, f, labels=labels)` at the default centre 1: "harder" reads "more
    useful" here.
    """
    return by_class(labels, lambda members: herding_order(embedding[members], rule=rule))


def by_class(labels: NDArray[np.integer], order: Callable[[NDArray], NDArray]) -> NDArray[np.float64]:
    """Minus the share of its class picked before each sample, (N,), in (-1, 0].

    order(members) puts the samples of one class, given as ids (m,), in the order of picking: positions (m,) in `members`.
    """
    labels = np.asarray(labels)
    scores = np.empty(len(labels))
    for c in np.unique(labels):
        members = np.flatnonzero(labels == c)
        scores[members[order(members)]] = -np.arange(len(members)) / len(members)
    return scores


def class_centres(
    embedding: NDArray[np.floating], labels: NDArray[np.integer], centre: str = "median"
) -> NDArray[np.float64]:
    """Coordinate-wise median (centre="median", the default) or mean of each class's features.

    embedding: (N, D); returns (classes present, D), in the order of the labels. Moderate coresets' code takes the
    median (Xia et al. 2023). ValueError for another centre.
    """
    middle = choose("centre", centre, CENTRES)
    x = np.asarray(embedding, dtype=np.float64)
    return np.stack([middle(x[labels == c], axis=0) for c in np.unique(labels)])


def class_distance(
    embedding: NDArray[np.floating], labels: NDArray[np.integer], centre: str = "median"
) -> NDArray[np.float64]:
    """Euclidean distance of each sample's features to the centre of its class, (N,); higher = harder, less
    typical.

    centre="median" (default) is the score of moderate coresets (Xia et al. 2023, "Moderate coreset", Sec. 3), which
    keep the samples nearest the median distance: `keep_moderate`, or `keep_indices(..., centre=0.5)`. With
    "mean", negated, it is the "herding" of MD's comparison, which keeps the samples closest to their class
    centre.
    """
    labels = np.asarray(labels)
    _, position = np.unique(labels, return_inverse=True)
    offsets = np.asarray(embedding, dtype=np.float64) - class_centres(embedding, labels, centre)[position]
    return np.sqrt(np.square(offsets).sum(axis=1))
