"""Planning and judging comparisons: what a number of pairs could detect, and what a smaller protocol would have said."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.stats import f as f_distribution
from scipy.stats import nct
from scipy.stats import t as student_t


def power(effect: float, sd: float, n: int, level: float = 0.05) -> float:
    """Probability that the two-sided paired t-test of n pairs detects a true mean difference `effect`.

    sd: standard deviation of the paired differences, above 0, in the unit of the effect. Under that effect the statistic
    has the noncentral t distribution with n - 1 degrees of freedom and noncentrality effect sqrt(n) / sd. ValueError for
    fewer than two pairs or sd not above 0.
    """
    if n < 2 or not sd > 0:
        raise ValueError(f"power needs at least 2 pairs and a spread above 0, got n = {n}, sd = {sd}")
    bound, shift = student_t.ppf(1 - level / 2, n - 1), abs(effect) * math.sqrt(n) / sd
    return float(nct.sf(bound, n - 1, shift) + nct.sf(bound, n - 1, -shift))  # cdf(-bound) can be NaN


def detectable(sd: float, n: int, wanted: float = 0.8, level: float = 0.05) -> float:
    """The smallest true difference that n pairs detect with probability `wanted`, in the unit of sd; see `power`."""
    most = 1.0
    while power(most, 1.0, n, level) < wanted:
        most *= 2
    return sd * float(brentq(lambda effect: power(effect, 1.0, n, level) - wanted, 0.0, most))


def pairs_needed(effect: float, sd: float, wanted: float = 0.8, most: int = 10_000) -> int:
    """The smallest number of pairs that detects `effect` with probability `wanted`; `most` if that is not enough."""
    low, high = 2, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if power(effect, sd, middle) >= wanted else (middle + 1, high)
    return low


class Ratio(NamedTuple):
    """Ratio of two standard deviations with its 95% interval [low, high]."""

    value: float
    low: float
    high: float


def spread_ratio(first: ArrayLike, second: ArrayLike) -> Ratio:
    """sd(first) / sd(second) of two independent samples, with the interval of the F distribution (normal values).

    ValueError for samples of fewer than two values or without any spread.
    """
    one, other = (np.asarray(values, dtype=float) for values in (first, second))
    if min(len(one), len(other)) < 2 or not (one.std() > 0 and other.std() > 0):
        raise ValueError("the ratio of two spreads needs two samples that vary, of at least two values each")
    ratio = one.var(ddof=1) / other.var(ddof=1)
    free = len(one) - 1, len(other) - 1
    ends = ratio / f_distribution.ppf([0.975, 0.025], *free)
    return Ratio(float(ratio**0.5), *(float(end**0.5) for end in ends))


def smaller_studies(first: NDArray, second: NDArray, fractions: Sequence[float], trials: int = 3) -> pd.DataFrame:
    """What each study of `trials` of the seeds would print, as shares of all such studies.

    first, second: accuracies (S, F) of S seeds at F fractions. Columns fraction (and one row with NaN for "at every
    fraction"), `first_higher`, `second_higher` (by the means) and `apart` (the printed mean +- standard deviation of the
    two do not overlap). ValueError if there are fewer seeds than trials.
    """
    if len(first) < trials or first.shape != second.shape:
        raise ValueError(
            f"{trials} trials need two equal tables with at least as many seeds, got {first.shape}, {second.shape}"
        )
    chosen = np.array(list(itertools.combinations(range(len(first)), trials)))
    means = [values[chosen].mean(axis=1) for values in (first, second)]  # (studies, F)
    spreads = [values[chosen].std(axis=1, ddof=1) for values in (first, second)]
    gap = means[0] - means[1]
    shares = np.stack([gap > 0, gap < 0, np.abs(gap) > spreads[0] + spreads[1]])
    columns = ["first_higher", "second_higher", "apart"]
    each = pd.DataFrame(shares.mean(axis=1).T, columns=columns).assign(fraction=list(fractions))
    everywhere = pd.DataFrame([shares.all(axis=2).mean(axis=1)], columns=columns).assign(fraction=float("nan"))
    return pd.concat([each, everywhere], ignore_index=True)
