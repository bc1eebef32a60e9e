"""From tables to numbers with a spread: 95% intervals over seeds and teachers, paired differences, many points at once.

A *table* is what `kdlib.analysis.tables.tidy` makes of the rows of `sweep` or `load_rows`: one row a training, with
`pruning` (which samples are kept), `fraction`, `alpha` (0 where the student has no teacher), `seed`, and the accuracies
in percent.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit
from scipy.stats import rankdata, spearmanr
from scipy.stats import t as student_t

from kdlib.analysis.tables import NO_TEACHER
from kdlib.analysis.tables import tidy as tidy

FEWEST = 3  # seeds for an interval; two points are shown as points


class Interval(NamedTuple):
    """Mean of n values and the half width of its 95% interval (NaN for fewer than three values)."""

    mean: float
    half: float
    n: int

    @property
    def low(self) -> float:
        """Lower end."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """Upper end."""
        return self.mean + self.half

    def __str__(self) -> str:
        return with_half(self.mean, self.half) + ("" if np.isfinite(self.half) else f" (n = {self.n})")


def shown_digits(half: float, digits: int) -> int:
    """`digits`, or one or two more where a half width above zero would be printed as zero with them."""
    return next((d for d in range(digits, digits + 3) if round(half, d) > 0), digits)


def with_half(mean: float, half: float, digits: int = 1, sign: bool = True) -> str:
    """`+3.1 ± 0.4` in `digits` or as many as `shown_digits` says, never a negative zero; `+3.1` without an interval."""
    digits = shown_digits(half, digits)
    text = f"{round(mean, digits) + 0.0:{'+' if sign else ''}.{digits}f}"
    return f"{text} ± {half:.{digits}f}" if np.isfinite(half) else text


def interval(values: ArrayLike) -> Interval:
    """Mean and 95% interval by Student's t, half width t(0.975, n-1) s / sqrt(n); ValueError without any value."""
    v = np.asarray(values, dtype=np.float64).ravel()
    if not len(v):
        raise ValueError("an interval needs at least one value")
    if len(v) < FEWEST:
        return Interval(float(v.mean()), float("nan"), len(v))
    return Interval(float(v.mean()), float(student_t.ppf(0.975, len(v) - 1) * v.std(ddof=1) / len(v) ** 0.5), len(v))


class Estimate(NamedTuple):
    """A mean with its standard error and degrees of freedom; n independent trainings, with `teachers` teachers.

    Fewer than three trainings have no interval: the standard error is NaN, and so is every probability.
    """

    mean: float
    error: float
    freedom: float
    n: int
    teachers: int = 1

    @property
    def half(self) -> float:
        """Half width of the 95% interval."""
        return float(stdtrit(self.freedom, 0.975) * self.error)

    @property
    def low(self) -> float:
        """Lower end of the 95% interval."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """Upper end of the 95% interval."""
        return self.mean + self.half

    def p_above(self, threshold: float = 0.0) -> float:
        """One-sided p-value against "the effect is at most the threshold": small where it lies above."""
        return self._tail(self.mean - threshold)

    def p_below(self, threshold: float = 0.0) -> float:
        """One-sided p-value against "the effect is at least the threshold": small where it lies below."""
        return self._tail(threshold - self.mean)

    def _tail(self, distance: float) -> float:
        if self.error == 0:  # equal values: certain, unless they lie on the threshold
            return 0.0 if distance > 0 else 1.0
        return float(stdtr(self.freedom, -distance / self.error))

    def __str__(self) -> str:
        return str(Interval(self.mean, self.half, self.n))


def estimate(values: Mapping[tuple[int, int], float], n: int | None = None) -> Estimate:
    """Mean and interval of paired differences, by (teacher, seed), with both sources of spread in it.

    values: (teacher_id, seed) -> difference in points; teacher_id is -1 where no teacher had a part.
    n:      independent trainings on the side that has fewer of them; default: the number of values.

    With one teacher, or none, seeds are the sample, and the interval is Student's t given this teacher. With several
    teachers whose seeds differ, the teachers' means are the sample. Where seeds are shared between teachers (as are
    the students without KD that every teacher's students are compared with), the variance is that of the teachers'
    means plus that of the seeds' means, with Satterthwaite's degrees of freedom, at most as many as there are teachers;
    without that bound two teachers who are alike by chance give intervals that are too narrow. The spread within is
    counted twice, which errs to the wide side. ValueError without any value.
    """
    if not values:
        raise ValueError("an estimate needs at least one value")
    teachers, seeds = _means(values, 0), _means(values, 1)
    count, mean = len(values) if n is None else n, sum(values.values()) / len(values)
    if count < FEWEST:
        return Estimate(mean, float("nan"), float("nan"), count, len(teachers))
    crossed = len(teachers) > 1 and len(values) > len(seeds)
    parts = [teachers, seeds] if crossed else [teachers if len(teachers) > 1 else seeds]
    parts = [part for part in parts if len(part) > 1]
    if not parts:
        return Estimate(mean, float("nan"), float("nan"), count, len(teachers))
    variances = [_variance(part) / len(part) for part in parts]
    freedoms = [len(part) - 1 for part in parts]
    total = sum(variances)
    freedom = total**2 / sum(v**2 / f for v, f in zip(variances, freedoms, strict=True)) if total else sum(freedoms)
    if crossed:
        freedom = min(freedom, len(teachers))
    return Estimate(mean, total**0.5, freedom, count, len(teachers))


def _variance(values: Sequence[float]) -> float:
    """Unbiased variance; a verdict needs hundreds of few numbers, for which numpy is slow."""
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _means(values: Mapping[tuple[int, int], float], place: int) -> list[float]:
    """The mean of the values of each teacher (place 0) or of each seed (place 1)."""
    groups: dict[int, list[float]] = {}
    for key, value in values.items():
        groups.setdefault(key[place], []).append(value)
    return [sum(group) / len(group) for group in groups.values()]


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values: one of m hypotheses is rejected at level a where its adjusted p is at most a.

    Holm, "A simple sequentially rejective multiple test procedure" (1979). A p-value of NaN (no interval) stays NaN,
    and still counts as one of the m.
    """
    order = sorted(range(len(p)), key=lambda i: (np.isnan(p[i]), p[i]))
    adjusted, largest = [float("nan")] * len(p), 0.0
    for rank, i in enumerate(order):
        if not np.isnan(p[i]):
            largest = max(largest, min(1.0, (len(p) - rank) * p[i]))
            adjusted[i] = largest
    return adjusted


