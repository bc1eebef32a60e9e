"""What lesson 04 says about the KD weight alpha and the temperature, worded from the numbers.

Every function is pure, takes tables of `kdlib.analysis.statistics` and `kdlib.analysis.kd_weight`, and returns Markdown.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kdlib.analysis.kd_weight import Fitted
from kdlib.analysis.names import named
from kdlib.analysis.statistics import Interval, interval, intervals
from kdlib.analysis.tell import FALLS, FEW, RISES, SEEN, change, direction, listed, number, table, trend

SIDES = {"above": RISES, "below": FALLS}


def first_look(
    gaps: Mapping[str, pd.DataFrame], accuracies: Mapping[str, float], alphas: tuple[float, float], held_out: int
) -> str:
    """Two KD weights at the smallest and the largest f: teacher -> fraction, mean, half, n of high minus low alpha.

    held_out: how many validation samples all of them share.
    """
    low, high = alphas
    rows = [
        [name, f"{accuracies[name]:.1f}%", f"{f:.0%}", number(value), direction(value)]
        for name, found in gaps.items()
        for f, value in intervals(found, ("fraction",)).items()
    ]
    header = [
        "teacher",
        "its accuracy",
        "f",
        f"alpha = {high:g} minus alpha = {low:g} (points)",
        "more weight: accuracy",
    ]
    note = (
        f"There are {held_out} validation samples, the same for every seed: one of them is {100 / held_out:.1f} points. How "
        "much other samples would change is in no interval."
    )
    return f"{SEEN}Validation accuracy, mean of seeds with its 95% interval:\n\n{table(header, rows)}\n\n{note}"


def agreement(shares: Mapping[str, Mapping[float, float]]) -> str:
    """Share of the kept samples whose label is the teacher's first class: teacher -> f -> share."""
    fractions = list(next(iter(shares.values())))
    rows = [[name, *(f"{found[f]:.1%}" for f in fractions)] for name, found in shares.items()]
    text = "Share of the kept samples (the hardest) of which the teacher's likeliest class is the label:"
    return f"{SEEN}{text}\n\n{table(['teacher', *(f'f = {f:.0%}' for f in fractions)], rows)}"


def epochs(found: Mapping[str, pd.DataFrame], alpha: float) -> str:
    """The gain of KD with the last and with the best epoch: teacher -> `statistics.last_or_best`."""
    rows = [
        [name, f"{row.fraction:.0%}", *(f"{row[c]:+.1f}" for c in ("gain, last epoch", "gain, best epoch"))]
        for name, part in found.items()
        for _, row in part.iterrows()
    ]
    header = ["teacher", "f", "gain, last epoch (points)", "gain, best epoch (points)"]
    apart = [row["gain, best epoch"] - row["gain, last epoch"] for part in found.values() for _, row in part.iterrows()]
    span = f"The best epoch moves the gain by {min(apart):+.1f} to {max(apart):+.1f} points."
    return f"{SEEN}{span} Means over seeds, $\\alpha$ = {alpha:g} minus no KD:\n\n{table(header, rows)}"


def best_of_noise(best: NDArray, fractions: NDArray) -> str:
    """What an argmax finds where alpha has no effect: best (T, F), the mean best alpha at each f in T simulated tables."""
    falls, steep = best[:, -1] < best[:, 0], np.abs(best[:, -1] - best[:, 0])
    return (
        f"{SEEN}Of {len(best)} tables in which alpha has no effect at all, the best alpha is smaller at "
        f"f = {fractions[-1]:.0%} than at f = {fractions[0]:.0%} in {falls.mean():.0%}, and the two lie "
        f"{steep.mean():.2f} apart on average. An argmax always points somewhere."
    )


def slopes(found: Mapping[str, pd.DataFrame], contrasts: Mapping[str, Interval], best: Mapping[str, pd.Series]) -> str:
    """The slope in alpha at each f, its interaction with log10 f, and the best alpha (f -> alpha), for each teacher."""
    said = []
    for name, line in found.items():
        said.append(trend(f"Accuracy with more weight on the {name}", "f", intervals(line, ("fraction",))))
        said.append(change("From f to ten times f, its slope", contrasts[name]))
    return f"{SEEN}{' '.join(said)}\n\n{_eq3(contrasts, best)}"


