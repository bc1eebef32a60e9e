"""From rows to numbers with a spread: 95% intervals over seeds, paired differences, the effect of the teacher.

A *table* here is what `tidy` makes of the rows of `sweep` or `load_rows`: one row a run, with `pruning` (which samples
are kept), `fraction`, `alpha` (0 where the student has no teacher), `seed`, and the accuracies in percent.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import spearmanr
from scipy.stats import t as student_t

FEWEST = 3  # seeds for an interval; two points are shown as points
WINDOWS = {1.0: "", 0.5: "medium", 0.0: "easiest"}


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
        spread = f"± {self.half:.1f}" if np.isfinite(self.half) else f"(n = {self.n})"
        return f"{self.mean:+.1f} {spread}"


def interval(values: ArrayLike) -> Interval:
    """Mean and 95% interval by Student's t, half width t(0.975, n-1) s / sqrt(n); ValueError without any value."""
    v = np.asarray(values, dtype=np.float64).ravel()
    if not len(v):
        raise ValueError("an interval needs at least one value")
    if len(v) < FEWEST:
        return Interval(float(v.mean()), float("nan"), len(v))
    return Interval(float(v.mean()), float(student_t.ppf(0.975, len(v) - 1) * v.std(ddof=1) / len(v) ** 0.5), len(v))


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


def tidy(rows: pd.DataFrame) -> pd.DataFrame:
    """The table of finished runs: `pruning` names scorer and window, `alpha` is 0 for students without a teacher.

    Diverged runs (no accuracy) are left out; ValueError names a column that is missing.
    """
    missing = {"scorer", "centre", "loss", "alpha", "fraction", "seed", "test_acc"} - set(rows.columns)
    if missing:
        raise ValueError(f"the rows have no column {min(missing)!r}")
    table = rows[rows.test_acc.notna()].copy()
    table["alpha"] = table.alpha.where(table.loss != "cross_entropy", 0.0)
    table["pruning"] = [_pruning(s, c) for s, c in zip(table.scorer, table.centre, strict=True)]
    return table.reset_index(drop=True)


def _pruning(scorer: str, centre: float) -> str:
    if scorer == "random":
        return scorer
    window = WINDOWS.get(centre, f"centre {centre:g}")
    return window if (scorer, window) == ("difficulty", "medium") else f"{scorer} {window}".strip()


def points(table: pd.DataFrame, by: Sequence[str], value: str = "test_acc") -> pd.DataFrame:
    """One row per combination of `by`: mean, half, n over its seeds."""
    found = [(*_tuple(key), *interval(group[value])) for key, group in table.groupby(list(by), sort=True)]
    return pd.DataFrame(found, columns=[*by, "mean", "half", "n"])


def _tuple(key: object) -> tuple:
    return key if isinstance(key, tuple) else (key,)


def paired(first: pd.DataFrame, second: pd.DataFrame, by: Sequence[str], value: str = "test_acc") -> pd.DataFrame:
    """Differences first - second between runs of equal `by` and equal seed: columns `by`, seed, `difference` (points).

    Pairing by seed takes out what both share (initial weights, the random subset), so it narrows the interval.
    """
    keys = [*by, "seed"]
    both = first[[*keys, value]].merge(second[[*keys, value]], on=keys, suffixes=("_first", "_second"))
    both["difference"] = both[f"{value}_first"] - both[f"{value}_second"]
    return both[[*keys, "difference"]]


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
    random, scored = at[at.pruning == "random"].drop(columns="pruning"), at[at.pruning != "random"]
    both = random.merge(scored, on=["fraction", "seed"], suffixes=("_random", ""))
    both["difference"] = both.test_acc_random - both.test_acc
    return points(both, ("pruning", "fraction"), "difference")


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


def reported(numbers: pd.DataFrame) -> pd.DataFrame:
    """The paper's CIFAR-100 accuracies (`data/paper/reported.csv`) as a table: self-distilled ResNet-32, KD and none.

    Its KD rows for forgetting are those of Table 1, trained with CE + 2 KD; here they count as alpha 0.5. One accuracy
    a point, since the paper gives no spread: `seed` is 0.
    """
    same = (numbers.paper == "dkdp") & (numbers.dataset == "cifar100") & (numbers.student == "resnet32")
    chosen = numbers[same & (numbers.metric == "top1") & numbers.loss.isin(["none", "kd"]) & (numbers.fraction < 1)]
    alpha = chosen.loss.map({"none": 0.0, "kd": 0.5})
    return chosen.assign(alpha=alpha, seed=0, test_acc=chosen.value)[TABLE].reset_index(drop=True)


TABLE = ["pruning", "alpha", "fraction", "seed", "test_acc"]


def beside(paper: pd.DataFrame, ours: pd.DataFrame) -> pd.DataFrame:
    """Points that both tables have: pruning, alpha, fraction, paper, ours, half, n, difference (ours - paper, points)."""
    by = ["pruning", "alpha", "fraction"]
    both = paper[[*by, "test_acc"]].merge(points(ours, by), on=by).rename(columns={"test_acc": "paper", "mean": "ours"})
    return both.assign(difference=both.ours - both.paper)