class RankCorrelation(NamedTuple):
    """Spearman's rank correlation, averaged over replicates, and the share of permutations that lie as low or as high."""

    mean: float
    p_below: float
    p_above: float
    n: int


def rank_correlation(x: ArrayLike, y: ArrayLike, rng: np.random.Generator, permutations: int = 2000) -> RankCorrelation:
    """Rank correlation of x (K,) with each row of y (S, K), tested by permuting x within each row independently.

    Three replicates in the same order say no more than their permutations allow, while an interval over three equal
    correlations would have width 0. A row without variation counts as correlation 0. The p-values include the
    observed arrangement, so that none is 0. ValueError for fewer than two values in a row.
    """
    ranks_x, ranks_y = rankdata(np.asarray(x, dtype=float)), rankdata(np.atleast_2d(np.asarray(y, dtype=float)), axis=1)
    if len(ranks_x) < 2 or ranks_y.shape[1] != len(ranks_x):
        raise ValueError(f"each row of y needs {len(ranks_x)} values, at least 2; got shape {ranks_y.shape}")
    ranks_x, ranks_y = ranks_x - ranks_x.mean(), ranks_y - ranks_y.mean(axis=1, keepdims=True)
    scale = np.sqrt((ranks_x**2).sum() * (ranks_y**2).sum(axis=1))
    scaled = np.divide(ranks_y, scale[:, None], out=np.zeros_like(ranks_y), where=scale[:, None] > 0)
    observed = float((scaled @ ranks_x).mean())
    orders = rng.permuted(np.broadcast_to(ranks_x, (permutations, *ranks_y.shape)), axis=2)
    drawn = (orders * scaled).sum(axis=2).mean(axis=1)
    below = (1 + int((drawn <= observed + 1e-12).sum())) / (permutations + 1)
    above = (1 + int((drawn >= observed - 1e-12).sum())) / (permutations + 1)
    return RankCorrelation(observed, below, above, len(ranks_y))


