"""Figures of decision boundaries: regions of predicted classes, t-SNE maps, and the drift between networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kdlib.analysis.boundaries import Plane
from kdlib.analysis.plots.medium import KINDS
from kdlib.analysis.plots.style import PALETTE
from kdlib.analysis.statistics import interval

BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, BLACK, GREY = PALETTE
# Which samples a student was trained on: colour and marker, those of the figures of medium difficulty.
LOOKS = {word: (tone, mark) for word, tone, mark in KINDS.values()}
LOOKS = {name: LOOKS[name] for name in ("easy", "medium", "hard", "random")} | {"all": (GREY, "o")}
TONES = [BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, "#7F7F7F", "#8C6BB1", "#A6761D", "#F0E442"]  # of classes
MARKERS = "os^vDP"


def _tones(count: int) -> ListedColormap:
    return ListedColormap([TONES[c % len(TONES)] for c in range(count)])


def _fill(axis: Axes, regions: NDArray, x: NDArray, y: NDArray, number: int) -> None:
    """The plane, coloured by the predicted class, one of `number`."""
    look: dict[str, Any] = {"cmap": _tones(number), "vmin": -0.5, "vmax": number - 0.5, "alpha": 0.35}
    extent = (float(x[0]), float(x[-1]), float(y[0]), float(y[-1]))
    axis.imshow(regions, origin="lower", extent=extent, aspect="auto", interpolation="nearest", **look)
    axis.grid(False)


class Scatter(NamedTuple):
    """Samples in the plane: xy (N, 2), labels (N,) and which of them a classifier was trained on, bool (N,)."""

    xy: NDArray
    labels: NDArray
    chosen: NDArray


def _samples(axis: Axes, given: Scatter, number: int, size: float = 9) -> None:
    """A marker for each class; dark where chosen, as in the paper's figures."""
    for c in range(number):
        for picked, strength in ((False, 0.25), (True, 1.0)):
            here = (given.labels == c) & (given.chosen == picked)
            look: dict[str, Any] = {"marker": MARKERS[c % len(MARKERS)], "s": size, "linewidths": 0.3}
            edge = BLACK if picked else "none"
            axis.scatter(*given.xy[here].T, color=TONES[c % len(TONES)], alpha=strength, edgecolors=edge, **look)


def maps(
    panels: Mapping[str, tuple[NDArray, Scatter]], x: NDArray | Mapping[str, NDArray], y: NDArray | Mapping[str, NDArray],
    labels: tuple[str, str], number: int,
) -> Figure:  # fmt: skip
    """Regions (side, side) with the samples on them, a panel each; `x` and `y` are shared, or one for each panel."""
    figure, axes = plt.subplots(1, len(panels), figsize=(6, 2.35), squeeze=False, sharey=isinstance(y, np.ndarray))
    for axis, (title, (found, given)) in zip(axes[0], panels.items(), strict=True):
        at_x, at_y = (part if isinstance(part, np.ndarray) else part[title] for part in (x, y))
        _fill(axis, found, at_x, at_y, number)
        _samples(axis, given, number)
        axis.set_xlim(at_x[0], at_x[-1])
        axis.set_ylim(at_y[0], at_y[-1])
        axis.set_title(title, fontsize=9)
        axis.tick_params(labelsize=7)
        axis.set_xlabel(labels[0], fontsize=8)
    axes[0, 0].set_ylabel(labels[1], fontsize=8)
    return figure


def planes(
    panels: Mapping[str, NDArray], plane: Plane, corners: Sequence[str], names: Sequence[str], title: str = ""
) -> Figure:
    """Regions of a plane through three samples, a panel each; `corners` says which class each sample has.

    The name of each class stands in its region, where the region is large enough.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(6, 2.2), sharey=True, squeeze=False)
    for axis, (name, found) in zip(axes[0], panels.items(), strict=True):
        _fill(axis, found, plane.x, plane.y, len(names))
        axis.plot(*plane.corners.T, "o", ms=5, color="white", markeredgecolor=BLACK)
        for where, text in zip(plane.corners, corners, strict=True):
            axis.annotate(text, where, xytext=(4, 4), textcoords="offset points", fontsize=8, fontweight="bold")
        _name_regions(axis, found, plane, names, corners)
        axis.set_title(name, fontsize=9)
        axis.tick_params(labelsize=7)
        axis.set_xlabel("first side (no unit)", fontsize=8)
    axes[0, 0].set_ylabel("towards the third\nsample (no unit)", fontsize=8)
    if title:
        figure.suptitle(title, fontsize=9)
    return figure


LEAST = 0.03  # share of the plane from which on a region gets its name
CLEAR = 0.18  # share of the plane's side that a region's name keeps from a corner and its label


def _name_regions(axis: Axes, found: NDArray, plane: Plane, names: Sequence[str], corners: Sequence[str]) -> None:
    """The class in grey near its region's centre and away from corners, unless a corner's label says it."""
    grid = np.indices(found.shape)
    rows, columns = grid[0], grid[1]
    cells = [(np.abs(plane.y - y).argmin(), np.abs(plane.x - x).argmin()) for x, y in plane.corners]
    said = {int(found[at]) for at, text in zip(cells, corners, strict=True) if names[int(found[at])] == text}
    right_above = 0.04 * len(plane.y)  # of a corner: its label
    near = [np.hypot(rows - r - right_above, columns - c - right_above) for r, c in cells]
    crowded = np.maximum(0, CLEAR * len(plane.y) - np.min(near, axis=0))
    for c in np.unique(found):
        inside = found == c
        if inside.mean() < LEAST or int(c) in said:
            continue
        far = (rows - rows[inside].mean()) ** 2 + (columns - columns[inside].mean()) ** 2 + 1e6 * crowded
        row, column = divmod(int(np.where(inside, far, np.inf).argmin()), found.shape[1])
        axis.text(plane.x[column], plane.y[row], names[c], ha="center", va="center", fontsize=7, color="#444444")


def drifts(table: pd.DataFrame, value: str = "drift") -> Figure:
    """Left, the drift (%) of each group's students, small points are seeds; right, each minus the students on all data.

    table: columns group, seed and `value` in percent; the group "all" is the baseline (dashed).
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(6, 2.7), sharey=True)
    wide = table.pivot(index="seed", columns="group", values=value)
    groups = [name for name in LOOKS if name in wide and name != "all"]
    base, rows = interval(wide["all"]), range(len(groups))
    for row, name in zip(rows, groups, strict=True):
        _spread(left, wide[name].to_numpy(), row, name)
        _spread(right, (wide[name] - wide["all"]).to_numpy(), row, name)
    left.axvline(base.mean, color=GREY, ls="--", lw=1.2, label=f"all data (n = {base.n})")
    right.axvline(0, color=GREY, ls="--", lw=1.2)
    left.set_yticks(rows, groups)
    left.invert_yaxis()
    left.set(xlabel="drift from the teacher (%)", ylabel="trained on")
    right.set_xlabel("minus all data, paired (points)")
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper left", fontsize=8)
    return figure


