"""Figures of the papers, made again: accuracy along lines, samples with their scores, groups of samples, logits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from kdlib.analysis.plots.accuracy import ACCURACY, colour, fraction_axis, marker, named, seeds_note
from kdlib.analysis.plots.scores import picture
from kdlib.analysis.plots.style import MAX_SIZE, PALETTE
from kdlib.analysis.statistics import points

SYMBOLS = "osD^vP*XhpdH"
KNOWN = {named(p): p for p in ("random", "forgetting", "el2n", "grand_last", "medium", "herding", "moderate")}
XLABELS = {
    "alpha": r"KD weight $\alpha$ (no unit)",
    "tau": r"temperature $\tau$ (no unit)",
    "teacher": "teacher, smallest first (name)",
    "cost": "images seen in training (thousands)",
}
NUMBERS = ("alpha", "tau")  # axes on a linear scale, with few places
PER_ROW = 3  # panels side by side
APART = 1.4  # from one tick of f to the next, in panels side by side
WIDE = 24  # characters of a label of which four do not fit side by side
ASIDE = 0.008  # from a line to the next, as a share of the x axis, where x is a number and lines may lie on each other
LABELLED = 8  # lines that a legend inside the figure can name


def look(line: str, place: int) -> dict[str, Any]:
    """Colour, marker and style of a line: a scorer has its own, a line without KD is dashed and hollow."""
    base = line.removesuffix(", KD").removesuffix(", no KD")
    known = KNOWN.get(base)
    tone = colour(known) if known in ("random", "forgetting", "el2n", "grand_last") else PALETTE[place % len(PALETTE)]
    plain = line.endswith("no KD") or line == "the teacher itself"
    return {
        "color": tone,
        "marker": marker(known) if known and known not in ("herding", "moderate") else SYMBOLS[place % len(SYMBOLS)],
        "ls": "--" if plain else "-",
        "markerfacecolor": "white" if plain else tone,
        "lw": 1.4,
        "ms": 4,
    }


def lines(table: pd.DataFrame, axis: str, order: Sequence[str] = ()) -> Figure:
    """Accuracy with its 95% interval over seeds along x: a panel for each `panel`, a line for each `line`.

    table: one row for each training: panel, line, x, seed, teacher_id, value. A line that has one place at f = 1 only is a
    level, drawn through the whole panel. order: the names along x, where x is a name.
    """
    panels = list(dict.fromkeys(table.panel))
    across = min(len(panels), PER_ROW)
    figure, axes = plt.subplots(math.ceil(len(panels) / across), across, figsize=MAX_SIZE, sharey=True, squeeze=False)
    for place, panel in zip(axes.flat, panels, strict=False):
        _panel(place, table[table.panel == panel], axis, order, narrow=across > 1)
        place.set_title(panel, fontsize=9)
    for place in axes.flat[len(panels) :]:
        place.set_visible(False)
    for place in axes[:, 0]:
        place.set_ylabel(ACCURACY)
    _legends(figure, axes, panels, table)
    return figure


def _panel(axis: Axes, table: pd.DataFrame, kind: str, order: Sequence[str], narrow: bool) -> None:
    found = points(table, ("line", "x"), "value")
    levels = {line for line, xs in found.groupby("line").x if kind == "fraction" and set(xs) == {1.0}}
    bases = list(dict.fromkeys(line.removesuffix(", KD").removesuffix(", no KD") for line in table.line))
    every = list(dict.fromkeys(table.line))
    for line in every:
        at = found[found.line == line]
        shown = look(line, bases.index(line.removesuffix(", KD").removesuffix(", no KD")))
        label = f"{line} ({seeds_note(at)})"
        if line in levels:
            level: dict[str, Any] = {
                "color": "#666666",
                "ls": (0, (6, 3)) if line.endswith("no KD") else (0, (1, 1)),
                "lw": 1.2,
            }
            axis.axhline(float(at["mean"].iloc[0]), label=label, **level)
            continue
        at = at.assign(x=[order.index(name) for name in at.x]).sort_values("x") if order else at
        if kind in NUMBERS:
            at = at.assign(x=at.x + (every.index(line) - (len(every) - 1) / 2) * ASIDE * np.ptp(table.x))
        axis.errorbar(at.x, at["mean"], at.half.fillna(0), capsize=2, elinewidth=0.8, label=label, **shown)
    _x_axis(axis, found[~found.line.isin(levels)], kind, order, narrow)


def _x_axis(axis: Axes, found: pd.DataFrame, kind: str, order: Sequence[str], narrow: bool) -> None:
    if kind == "fraction" and len(found):
        fraction_axis(axis, _apart(found.x, APART if narrow else 1.0), narrow)
        axis.tick_params(axis="x", labelsize=7 if narrow else 8)
        return
    axis.set_xlabel(XLABELS.get(kind, kind))
    if order:
        axis.set_xticks(range(len(order)), order, rotation=30, ha="right", fontsize=7)
    else:
        axis.xaxis.set_major_locator(MaxNLocator(nbins=5))


def _apart(fractions: ArrayLike, factor: float) -> list[float]:
    """The fractions from the smallest on, without those whose ticks would lie too close to the one before."""
    shown: list[float] = []
    for f in np.unique(np.asarray(fractions, dtype=float)):
        if not shown or f >= factor * shown[-1]:
            shown.append(float(f))
    return shown


def _legends(figure: Figure, axes: NDArray, panels: Sequence[str], table: pd.DataFrame) -> None:
    """One legend below the panels where they have the same lines or one has many, else a legend in each."""
    per_panel = [tuple(dict.fromkeys(table.line[table.panel == panel])) for panel in panels]
    same = len(set(per_panel)) == 1 and len(panels) > 1
    if same or max(map(len, per_panel)) > LABELLED:
        named: dict[str, Any] = {}
        for axis in axes.flat[: len(panels)]:
            for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
                named.setdefault(label, handle)
        columns = 3 if len(named) < 7 or max(map(len, named)) > WIDE else 4
        figure.legend(list(named.values()), list(named), loc="outside lower center", ncols=columns, fontsize=6.5)
        return
    for axis in axes.flat[: len(panels)]:
        axis.legend(fontsize=6.5 if len(panels) > 1 else 7, ncols=2 if len(per_panel[0]) > 5 else 1)


def gallery(images: Sequence[NDArray], titles: Sequence[str]) -> Figure:
    """Samples (C, H, W) uint8 in two rows, each with a title."""
    figure, axes = plt.subplots(2, math.ceil(len(images) / 2), figsize=(6, 3), squeeze=False)
    for axis in axes.flat:
        axis.set_visible(False)
    for axis, image, title in zip(axes.flat, images, titles, strict=False):
        axis.set_visible(True)
        picture(axis, image, title)
    return figure


def grouped(table: pd.DataFrame, groups: Sequence[str], ylabel: str) -> Figure:
    """A value for each group of samples and each network: columns network, group, seed, value; mean and 95% interval."""
    figure, axis = plt.subplots(figsize=(6, 3))
    names = list(dict.fromkeys(table.network))
    for k, (name, tone) in enumerate(zip(names, PALETTE[1::-1], strict=False)):
        found = points(table[table.network == name], ("group",), "value").set_index("group").loc[list(groups)]
        at = np.arange(len(groups)) + (k - (len(names) - 1) / 2) * 0.15
        label = f"{name} ({seeds_note(found)})"
        axis.errorbar(at, found["mean"], found.half.fillna(0), fmt=SYMBOLS[k], color=tone, capsize=3, label=label)
    axis.set_xticks(range(len(groups)), groups)
    axis.set(xlabel="training samples (thirds by the teacher's cross-entropy)", ylabel=ylabel)
    axis.legend(fontsize=8)
    return figure


def logit_vectors(panels: Mapping[str, Mapping[str, ArrayLike]]) -> Figure:
    """Vectors of logits (K,), sorted by the first of them, a panel each: title -> name -> logits."""
    figure, axes = plt.subplots(1, len(panels), figsize=(6, 2.8), sharey=True, squeeze=False)
    for axis, (title, vectors) in zip(axes[0], panels.items(), strict=True):
        order = np.argsort(-np.asarray(next(iter(vectors.values()))), kind="stable")
        for (name, values), style, tone in zip(vectors.items(), ("o-", "s--", "^:"), PALETTE, strict=False):
            axis.plot(np.arange(len(order)) + 1, np.asarray(values)[order], style, ms=3, lw=1.2, color=tone, label=name)
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("class, by the teacher's logit (rank)")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0, 0].set_ylabel("logit (no unit)")
    axes[0, 0].legend(fontsize=8)
    return figure