def _eq3(contrasts: Mapping[str, Interval], best: Mapping[str, pd.Series]) -> str:
    ways = {name: direction(value) for name, value in contrasts.items()}
    if FEW in ways.values():
        return "Too few seeds to say more."
    falls = [name for name, way in ways.items() if way == FALLS]
    if not falls:
        return "So Eq. 3 has no support here: no slope is seen to fall with f."
    said = []
    for name in falls:
        (first, *_, last), tops = best[name].index, best[name].to_numpy()
        both = (
            "and so does the best alpha of the means"
            if tops[-1] < tops[0]
            else "but the best alpha of the means does not"
        )
        said.append(
            f"With the {name} the slope falls, {both} ({tops[0]:g} at f = {first:.0%}, {tops[-1]:g} at {last:.0%})."
        )
    return (
        f"Eq. 3 needs both a slope and a best alpha that fall with f. {' '.join(said)} The best alpha of the means has no "
        "interval, and where the curve is flat it says nothing; the seeds' own best alphas, with intervals, are in the right "
        "panels of section 3."
    )


def rules(found: Mapping[str, Fitted]) -> str:
    """The fitted rules, with the 95% bootstrap interval of their tilt, and what they seem to gain."""
    rows, said = [], []
    for name, fitted in found.items():
        tilt, low, high = fitted.tilt()
        at_ends = [
            f"{alpha:g} at f = {f:.0%}" for f, alpha in zip(fitted.rule.fractions, fitted.rule.ends, strict=True)
        ]
        rows.append(
            [name, *at_ends, f"{tilt:+.2f} [{low:+.2f}, {high:+.2f}]", f"{fitted.constant:g}", f"{fitted.gain:+.2f}"]
        )
        way = "falls" if high < 0 else "rises" if low > 0 else "is not seen to change"
        said.append(f"with the {name} it {way}")
    ends = ["alpha at the smallest f", "alpha at the largest f"]
    header = ["teacher", *ends, "tilt [95% interval]", "best constant", "rule minus constant (points)"]
    way = f"Does alpha change along the fitted rule? {_upper(listed(said))}."
    return f"{SEEN}{way} On the accuracies that it was fitted to:\n\n{table(header, rows)}"


RULE = {RISES: "rule better", FALLS: "rule worse"}


def held_out(leads: Mapping[str, pd.DataFrame], fitted: Mapping[str, float], teachers: Mapping[str, float]) -> str:
    """The rule minus the best constant on data it was not fitted on: condition -> fraction, seed, difference.

    fitted: condition -> the gain on the fitted data; teachers: condition -> the test accuracy of its teacher. Where all
    differences are exactly zero, rule and constant are the same weight, and there is nothing to test.
    """
    rows, ways = [], {}
    for name, found in leads.items():
        overall, same = interval(found.groupby("seed").difference.mean()), not found.difference.any()
        ways[name] = (
            "the same weight everywhere: nothing to test" if same else RULE.get(direction(overall), direction(overall))
        )
        on_new = "none" if same else number(overall, 2)
        rows.append([name, f"{teachers[name]:.1f}%", f"{fitted[name]:+.2f}", on_new, ways[name]])
    gains = ["gain on the fitted data (points)", "gain on the held-out data (points)"]
    header = ["condition", "its teacher's accuracy", *gains, "reading"]
    better = [name for name, way in ways.items() if way == RULE[RISES]]
    worse = [name for name, way in ways.items() if way == RULE[FALLS]]
    end = (
        f"By the interval the rule is better than the best constant for {listed(better) or 'none'}, and worse for "
        f"{listed(worse) or 'none'}."
    )
    return f"{SEEN}Test accuracy, mean over the held-out fractions. {end}\n\n{table(header, rows)}"


def temperatures(found: Mapping[float, pd.DataFrame], first: float) -> str:
    """Differences to the first temperature: f -> tau, mean, half, n."""
    said = [
        trend(f"Accuracy at f = {f:.0%}, against tau = {first:g}", "tau", intervals(part[part.tau != first], ("tau",)))
        for f, part in found.items()
    ]
    return f"{SEEN}{' '.join(said)}"


