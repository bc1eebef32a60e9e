"""Figures of costs: accuracy against image steps, what a run is made of, and how many students it takes to pay.

Costs are in image steps of the student (see `kdlib.analysis.costs`), mostly as a share of one training on all the data. Bands
and bars are 95% intervals over seeds; fewer than three seeds have none. A method has one colour in all figures, a solid
line with KD, a dashed one without.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from kdlib.analysis.costs import Cost
from kdlib.analysis.plots.accuracy import ACCURACY, seeds_note
from kdlib.analysis.plots.style import PALETTE, SCORER_COLOURS
from kdlib.analysis.statistics import interval

BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, BLACK, GREY = PALETTE
METHODS = {  # the beginning of a method's name -> colour and marker
    "all data, fewer epochs": (PINK, "X"),
    "all data": ("#666666", "P"),
    "random": (SCORER_COLOURS["random"], "s"),
    "forgetting": (SCORER_COLOURS["forgetting"], "o"),
    "EL2N": (SCORER_COLOURS["el2n"], "D"),
    "medium": (SCORER_COLOURS["difficulty"], "^"),
    "InfoBatch": (GREEN, "v"),
}
PARTS = {"student": ("#222222", ""), "teacher": ("#777777", ""), "scoring": ("#bbbbbb", "//"), "cache": (YELLOW, "")}
SHARE = "cost of one student (share of a training on all data)"


def looks(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """How each method is drawn; of two methods of equal colour and line the second has hollow markers.

    KeyError for a name that begins like no method.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        begins = next((start for start in METHODS if name.startswith(start)), name)
        tone, mark = METHODS[begins]
        look = {"color": tone, "marker": mark, "ls": "-" if name.endswith(", KD") else "--"}
        again = any(look.items() <= other.items() for other in found.values())
        found[name] = {**look, "ms": 4.5, "lw": 1.4, "markerfacecolor": "white" if again else tone}
    return found


def against_cost(found: pd.DataFrame, level: float, level_name: str) -> Figure:
    """Accuracy against cost, a line for each name: columns name, cost (share), mean, half, n; `level` is dashed."""
    figure, axis = plt.subplots(figsize=(6, 3.5))
    names = list(dict.fromkeys(found.name))
    for k, (name, look) in enumerate(looks(names).items()):
        part = found[found.name == name].sort_values("cost")
        x = part.cost * 1.02 ** (k - (len(names) - 1) / 2)  # side by side, so that bars do not hide each other
        label = f"{name} ({seeds_note(part)})"
        axis.errorbar(x, part["mean"], part.half.fillna(0), label=label, capsize=2.5, **look)
    axis.axhline(level, color=GREY, ls="--", lw=1.2)
    place: dict[str, Any] = {"xytext": (0, 3), "textcoords": "offset points", "color": "#666666", "fontsize": 8}
    axis.annotate(f"{level_name}: {level:.1f}%", (0.01, level), xycoords=axis.get_yaxis_transform(), **place)
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
    longest = max(found.total() for found in costs.values()) / plain
    for part, (tone, hatch) in PARTS.items():
        widths = np.array([getattr(found, part) for found in costs.values()]) / plain
        label = f"{part} (too thin to see)" if 0 < widths.max() < 0.005 * longest else part
        shape: dict[str, Any] = {"height": 0.7, "hatch": hatch, "edgecolor": "white"}
        axis.barh(range(len(costs)), widths, left=left, color=tone, label=label, **shape)
        left += widths
    axis.set_xlim(0, 1.04 * longest)
    axis.set_axisbelow(True)
    axis.axvline(1, color=GREY, ls="--", lw=1.2, zorder=0)
    axis.set_yticks(range(len(costs)), list(costs), fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel("cost of the first student (trainings on all data)")
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    return figure


def over_students(costs: Mapping[str, Cost], plain: Cost, students: Sequence[int]) -> Figure:
    """Cost of M students relative to M trainings on all data, against M; below the dashed line a method has paid."""
    figure, axis = plt.subplots(figsize=(6, 3.3))
    at = np.asarray(students, dtype=np.float64)
    for (name, found), look in zip(costs.items(), looks(costs).values(), strict=True):
        axis.plot(at, [found.total(m) / plain.total(m) for m in at], label=name, **look)
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
    for (name, (steps, found)), look in zip(curves.items(), looks(curves).values(), strict=True):
        spread = [interval(column) for column in np.asarray(found).T]
        at = np.asarray(steps, dtype=np.float64) / plain
        shown = slice(-1, None, -max(1, len(at) // 6))  # a marker at some epochs only, the last among them
        marked = range(len(at))[shown]
        axis.plot(at, [s.mean for s in spread], markevery=list(marked), label=f"{name} (n = {len(found)})", **look)
        if np.isfinite(spread[0].half):
            band: dict[str, Any] = {"color": look["color"], "alpha": 0.15, "lw": 0}
            axis.fill_between(at, [s.low for s in spread], [s.high for s in spread], **band)
    axis.set_ylim(lowest, 100)
    axis.set(xlabel="image steps so far (share of a training on all data)", ylabel=ACCURACY)
    axis.legend(fontsize=8, loc="lower right")
    return figure


def seconds_against_steps(rows: pd.DataFrame) -> Figure:
    """Wall time against image steps of committed rows, by kind: columns images, seconds, kind, suspended (bool; hollow)."""
    figure, axis = plt.subplots(figsize=(6, 3))
    kinds = list(dict.fromkeys(rows.kind))
    for k, (kind, (tone, mark)) in enumerate(
        zip(kinds, (("#222222", "s"), ("#777777", "o"), (YELLOW, "^")), strict=False)
    ):
        part = rows[rows.kind == kind]
        look: dict[str, Any] = {"color": tone, "ms": 4.5, "alpha": 0.7}
        for hollow, some in part.groupby("suspended"):
            x = some.images / 1000 * 1.02 ** (k - (len(kinds) - 1) / 2)  # side by side
            fill: dict[str, Any] = {"markerfacecolor": "white"} if hollow else {"label": f"{kind} (n = {len(some)})"}
            axis.plot(x, some.seconds, mark, **look, **fill)
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
