"""Figures of difficulty scores: what they look like, how far they agree, and what the hardest samples are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.patheffects as patheffects
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from kdlib.analysis.plots.style import PALETTE, SCORER_COLOURS
from kdlib.analysis.statistics import interval

BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, BLACK, GREY = PALETTE
UNITS = {
    "forgetting": "forgetting events (count per run)",
    "el2n": r"EL2N (length of the error, 0 to $\sqrt{2}$)",
    "grand": "GraNd (nats per unit of weight)",
    "aum": "minus mean margin (logit units)",
    "difficulty": "cross-entropy (nats)",
    "entropy": "entropy (nats)",
}


def colour(scorer: str) -> str:
    """The scorer's colour; a variant (`forgetting_hardest`) has that of its family, an unknown one pink."""
    return SCORER_COLOURS.get(scorer) or SCORER_COLOURS.get(scorer.split("_")[0], PINK)


def line_style(scorer: str) -> str:
    """Solid, and dotted for a variant of a scorer."""
    return "-" if scorer in SCORER_COLOURS else ":"


WIDE = {"aum", "grand", "difficulty"}  # often lie under another scorer's line, so they are drawn below it and wider


def line_look(scorer: str) -> dict[str, Any]:
    """How matplotlib draws a scorer's line: its colour, dotted for a variant, wide and at the back for `WIDE`."""
    width, order = (3.2, 2.0) if scorer in WIDE else (1.4, 2.1)
    look = {"color": colour(scorer), "ls": line_style(scorer), "lw": width, "zorder": order}
    return {**look, "marker": "o", "ms": 3, "label": scorer}


def mean_interval(values: ArrayLike) -> tuple[float, float]:
    """(mean, half width of its 95% interval by Student's t) of (n,) values; the half width is NaN for n < 3."""
    found = interval(values)
    return found.mean, found.half


