"""What a lesson says about costs: sentences and tables made from the numbers. Every function is pure and returns Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from kdlib.analysis.costs import Cost, break_even
from kdlib.analysis.statistics import Interval, interval
from kdlib.analysis.tell import FALLS, RISES, SAME, SEEN, SIDES, comparison, direction, folded, level, number, percent
from kdlib.analysis.tell import table as as_table


def two_runs(full: Mapping[str, Any], pruned: Mapping[str, Any]) -> str:
    """Two rows of `run`: all the data without a teacher, and a part of it with one."""
    share = pruned["student_images"] / full["student_images"]
    all_of_it = sum(pruned[name] for name in ("student_images", "teacher_images", "score_images"))
    return (
        f"All data, no teacher: **{full['test_acc']:.1f}%** for {full['student_images']:,} image steps. A random "
        f"{pruned['fraction']:.0%} with a teacher: **{pruned['test_acc']:.1f}%** for {pruned['student_images']:,}, which is "
        f"{share:.0%} of them. With the teacher's own training it is {all_of_it:,}, {all_of_it / full['student_images']:.0%}. "
        "One seed, so no interval."
    )


def columns(row: Mapping[str, Any], mine: Mapping[str, int]) -> str:
    """The image steps of one run, counted by hand, beside the row's: part -> count."""
    names = {
        "student": "student_images",
        "teacher": "teacher_images",
        "scoring": "score_images",
        "cache": "cache_images",
    }
    rows = [[part, f"{mine[part]:,}", f"{row[column]:,}"] for part, column in names.items()]
    return f"{SEEN}Images presented:\n\n" + as_table(["part", "by hand", "row of `run`"], rows)


def operations(found: Mapping[str, tuple[float, float]]) -> str:
    """Floating-point operations for one image: network -> (forward pass, step)."""
    rows = [
        [name, f"{forward:,.0f}", f"{step:,.0f}", f"{step / forward:.2f}"] for name, (forward, step) in found.items()
    ]
    return f"{SEEN}Operations for one image:\n\n" + as_table(["network", "forward", "step", "step / forward"], rows)


def infobatch(shares: Mapping[float, float], epochs: int) -> str:
    """What InfoBatch presents: kept fraction of the easy samples -> share of the images presented in a whole training."""
    rows = [[f"{kept:.0%}", f"{share:.0%}", f"{1 - share:.0%}"] for kept, share in shares.items()]
    text = f"{SEEN}Shares over {epochs} epochs, mean over seeds:\n\n"
    return text + as_table(["easy samples that stay in an epoch", "images presented", "saved"], rows)


def against_full(found: pd.DataFrame) -> str:
    """Methods against all data without KD: columns name, share (cost of a student), mean, half, n (points)."""
    rows, equal = [], []
    for row in found.to_dict("records"):
        value = Interval(float(row["mean"]), float(row["half"]), int(row["n"]))
        rows.append([row["name"], f"{row['share']:.0%}", number(value), _side(value)])
        equal += [row["name"]] if direction(value) in (SAME, RISES) else []
    text = f"{SEEN}Not detected below all data without KD: {'; '.join(equal) or 'none'}.\n\n"
    return text + as_table(["method", "cost of a student", "accuracy minus all data, no KD (points)", "reading"], rows)


def shorter(found: pd.DataFrame, what: str) -> str:
    """Pruned minus shorter training at equal cost: columns fraction, mean, half, n (points); `what` names the two."""
    said = []
    for row in found.to_dict("records"):
        value = Interval(float(row["mean"]), float(row["half"]), int(row["n"]))
        said.append([f"{row['fraction']:.0%}", number(value), _side(value)])
    return f"{SEEN}{what}, seed by seed:\n\n" + as_table(["image steps", "difference (points)", "reading"], said)


def _side(difference: Interval) -> str:
    """On which side of zero a difference between two methods lies, as its interval says."""
    return SIDES.get(direction(difference), direction(difference))


def one_image(count: int) -> str:
    """The smallest step of an accuracy over `count` test images."""
    return f"One of the {count} test images is {100 / count:.2f} points."


def pays(costs: Mapping[str, Cost], plain: Cost, lost: Mapping[str, Interval]) -> str:
    """From how many students on each method is cheaper than all data without KD, and what it costs in accuracy (points)."""
    rows = []
    for name, found in costs.items():
        there = break_even(found, plain)
        when = "never" if math.isinf(there) else "from the first" if there < 1 else f"from {math.floor(there) + 1} on"
        once = f"{found.once / plain.student:.1f}"
        rows.append([name, once, f"{found.student / plain.student:.2f}", when, number(lost[name])])
    header = ["method", "once", "each student", "cheaper", "accuracy minus all data, no KD (points)"]
    return f"{SEEN}Costs in trainings on all data:\n\n" + as_table(header, rows)


