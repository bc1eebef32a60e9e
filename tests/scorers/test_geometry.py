"""Scores of the embedding: distances to centres, and herding."""

from __future__ import annotations

import numpy as np
import pytest

from kdlib.scorers import geometry
from kdlib.selection.rules import keep_indices
from tests.scorers.samples import rng


@pytest.mark.parametrize("rule", ["argmin", "argmax"])
def test_herding_follows_its_definition(rule: str) -> None:
    x = rng().normal(size=(12, 3))
    picked: list[int] = []
    for t in range(12):
        target = (t + 1) * x.mean(0) - x[picked].sum(0)
        left = [i for i in range(12) if i not in picked]
        distance = [np.linalg.norm(target - x[i]) for i in left]
        picked.append(left[int(np.argmin(distance) if rule == "argmin" else np.argmax(distance))])
    assert geometry.herding_order(x, rule=rule).tolist() == picked
    assert geometry.herding_order(x, 5, rule).tolist() == picked[:5]


def test_herding_scores_keep_the_head_of_each_class() -> None:
    x, y = rng().normal(size=(30, 4)), np.repeat([0, 1, 2], 10)
    kept = keep_indices(geometry.herding(x, y), 0.3, labels=y, rng=rng())
    heads = [np.arange(10 * c, 10 * c + 10)[geometry.herding_order(x[y == c], 3)] for c in range(3)]
    assert np.array_equal(kept, np.sort(np.concatenate(heads)))
    with pytest.raises(ValueError, match="argmin"):
        geometry.herding(x, y, "argmean")


def test_herding_tracks_the_mean_better_than_chance() -> None:
    x = rng().normal(size=(200, 5))

    def error(ids: np.ndarray) -> float:
        return float(np.linalg.norm(x[ids].mean(0) - x.mean(0)))

    chance = np.median([error(rng(s).choice(200, 20, replace=False)) for s in range(50)])
    assert error(geometry.herding_order(x, 20)) < chance / 3


def test_class_distance_of_odd_classes() -> None:
    x = np.array([[0.0, 0.0], [4.0, 0.0], [2.0, 6.0], [7.0, 7.0]])
    y = np.array([5, 5, 5, 9])
    assert geometry.class_centres(x, y).tolist() == [[2.0, 0.0], [7.0, 7.0]]
    assert geometry.class_distance(x, y).tolist() == [2.0, 2.0, 6.0, 0.0]
    assert geometry.class_distance(x, y, "mean")[3] == 0.0