def split_half(values: NDArray, rng: np.random.Generator, splits: int = 20) -> dict[int, list[float]]:
    """How far a score agrees with itself: k -> Spearman's rank correlations (splits,), for k = 1 to R // 2.

    values: (R, N), a score of each sample from each of R runs. A split draws two disjoint groups of k runs, averages
    each and correlates the two. ValueError for fewer than two runs.
    """
    if len(values) < 2:
        raise ValueError(f"two groups need at least 2 runs, got {len(values)}")
    orders = [rng.permutation(len(values)) for _ in range(splits)]
    halves = {k: [(o[:k], o[k : 2 * k]) for o in orders] for k in range(1, len(values) // 2 + 1)}
    return {
        k: [float(spearmanr(values[a].mean(axis=0), values[b].mean(axis=0)).statistic) for a, b in pairs]
        for k, pairs in halves.items()
    }


def points(table: pd.DataFrame, by: Sequence[str], value: str = "test_acc") -> pd.DataFrame:
    """One row per combination of `by`: mean, half, n over its trainings, as `estimate` has them.

    Values of one seed and teacher that `by` does not tell apart are averaged first, so that they count once. A table
    without seeds is a plain sample.
    """
    found = []
    for key, group in table.groupby(list(by), sort=True):
        at = _estimate(group, value)
        found.append((*_tuple(key), at.mean, at.half, at.n))
    return pd.DataFrame(found, columns=[*by, "mean", "half", "n"])


def _estimate(group: pd.DataFrame, value: str) -> Interval | Estimate:
    if "seed" not in group:
        return interval(group[value])
    teachers = group.teacher_id if "teacher_id" in group else [0] * len(group)
    values: dict[tuple[int, int], list[float]] = {}
    for teacher, seed, number in zip(teachers, group.seed, group[value], strict=True):
        values.setdefault((int(teacher), int(seed)), []).append(float(number))
    shared = "shared" in group and bool(group.shared.any())
    n = len({seed for _, seed in values}) if shared else len(values)
    return estimate({key: sum(several) / len(several) for key, several in values.items()}, n)


def _tuple(key: object) -> tuple:
    return key if isinstance(key, tuple) else (key,)


def paired(first: pd.DataFrame, second: pd.DataFrame, by: Sequence[str], value: str = "test_acc") -> pd.DataFrame:
    """Differences first - second between runs of equal `by`, seed and teacher, in points.

    Columns `by`, seed, `difference`, and for a table with teachers teacher_id and `shared`: a student without a teacher
    is paired with the students of every teacher, and is one training all the same. Pairing by seed takes out what both
    share (initial weights, the random subset), so it narrows the interval.
    """
    keys = [*by, "seed"]
    with_teachers = "teacher_id" in first and "teacher_id" in second
    columns = [*keys, *(["teacher_id"] if with_teachers else []), value]
    both = first[columns].merge(second[columns], on=keys, suffixes=("_first", "_second"))
    both["difference"] = both[f"{value}_first"] - both[f"{value}_second"]
    if not with_teachers:
        return both[[*keys, "difference"]]
    one, other = both.teacher_id_first, both.teacher_id_second
    both["shared"] = (one == NO_TEACHER) != (other == NO_TEACHER)
    both["teacher_id"] = np.maximum(one, other)
    return both[both.shared | (one == other)][[*keys, "teacher_id", "shared", "difference"]]


def kd_gain(table: pd.DataFrame, alpha: float = 0.5, value: str = "test_acc") -> pd.DataFrame:
    """acc(KD) - acc(no KD) in points, for each pruning, f and seed: columns pruning, fraction, seed, difference."""
    with_kd, without = table[np.isclose(table.alpha, alpha)], table[table.alpha == 0]
    return paired(with_kd, without, ("pruning", "fraction"), value)


def gain_points(table: pd.DataFrame, alpha: float = 0.5, value: str = "test_acc") -> pd.DataFrame:
    """Mean gain and its paired interval: columns pruning, fraction, mean, half, n."""
    return points(kd_gain(table, alpha, value), ("pruning", "fraction"), "difference")


def against_random(table: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """acc(random) - acc(scorer) in points at one alpha, paired by seed: pruning, fraction, mean, half, n."""
    at = table[np.isclose(table.alpha, alpha)]
    random, scored = at[at.pruning == "random"], at[at.pruning != "random"]
    each = [
        paired(random.assign(pruning=name), group, ("pruning", "fraction")) for name, group in scored.groupby("pruning")
    ]
    return (
        points(pd.concat(each), ("pruning", "fraction"), "difference")
        if each
        else points(at.iloc[:0], ("pruning", "fraction"))
    )


def intervals(found: pd.DataFrame, by: Sequence[str]) -> dict[Hashable, Interval]:
    """The intervals of a table of `points`, by the values of `by` (a tuple, or the value itself for one column)."""
    keys = found[list(by)].itertuples(index=False, name=None)
    numbers = found[["mean", "half", "n"]].itertuples(index=False, name=None)
    return {key if len(by) > 1 else key[0]: Interval(*row) for key, row in zip(keys, numbers, strict=True)}


def last_or_best(table: pd.DataFrame, alpha: float = 0.5) -> pd.DataFrame:
    """What the epoch of the accuracy changes: pruning, fraction, gain of KD with the last and with the best epoch."""
    by = ["pruning", "fraction"]
    last, best = (gain_points(table, alpha, value).set_index(by)["mean"] for value in ("test_acc", "test_acc_best"))
    return pd.DataFrame({"gain, last epoch": last, "gain, best epoch": best}).reset_index()
