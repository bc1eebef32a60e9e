"""What a lesson says about accuracy with and without KD: sentences and tables made from the numbers.

Every function is pure, takes tables of `kdlib.analysis.statistics` and returns Markdown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kdlib.analysis.names import named
from kdlib.analysis.statistics import Interval, interval, intervals, points
from kdlib.analysis.tell import SEEN, SIDES, change, direction, enough_digits, listed, number
from kdlib.analysis.tell import folded as folded
from kdlib.analysis.tell import guess as guess
from kdlib.analysis.tell import level as level
from kdlib.analysis.tell import table as as_table


def two_students(plain: Mapping[str, Any], taught: Mapping[str, Any]) -> str:
    """Two rows of `run` that differ in the teacher alone."""
    gap = taught["test_acc"] - plain["test_acc"]
    word = "more" if gap > 0 else "less"
    return (
        f"Both students train on the same {plain['kept']} samples ({plain['scorer']}, f = {plain['fraction']:.0%}), for "
        f"{plain['steps']} steps, from the same initial weights. Without a teacher: **{plain['test_acc']:.1f}%**. With a "
        f"teacher of {taught['teacher_acc']:.1f}%: **{taught['test_acc']:.1f}%**, {abs(gap):.1f} points {word}."
    )


def teacher_answers(q: NDArray, hot: NDArray, sample: int, label: int, classes: Sequence[str], tau: float) -> str:
    """What the teacher says of one sample and of all, at temperature 1 (q, (N, K)) and at tau (hot, (N, K))."""
    first, second = np.argsort(-q[sample], kind="stable")[:2]
    return (
        f"{SEEN}Of this kept sample, with the label {classes[label]}, the teacher says at $\\tau$ = 1: "
        f"class {classes[first]} with {q[sample, first]:.0%}, class {classes[second]} with {q[sample, second]:.0%}. Of "
        f"{np.mean(q.max(axis=1) > 0.99):.0%} of all samples it is more than 99% sure. At $\\tau$ = {tau:g} the likeliest "
        f"class gets {hot.max(axis=1).mean():.0%} on average."
    )


def by_hand(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], rows: Mapping[str, Mapping[str, Any]]
) -> str:
    """Loss and accuracy of the students trained by hand (losses, accuracies per epoch), beside the rows of `run`."""
    table = [
        [name, f"{losses[0]:.2f}", f"{losses[-1]:.2f}", f"{found[-1]:.2f}%", f"{rows[name]['test_acc']:.2f}%"]
        for name, (losses, found) in curves.items()
    ]
    falls = sum(losses[-1] < losses[0] for losses, _ in curves.values())
    text = f"{SEEN}The mean loss falls from the first epoch to the last for {falls} of {len(curves)} students.\n\n"
    return text + as_table(
        ["student", "loss, first epoch", "last epoch", "accuracy by hand", "accuracy of `run`"], table
    )


def one_answer(soft: Mapping[str, NDArray], label: int, classes: Sequence[str], tau: float) -> str:
    """The likeliest class of each network for one sample: name -> probabilities (K,) at temperature tau."""
    firsts = {name: int(p.argmax()) for name, p in soft.items()}
    said = listed([f"the {name} {classes[k]} ({soft[name][k]:.0%})" for name, k in firsts.items()])
    return (
        f"{SEEN}The marked bar is the label, {classes[label]}. At $\\tau$ = {tau:g} the likeliest class of this "
        f"sample is for {said}. One sample proves nothing, so look at all."
    )


def nearness(divergence: Mapping[str, float], tau: float) -> str:
    """Mean divergence (nats) of each student's soft predictions from the teacher's on the test samples."""
    near, far = sorted(divergence, key=lambda name: divergence[name])
    return (
        f"Over all test samples the mean divergence from the teacher at $\\tau$ = {tau:g} is "
        f"{divergence[near]:.2f} nats for the student {near} and {divergence[far]:.2f} for the one {far}: the student "
        f"{near} is closer to the teacher's answers. One pair of students, so no interval."
    )


def ends(table: pd.DataFrame, full: Interval, alpha: float, prunings: Sequence[str]) -> str:
    """A table of the curves' ends: accuracy without and with KD at the smallest and the largest f."""
    at = intervals(points(table, ("fraction", "pruning", "alpha")), ("fraction", "pruning", "alpha"))
    rows = [
        [f"{f:.0%}", named(name), *(level(at[f, name, a]) for a in (0.0, alpha))]
        for f in (table.fraction.min(), table.fraction.max())
        for name in prunings
    ]
    text = f"{SEEN}The curves' ends in percent, 95% interval, n = {full.n}. All data, no KD: {level(full)}.\n\n"
    return text + as_table(["f", "pruning", "without KD", "with KD"], rows)


def gains(found: pd.DataFrame) -> str:
    """Where KD adds most, and at how many points it certainly adds or takes (columns pruning, fraction, mean, half, n)."""
    ordered = found.sort_values("mean", ascending=False)
    ends = ordered.iloc[[0, -1] if len(ordered) > 1 else [0]]
    said = []
    for _, row in ends.iterrows():
        digits = 1 if round(row["mean"], 1) else 2  # a second digit tells on which side of zero a small mean lies
        size = f"{row['mean']:+.{digits}f} ± {row.half:.{digits}f}"
        said.append(f"{size} ({named(row.pruning)}, f = {row.fraction:.0%})")
    said = [text.replace(" ± nan", "") for text in said]
    low, high = (ends["mean"] - ends.half).iloc[0], (ends["mean"] + ends.half).iloc[-1]
    overlap = (
        "; their intervals overlap, so that these alone do not tell the two apart"
        if len(said) > 1 and low <= high
        else ""
    )
    which = "Largest and smallest gain" if len(said) > 1 else "Gain"
    up, down = (found["mean"] > found.half).sum(), (found["mean"] < -found.half).sum()
    rest = len(found) - up - down
    return (
        f"{SEEN}{which} in points: {listed(said)}{overlap}. The 95% interval lies above zero at {up} of {len(found)} "
        f"points, below zero at {down or 'none'}, and contains zero at {rest or 'none'}."
    )


