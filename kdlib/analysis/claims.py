"""Claims D1 to D8 of "Distilling the Knowledge in Data Pruning", decided by code on a table of runs.

Each function takes a table of `kdlib.analysis.statistics.tidy` and returns a `Verdict`: "holds" if the 95% interval says so at
every point the claim speaks of, "does not hold" if the interval contradicts it at one of them, "open" between the two
or where the runs that the claim needs are missing. The claims' texts are in `data/paper/claims.csv`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from kdlib.analysis.statistics import Interval, against_random, gain_points, interval, kd_gain, paired, points

HOLDS, FAILS, OPEN = "holds", "does not hold", "open"


class Verdict(NamedTuple):
    """The verdict on one claim and the numbers behind it (points are percentage points of test accuracy)."""

    claim: str
    verdict: str
    numbers: str


def decide(interval: Interval, threshold: float = 0.0) -> str:
    """Whether a mean lies above the threshold: its whole 95% interval above, not above, or neither (open)."""
    if interval.low > threshold:
        return HOLDS
    return FAILS if interval.high <= threshold else OPEN


def decide_all(verdicts: Iterable[str]) -> str:
    """A claim about every point holds if it holds at each, and fails if it fails at one."""
    found = list(verdicts)
    if FAILS in found:
        return FAILS
    return HOLDS if found and set(found) == {HOLDS} else OPEN


def _intervals(found: pd.DataFrame) -> list[Interval]:
    return [_of(row) for _, row in found.iterrows()]


def _of(row: pd.Series) -> Interval:
    return Interval(float(row["mean"]), float(row["half"]), int(row["n"]))


def _missing(claim: str, what: str) -> Verdict:
    return Verdict(claim, OPEN, f"no runs {what}")


def gain_everywhere(table: pd.DataFrame) -> Verdict:
    """D1: KD (alpha 0.5) adds accuracy for every pruning and f."""
    found = gain_points(table)
    if found.empty:
        return _missing("D1", "with and without KD")
    decided = [decide(i) for i in _intervals(found)]
    worst = found.iloc[int(found["mean"].argmin())]
    numbers = f"{decided.count(HOLDS)} of {len(found)} points above 0, {decided.count(FAILS)} below"
    numbers += f"; smallest gain {_text(worst)} ({worst.pruning}, f = {worst.fraction:g})"
    return Verdict("D1", decide_all(decided), numbers)


def gain_at_small_f(table: pd.DataFrame, small: float = 0.1, large: float = 0.7) -> Verdict:
    """D2: the gain at f = 0.1 is larger than at f = 0.7 (or the largest f there is), for every pruning.

    The numbers say also where it is largest: between the two it may be larger than at either.
    """
    gains = kd_gain(table)
    if not np.isclose(gains.fraction, large).any():
        large = gains.fraction.max()
    at = [gains[np.isclose(gains.fraction, f)].drop(columns="fraction") for f in (small, large)]
    both = at[0].merge(at[1], on=["pruning", "seed"])
    if both.empty or large <= small:
        return _missing("D2", f"at f = {small:g} and a larger f")
    both["drop"] = both.difference_x - both.difference_y
    found = points(both, ("pruning",), "drop")
    peak = gains.groupby("fraction").difference.mean().idxmax()
    numbers = f"gain at f = {small:g} minus at {large:g}: {_listed(found)}; largest on average at f = {peak:g}"
    return Verdict("D2", decide_all(map(decide, _intervals(found))), numbers)


def random_wins(table: pd.DataFrame, up_to: float = 0.4) -> Verdict:
    """D3: for f <= 0.4 random beats the best scorer, with and without KD (paired by seed, per f)."""
    decided, texts = [], []
    for alpha, name in ((0.0, "no KD"), (0.5, "KD")):
        found = against_random(table, alpha)
        found = found[found.fraction <= up_to]
        if found.empty:
            return _missing("D3", f"of random and a scorer up to f = {up_to:g}")
        best = found.sort_values("mean").groupby("fraction").head(1)  # the scorer that comes closest, or wins
        decided += [decide(i) for i in _intervals(best)]
        low, high = best.iloc[0], best.iloc[-1]
        texts.append(
            f"{name}: {_text(high)} at f = {high.fraction:g}, {_text(low)} at f = {low.fraction:g}, {_lead(best)}"
        )
    return Verdict("D3", decide_all(decided), "; ".join(texts))


def _lead(best: pd.DataFrame) -> str:
    """Up to which f the lead of random is certain at every f measured."""
    by_f = best.sort_values("fraction")
    held = list(itertools.takewhile(lambda pair: decide(_of(pair[1])) == HOLDS, by_f.iterrows()))
    return f"ahead up to f = {held[-1][1].fraction:g}" if held else "never surely ahead"


def robust_at_large_f(table: pd.DataFrame, from_f: float = 0.5) -> Verdict:
    """D4: for f >= 0.5 the spread over prunings is below 1 point with KD, and smaller than without.

    The spread is max - min over the prunings within one seed, so that it has an interval; chance widens both spreads.
    """
    large = table[(table.fraction >= from_f) & table.alpha.isin([0.0, 0.5])]
    per_seed = large.groupby(["alpha", "fraction", "seed"]).test_acc.agg(np.ptp).unstack("alpha").dropna()
    if large.pruning.nunique() < 2 or 0.5 not in per_seed or 0.0 not in per_seed:
        return _missing("D4", f"of several prunings from f = {from_f:g}")
    with_kd, narrower = interval(per_seed[0.5]), interval(per_seed[0.0] - per_seed[0.5])
    verdict = decide_all([decide(Interval(-with_kd.mean, with_kd.half, with_kd.n), -1.0), decide(narrower)])
    numbers = f"spread with KD {with_kd.mean:.2f} ± {with_kd.half:.2f}, narrower by {narrower.mean:+.2f} ± {narrower.half:.2f}"
    return Verdict("D4", verdict, numbers)


def part_is_enough(table: pd.DataFrame, full: Interval | None, at_most: float = 0.5) -> Verdict:
    """D5: with KD, forgetting at some f <= 0.5 reaches the accuracy of all data without KD (Welch's bound, rounded up)."""
    taught = table[np.isclose(table.alpha, 0.5) & (table.pruning == "forgetting") & (table.fraction <= at_most)]
    found = points(taught, ("fraction",))
    if full is None or found.empty:
        return _missing("D5", "on all data, or with forgetting")
    found["spread"] = np.hypot(found.half, np.nan_to_num(full.half))
    reached, last = found[found["mean"] - found.spread >= full.mean], found.iloc[-1]
    gap = f"at f = {last.fraction:g}: {last['mean']:.1f}, all data: {full.mean:.1f}"
    if len(reached):
        return Verdict("D5", HOLDS, f"reached from f = {reached.fraction.min():g} on; {gap}")
    below = last["mean"] + last.spread < full.mean
    return Verdict("D5", FAILS if below and np.isclose(last.fraction, at_most) else OPEN, gap)


def _alphas(claim: str, table: pd.DataFrame, f: float, more: float, less: float, paper: float) -> Verdict:
    at = table[np.isclose(table.fraction, f) & (table.pruning == "forgetting")]
    pairs = paired(at[np.isclose(at.alpha, more)], at[np.isclose(at.alpha, less)], ("fraction",))
    if pairs.empty:
        return _missing(claim, f"at f = {f:g} with alpha = {more:g} and {less:g}")
    found = interval(pairs.difference)
    return Verdict(claim, decide(found), f"{found} at f = {f:g} (paper: more than {paper:+g})")


def high_alpha_at_small_f(table: pd.DataFrame) -> Verdict:
    """D6: at f = 0.1, forgetting, alpha = 1 beats alpha = 0.5."""
    return _alphas("D6", table, 0.1, 1.0, 0.5, 8)


def low_alpha_at_large_f(table: pd.DataFrame) -> Verdict:
    """D7: at f = 0.7, forgetting, alpha = 0.5 beats alpha = 1."""
    return _alphas("D7", table, 0.7, 0.5, 1.0, 1)


def best_alphas(table: pd.DataFrame) -> pd.DataFrame:
    """For each f and seed the alpha of the highest accuracy, ties averaged: columns fraction, seed, best."""
    top = table.groupby(["fraction", "seed"]).test_acc.transform("max")
    best = table[table.test_acc == top].groupby(["fraction", "seed"]).alpha.mean()
    return best.rename("best").reset_index()


def best_alpha_falls(table: pd.DataFrame) -> Verdict:
    """D8: Spearman's rank correlation of the best alpha with f, one for each seed, is below 0.

    One best alpha for every f and seed has no rank correlation, and the f measured may not reach where it falls: open.
    """
    forgetting = table[table.pruning == "forgetting"]
    if forgetting.fraction.nunique() < 3 or forgetting.alpha.nunique() < 3:
        return _missing("D8", "with at least 3 alphas at 3 fractions")
    best = best_alphas(forgetting)
    if best.best.nunique() == 1:
        return Verdict("D8", OPEN, f"the best is {best.best[0]:g} at every f up to {best.fraction.max():g}")
    seeds = [g for _, g in best.groupby("seed") if g.fraction.nunique() > 2]
    found = interval([0.0 if g.best.nunique() == 1 else float(spearmanr(g.fraction, g.best).statistic) for g in seeds])
    flipped = Interval(-found.mean, found.half, found.n)
    return Verdict("D8", decide(flipped), f"rank correlation {found.mean:+.2f} ± {found.half:.2f}")


def _text(row: pd.Series) -> str:
    return str(_of(row))


def _listed(found: pd.DataFrame) -> str:
    return ", ".join(f"{row.pruning} {_text(row)}" for _, row in found.iterrows())


CLAIMS: dict[str, Callable[[pd.DataFrame], Verdict]] = {
    "D1": gain_everywhere,
    "D2": gain_at_small_f,
    "D3": random_wins,
    "D4": robust_at_large_f,
    "D6": high_alpha_at_small_f,
    "D7": low_alpha_at_large_f,
    "D8": best_alpha_falls,
}


def all_verdicts(table: pd.DataFrame, full: Interval | None) -> list[Verdict]:
    """D1 to D8 on one table; `full` is the accuracy on all data without KD, or None.

    The paper prunes to the hardest samples only: runs with another window have no part in its claims.
    """
    table = table[table.pruning.isin(["random", "forgetting", "el2n", "grand"])]
    found = [claim(table) for claim in CLAIMS.values()] + [part_is_enough(table, full)]
    return sorted(found, key=lambda verdict: verdict.claim)


def as_markdown(found: Mapping[str, Sequence[Verdict]], claims: Mapping[str, str]) -> str:
    """One line a claim (its text without brackets), one column a data set."""
    lines = [f"| claim | {' | '.join(found)} |", "|:---" * (len(found) + 1) + "|"]
    for same in zip(*found.values(), strict=True):
        cells = " | ".join(f"**{v.verdict}**: {v.numbers}" for v in same)
        text = re.sub(r" \([^)]*\)", "", claims[same[0].claim])
        lines.append(f"| **{same[0].claim}** {text} | {cells} |")
    return "\n".join(lines)
