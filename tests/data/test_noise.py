"""Wrong labels and unequal classes: the asked shares, the same seed the same data, the test part untouched."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kdlib.data.datasets import load
from kdlib.data.noise import imbalance_rates, with_imbalance, with_label_noise


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_label_noise_flips_that_share_and_always_to_another_class(rate: float) -> None:
    digits = load("digits")
    wrong = (with_label_noise(digits, rate, 1).train_y != digits.train_y).double()
    assert abs(float(wrong.mean()) - rate) < 3 * np.sqrt(rate * (1 - rate) / len(wrong)) + 1e-9
    assert torch.equal(with_label_noise(digits, rate, 1).train_y, with_label_noise(digits, rate, 1).train_y)
    assert torch.equal(with_label_noise(digits, rate, 1).test_y, digits.test_y)


def test_imbalance_keeps_the_asked_share_of_each_class() -> None:
    digits = load("digits")
    rates = np.linspace(0.1, 1, 10)
    counts = torch.bincount(with_imbalance(digits, rates, 0).train_y).numpy()
    np.testing.assert_array_equal(counts, np.round(rates * torch.bincount(digits.train_y).numpy()))
    with pytest.raises(ValueError, match="10 rates"):
        with_imbalance(digits, [0.5], 0)


def test_imbalance_rates_are_those_of_the_medium_difficulty_paper() -> None:
    """Appendix A.6: [100%, 99%, 98%, ..., 1%] for class [0, 1, 2, ..., 99]."""
    np.testing.assert_allclose(imbalance_rates(100, 100), [(100 - c) / 100 for c in range(100)], rtol=0, atol=1e-12)
    assert imbalance_rates(5, 1).tolist() == [1.0] * 5
    assert imbalance_rates(2, 8).tolist() == [1.0, 0.125]


@pytest.mark.parametrize(
    ("classes", "ratio", "message"),
    [(1, 2, "at least 2 classes"), (10, 0.5, "at least 1, got 0.5"), (10, float("inf"), "at least 1, got inf")],
)
def test_impossible_ratios_are_refused(classes: int, ratio: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        imbalance_rates(classes, ratio)


def test_an_imbalanced_set_has_the_asked_ratio_and_keeps_its_test_part() -> None:
    digits = load("digits")
    found = with_imbalance(digits, imbalance_rates(10, 10), 3)
    counts = torch.bincount(found.train_y).double() / torch.bincount(digits.train_y)
    np.testing.assert_allclose(counts, np.linspace(1, 0.1, 10), atol=0.005)
    assert torch.equal(found.test_x, digits.test_x) and torch.equal(found.test_y, digits.test_y)
    assert torch.equal(with_imbalance(digits, imbalance_rates(10, 10), 3).train_x, found.train_x)
    assert not torch.equal(with_imbalance(digits, imbalance_rates(10, 10), 4).train_x, found.train_x)


def test_noise_and_imbalance_need_classes() -> None:
    with pytest.raises(ValueError, match="diabetes has none"):
        with_label_noise(load("diabetes"), 0.1, 0)
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\], got 1.5"):
        with_label_noise(load("digits"), 1.5, 0)
