"""Power agrees with simulated tests; smaller studies are counted, not drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from kdlib.analysis import design


@pytest.mark.parametrize(("effect", "n"), [(0.0, 5), (1.0, 5), (0.7, 10), (-0.7, 10)])
def test_power_is_the_share_of_simulated_tests_that_detect(effect: float, n: int) -> None:
    drawn = np.random.default_rng(0).normal(effect, 2.0, (20_000, n))
    share = (ttest_1samp(drawn, 0.0, axis=1).pvalue < 0.05).mean()
    assert design.power(effect, 2.0, n) == pytest.approx(share, abs=0.01)


def test_detectable_and_pairs_needed_invert_power() -> None:
    for n in (2, 3, 10):
        assert design.power(design.detectable(1.5, n), 1.5, n) == pytest.approx(0.8, abs=1e-6)
    assert design.detectable(3.0, 7) == pytest.approx(2 * design.detectable(1.5, 7))
    n = design.pairs_needed(1.0, 1.5)
    assert design.power(1.0, 1.5, n) >= 0.8 > design.power(1.0, 1.5, n - 1)
    assert design.pairs_needed(1e-9, 1.0, most=50) == 50


@pytest.mark.parametrize(("sd", "n"), [(0.0, 5), (1.0, 1), (float("nan"), 5)])
def test_power_needs_pairs_and_spread(sd: float, n: int) -> None:
    with pytest.raises(ValueError, match="at least 2 pairs"):
        design.power(1.0, sd, n)


def test_spread_ratio_covers_the_truth() -> None:
    rng = np.random.default_rng(1)
    found = [design.spread_ratio(rng.normal(0, 2, 10), rng.normal(0, 1, 8)) for _ in range(400)]
    assert 0.92 < np.mean([r.low < 2 < r.high for r in found]) < 0.98
    assert all(r.low < r.value < r.high for r in found)
    with pytest.raises(ValueError, match="that vary"):
        design.spread_ratio([1.0, 1.0], [1.0, 2.0])


def test_smaller_studies_are_all_choices_of_seeds() -> None:
    first = np.array([[1.0, 5.0], [1.0, 5.0], [1.0, 5.0], [-9.0, 5.0]])
    found = design.smaller_studies(first, np.zeros((4, 2)), [0.1, 0.5], trials=3)
    assert list(found.first_higher) == [0.25, 1.0, 0.25] and list(found.second_higher) == [0.75, 0.0, 0.0]
    assert list(found.apart) == [0.25, 1.0, 0.25], "a mean of -7/3 with a spread of 5.8 overlaps 0"
    assert math.isnan(found.fraction.iloc[-1]) and len(found) == 3


def test_smaller_studies_need_enough_seeds() -> None:
    with pytest.raises(ValueError, match="at least as many seeds"):
        design.smaller_studies(np.zeros((2, 1)), np.zeros((2, 1)), [0.1])
