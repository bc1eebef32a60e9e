"""Figures of costs: accuracy against image steps, what a run is made of, and how many students it takes to pay.

Costs are in image steps of the student (see `kdlib.analysis.costs`), mostly as a share of one training on all the data. Bands
and bars are 95% intervals over seeds; fewer than three seeds have none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from kdlib.analysis.costs import Cost
from kdlib.analysis.plots.accuracy import ACCURACY, seeds_note
from kdlib.analysis.plots.style import PALETTE
from kdlib.analysis.statistics import interval

BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, BLACK, GREY = PALETTE
LOOKS = [
    (BLACK, "s", "-"),
    (ORANGE, "o", "--"),
    (BLUE, "D", "-"),
    (GREEN, "^", "-."),
    (PINK, "v", ":"),
    (SKY, "P", "--"),
]
SHARE = "cost of one student (share of a training on all data)"


def against_cost(found: pd.DataFrame, level: float, level_name: str) -> Figure:
    """Accuracy against cost, a line for each name: columns name, cost (share), mean, half, n; `level` is dashed."""
    figure, axis = plt.subplots(figsize=(6, 3.5))
    for (name, part), (tone, mark, line) in zip(found.groupby("name", sort=False), LOOKS, strict=False):
        part = part.sort_values("cost")
        look: dict[str, Any] = {"color": tone, "marker": mark, "ms": 4.5, "ls": line, "lw": 1.4, "capsize": 2.5}
        axis.errorbar(part.cost, part["mean"], part.half.fillna(0), label=f"{name} ({seeds_note(part)})", **look)
    axis.axhline(level, color=GREY, ls="--", lw=1.2)
    place: dict[str, Any] = {"xytext": (0, 3), "textcoords": "offset points", "color": "#666666", "fontsize": 8}
    axis.annotate(f"{level_name}: {level:.1f}%", (found.cost.min(), level), **place)
    axis.set_xscale("log")
    at = [0.05, 0.1, 0.2, 0.5, 1]
    axis.set_xticks(at, [f"{100 * share:g}%" for share in at])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set(xlabel=SHARE, ylabel=ACCURACY)
    axis.legend(fontsize=8)
    return figure


def made_of(costs: Mapping[str, Cost], plain: float) -> Figure:
    """What the first student costs, a bar for each method, divided into its parts.

    plain: image steps of a training on all data, the unit of the axis.
    """
    figure, axis = plt.subplots(figsize=(6, 0.36 * len(costs) + 1.1))
    left = np.zeros(len(costs))
    parts = (("student", BLACK), ("teacher", BLUE), ("scoring", ORANGE), ("cache", GREEN))
    for (part, tone), hatch in zip(parts, ("", "", "//", ""), strict=True):
        widths = np.array([getattr(found, part) for found in costs.values()]) / plain
        axis.barh(
            range(len(costs)), widths, left=left, color=tone, hatch=hatch, edgecolor="white", label=part, height=0.7
        )
        left += widths
    axis.set_axisbelow(True)
    axis.axvline(1, color=GREY, ls="--", lw=1.2)
    axis.set_yticks(range(len(costs)), list(costs), fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel("cost of the first student (trainings on all data)")
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    return figure


def over_students(costs: Mapping[str, Cost], plain: Cost, students: Sequence[int]) -> Figure:
    """Cost of M students relative to M trainings on all data, against M; below the dashed line a method has paid."""
    figure, axis = plt.subplots(figsize=(6, 3.3))
    at = np.asarray(students, dtype=np.float64)
    for (name, found), (tone, mark, line) in zip(costs.items(), LOOKS, strict=False):
        ratios = [found.total(m) / plain.total(m) for m in at]
        axis.plot(at, ratios, color=tone, marker=mark, ms=3.5, ls=line, lw=1.4, label=name)
    axis.axhline(1, color=GREY, ls="--", lw=1.2)
    axis.set(xscale="log", yscale="log", xlabel="students M (count)", ylabel="cost relative to all data, no KD (ratio)")
    axis.set_xticks(at, [f"{m:g}" for m in at])
    levels = (0.1, 0.2, 0.5, 1, 2, 5)
    axis.set_yticks(levels, [f"{ratio:g}" for ratio in levels])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_minor_locator(NullLocator())
    axis.legend(fontsize=8)
    return figure


def over_steps(curves: Mapping[str, tuple[ArrayLike, NDArray]], plain: float, lowest: float) -> Figure:
    """Accuracy against image steps in the course of training: name -> (steps (E,), accuracies (S, E) in percent).

    The x axis is in trainings on all data of `plain` steps; accuracies below `lowest` are cut off.
    """
    figure, axis = plt.subplots(figsize=(6, 3.3))
    for (name, (steps, found)), (tone, _, line) in zip(curves.items(), LOOKS, strict=False):
        spread = [interval(column) for column in np.asarray(found).T]
        at = np.asarray(steps, dtype=np.float64) / plain
        axis.plot(at, [s.mean for s in spread], color=tone, ls=line, lw=1.4, label=f"{name} (n = {len(found)})")
        if np.isfinite(spread[0].half):
            axis.fill_between(at, [s.low for s in spread], [s.high for s in spread], color=tone, alpha=0.15, lw=0)
    axis.set_ylim(lowest, 100)
    axis.set(xlabel="image steps so far (share of a training on all data)", ylabel=ACCURACY)
    axis.legend(fontsize=8, loc="lower right")
    return figure


def seconds_against_steps(rows: pd.DataFrame) -> Figure:
    """Wall time against image steps of committed rows: columns images, seconds, taught (bool)."""
    figure, axis = plt.subplots(figsize=(6, 3))
    for taught, name, tone, mark in ((False, "no KD", BLACK, "s"), (True, "KD, teacher asked or read", BLUE, "o")):
        part = rows[rows.taught == taught]
        axis.plot(
            part.images / 1000, part.seconds, mark, color=tone, ms=4, alpha=0.7, label=f"{name} (n = {len(part)})"
        )
    axis.set(xscale="log", yscale="log", xlabel="image steps (thousand)", ylabel="wall time (s)")
    at = np.unique(rows.images / 1000)
    axis.set_xticks(at, [f"{count:g}" for count in at])
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.set_ylim(0.8 * rows.seconds.min(), 1.2 * rows.seconds.max())
    axis.xaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_minor_locator(NullLocator())
    axis.legend(fontsize=8)
    return figure
