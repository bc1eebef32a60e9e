"""Figures of what soft targets hold: students taught by different targets, calibration, and relations between classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from scipy.cluster.hierarchy import dendrogram

from kdlib.analysis.calibration import Bins
from kdlib.analysis.plots.style import PALETTE
from kdlib.analysis.statistics import FEWEST, interval, points

BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, BLACK, GREY = PALETTE
LOOKS = {"no KD": (ORANGE, "o"), "KD": (BLACK, "D")}
OTHERS = [(BLUE, "s"), (GREEN, "^"), (PINK, "v"), (SKY, "P")]


def looks(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """A colour and a marker for each kind of student, those of lesson 00 where it has them."""
    free = iter(OTHERS)
    return {name: LOOKS[name] if name in LOOKS else next(free) for name in names}


def kinds(measures: Mapping[str, Mapping[str, ArrayLike]]) -> Figure:
    """A panel for each measure (label with unit -> kind -> (seeds,)): seeds as points, mean with its 95% interval."""
    figure, axes = plt.subplots(1, len(measures), figsize=(6, 2.8), sharey=True, squeeze=False)
    for axis, (label, values) in zip(axes[0], measures.items(), strict=True):
        for y, ((_, found), (tone, mark)) in enumerate(zip(values.items(), looks(list(values)).values(), strict=True)):
            seeds, mean = np.asarray(found, dtype=np.float64), interval(found)
            axis.plot(seeds, np.full(len(seeds), y + 0.22), ".", color=GREY, ms=3)
            half = mean.half if np.isfinite(mean.half) else None
            axis.errorbar(mean.mean, y, xerr=half, fmt=mark, color=tone, ms=5, capsize=3)
        axis.set_xlabel(label, fontsize=8)
        axis.tick_params(labelsize=8)
    first = next(iter(measures.values()))
    count = len(np.asarray(next(iter(first.values()))))
    axes[0, 0].set_yticks(range(len(first)), list(first))
    axes[0, 0].set_ylabel(f"the student's targets (n = {count})")
    axes[0, 0].invert_yaxis()
    return figure


def reliability(found: Mapping[str, Sequence[Bins]]) -> Figure:
    """Accuracy against confidence in percent: kind -> the bins of each seed; on the dashed line a network is calibrated.

    A point is a bin that at least three seeds fill (or all, where there are fewer) and that holds three samples a seed on
    average, with the 95% interval over the seeds.
    """
    figure, axis = plt.subplots(figsize=(6, 3.4))
    axis.plot([0, 100], [0, 100], color=GREY, ls="--", lw=1.2, label="calibrated")
    least = 100.0
    for (name, bins), (tone, mark) in zip(found.items(), looks(list(found)).values(), strict=True):
        sure, right = (np.array([getattr(b, part) for b in bins]) for part in ("confidence", "accuracy"))
        full = np.isfinite(right).sum(axis=0) >= min(FEWEST, len(bins))
        full &= np.mean([b.counts for b in bins], axis=0) >= 3
        spread = [interval(column[np.isfinite(column)]) for column in right[:, full].T]
        x = [np.nanmean(column) for column in sure[:, full].T]
        least = min([least, *x])
        halves = np.nan_to_num([s.half for s in spread])
        seeds = np.isfinite(right[:, full]).sum(axis=0)
        counts = sorted({int(seeds.min(initial=len(bins))), int(seeds.max(initial=0))})  # bins that few seeds fill
        label = f"{name} (n = {' to '.join(map(str, counts))})"
        shown: dict[str, Any] = {"ms": 4, "lw": 1.2, "capsize": 2, "color": tone, "label": label}
        axis.errorbar(x, [s.mean for s in spread], halves, fmt=f"{mark}-", **shown)
    axis.set(xlabel="confidence (percent)", ylabel="test accuracy (percent)", xlim=(least - 3, 102), ylim=(0, 104))
    axis.legend(fontsize=8, loc="lower right")
    return figure


def tree_and_confusions(tree: NDArray, counts: NDArray, classes: Sequence[str]) -> Figure:
    """Left, the tree of the classes (scipy's linkage matrix); right, confusions (K, K) in the order of its leaves."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(6, 3.3), width_ratios=(1, 1.15))
    drawn = dendrogram(
        tree, labels=list(classes), ax=left, color_threshold=0, above_threshold_color=BLUE, orientation="left"
    )
    left.set(xlabel="distance (difference of relations)", ylabel="class (label)")
    left.grid(False)
    left.tick_params(axis="y", labelsize=8)
    leaves = drawn["leaves"][::-1]  # from top to bottom, as the tree is drawn
    image = right.imshow(counts[np.ix_(leaves, leaves)], cmap="Blues", aspect="auto")
    names = [classes[k] for k in leaves]
    right.set_xticks(range(len(names)), names, fontsize=7)
    right.set_yticks(range(len(names)), names, fontsize=7)
    right.grid(False)
    right.set(xlabel="predicted class (label)")
    right.set_ylabel("true class (label)", labelpad=1)
    figure.set_layout_engine("constrained", wspace=0.08)  # the tree's labels end where the other axis' name begins
    figure.colorbar(image, ax=right, label="confusions (count)", shrink=0.8)
    return figure


def relation_matrix(table: pd.DataFrame) -> Figure:
    """Relations of 100 classes in the order of their superclasses, in percent: a table of `classes.relations_table`."""
    ordered = table.sort_values("superclass", kind="stable")
    values = 100 * ordered[list(ordered.index)].to_numpy(dtype=float)
    figure, axis = plt.subplots(figsize=(6, 3.5))
    image = axis.imshow(values, cmap="Blues", vmax=np.percentile(values, 99.5))
    groups = list(dict.fromkeys(ordered.superclass))
    middles = [np.flatnonzero(ordered.superclass == group).mean() for group in groups]
    axis.set_yticks(middles, groups, fontsize=6)
    axis.set_xticks(np.arange(0, 100, 5) - 0.5, [""] * 20)
    axis.grid(False)
    axis.set(xlabel="other class (20 superclasses, 5 classes each)", ylabel="class (by superclass)")
    figure.colorbar(image, ax=axis, label="share of what the own class leaves\n(percent, tau = 4)", extend="max")
    return figure


def images_needed(found: pd.DataFrame, chance: float) -> Figure:
    """Share of classes whose nearest class is of their superclass, against images a class: table of `classes.hierarchy`."""
    figure, axis = plt.subplots(figsize=(6, 3.1))
    axis.axhline(100 * chance, color=GREY, ls="--", lw=1.2, label="chance")
    for (source, part), (tone, mark) in zip(
        found.groupby("source", sort=False), [(BLACK, "D"), (ORANGE, "o")], strict=False
    ):
        line = points(part.assign(share=100 * part.share), ("images",), "share")
        least, most = int(line.n.min()), int(line.n.max())
        label = f"{source} (n = {least} to {most} parts)"
        halves = line.half.fillna(0)
        axis.errorbar(
            line.images, line["mean"], halves, fmt=f"{mark}-", ms=4, lw=1.4, capsize=3, color=tone, label=label
        )
    ticks = sorted(found.images.unique())
    axis.set_xscale("log")
    axis.set_xticks(ticks, [str(t) for t in ticks])
    axis.minorticks_off()
    axis.set(
        xlabel="images of each class (count)", ylabel="nearest class in the\nsame superclass (percent)", ylim=(0, 100)
    )
    axis.legend(fontsize=8, loc="upper left")
    return figure
