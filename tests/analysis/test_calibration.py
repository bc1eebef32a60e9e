"""Calibration: known answers, scikit-learn's curve, and the floor that chance sets."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve

from kdlib.analysis import calibration


def predictions(n: int, classes: int = 4, sharp: float = 1.0, seed: int = 0) -> tuple[NDArray, NDArray]:
    """Probabilities (n, classes), and labels drawn from them: calibrated if sharp is 1, else too sure or not enough."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.standard_normal((n, classes))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (rng.random((n, 1)) > true.cumsum(axis=1)).sum(axis=1).clip(max=classes - 1)
    shown = np.exp(sharp * logits)
    return shown / shown.sum(axis=1, keepdims=True), labels


def test_error_of_two_bins_by_hand() -> None:
    probs = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    labels = np.array([0, 1, 0, 0])  # 50% at confidence 0.9, 100% at 0.6
    assert calibration.calibration_error(probs, labels, bins=10) == pytest.approx(0.5 * 40 + 0.5 * 40)
    assert calibration.overconfidence(probs, labels) == pytest.approx(75 - 75)


def test_reliability_is_that_of_scikit_learn() -> None:
    probs, labels = predictions(500)
    found = calibration.reliability(probs, labels, bins=10)
    right, sure = calibration_curve(probs.argmax(axis=1) == labels, probs.max(axis=1), n_bins=10)
    full = found.counts > 0
    np.testing.assert_allclose(found.accuracy[full], 100 * right)
    np.testing.assert_allclose(found.confidence[full], 100 * sure)
    assert found.counts.sum() == 500


def test_full_confidence_is_in_the_last_bin() -> None:
    found = calibration.reliability(np.array([[1.0, 0.0]]), np.array([0]), bins=5)
    assert found.counts.tolist() == [0, 0, 0, 0, 1] and found.accuracy[-1] == 100 and np.isnan(found.accuracy[0])


@pytest.mark.parametrize(("sharp", "sign"), [(3.0, 1), (0.3, -1)])
def test_overconfidence_has_a_sign(sharp: float, sign: int) -> None:
    assert sign * calibration.overconfidence(*predictions(3000, sharp=sharp)) > 5


def test_a_calibrated_network_lies_at_its_floor_and_another_above() -> None:
    floors = [calibration.calibration_floor(predictions(300, seed=s)[0], np.random.default_rng(s)) for s in range(10)]
    errors = [calibration.calibration_error(*predictions(300, seed=s)) for s in range(10)]
    assert np.mean(floors) > 1, "chance alone makes the error positive"
    assert np.mean(errors) == pytest.approx(np.mean(floors), rel=0.25)
    sure = predictions(300, sharp=3.0)
    assert calibration.calibration_error(*sure) > calibration.calibration_floor(sure[0], np.random.default_rng(0)) + 5


def test_bad_input_is_refused() -> None:
    probs, labels = predictions(5)
    for arguments in ((probs, labels, 0), (probs, labels[1:], 5)):
        with pytest.raises(ValueError, match="at least 1 bin"):
            calibration.reliability(*arguments)
