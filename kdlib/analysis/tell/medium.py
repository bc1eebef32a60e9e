"""What a lesson says about medium-difficulty samples and reshaped logits: sentences and tables made from the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from kdlib.analysis.effects import self_distilled
from kdlib.analysis.names import named
from kdlib.analysis.statistics import Interval, interval, intervals, points
from kdlib.analysis.tell import FALLS, RISES, SEEN, SIDES, direction, enough_digits, level, listed, number, trend
from kdlib.analysis.tell import table as as_table

GROUPS = ("easy", "medium", "hard")


def students(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Rows of `run` that differ in the kept samples alone, best first; one student each."""
    ranked = sorted(rows.items(), key=lambda item: -item[1]["test_acc"])
    first = ranked[0][1]
    table = as_table(["kept samples", "test accuracy"], [[name, f"{row['test_acc']:.1f}%"] for name, row in ranked])
    return (
        f"Each student trains on {first['kept']} samples (f = {first['fraction']:.0%}), for {first['steps']} steps, with the "
        f"same teacher of {first['teacher_acc']:.1f}%. One student each, so no interval:\n\n{table}"
    )


def windows(certainty: NDArray, kept: Mapping[str, NDArray], what: str) -> str:
    """The teacher's mean probability of the label, certainty (N,), in each window (name -> ids)."""
    rows = [[name, f"{certainty[ids].mean():.1%}", f"{certainty[ids].min():.1%}"] for name, ids in kept.items()]
    header = ["window", "teacher's probability of the label, mean", "smallest"]
    return f"{SEEN}{what}\n\n" + as_table(header, rows)


def gap(records: pd.DataFrame, taught: pd.DataFrame) -> str:
    """Teacher's minus student's training accuracy by group, and who gets the hard group right: tables as in `who_learns`."""
    apart = records.assign(test_acc=records.teacher_acc - records.student_acc)
    at = intervals(points(apart, ["group"]), ["group"])
    said = listed([f"{at[group]} on {group}" for group in GROUPS])
    hard = intervals(points(taught[taught.group == "hard"], ["kept"]), ["kept"])
    best = max(hard, key=lambda name: hard[name].mean)
    ceiling = " The teacher knows nearly all training samples, so there is little room." if _ceiling(records) else ""
    return (
        f"{SEEN}Trained on all samples, the teacher's lead in points over its students (n = {at['hard'].n}, given this "
        f"teacher): {said}.{ceiling} Of the students that are trained on a part, those of *{best}* samples get most of the "
        f"hard samples right that none of them has seen: {level(hard[best])}%."
    )


def _ceiling(records: pd.DataFrame) -> bool:
    return bool(records.teacher_acc.min() > 99 and records.student_acc.mean() > 99)


def by_fraction(found: pd.DataFrame, column: str, base: str) -> str:
    """Where each value of `column` certainly beats `base`, where it loses: columns `column`, fraction, mean, half, n."""
    return "\n".join(
        f"- {_along_f(f'{label(name)} minus {base}', part)}" for name, part in found.groupby(column, sort=False)
    )


def _along_f(what: str, found: pd.DataFrame) -> str:
    return trend(what, "f", {f"{f:.0%}": v for f, v in intervals(found, ["fraction"]).items()}, SIDES)


LABELS = {"difficulty": "hard", "difficulty easiest": "easy", "herding_centre": "herding"}


def label(name: str) -> str:
    """The name of a pruning in the medium-difficulty paper's words; others as everywhere."""
    return LABELS.get(name, named(name))


def samples(found: pd.DataFrame) -> str:
    """The first table of the paper on our rows: each kind of samples minus random, by f."""
    n = int(found.n.min())
    text = f"{SEEN}A difference counts where its 95% interval leaves out zero (n = {n} pairs, given this teacher):"
    return f"{text}\n\n{by_fraction(found, 'pruning', 'random')}"


