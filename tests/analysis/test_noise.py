"""Measures of noisy data: what is kept, what is learned, how gains change with noise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kdlib.analysis import noise
from kdlib.experiments.config import Run
from kdlib.experiments.fingerprint import dataset_of
from kdlib.store.artefacts import Store


def test_wrong_labels_are_those_that_the_noise_changed() -> None:
    r = Run(label_noise=0.3, seed=2)
    wrong = noise.wrong_labels(r)
    clean = dataset_of(replace(r, label_noise=0.0)).train_y
    assert 0.2 < wrong.mean() < 0.4
    np.testing.assert_array_equal(wrong, (dataset_of(r).train_y != clean).numpy())
    assert not noise.wrong_labels(Run(seed=2)).any()


def test_imbalanced_data_are_compared_with_the_same_draw() -> None:
    assert not noise.wrong_labels(Run(imbalance=5.0, seed=1)).any()
    assert 0.2 < noise.wrong_labels(Run(imbalance=5.0, label_noise=0.3, seed=1)).mean() < 0.4


def test_kept_at_random_as_many_are_wrong_as_among_all(tmp_path: Path) -> None:
    runs = [Run(label_noise=0.3, fraction=f, seed=s) for f in (0.5, 1.0) for s in range(4)]
    found = noise.wrong_among_kept(runs, Store(tmp_path))
    assert list(found.seed) == [0, 1, 2, 3] * 2
    half, full = found[found.fraction == 0.5], found[found.fraction == 1.0]
    np.testing.assert_allclose(full.share, full.base_rate)
    assert abs(half.share - half.base_rate).max() < 0.06 and (half.kept.to_numpy() < full.kept.to_numpy()).all()


def test_learning_of_labels_counts_each_group_by_itself() -> None:
    given, true = np.array([0, 1, 2, 2]), np.array([0, 1, 1, 0])  # the last two are wrong
    predicted = [[0, 0, 1, 0], [0, 1, 2, 0]]
    found = noise.learning_of_labels(predicted, given, true)
    np.testing.assert_allclose(found["right labels"], [0.5, 1.0])
    np.testing.assert_allclose(found["wrong labels, learned"], [0.0, 0.5])
    np.testing.assert_allclose(found["wrong labels, seen through"], [1.0, 0.5])
    with pytest.raises(ValueError, match="some labels must be wrong"):
        noise.learning_of_labels(predicted, true, true)


def rows(gain_per_noise: float) -> pd.DataFrame:
    """KD adds 1 + gain_per_noise * rate points; two prunings, four seeds."""
    shared = {
        "centre": None,
        "selection": "window",
        "fraction": 0.2,
        "tau": 4.0,
        "weighting": "convex",
        "teacher_seed": 0,
    }
    return pd.DataFrame(
        [
            {
                **shared, "scorer": scorer, "loss": loss, "alpha": 0.5, "label_noise": rate, "seed": s,
                "test_acc": 80 - 50 * rate + s + (1 + gain_per_noise * rate) * (loss == "kd"),
            }
            for scorer in ("random", "el2n")
            for loss in ("cross_entropy", "kd")
            for rate in (0.0, 0.2, 0.4)
            for s in range(4)
        ]
    )  # fmt: skip


def test_gains_are_paired() -> None:
    gains = noise.gains_under_noise(rows(20.0), 0.5)
    np.testing.assert_allclose(gains[gains.label_noise == 0.4].difference, 9.0)


def test_accuracies_have_a_row_for_each_rate() -> None:
    found = noise.accuracies(rows(0.0))
    assert len(found) == 2 * 2 * 3 and (found.n == 4).all()


def test_class_recall() -> None:
    found = noise.class_recall([0, 1, 1, 1], [0, 0, 1, 1], 3)
    np.testing.assert_allclose(found, [50.0, 100.0, np.nan])
