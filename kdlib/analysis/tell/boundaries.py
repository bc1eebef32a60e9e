"""What a lesson says about decision boundaries: sentences and tables made from the numbers.

Every function is pure and returns Markdown. A table of drifts has the columns group (which samples the student was
trained on), seed and drift (percent of the points on which student and teacher predict different classes).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kdlib.analysis.statistics import Interval, interval
from kdlib.analysis.tell import FALLS, RISES, SEEN, SIDES, comparison, direction, level, listed, number
from kdlib.analysis.tell import table as as_table

GIVEN = "given this teacher"


def students(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """The rows of students that differ only in the difficulty of their samples: kept samples and test accuracy."""
    cells = [[name, row["kept"], f"{row['test_acc']:.1f}%"] for name, row in rows.items()]
    teacher = next(iter(rows.values()))["teacher_acc"]
    pruned = {name: row["test_acc"] for name, row in rows.items() if name != "all"}
    best, worst = max(pruned, key=pruned.__getitem__), min(pruned, key=pruned.__getitem__)
    return as_table(["trained on", "samples", "test accuracy"], cells) + (
        f"\n\nThe teacher has {teacher:.1f}%. Between the {best} and the {worst} samples lie "
        f"{pruned[best] - pruned[worst]:.1f} points, of one student each."
    )


def _side(found: Interval) -> str:
    return SIDES.get(way := direction(found), way)


def widths(table: pd.DataFrame, drawn: int | None = None) -> str:
    """Drift of toy students by width (units a layer) and group, and whether hard samples make it larger than medium ones.

    table: columns width, group, seed and drift (percent); a seed is a draw of the toy with its own teacher.
    drawn: the draw that a figure shows with the smallest width.
    """
    rows, ways = [], {}
    for width, part in table.groupby("width"):
        wide = _wide(part, "drift")
        gap = _gap(wide, "hard", "medium")
        ways[width] = direction(gap)
        shown = [level(interval(wide[name])) for name in ("easy", "medium", "hard")]
        rows.append([width, *shown, number(gap), _side(gap)])
    head = ["units a layer", "easy: drift (%)", "medium", "hard", "hard minus medium (points)", "reading"]
    there = [str(width) for width, way in ways.items() if way == RISES]
    told = (
        f"Hard samples make the drift larger than medium ones with {listed(there)} units"
        if there
        else "With neither width do hard samples make the drift detectably larger than medium ones"
    )
    smaller = [str(width) for width, way in ways.items() if way == FALLS]
    told += f"; with {listed(smaller)} units they make it detectably smaller" if smaller else ""
    told += f". {_exception(_wide(table[table.width == table.width.min()], 'drift'), drawn)}"
    return f"{SEEN}\n\n{as_table(head, rows)}\n\n{told}The toy has one kind of border; section 5 has the experiment."


def _exception(wide: pd.DataFrame, drawn: int | None) -> str:
    """That the draw in a figure has hard and medium samples in the other order than most others, if it has."""
    gaps = wide["hard"] - wide["medium"]
    if drawn not in gaps.index or len(gaps) < 2 or gaps[drawn] * gaps.drop(drawn).median() >= 0:
        return ""
    others = wide["hard"].drop(drawn)
    return (
        f"The draw in the figure (seed {drawn}) has a drift of {wide['hard'][drawn]:.0f}% on hard samples, the others between "
        f"{others.min():.0f} and {others.max():.0f}%: one picture would have told the opposite story. "
    )


def same_maps(found: Mapping[str, float], number_of_points: int) -> str:
    """Share of a picture's points (percent) on which each student differs from the teacher."""
    said = [f"{name} {share:.0f}%" for name, share in found.items()]
    return (
        f"{SEEN}On the {number_of_points:,} points of this one plane the students differ from the teacher on: "
        f"{listed(said)}. Another plane gives other shares: a picture is an example, not a measurement."
    )


def _wide(table: pd.DataFrame, column: str) -> pd.DataFrame:
    return table.pivot(index="seed", columns="group", values=column)


def drifts(table: pd.DataFrame, groups: Sequence[str]) -> str:
    """Each group's drift, and its paired difference to the students on all the data, seed by seed."""
    wide = _wide(table, "drift")
    rows = [
        [name, level(interval(wide[name])), _against(wide, name, "all"), _side(_gap(wide, name, "all"))]
        for name in groups
    ]
    rows.append(["all", level(interval(wide["all"])), "", ""])
    head = ["trained on", "drift (%)", "minus all data, paired (points)", "reading"]
    return f"{SEEN}Share of the points whose class differs from the teacher's, {GIVEN}:\n\n" + as_table(head, rows)


def _gap(wide: pd.DataFrame, first: str, second: str) -> Interval:
    return interval(wide[first] - wide[second])


def _against(wide: pd.DataFrame, first: str, second: str) -> str:
    return number(_gap(wide, first, second))