def hump(slope: pd.DataFrame, over_easy: pd.DataFrame, over_hard: pd.DataFrame) -> str:
    """The shape of each column of the map: by f, the hard end minus the easy one, and the middle minus each end."""
    differences = [intervals(found, ["fraction"]) for found in (slope, over_easy, over_hard)]
    rows = [
        [f"{f:.0%}", *(str(at[f]) for at in differences), _shape(*(at[f] for at in differences))]
        for f in differences[0]
    ]
    header = ["f", "hard minus easy (points)", "middle minus easy", "middle minus hard", "shape"]
    return f"{SEEN}The shape of each column (n = {int(slope.n.min())} seeds, 95% interval):\n\n" + as_table(
        header, rows
    )


def _shape(slope: Interval, over_easy: Interval, over_hard: Interval) -> str:
    ways = {direction(over_easy), direction(over_hard)}
    if ways in ({RISES}, {FALLS}):
        return "hump" if ways == {RISES} else "valley"
    return {RISES: "rises from easy to hard", FALLS: "falls from easy to hard"}.get(direction(slope), "none detected")


def top_windows(found: pd.DataFrame) -> str:
    """The highest mean of each column of the map, and which centres it cannot be told from by eye: centre, fraction, mean."""
    tops = [group.loc[group["mean"].idxmax()] for _, group in found.groupby("fraction")]
    told = listed([f"{row.centre:g} at f = {row.fraction:.0%} ({row['mean']:+.1f} points)" for row in tops])
    return (
        f"The centre with the highest mean: {told}. A maximum over several noisy means is flattered by chance, and choosing "
        "it here would be choosing on the test set: it describes these students, no more."
    )


def reshaping(logits: NDArray, std: NDArray, kept: Mapping[str, NDArray], labels: NDArray, tau: float) -> str:
    """What the class-wise reshape does to the temperature of each window: logits (N, K), std (K,) the class means."""
    ratio = std[labels] / logits.std(axis=1, ddof=1)
    rows = []
    for name, ids in kept.items():
        ratios = ratio[ids]
        rows.append(
            [name, f"{ratios.mean():.2f}", f"{ratios.min():.2f} to {ratios.max():.2f}", f"{tau / ratios.mean():.1f}"]
        )
    header = ["window", "mean factor on the logits", "smallest to largest", f"teacher's τ = {tau:g} acts as"]
    return f"{SEEN}A factor above one sharpens the teacher's answer, one below softens it.\n\n" + as_table(header, rows)


def reshapes(found: pd.DataFrame) -> str:
    """Each reshape minus none, by f: columns reshape, fraction, mean, half, n."""
    n = int(found.n.min())
    return f"{SEEN}Against no reshaping, on medium samples (n = {n} pairs, given this teacher):\n\n" + by_fraction(
        found, "reshape", "none"
    )


def methods(found: pd.DataFrame) -> str:
    """A table of methods by f: accuracy minus random in points; bold where the interval leaves out zero."""
    fractions = sorted(found.fraction.unique())
    rows = []
    for name in dict.fromkeys(found.pruning):
        at = intervals(found[found.pruning == name], ["fraction"])
        rows.append([label(name), *(_cell(at[f]) if f in at else "" for f in fractions)])
    header = ["kept samples", *(f"f = {f:.0%}" for f in fractions)]
    return (
        f"{SEEN}Minus random, in points, n = {int(found.n.min())}; bold where the 95% interval leaves out zero.\n\n"
        + (as_table(header, rows))
    )


def _cell(found: Interval) -> str:
    digits = enough_digits(found)
    text = f"{found.mean:+.{digits}f} ± {found.half:.{digits}f}" if digits > 1 else str(found)
    return f"**{text}**" if direction(found) in (RISES, FALLS) else text


