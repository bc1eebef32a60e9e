"""What lesson 05 says about soft targets, calibration and relations between classes, worded from the numbers.

Every function is pure and returns Markdown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from kdlib.analysis.classes import Agreement
from kdlib.analysis.statistics import Interval, interval, points, with_half
from kdlib.analysis.tell import (
    FALLS,
    FEW,
    RISES,
    SAME,
    SEEN,
    change,
    direction,
    enough_digits,
    listed,
    number,
    table,
)


def one_sample(soft: Mapping[str, NDArray], label: int, classes: Sequence[str], tau: float) -> str:
    """What each network says of one sample beside its label: name -> probabilities (K,); the first is the teacher."""
    rows = []
    for name, p in soft.items():
        others = [k for k in np.argsort(-p, kind="stable") if k != label][:3]
        rows.append([name, f"{p[label]:.0%}", listed([f"{classes[k]} ({p[k]:.0%})" for k in others])])
    header = ["network", f"label {classes[label]}", "next classes"]
    return (
        f"{SEEN}Soft predictions at $\\tau$ = {tau:g}:\n\n{table(header, rows)}\n\nOne sample and one pair of students."
    )


def parts(found: Mapping[str, tuple[float, float, float]]) -> str:
    """Mean divergence from the teacher in nats: student -> (label part, weighted rest, unweighted rest)."""
    rows = [[name, *(f"{value:.3f}" for value in values)] for name, values in found.items()]
    header = ["student", "label part", "rest, weighted", "rest, unweighted"]
    return f"{SEEN}Mean over the test samples, in nats:\n\n{table(header, rows)}"


def measures(found: Mapping[str, Mapping[str, ArrayLike]], reference: str = "KD", digits: int = 2) -> str:
    """Several measures of several kinds of student: measure -> kind -> (seeds,), paired by seed with `reference`."""
    kinds = list(next(iter(found.values())))
    rows = [[kind, *(_beside(values, kind, reference, digits) for values in found.values())] for kind in kinds]
    n = len(np.asarray(next(iter(next(iter(found.values())).values()))))
    text = f"Mean of n = {n} seeds with its 95% interval; in brackets how it lies to {reference}, seed by seed"
    return f"{SEEN}{text}:\n\n{table(['targets', *found], rows)}"


def _beside(values: Mapping[str, ArrayLike], kind: str, reference: str, digits: int) -> str:
    own, base = (np.asarray(values[name], dtype=np.float64) for name in (kind, reference))
    mean = interval(own)
    told = with_half(mean.mean, mean.half, digits, sign=False)
    ways = {RISES: "above", FALLS: "below", FEW: "too few"}
    return told if kind == reference else f"{told} ({ways.get(direction(interval(own - base)), SAME)})"


def softness_alone(
    what: str,
    found: Mapping[str, ArrayLike],
    baseline: str,
    treatment: str,
    without: Sequence[str],
    digits: int = 2,
    unit: str = "",
) -> str:
    """Whether soft targets `without` relations do as well as the treatment: kind -> (seeds,), more is better."""
    base = np.asarray(found[treatment], dtype=np.float64)
    gaps = {name: interval(base - np.asarray(found[name])) for name in (baseline, *without)}
    if any(direction(gap) == FEW for gap in gaps.values()):
        return f"In {what}: too few seeds to say whether softness alone is enough."
    if direction(gaps[baseline]) != RISES:
        return f"In {what}, no lead of {treatment} over {baseline} is detected, so there is none to explain."
    level = [name for name in without if direction(gaps[name]) != RISES]
    leads = listed(
        [f"{treatment} minus {name} {number(gaps[name], enough_digits(gaps[name], digits))}" for name in without]
    )
    if level:
        most = max(gaps[name].high for name in level)
        return (
            f"In {what}, {treatment} leads {baseline}, but no lead over {listed(level)} is detected: softness alone may be "
            f"enough for it ({leads}). A lead of up to {most:.{digits}f}{unit} is not excluded."
        )
    return (
        f"In {what}, {treatment} leads {baseline}, and also {listed(list(without))}, which give the label the same "
        f"probability on average but hold no relations: softness alone is not enough ({leads})."
    )


def calibration(
    errors: Mapping[str, ArrayLike],
    floors: Mapping[str, ArrayLike],
    sure: Mapping[str, ArrayLike],
    reference: str = "KD",
) -> str:
    """Calibration error, its floor and overconfidence in points: kind -> (seeds,)."""
    rows, too_sure, too_shy = [], [], []
    for kind, values in errors.items():
        lean = interval(sure[kind])
        way = direction(lean)
        too_sure += [kind] if way == RISES else []
        too_shy += [kind] if way == FALLS else []
        above = interval(np.asarray(values) - np.asarray(floors[kind]))
        rows.append([kind, _beside(errors, kind, reference, 2), number(above, 2), number(lean, 2)])
    header = [
        "targets",
        "calibration error (points; against KD)",
        "above its floor (points)",
        "confidence minus accuracy (points)",
    ]
    said = f"Detected as too sure: {listed(too_sure) or 'none'}; as not sure enough: {listed(too_shy) or 'none'}."
    if len(too_sure) == len(errors):
        said = f"All {len(errors)} kinds of student are detected as too sure, none as not sure enough."
    return f"{SEEN}{said}\n\n{table(header, rows)}"


def tree(found: Mapping[str, Agreement], counts: Mapping[str, int]) -> str:
    """Agreement of the teacher's relations with the confusions of others: name -> Mantel's test, name -> confusions."""
    rows, seen = [], []
    for name, value in found.items():
        rows.append([name, counts[name], f"{value.correlation:+.2f}", f"{value.p:.2g}"])
        seen += [name] if value.p <= 0.05 else []
    header = ["confusions of", "number", "rank correlation with the teacher's soft targets", "p (classes renamed)"]
    ends = f"The agreement is higher than renamed classes would give (p at most 0.05) for {listed(seen) or 'none of them'}."
    note = "The row of the teacher itself is not independent: both sides come from the same outputs."
    below = f"\n\n{note}" if "the teacher itself" in found else ""
    return f"{SEEN}{ends}\n\n{table(header, rows)}{below}"


def recovered(similarity: Mapping[str, Mapping[str, ArrayLike]]) -> str:
    """The class relations' correlation with the teacher's, beside D14: data -> kind of student -> one for each seed."""
    told = []
    for data, kinds in similarity.items():
        said = [f"{kind} {number(interval(values), 2)}" for kind, values in kinds.items()]
        told.append(f"on {data} {listed(said)}")
    return f"Correlation of the class relations with the teacher's, at temperature one: {'; '.join(told)}."


def recalibrated(best: float, gap: Interval, samples: int) -> str:
    """What a temperature chosen on one half of the test samples does on the other: gap is its error minus that at one."""
    if best == 1:
        return "The even samples choose 1, so that nothing changes on the odd ones."
    words = {RISES: "raises", FALLS: "lowers"}
    way = words.get(direction(gap))
    size = f"{abs(gap.mean):.2f} ± {gap.half:.2f} points against 1 (n = {gap.n})"
    told = f"On the odd ones that choice {way} the error by {size}."
    if way is None:
        told = change("On the odd ones, the error against that at 1", gap, digits=2)
    hint = f"A half has {samples} samples, so that chance has a part in the choice and in its test."
    return f"The even samples choose {best:g}. {told} {hint}"


def one_class(relations: pd.DataFrame, name: str, printed: Sequence[str]) -> str:
    """The classes that a teacher relates to one class, and where those that the paper names are found."""
    row = relations.loc[name].drop("superclass").astype(float).sort_values(ascending=False, kind="stable")
    places = {other: row.index.get_loc(other) + 1 for other in printed}
    group = relations.superclass[name]
    inside = [other for other in row.index[:4] if relations.superclass[other] == group]
    top = listed([f"{other} ({value:.1%})" for other, value in row.iloc[:5].items()])
    said = listed([f"{other} as number {place}" for other, place in places.items()])
    return (
        f"{SEEN}Of what our teacher does not give to *{name}*, the largest shares go to {top}. The paper's classes "
        f"are {said} of {len(row) - 1} others. Of the first 4, {len(inside)} are of the superclass *{group}*."
    )


def images_needed(found: pd.DataFrame, chance: float, right: float) -> str:
    """Soft targets against predicted classes with few images: a table of `classes.hierarchy`.

    right: the share of the images that the network classifies correctly; with one image of each class, the classes of
    these have no error to go by.
    """
    wide = found.pivot(index=["images", "part"], columns="source", values="share") * 100
    gap = (wide["soft targets"] - wide["predicted classes"]).rename("difference").reset_index()
    least = points(gap, ("images",), "difference").iloc[0]
    lead = Interval(float(least["mean"]), float(least["half"]), int(least["n"]))
    levels = found.groupby(["source", "images"]).share.mean()
    one = levels["soft targets"].iloc[0]
    hard = levels["predicted classes"]
    enough = hard[hard >= one]
    until = f"{enough.index[0]} images" if len(enough) else "none"
    return (
        f"{SEEN}From {hard.index[0]} image of each class, soft targets put {one:.0%} of the classes beside one of their own "
        f"superclass, predicted classes {hard.iloc[0]:.0%} (chance {chance:.0%}); the difference is {number(lead)} points over "
        f"disjoint parts of the images. Of the sizes tried, predicted classes reach that level with {until}. "
        f"With one image {1 - right:.0%} of the classes have an error, on average; of these alone, predicted classes put "
        f"{hard.iloc[0] / (1 - right):.0%} beside one of their own. One network, so this says nothing of other teachers."
    )