def toy(x: NDArray, labels: NDArray, events: NDArray, correct: NDArray, chosen: Mapping[str, int]) -> Figure:
    """Left, samples x (N, 2), filled by forgetting events (N,); right, when the chosen ones were right.

    correct: (E, N) bool; `chosen` maps a letter to a sample. Circles and squares are the two classes.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(6, 3.2), width_ratios=(1.1, 1))
    shown = {"cmap": "cividis", "vmin": 0, "vmax": max(1, int(events.max())), "edgecolors": BLACK, "linewidths": 0.5}
    for label, marker in ((0, "o"), (1, "s")):
        member = labels == label
        left.scatter([], [], marker=marker, s=32, facecolors="none", edgecolors=BLACK, label=f"class {label}")
        points = left.scatter(*x[member].T, c=events[member], marker=marker, s=32, **shown)
    for letter, i in chosen.items():
        halo = [patheffects.withStroke(linewidth=2.5, foreground="white")]
        where = {"xytext": (0, 6), "textcoords": "offset points", "ha": "center"}
        left.annotate(letter, x[i], fontweight="bold", path_effects=halo, **where)
    left.set(xlabel="feature 1 (no unit)", ylabel="feature 2 (no unit)")
    figure.colorbar(points, ax=left, label="forgetting events (count)", location="bottom", shrink=0.9)
    left.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    _raster(right, correct[:, list(chosen.values())].T, list(chosen))
    return figure


def _raster(axis: Axes, right: NDArray, names: Sequence[str]) -> None:
    """Epochs (columns) in which each sample (row) was right (blue) or wrong (orange)."""
    epochs = np.arange(right.shape[1]) + 1
    for row, hits in enumerate(right):
        for hit, tone in ((True, BLUE), (False, ORANGE)):
            word = ("right" if hit else "wrong") if row == 0 else None
            at = epochs[hits == hit]
            axis.scatter(at, np.full(len(at), row), marker="s", s=11, color=tone, linewidths=0)
            if word:
                axis.scatter([], [], marker="s", s=30, color=tone, label=word)
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.grid(False)
    axis.set(xlabel="epoch (count)", ylabel="sample (letter)")
    axis.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)


def distributions(scores: Mapping[str, NDArray]) -> Figure:
    """A histogram of each score (N,), side by side; the count axis is logarithmic."""
    figure, axes = plt.subplots(1, len(scores), figsize=(6, 2.6), sharey=True, squeeze=False)
    for axis, (name, values) in zip(axes[0], scores.items(), strict=True):
        axis.hist(values, bins=30, color=colour(name))
        axis.axvline(np.median(values), color=BLACK, ls="--", lw=1, label=f"median {np.median(values):.2g}")
        axis.set(xlabel=UNITS.get(name, f"{name} (score)"), yscale="log")
        axis.legend(fontsize=8)
    axes[0, 0].set_ylabel("samples (count, log scale)")
    return figure


def _mosaic(axis: Axes, rows: Mapping[str, NDArray], columns: Sequence[str] = ()) -> None:
    """Images side by side: `rows` maps a row's name to uint8 images (k, C, H, W), grey or RGB."""
    grid = np.stack(list(rows.values()))  # (rows, k, C, H, W)
    grey, gap = grid.shape[2] == 1, max(1, grid.shape[-1] // 6)
    grid = np.pad(grid, [(0, 0)] * 3 + [(0, gap)] * 2, constant_values=0 if grey else 255)
    height, width = grid.shape[-2:]
    picture = grid.transpose(0, 3, 1, 4, 2).reshape(len(grid) * height, -1, grid.shape[2])
    picture = picture.squeeze(-1) if grey else picture
    axis.imshow(picture, cmap="gray_r" if grey else None, vmin=0, vmax=255, interpolation="nearest")
    axis.set_yticks(np.arange(len(rows)) * height + (height - gap) / 2 - 0.5, list(rows), fontsize=8)
    axis.set_xticks(np.arange(len(columns)) * width + (width - gap) / 2 - 0.5, list(columns), fontsize=8)
    axis.xaxis.tick_top()
    axis.tick_params(length=0)
    axis.grid(False)
    axis.spines[:].set_visible(False)


def examples(rows: Mapping[str, NDArray], columns: Sequence[str]) -> Figure:
    """A grid of images: `rows` maps a row's name to uint8 images (k, C, H, W); `columns` names the k classes."""
    figure, axis = plt.subplots(figsize=(6, min(3.5, 0.4 + 0.55 * len(rows))))
    _mosaic(axis, rows, columns)
    axis.set_xlabel("class (label)", fontsize=8)
    axis.xaxis.set_label_position("top")
    return figure


def correlations(matrix: NDArray, names: Sequence[str]) -> Figure:
    """Rank correlations (S, S) between scorers, as a table of colours and numbers."""
    figure, axis = plt.subplots(figsize=(4.6, 3.4))
    picture = axis.imshow(matrix, cmap="cividis", vmin=0, vmax=1)
    for (i, j), value in np.ndenumerate(matrix):
        axis.text(j, i, f"{value:.2f}", ha="center", va="center", color="black" if value > 0.5 else "white")
    axis.set_xticks(range(len(names)), names, rotation=30, ha="right")
    axis.set_yticks(range(len(names)), names)
    axis.grid(False)
    axis.set(xlabel="scorer (name)", ylabel="scorer (name)")
    figure.colorbar(picture, ax=axis, label="Spearman rank correlation (no unit)")
    return figure


def overlaps(fractions: ArrayLike, curves: Mapping[str, ArrayLike]) -> Figure:
    """Share of the kept set that another scorer keeps too (percent), a curve per scorer (F,), over f (F,)."""
    figure, axis = plt.subplots(figsize=(6, 2.8))
    f = 100 * np.asarray(fractions)
    for name, values in curves.items():
        axis.plot(f, 100 * np.asarray(values), **line_look(name))
    axis.plot(f, f, color=BLACK, ls="--", lw=1, label="two random sets")
    axis.set(xlabel="kept fraction f (percent of the samples)", ylabel="kept by both (percent)", ylim=(0, 103))
    axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def reliability(values: Mapping[str, Mapping[int, ArrayLike]]) -> Figure:
    """Agreement of two disjoint groups of k runs: scorer -> k -> rank correlations (splits,).

    Line: mean; band: the middle 95% of the splits (splits share runs, so it is no confidence interval).
    """
    figure, axis = plt.subplots(figsize=(6, 2.8))
    for name, groups in values.items():
        k = sorted(groups)
        splits = [np.asarray(groups[size]) for size in k]
        low, high = np.transpose([np.percentile(v, (2.5, 97.5)) for v in splits])
        axis.plot(k, [v.mean() for v in splits], **line_look(name))
        axis.fill_between(k, low, high, color=colour(name), alpha=0.15, lw=0)
    count = min(len(np.asarray(v)) for groups in values.values() for v in groups.values())
    axis.set(xlabel="runs averaged in each group, k (count)", ylabel="rank correlation (no unit)", ylim=(None, 1))
    axis.set_xticks(k)
    axis.legend(fontsize=8, title=f"n = {count} splits", loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def window(scores: NDArray, images: NDArray, windows: Mapping[str, NDArray], unit: str, shown: int = 10) -> Figure:
    """The ranking with kept windows shaded, and below each window's `shown` samples, evenly spread over it.

    scores (N,); images (N, C, H, W); `windows` maps a name to the kept ids (n,).
    """
    rank = np.empty(len(scores), dtype=int)
    rank[np.argsort(scores, kind="stable")] = np.arange(len(scores))
    figure, (axis, below) = plt.subplots(2, 1, figsize=(6, 3.5), height_ratios=(2, 0.5 + 0.5 * len(windows)))
    axis.plot(np.sort(scores), color=BLACK, lw=1.2)
    rows = {}
    for (name, kept), tone in zip(windows.items(), (SKY, GREEN, ORANGE, PINK), strict=False):
        kept = np.asarray(kept)[np.argsort(rank[kept])]
        low, high = rank[kept[0]], rank[kept[-1]]
        axis.axvspan(low, high, color=tone, alpha=0.4, lw=0)
        axis.text((low + high) / 2, 1, name, transform=axis.get_xaxis_transform(), ha="center", va="bottom")
        rows[name] = images[kept[np.linspace(0, len(kept) - 1, shown).round().astype(int)]]
    axis.set(xlabel="rank, easiest first (count)", ylabel=unit)
    _mosaic(below, rows)
    return figure


def label_noise(table: pd.DataFrame, base_rate: float, fraction: float) -> Figure:
    """Share of mislabelled samples among the kept (percent), a line per scorer with its 95% interval over seeds.

    table: columns scorer, seed, share (percent), fraction, centre; base_rate in percent. Left, the hardest samples
    (centre 1) over f, where a kept set holds at most base_rate / f mislabelled ones (dash-dotted); right, over the
    centre of the window at the kept fraction `fraction`. Fewer than 3 seeds: no interval.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(6, 3.5), sharey=True)
    hardest, slid = table[table.centre == 1].copy(), table[table.fraction == fraction]
    hardest["fraction"] *= 100
    _share_lines(left, hardest, "fraction")
    _share_lines(right, slid, "centre")
    f = np.linspace(table.fraction.min(), 1, 100)
    left.plot(100 * f, np.minimum(100, base_rate / f), color=GREY, ls="-.", lw=1, label="most possible")
    for axis in (left, right):
        axis.axhline(base_rate, color=BLACK, ls="--", lw=1, label="base rate")
    left.set(xlabel="kept fraction f (percent)", ylabel="mislabelled among the kept (percent)", ylim=(0, None))
    left.set_title("the hardest samples", fontsize=9)
    right.set_xlabel("centre (0 easiest, 1 hardest)")
    right.set_title(f"windows at f = {100 * fraction:g}%", fontsize=9)
    n = table.seed.nunique()
    handles = left.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=5, fontsize=7, title=f"n = {n} noise seeds")
    return figure


def _share_lines(axis: Axes, table: pd.DataFrame, x: str) -> None:
    for scorer in table.scorer.unique():
        groups = table[table.scorer == scorer].groupby(x).share
        mean, half = np.transpose([mean_interval(share) for _, share in groups])
        at = np.array(list(groups.groups), dtype=np.float64)
        axis.plot(at, mean, **line_look(scorer))
        low, high = np.clip([mean - half, mean + half], 0, 100)
        axis.fill_between(at, low, high, color=colour(scorer), alpha=0.15, lw=0)


def class_counts(counts: Mapping[str, ArrayLike], quota: float, classes: Sequence[str]) -> Figure:
    """Kept samples of each class (K,) for each scorer; dashed: the count when every class keeps its share."""
    figure, axis = plt.subplots(figsize=(6, 2.6))
    at, width = np.arange(len(classes)), 0.8 / len(counts)
    for place, (name, values) in enumerate(counts.items()):
        axis.bar(at + (place - (len(counts) - 1) / 2) * width, values, width, color=colour(name), label=name)
    axis.axhline(quota, color=BLACK, ls="--", lw=1, label="balanced")
    if len(classes) <= 20:
        axis.set_xticks(at, classes)
    axis.set(xlabel="class (label)", ylabel="kept samples (count)")
    axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
