"""How the best KD weight alpha depends on the kept fraction f: slopes, their interaction, and a fitted rule alpha(f).

Every function takes a table of `kdlib.analysis.statistics.tidy` with one pruning and one teacher: for each seed, the
accuracy (percent) at every combination of f and alpha.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from kdlib.analysis.claims.specification import specifications
from kdlib.analysis.effects import self_distilled
from kdlib.analysis.statistics import Interval, interval, paired, points, tidy

STEPS = np.round(np.linspace(0, 1, 21), 2)  # values of alpha that the ends of a rule may take


class Cube(NamedTuple):
    """Accuracies (S, F, A) in percent of S seeds, F fractions and A KD weights; all three axes ascend."""

    seeds: NDArray
    fractions: NDArray
    alphas: NDArray
    accuracy: NDArray


def cube(table: pd.DataFrame, value: str = "test_acc") -> Cube:
    """The table as an array; seeds that lack a point are left out. ValueError where no seed has every point."""
    wide = table.pivot_table(index="seed", columns=["fraction", "alpha"], values=value)
    fractions, alphas = (np.sort(table[name].unique()) for name in ("fraction", "alpha"))
    wide = wide.reindex(columns=pd.MultiIndex.from_product([fractions, alphas])).dropna()
    if wide.empty:
        raise ValueError("no seed has an accuracy at every combination of fraction and alpha")
    accuracy = wide.to_numpy().reshape(len(wide), len(fractions), len(alphas))
    return Cube(wide.index.to_numpy(), fractions, alphas, accuracy)


def slopes_by_seed(table: pd.DataFrame) -> NDArray:
    """Slope of the accuracy against alpha by least squares, in points for a change of alpha by 1: (S, F).

    Only students with KD take part (alpha > 0): what the first bit of KD adds is another question. ValueError for fewer
    than two KD weights above 0.
    """
    found = cube(table[table.alpha > 0])
    if len(found.alphas) < 2:
        raise ValueError(f"a slope needs at least 2 KD weights above 0, got {len(found.alphas)}")
    steps = found.alphas - found.alphas.mean()
    return found.accuracy @ steps / (steps**2).sum()


def slopes(table: pd.DataFrame) -> pd.DataFrame:
    """The mean slope at each f with its 95% interval over seeds: columns fraction, mean, half, n."""
    by_seed = slopes_by_seed(table)
    rows = [(f, *interval(column)) for f, column in zip(np.sort(table.fraction.unique()), by_seed.T, strict=True)]
    return pd.DataFrame(rows, columns=["fraction", "mean", "half", "n"])


def interaction(table: pd.DataFrame) -> Interval:
    """The interaction alpha x log10 f: by how many points the slope in alpha changes when f grows tenfold.

    Below 0, a large KD weight pays less the more samples are kept, which is what Eq. 3 of "Distilling the Knowledge in
    Data Pruning" builds on. The interval is over seeds, given the teacher; curves that are flat give 0, whatever their
    highest point happens to be. ValueError for fewer than two fractions.
    """
    logs = np.log10(np.sort(table.fraction.unique()))
    if len(logs) < 2:
        raise ValueError("an interaction needs at least 2 fractions")
    logs = logs - logs.mean()
    return interval(slopes_by_seed(table) @ logs / (logs**2).sum())


def best_of_means(table: pd.DataFrame) -> pd.Series:
    """For each f the alpha whose accuracy, averaged over the seeds, is highest; it has no interval."""
    return table.groupby(["fraction", "alpha"]).test_acc.mean().unstack().idxmax(axis=1)


class Rule(NamedTuple):
    """alpha(f), a straight line in log f between two ends, constant outside of them."""

    fractions: tuple[float, float]
    ends: tuple[float, float]

    def __call__(self, fraction: ArrayLike) -> NDArray:
        """alpha at a kept fraction, or at several."""
        return np.interp(np.log(fraction), np.log(self.fractions), self.ends)

    def weight(self, fraction: float) -> float:
        """alpha at one fraction, rounded to two digits, as a run takes it."""
        return round(float(self(fraction)), 2)


def always(alpha: float) -> Rule:
    """The rule that gives every fraction the same alpha."""
    return Rule((0.5, 1.0), (alpha, alpha))


class Fitted(NamedTuple):
    """A fitted rule: the best one, the best constant one, and the rules of resampled seeds.

    drawn: (B, 2), the ends of the best rule of each resample. gain: accuracy of the rule minus that of the best
    constant in points, on the very accuracies that both were chosen by, which flatters the rule.
    """

    rule: Rule
    constant: float
    drawn: NDArray
    gain: float

    def band(self, fractions: ArrayLike) -> NDArray:
        """The 95% percentile interval of alpha at each of the fractions (F,): (2, F), lower and upper ends."""
        lines = [Rule(self.rule.fractions, (low, high))(fractions) for low, high in self.drawn]
        return np.percentile(lines, [2.5, 97.5], axis=0)

    def tilt(self) -> tuple[float, float, float]:
        """alpha at the largest f minus alpha at the smallest: its value, and the ends of its 95% interval."""
        low, high = np.percentile(self.drawn[:, 1] - self.drawn[:, 0], [2.5, 97.5])
        return self.rule.ends[1] - self.rule.ends[0], float(low), float(high)


def rule_values(table: pd.DataFrame) -> tuple[NDArray, NDArray]:
    """The ends (L, 2) of all straight rules, and the accuracy (S, L) that each would have with each seed.

    The accuracy of a rule is the mean over f of the accuracy at alpha(f), interpolated between the measured KD weights.
    """
    found = cube(table)
    ends = np.stack(np.meshgrid(STEPS, STEPS, indexing="ij"), axis=-1).reshape(-1, 2)
    span = (float(found.fractions[0]), float(found.fractions[-1]))
    chosen = np.stack([Rule(span, (low, high))(found.fractions) for low, high in ends])  # (L, F)
    at = [
        np.stack([np.interp(chosen[:, k], found.alphas, curve[k]) for k in range(len(found.fractions))])
        for curve in found.accuracy
    ]
    return ends, np.stack(at).mean(axis=1)


def fit_rule(table: pd.DataFrame, rng: np.random.Generator, resamples: int = 2000) -> Fitted:
    """The straight rule alpha(f) with the highest mean accuracy, with the rules of resampled seeds.

    The bootstrap draws whole seeds, since a seed's accuracies belong together. With few seeds its intervals are
    somewhat too narrow, and they leave out the luck of the teacher. ValueError for fewer than two fractions.
    """
    fractions = np.sort(table.fraction.unique())
    if len(fractions) < 2:
        raise ValueError("a rule alpha(f) needs at least 2 fractions")
    ends, values = rule_values(table)
    best, flat = values.mean(axis=0).argmax(), np.flatnonzero(ends[:, 0] == ends[:, 1])
    constant = flat[values.mean(axis=0)[flat].argmax()]
    drawn = rng.multinomial(len(values), np.full(len(values), 1 / len(values)), size=resamples) @ values
    rule = Rule((float(fractions[0]), float(fractions[-1])), (float(ends[best, 0]), float(ends[best, 1])))
    gain = float(values.mean(axis=0)[best] - values.mean(axis=0)[constant])
    return Fitted(rule, float(ends[constant, 0]), ends[drawn.argmax(axis=1)], gain)


def lead(table: pd.DataFrame, first: Rule, second: Rule) -> pd.DataFrame:
    """Accuracy under the first rule minus that under the second, in points, seed by seed: fraction, seed, difference.

    The table needs the runs at both rules' weights at each of its fractions; a seed that lacks one is left out. Where the
    two rules agree, the difference is exactly 0. ValueError if a fraction has no pair of runs.
    """
    found = []
    for f, part in table.groupby("fraction"):
        one, other = (part[np.isclose(part.alpha, rule.weight(float(f)))] for rule in (first, second))
        both = paired(one, other, ("fraction",))
        if both.empty:
            raise ValueError(
                f"no seed has runs at both alpha {first.weight(float(f))} and {second.weight(float(f))}, f = {f}"
            )
        found.append(both[["fraction", "seed", "difference"]])
    return pd.concat(found, ignore_index=True)


# ------------------------------------------------------------------------------------------- the papers' numbers

GAPS = ["pruning", "fraction", "mean", "half", "n"]


def weight_gaps(rows: pd.DataFrame, high: float = 1.0, low: float = 0.5) -> pd.DataFrame:
    """Accuracy at one KD weight minus that at another, paired by seed and teacher, in points: pruning, fraction, mean, half, n.

    rows: rows of a study, of which those of `effects.self_distilled` count; without such rows the result has none.
    """
    chosen = self_distilled(rows)
    if chosen.empty:
        return pd.DataFrame(columns=GAPS)
    table = tidy(chosen[(chosen.loss == "kd") & (chosen.fraction < 1)])
    first, second = (table[np.isclose(table.alpha, a)] for a in (high, low))
    return points(paired(first, second, ("pruning", "fraction")), ("pruning", "fraction"), "difference")


def published_weight_gaps() -> pd.DataFrame:
    """What DKDP prints of Fig. 6, alpha = 1 minus alpha = 0.5 in points (claims D6 and D7); n is 0, since it gives no spread.

    Both are bounds, "more than 8" at f = 0.1 and less than -1 at f = 0.7: the column `bound` is the side, 1 or -1.
    """
    rows = []
    for name, sign in (("D6", 1), ("D7", -1)):
        claim = specifications()[name]
        rows.append((claim.prunings[0], float(claim.fractions), sign * claim.threshold, float("nan"), 0, sign))
    return pd.DataFrame(rows, columns=[*GAPS, "bound"])


def adaptive_weights() -> tuple[dict[float, float], float]:
    """MD's reading of Eq. 3: alpha at each kept fraction at which it differs from the fixed one, and the fixed one.

    Written as the weight of the KD term; the medium-difficulty paper writes that of the cross-entropy.
    """
    claim = specifications()["M10"]
    fractions = [float(text) for text in claim.fractions.split("|")]
    return dict(zip(fractions, map(float, claim.option("adaptive")), strict=True)), float(claim.alphas[0])


def published_adaptive(numbers: pd.DataFrame) -> pd.DataFrame:
    """MD's Tables 7 to 9, Adaptive minus Random in points, from the rows of `data/paper/reported.csv`.

    Columns teacher, student, fraction, difference and spread: the standard deviation of the difference if the two were
    independent, sqrt(sd^2 + sd^2); the paper has three trials of each.
    """
    chosen = numbers[
        (numbers.paper == "medium") & (numbers.loss == "kd") & numbers.pruning.isin(["adaptive", "random"])
    ]
    wide = chosen.pivot_table(
        index=["teacher", "student", "fraction"], columns="pruning", values=["value", "std"]
    ).dropna()
    found = pd.DataFrame(
        {
            "difference": wide["value", "adaptive"] - wide["value", "random"],
            "spread": np.hypot(wide["std", "adaptive"], wide["std", "random"]),
        }
    )
    return found.reset_index()
