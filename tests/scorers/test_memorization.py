"""Memorization: the difference that being in the training set makes."""

from __future__ import annotations

import numpy as np
import pytest

from kdlib.scorers import memorization
from tests.scorers.samples import rng


def test_memorization_recovers_a_planted_effect() -> None:
    g = rng()
    trained = g.random((4000, 3)) < 0.7
    gain = np.array([0.0, 0.4, 0.8])
    correct = g.random((4000, 3)) < 0.2 + gain * trained
    assert np.allclose(memorization.memorization(trained, correct), gain, atol=0.06)


def test_a_sample_never_held_out() -> None:
    trained = np.array([[1, 1], [1, 0], [1, 0]], bool)
    correct = np.array([[1, 1], [1, 0], [0, 1]], bool)
    assert np.allclose(memorization.memorization(trained, correct), [0, 0.5])
    assert np.allclose(memorization.memorization(trained, correct, "zero"), [2 / 3, 0.5])
    with pytest.raises(ValueError, match="neutral"):
        memorization.memorization(trained, correct, "none")
    with pytest.raises(ValueError, match="share one shape"):
        memorization.memorization(trained, correct[:2])