def printed(found: pd.DataFrame) -> str:
    """The paper's own differences: how many of its points have an interval above zero, in words; `published` made them."""
    up, down = (found["mean"] > found.half).sum(), (found["mean"] < -found.half).sum()
    size = interval(found["mean"])
    return (
        f"In the paper's Tables 7 to 9 the method leads random by {found['mean'].min():+.1f} to {found['mean'].max():+.1f} "
        f"points, {size.mean:+.1f} on average over {len(found)} points. With its printed spreads, Welch's 95% interval lies "
        f"above zero at {up} of them, below at {down}."
    )


def ours(found: pd.DataFrame, series: Sequence[str], where: str, teacher: str = "") -> str:
    """Our differences from random on the paper's data (columns line and series), or that a series has none yet.

    teacher: of `given`.
    """
    there = set(found.series) if len(found) else set()
    lines = [by_fraction(found, "line", "random")] if there else []
    lines += [f"- {name}: not measured yet." for name in series if name not in there]
    return f"On {where}, ours{teacher}:\n\n" + "\n".join(lines)


def given(rows: pd.DataFrame) -> str:
    """ ", given this teacher" where all self-distilled students of a study have one teacher, else nothing.

    All students count in a study without self-distilled ones.
    """
    own = self_distilled(rows)
    own = own if len(own) else rows
    taught = own[own.loss != "cross_entropy"] if len(own) else own
    return (
        ", given this teacher"
        if len(taught) and taught[["teacher", "teacher_seed"]].drop_duplicates().shape[0] == 1
        else ""
    )


def shared_fractions(theirs: Sequence[float], mine: Sequence[float]) -> str:
    """At which f the panels of CIFAR-100 can be compared, or that they share none; nothing while we have no point."""
    paper, own = sorted(set(theirs)), sorted(set(mine))
    if not own:
        return ""
    both = [f"{f:.0%}" for f in own if f in paper]
    if both:
        return f"Both CIFAR-100 panels have f = {listed(both)}."
    points_at = "our point is" if len(own) == 1 else "our points are"
    return (
        f"**First of all, f differs:** the paper's tables begin at {paper[0]:.0%}, {points_at} at "
        f"{listed([f'{f:.0%}' for f in own])}, so the two CIFAR-100 panels share no point."
    )


def precisions(found: Mapping[str, pd.DataFrame]) -> str:
    """The same difference by the precision of both arms, of `contrasts.by_precision`; nothing where there is one alone."""
    if not found:
        return ""
    told, decided = [], True
    for name, part in found.items():
        at = intervals(part, ["fraction"])
        told.append(f"{name}: {listed([f'{number(v)} at f = {f:.0%}' for f, v in at.items()])}")
        decided &= all(direction(v) in (RISES, FALLS) for v in at.values())
    n = min(int(part.n.min()) for part in found.values())
    doubt = "" if decided else f" With n = {n} the precision could hide or feign a difference of this size."
    return f"**The precision differs** (points). {told[0][0].upper()}{'; '.join(told)[1:]}.{doubt}"


def opening(samples_found: pd.DataFrame, reshapes_found: pd.DataFrame, dataset: str) -> str:
    """What both steps of the paper's method did, for the lesson's opening question: medium samples, class-wise reshape."""
    n = sorted({int(samples_found.n.min()), int(reshapes_found.n.min())})
    steps = [
        _along_f("medium minus random", samples_found[samples_found.pruning == "medium"]),
        _along_f("on medium samples, class-wise minus none", reshapes_found[reshapes_found.reshape == "class-wise"]),
    ]
    many = f"n = {listed(n)}, given this teacher"
    return (
        f"**Back to the opening question, on {dataset}** ({many}): {steps[0][:-1]}. {steps[1][0].upper()}{steps[1][1:]}"
    )


def closest(found: Mapping[float, Interval], names: Sequence[str]) -> str:
    """The solution of an exercise: differences of two sets of students by a parameter's value."""
    near = min(found, key=lambda value: abs(found[value].mean))
    told = listed([f"{value:g}: {found[value]}" for value in found])
    return f"{names[0]} minus {names[1]} in points, by value: {told}. The closest is {near:g}. Mind the intervals."