def _spread(axis: Axes, values: NDArray, row: float, name: str) -> None:
    tone, mark = LOOKS[name]
    found = interval(values)
    axis.plot(values, np.full(len(values), row + 0.22), ".", color=GREY, ms=4)
    half = found.half if np.isfinite(found.half) else None
    look: dict[str, Any] = {"fmt": mark, "color": tone, "ms": 6, "capsize": 3, "markeredgecolor": BLACK, "mew": 0.5}
    axis.errorbar(found.mean, row, xerr=half, **look)


def over_epochs(curves: Mapping[str, NDArray], level: float, ylabel: str = "drift from the teacher (%)") -> Figure:
    """A line with its band over seeds for each group, group -> (seeds, E); `level`: the students on all data, dashed."""
    figure, axis = plt.subplots(figsize=(6, 2.9))
    for name, values in curves.items():
        tone, mark = LOOKS[name]
        spread = [interval(column) for column in values.T]
        epochs = np.arange(1, values.shape[1] + 1)
        mean = np.array([s.mean for s in spread])
        look: dict[str, Any] = {"marker": mark, "ms": 4, "markevery": 0.1, "lw": 1.4}
        axis.plot(epochs, mean, color=tone, label=f"{name} (n = {len(values)})", **look)
        if np.isfinite(spread[0].half):
            half = np.array([s.half for s in spread])
            axis.fill_between(epochs, mean - half, mean + half, color=tone, alpha=0.2, lw=0)
    axis.axhline(level, color=GREY, ls="--", lw=1.2, label="all data, last epoch")
    axis.set_xscale("log")
    last = values.shape[1]
    ticks = sorted({e for e in (1, 2, 5, 10, 20, 50, 100, 200, 500) if e < last / 1.15} | {last})
    axis.set_xticks(ticks, [str(e) for e in ticks])
    axis.minorticks_off()
    axis.set_ylim(0, None)
    axis.set(xlabel="epoch (count)", ylabel=ylabel)
    axis.legend(fontsize=8)
    return figure


def seeds_of_a_map(table: pd.DataFrame) -> Figure:
    """Drift in a t-SNE map (%), a point for each seed of t-SNE: columns group, map_seed, drift."""
    figure, axis = plt.subplots(figsize=(6, 2.6))
    for name, part in table.groupby("group", sort=False):
        tone, mark = LOOKS[str(name)]
        look: dict[str, Any] = {"marker": mark, "ms": 6, "ls": "none", "markeredgecolor": BLACK, "mew": 0.5}
        axis.plot(part.map_seed, part.drift, color=tone, label=str(name), **look)
    axis.set_xticks(sorted(table.map_seed.unique()))
    axis.set(xlabel="seed of t-SNE (name)", ylabel="area of the map that\nchanges its class (%)", ylim=(0, None))
    axis.legend(fontsize=8, title="classifier trained on", title_fontsize=8)
    return figure


def measures(table: pd.DataFrame, columns: Mapping[str, str]) -> Figure:
    """One panel for each column (name -> axis label) with a point and its interval for each group, seeds small."""
    figure, axes = plt.subplots(1, len(columns), figsize=(6, 2.4), sharey=True, squeeze=False)
    groups = [name for name in LOOKS if name in set(table.group)]
    for axis, (column, label) in zip(axes[0], columns.items(), strict=True):
        for row, name in enumerate(groups):
            _spread(axis, table[table.group == name][column].to_numpy(), row, name)
        axis.set_xlabel(label)
    axes[0, 0].set_yticks(np.arange(len(groups)), groups)
    axes[0, 0].invert_yaxis()
    axes[0, 0].set_ylabel(f"trained on (n = {table.seed.nunique()})")
    return figure


def grid_over(xy: NDArray, side: int = 80, margin: float = 0.06) -> tuple[NDArray, NDArray, NDArray]:
    """A square grid over samples xy (N, 2) with a margin: coordinates x, y (side,), and its points (side * side, 2)."""
    low, high = xy.min(axis=0), xy.max(axis=0)
    x, y = (np.linspace(a - margin * (z - a), z + margin * (z - a), side) for a, z in zip(low, high, strict=True))
    grid_x, grid_y = np.meshgrid(x, y)
    return x, y, np.c_[grid_x.ravel(), grid_y.ravel()]