def paper_order(table: pd.DataFrame, pairs: Sequence[tuple[str, str]], fraction: float) -> str:
    """Whether one group drifts more than another, for each pair (the one that the paper has drift more, the other)."""
    wide = _wide(table, "drift")
    said: list[str] = []
    agree: list[str] = []
    against: list[str] = []
    for first, second in pairs:
        found = _gap(wide, first, second)
        said.append(comparison(f"the drift on {first}", f"that on {second}", found))
        way = direction(found)
        agree += [first] if way == RISES else []
        against += [first] if way == FALLS else []
    verdict = (
        f"Of {len(pairs)} comparisons, {len(agree)} differ with the paper's sign, {len(against)} with the opposite one, and "
        f"{len(pairs) - len(agree) - len(against)} cannot be told from no difference."
    )
    return f"At f = {fraction:.0%}, {GIVEN}: {'; '.join(part.rstrip('.') for part in said)}. {verdict}"


def opening(table: pd.DataFrame, pairs: Sequence[tuple[str, str]], fraction: float) -> str:
    """The sentence of `paper_order` for the lesson's opening question."""
    return f"**Back to the opening question.** {paper_order(table, pairs, fraction)}"


def accuracy_goes_along(table: pd.DataFrame) -> str:
    """Correlation, over the groups' means, of drift with test accuracy."""
    means = table.groupby("group")[["drift", "test_acc"]].mean()
    r = float(np.corrcoef(means["drift"], means.test_acc)[0, 1])
    order = listed(list(means.sort_values("drift").index))
    return (
        f"From the least drift to the most: {order}. Over these {len(means)} means drift and test accuracy have a "
        f"correlation of {r:+.2f}; that they go together is no proof that one causes the other."
    )


def epochs(curves: Mapping[str, NDArray], at: Sequence[int], first: str, second: str) -> str:
    """Paired difference of drift between two groups after some epochs (1-based); curves: group -> (seeds, E) percent."""
    rows = []
    for epoch in at:
        a, b = (curves[name][:, epoch - 1] for name in (first, second))
        found = interval(a - b)
        rows.append([epoch, level(interval(a)), level(interval(b)), number(found), _side(found)])
    head = ["epoch", f"{first}: drift (%)", f"{second}: drift (%)", f"{first} minus {second} (points)", "reading"]
    return f"{SEEN}Drift while the students train, {GIVEN}:\n\n" + as_table(head, rows)


def map_seeds(table: pd.DataFrame, kept: Sequence[float], neighbours: int) -> str:
    """What a t-SNE map changes with its seed: columns group, map_seed, drift (percent of the map's area).

    kept: share of each sample's nearest neighbours that two maps have in common, in [0, 1], for pairs of seeds.
    """
    wide = table.pivot(index="map_seed", columns="group", values="drift")
    first, second = list(wide.columns)[:2]
    ahead = int((wide[first] > wide[second]).sum())
    ranges = [f"{name} from {wide[name].min():.1f} to {wide[name].max():.1f}%" for name in wide]
    return (
        f"{SEEN}Area that changes its class, over {len(wide)} seeds of t-SNE: {listed(ranges)}. The {first} samples "
        f"change more of it than the {second} ones in {ahead} of {len(wide)} maps. Of a sample's "
        f"{neighbours} nearest neighbours two maps share {100 * np.mean(kept):.0f}% on average."
    )


def nearest_kept(first: NDArray, second: NDArray, neighbours: int = 10) -> float:
    """Share of each sample's nearest neighbours in one map (N, 2) that are so in the other, in [0, 1]."""
    found = []
    for xy in (first, second):
        apart = np.square(xy[:, None] - xy[None]).sum(-1)
        np.fill_diagonal(apart, np.inf)
        near = np.zeros(apart.shape, dtype=bool)
        np.put_along_axis(near, np.argsort(apart, axis=1, kind="stable")[:, :neighbours], True, axis=1)
        found.append(near)
    return float((found[0] & found[1]).sum() / (neighbours * len(first)))


QUANTITIES = {"gradient_sd": "gradient SD", "mutual_information": "mutual information (nats)"}


def beside(records: pd.DataFrame, order: Sequence[str] = ("easy", "medium", "hard")) -> str:
    """The order that the paper's Table 2 has, from the largest, beside our means and paired steps along that order.

    The last step is from its first to its last group.
    """
    rows = []
    for column, name in QUANTITIES.items():
        wide = _wide(records, column)
        ours = listed([f"{group} {wide[group].mean():.3f}" for group in order])
        steps = []
        for a, b in [*zip(order, order[1:], strict=False), (order[0], order[-1])]:
            found = _gap(wide, a, b)
            steps.append(f"{a} − {b}: {number(found, 3)}, {_agrees(found)}")
        rows.append([name, " > ".join(order), ours, "; ".join(steps)])
    head = ["quantity", "paper (CIFAR-100)", "ours, means", "ours, steps (paired), beside the paper's order"]
    return f"{SEEN}Table 2's order and ours, {GIVEN}:\n\n" + as_table(head, rows)


def _agrees(found: Interval) -> str:
    return {RISES: "as in the paper", FALLS: "the opposite"}.get(way := direction(found), way)


def at_places(found: Mapping[str, Mapping[float, Interval]]) -> str:
    """Drift (percent) at single places of the lines between samples: group -> place -> interval."""
    places = list(next(iter(found.values())))
    rows = [[name, *(level(values[place]) for place in places)] for name, values in found.items()]
    head = ["trained on", *(f"place {place:g}" for place in places)]
    return as_table(head, rows) + "\n\nPlace 0 is the samples themselves. Percent, 95% interval."