def softness(entropy: Mapping[str, Mapping[float, float]], classes: int) -> str:
    """Each teacher's mean entropy (nats) over the kept samples at each temperature, beside that of a uniform answer."""
    rows = [
        [f"{tau:g}", *(f"{found[tau]:.2f} ({np.exp(found[tau]):.1f})" for found in entropy.values())]
        for tau in next(iter(entropy.values()))
    ]
    text = f"Mean entropy of the soft targets in nats, in brackets how many equally likely classes (of {classes}) have as much:"
    return f"{SEEN}{text}\n\n{table(['tau', *entropy], rows)}"


def gaps_beside(paper: pd.DataFrame, ours: Mapping[str, pd.DataFrame]) -> str:
    """alpha = 1 minus alpha = 0.5 in points: what DKDP prints, our numbers at its points, and those at other points."""
    rows, missing = [], []
    asked = set(zip(paper.pruning, paper.fraction, strict=True))
    beyond = [
        f"{named(row.pruning)} at {row.fraction:.0%} on {name} {number(Interval(row.mean, row.half, int(row.n)))}"
        for name, found in ours.items()
        for row in found.itertuples()
        if (row.pruning, row.fraction) not in asked
    ]
    for printed in paper.itertuples():
        bound = "more than" if printed.mean > 0 else "less than"
        told = [named(printed.pruning), f"{printed.fraction:.0%}", f"{bound} {printed.mean:+g}"]
        for name, found in ours.items():
            at = intervals(found, ("pruning", "fraction")).get((printed.pruning, printed.fraction))
            if at is None:
                missing.append(f"{named(printed.pruning)} at {printed.fraction:.0%} on {name}")
            told.append("not measured yet" if at is None else number(at))
        rows.append(told)
    lack = f"\n\nNot measured yet by us: {listed(missing)}." if missing else ""
    more = f"\n\nOurs at other points: {listed(beyond)}." if beyond else ""
    return f"Effects in points:\n\n{table(['pruning', 'f', 'paper, CIFAR-100', *ours], rows)}{more}{lack}"


def adaptive(paper: pd.DataFrame, ours: Mapping[float, Interval]) -> str:
    """Adaptive minus fixed alpha in points: MD's Tables 7 to 9 (difference and its spread), and ours by f."""
    fractions = sorted(ours)
    rows = []
    for (teacher, student), part in paper.groupby(["teacher", "student"], sort=False):
        at = {float(f): (d, s) for f, d, s in zip(part.fraction, part.difference, part.spread, strict=True)}
        cells = [f"{at[f][0]:+.2f} (sd {at[f][1]:.2f})" if f in at else "not printed" for f in fractions]
        rows.append([f"second paper, {teacher} to {student}", *cells])
    rows.append(["ours, digits", *(number(ours[f], 2) for f in fractions)])
    shown = paper[paper.fraction.isin(fractions)]
    equal = [f"{f:.0%}" for f in sorted(set(paper.fraction) - set(fractions))]
    beside = f" (at {listed(equal)} both weights are equal)" if equal else ""
    mean, large = shown.difference, shown.difference.abs() > shown.spread
    below = (
        f"Of the second paper's {len(mean)} differences at these f{beside} {(mean < 0).sum()} are below 0, and {large.sum()} "
        "exceed their standard deviation in size (sd; made from the two that the paper prints, as if both accuracies were "
        "independent)."
    )
    return f"{SEEN}{below} {_own_differences(ours)}\n\n{table(['pair', *(f'f = {f:.0%}' for f in fractions)], rows)}"


def _own_differences(ours: Mapping[float, Interval]) -> str:
    """One sentence: at which f our differences lie above and below zero, or that none does."""
    ways = {side: [f"{f:.0%}" for f in sorted(ours) if direction(ours[f]) == way] for side, way in SIDES.items()}
    told = [f"{side} 0 at f = {listed(at)}" for side, at in ways.items() if at]
    if not told:
        return "Of ours, no interval leaves out zero."
    return f"Ours, where the interval leaves out zero, are {listed(told)}."


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