def against_random(leads: Mapping[str, pd.DataFrame]) -> str:
    """At which f random beats at least one scorer or loses to one: title -> pruning, fraction, mean, half, n."""
    said = []
    for kind, lead in leads.items():
        ahead, behind = lead[lead["mean"] > lead.half], lead[lead["mean"] < -lead.half]
        wins, losses = (listed([f"{f:.0%}" for f in sorted(set(part.fraction))]) or "none" for part in (ahead, behind))
        said.append(f"{kind}, random beats at least one scorer at f = {wins} and loses to at least one at f = {losses}")
    count = sum(len(lead) for lead in leads.values())
    where = f"Where the 95% interval leaves out zero ({count} intervals, not corrected for their number)"
    return f"{SEEN}{where}: {'; '.join(said)}."


def beside(paper: pd.DataFrame, ours: pd.DataFrame, missing: Sequence[str]) -> str:
    """A table of the paper's and our gains where both have a point, and one sentence on what is missing."""
    both = paper.merge(ours, on=["pruning", "fraction"], suffixes=("_paper", "_ours"))
    rows = [
        [named(row.pruning), f"{row.fraction:.0%}", row.where, f"{row.mean_paper:+.1f}",
         str(Interval(row.mean_ours, row.half_ours, row.n_ours)),
         str(Interval(row.mean_ours - row.mean_paper, row.half_ours, row.n_ours))]
        for row in both.itertuples()
    ]  # fmt: skip
    header = ["pruning", "f", "where in the paper", "paper: KD minus no KD", "ours", "ours minus paper"]
    table = as_table(header, rows) if rows else "No point is measured in both yet."
    lack = f"\n\nNot measured yet by us: {listed(missing)}." if missing else ""
    return f"Effects in points, CIFAR-100:\n\n{table}{lack}"


def enough(table: pd.DataFrame, full: Interval) -> str:
    """The smallest sufficient f: students of one pruning with KD, beside the level of all data without."""
    found = points(table, ("fraction",))
    reached = found[found["mean"] >= full.mean]
    if reached.empty:
        best = found.loc[found["mean"].idxmax()]
        said = f"none reaches it on average; f = {best.fraction:.0%} comes closest, with {best['mean']:.1f}%"
    else:
        said = (
            f"the smallest whose mean reaches it is {reached.fraction.min():.0%}, with {reached.iloc[0]['mean']:.1f}%"
        )
    return f"The line is at {level(full)}%. Of the fractions of the sweep {said}. Mind both intervals."


def spreads(found: Mapping[str, pd.Series]) -> str:
    """Best minus worst pruning within a seed: kind -> points by (fraction, seed); the kinds are paired by seed."""
    first, second = found
    rows = []
    for f in sorted(found[first].index.unique("fraction")):
        values = [found[kind].loc[f].sort_index() for kind in (first, second)]
        apart = interval(values[1] - values[0])
        told = change("the spread", apart, digits=enough_digits(apart))
        rows.append([f"{f:.0%}", *(level(interval(v)) for v in values), told])
    header = ["f", *(f"best minus worst, {kind} (points)" for kind in found), f"from {first} to {second}"]
    return f"{SEEN}Mean over n = {len(values[0])} seeds, 95% interval:\n\n" + as_table(header, rows)


def other_reasons(kinds: Mapping[str, pd.DataFrame]) -> str:
    """What else moves a spread: the mean accuracy of two kinds of student, and their standard deviation over seeds."""
    (first, one), (second, other) = kinds.items()
    levels = [part.test_acc.mean() for part in (one, other)]
    deviations = [part.groupby(["pruning", "fraction"]).test_acc.std().mean() for part in (one, other)]
    word = "higher" if levels[1] > levels[0] else "lower"
    text = f"On average over all points the students {second} lie {word} ({levels[1]:.1f}% beside {levels[0]:.1f}% {first})"
    if not np.isfinite(deviations).all():
        return f"{text}."
    varied = "less" if deviations[1] < deviations[0] else "more"
    return (
        f"{text} and vary {varied} from seed to seed (a standard deviation of {deviations[1]:.1f} points beside "
        f"{deviations[0]:.1f}). Both move the spread, whatever the choice of samples does."
    )


def recorded_otherwise(lead: pd.DataFrame) -> str:
    """Samples that are forgotten most under augmentation minus random ones: alpha, fraction, mean, half, n; may be empty."""
    said = []
    for row in lead.to_dict("records"):
        found = Interval(float(row["mean"]), float(row["half"]), int(row["n"]))
        kind = f"with KD (alpha = {row['alpha']:g})" if row["alpha"] else "without KD"
        side = SIDES.get(direction(found), direction(found))
        said.append(f"{kind} at f = {row['fraction']:.0%} {number(found, enough_digits(found))}, {side}")
    if not said:
        return ""
    return (
        "**Does it matter which training is scored?** DeepCore, and the study's own recipe, count forgetting events in a "
        "training without augmentation. A control counts them in one with the students' own augmentation, in which some "
        "samples are never right and so count no event. Forgetting minus random in points, given these scores: "
        f"{'; '.join(said)}."
    )