def reached(curves: Mapping[str, tuple[Sequence[float], Any]], goal: float, plain: float) -> str:
    """From which share of a training on all data on a student stays at `goal` percent or above, for each curve.

    curves: name -> (image steps (E,), accuracies (S, E) in percent); plain: image steps of a training on all data.
    """
    rows = []
    for name, (steps, found) in curves.items():
        when = [_stays(np.asarray(steps) / plain, student >= goal) for student in np.asarray(found)]
        there = [share for share in when if np.isfinite(share)]
        missed = f"not by {len(when) - len(there)} of {len(when)} students"
        rows.append([name, percent(interval(100 * np.array(there))) if len(there) == len(when) else missed])
    head = ["method", "image steps (share of a training on all data)"]
    return (
        f"{SEEN}From when on a student stays at {goal:.1f}% or above, mean over seeds:\n\n{as_table(head, rows)}\n\n"
        "The teacher's own training, as long as one on all data, is not counted here. Each curve belongs to a schedule of "
        "its own length."
    )


def _stays(shares: Any, above: Any) -> float:
    """The share at which the last stretch above begins; infinity if the last one is not above."""
    below = np.flatnonzero(~above)
    first = below[-1] + 1 if len(below) else 0
    return float(shares[first]) if first < len(shares) else math.inf


def seconds(rows: pd.DataFrame) -> str:
    """How far wall time follows image steps in committed rows: columns images, student_seconds, loss, suspended.

    Suspended runs are left out, and so are the seconds for a teacher's answers.
    """
    said = []
    for plain, part in rows[~rows.suspended].groupby(rows.loss == "cross_entropy"):
        times = part.groupby("images").student_seconds
        medians, counts = times.median(), times.count()
        for low, high in zip(medians.index[:-1], medians.index[1:], strict=True):
            way = f"{low / 1000:g} to {high / 1000:g} ({counts[low]} and {counts[high]} rows)"
            said.append(["no KD" if plain else "KD", way, f"{high / low:.1f}", f"{medians[high] / medians[low]:.1f}"])
    head = ["rows", "image steps, in thousands", "times as many steps", "times the median of the seconds"]
    return f"{SEEN}{len(rows)} rows, {int(rows.suspended.sum())} of them left out:\n\n{as_table(head, said)}"


def spent(found: pd.DataFrame) -> str:
    """What the committed rows have cost: columns what, rows, hours (of one process)."""
    rows = [[row.what, f"{row.rows}", f"{row.hours:.1f}"] for row in found.itertuples(index=False)]
    total = ["**all of it**", f"{found.rows.sum()}", f"{found.hours.sum():.1f}"]
    said = (
        "The rows of the studies, their teachers and scores (neither former rows nor those of ImageNet), by the clock of one "
        "process on a core (suspended or not):"
    )
    return f"{said}\n\n{as_table(['what', 'trainings', 'hours'], [*rows, total])}"


def beside(paper: pd.DataFrame, gain: Interval | None) -> str:
    """What KD on all data adds: the paper's prints (columns name, none, kd, gain; NaN where none) and ours, if any."""
    rows = [
        [row.name, *(_print(value) for value in (row.none, row.kd)), f"{row.gain:+.2f}"]
        for row in paper.itertuples(index=False)
    ]
    ours = f"KD minus no KD {level(gain)}" if gain is not None else "not measured, so nothing of ours stands beside"
    head = ["paper: ImageNet, student MobileNet", "all data, no KD", "with KD", "gain over all data, no KD (points)"]
    return f"{as_table(head, rows)}\n\nOurs, CIFAR-100, all data, in points: {ours}."


def _print(value: float) -> str:
    return "not read" if math.isnan(value) else f"{value:.2f}"


def gain_of_infobatch(dynamic: Sequence[float], random: Sequence[float]) -> str:
    """The solution on InfoBatch with a teacher, folded: gains of KD in points by seed, of InfoBatch and of random pruning."""
    gap = interval(np.asarray(dynamic) - np.asarray(random))
    said = comparison("The gain of KD on InfoBatch", "that on random pruning", gap)
    why = (
        "A smaller gain is consistent with what InfoBatch shows: every sample, at least in the first and in the last epochs, "
        "so that the teacher has less to tell. A control would be InfoBatch without its whole epochs."
    )
    other = "InfoBatch shows every sample, at least in the first and in the last epochs; no smaller gain follows from it here."
    return folded("Solution 1", f"{said} {why if direction(gap) == FALLS else other}")


def price(cost: Cost, plain: Cost, students: int) -> str:
    """What `students` students cost together, relative to as many trainings on all data."""
    ratio = cost.total(students) / plain.total(students)
    way = "cheaper" if ratio < 1 else "dearer" if ratio > 1 else "the same"
    return f"{students} students: {ratio:.2f} times the cost of all data ({way})."
