"""What a lesson says about costs: sentences and tables made from the numbers. Every function is pure and returns Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from kdlib.analysis.costs import Cost, break_even
from kdlib.analysis.statistics import Interval
from kdlib.analysis.tell import RISES, SAME, SEEN, direction, level, number
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
        rows.append([row["name"], f"{row['share']:.0%}", number(value), direction(value)])
        equal += [row["name"]] if direction(value) in (SAME, RISES) else []
    text = f"{SEEN}Not detected below all data without KD: {'; '.join(equal) or 'none'}.\n\n"
    return text + as_table(["method", "cost of a student", "accuracy minus all data, no KD (points)", "reading"], rows)


def shorter(found: pd.DataFrame, what: str) -> str:
    """Pruned minus shorter training at equal cost: columns fraction, mean, half, n (points); `what` names the two."""
    said = []
    for row in found.to_dict("records"):
        value = Interval(float(row["mean"]), float(row["half"]), int(row["n"]))
        said.append([f"{row['fraction']:.0%}", number(value), direction(value)])
    return f"{SEEN}{what}, seed by seed:\n\n" + as_table(["image steps", "difference (points)", "reading"], said)


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
    """From which share of a training on all data on the mean accuracy stays at `goal` percent or above, for each curve.

    curves: name -> (image steps (E,), accuracies (S, E) in percent); plain: image steps of a training on all data.
    """
    rows = []
    for name, (steps, found) in curves.items():
        below = np.flatnonzero(np.asarray(found).mean(axis=0) < goal)
        first = below[-1] + 1 if len(below) else 0
        rows.append([name, f"{steps[first] / plain:.0%}" if first < len(steps) else "not reached"])
    text = f"{SEEN}From when on the mean over seeds stays at {goal:.1f}% or above:\n\n"
    return text + as_table(["method", "image steps (share of a training on all data)"], rows)


def seconds(rows: pd.DataFrame) -> str:
    """How far wall time follows image steps in committed rows: columns images, seconds, taught."""
    said = []
    for taught, name in ((False, "without KD"), (True, "with KD")):
        part = rows[rows.taught == taught]
        if len(part):
            each = 1000 * part.seconds / part.images
            low, high = each.quantile([0.1, 0.9])
            said.append(
                f"{name} {each.median():.1f} ms for an image step (middle 80% of rows: {low:.1f} to {high:.1f})"
            )
    return f"{SEEN}{len(rows)} rows: {'; '.join(said) or 'none'}."


def beside(paper: pd.DataFrame, gain: Interval | None) -> str:
    """What KD on all data adds: the paper's prints (columns teacher, none, kd in percent) and ours on CIFAR-100, if any."""
    rows = [
        [f"ImageNet, {row.teacher}", f"{row.none:.2f}", f"{row.kd:.2f}", f"{row.kd - row.none:+.2f}"]
        for row in paper.itertuples()
    ]
    ours = level(gain) if gain is not None else "not measured yet"
    text = as_table(["paper (student MobileNet)", "no KD", "KD", "gain (points)"], rows)
    return f"{text}\n\nOurs, CIFAR-100, all data, KD minus no KD in points: {ours}."


def price(cost: Cost, plain: Cost, students: int) -> str:
    """What `students` students cost together, relative to as many trainings on all data."""
    ratio = cost.total(students) / plain.total(students)
    way = "cheaper" if ratio < 1 else "dearer" if ratio > 1 else "the same"
    return f"{students} students: {ratio:.2f} times the cost of all data ({way})."
