"""Figures of lesson 12: wrong labels and unequal classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from kdlib.analysis.plots.accuracy import ACCURACY, colour, marker, named, seeds_note
from kdlib.analysis.plots.scores import picture
from kdlib.analysis.plots.style import PALETTE
from kdlib.analysis.statistics import interval

BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, BLACK, GREY = PALETTE
NOISE = "wrong labels in the training data (%)"


def learning(curves: Mapping[str, ArrayLike], after: float) -> Figure:
    """Share of samples (percent) against the epoch, name -> (E,) in [0, 1]; `after` is the share that chance would reach."""
    figure, axis = plt.subplots(figsize=(6, 3))
    looks = ((BLUE, "-"), (ORANGE, "--"), (GREEN, "-."))
    for (name, values), (tone, style) in zip(curves.items(), looks, strict=False):
        shares = 100 * np.asarray(values)
        axis.plot(np.arange(len(shares)) + 1, shares, color=tone, ls=style, lw=1.6, label=name)
    axis.axhline(100 * after, color=GREY, ls=":", lw=1.2, label="chance")
    axis.set(xlabel="epoch (count)", ylabel="share of their samples (%)", ylim=(0, 103))
    figure.legend(fontsize=8, ncols=2, loc="outside upper center")  # the curves take all of the panel
    return figure


def kept_shares(found: pd.DataFrame) -> Figure:
    """Wrong labels among the kept samples against those among all, in percent: a line for each pruning.

    found: pruning, label_noise, mean, half, n, all shares in percent but label_noise, in [0, 1]. Dashed: as many as among all.
    """
    figure, axis = plt.subplots(figsize=(6, 3.3))
    rates = np.unique(found.label_noise)
    axis.plot(100 * rates, 100 * rates, color=GREY, ls="--", lw=1.2, label="as many as among all")
    _lines(axis, found, "label_noise")
    axis.set(xlabel=NOISE, ylabel="wrong labels among the kept (%)")
    figure.legend(fontsize=7, ncols=2, loc="outside upper center", handlelength=2.5)
    return figure


def _lines(axis: Axes, found: pd.DataFrame, x: str) -> None:
    names = list(dict.fromkeys(found.pruning))
    step = 0.003
    for k, name in enumerate(names):
        line = found[found.pruning == name].sort_values(x)
        look: dict[str, Any] = {"fmt": marker(name) + _style(name), "ms": 4, "lw": 1.4, "capsize": 2.5}
        at = 100 * (line[x] + step * (k - (len(names) - 1) / 2))  # side by side, so that bars do not hide each other
        label = f"{named(name)} ({seeds_note(line)})"
        axis.errorbar(at, line["mean"], line.half.fillna(0), color=colour(name), label=label, **look)


def _style(pruning: str) -> str:
    """Variants of one score share its colour and differ in their line: medium and never-learned dashed, easiest dotted."""
    return "--" if pruning in ("medium", "forgetting_hardest") else ":" if pruning.endswith("easiest") else "-"


def accuracy_under_noise(found: pd.DataFrame, titles: Mapping[float, str]) -> Figure:
    """Accuracy against the share of wrong labels, a panel for each alpha: pruning, alpha, label_noise, mean, half, n."""
    figure, axes = plt.subplots(1, len(titles), figsize=(6, 3.3), sharey=True, squeeze=False)
    for axis, (alpha, title) in zip(axes[0], titles.items(), strict=True):
        _lines(axis, found[np.isclose(found.alpha, alpha)], "label_noise")
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("wrong labels (%)")
    axes[0, 0].set_ylabel(ACCURACY)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), fontsize=8, ncols=4, loc="outside upper center")
    return figure


def hardest(images: NDArray, given: Sequence[str], true: Sequence[str], ranked: Mapping[str, ArrayLike]) -> Figure:
    """The highest-scoring samples of each scorer, name -> ids (k,); a wrong label is told in orange, with the true one.

    images (N, C, H, W) uint8; given, true: the labels' names (N,).
    """
    count = len(np.asarray(next(iter(ranked.values()))))
    figure, axes = plt.subplots(len(ranked), count, figsize=(6, 0.98 * len(ranked)), squeeze=False)
    for line, (name, ids) in zip(axes, ranked.items(), strict=True):
        for axis, i in zip(line, np.asarray(ids).tolist(), strict=True):
            wrong = given[i] != true[i]
            picture(axis, images[i], f"{given[i]}, not {true[i]}" if wrong else given[i])
            axis.title.set(color=ORANGE if wrong else BLACK, fontsize=7)
        line[0].set_ylabel(named(name), fontsize=8)
    return figure


def recall_by_class(found: Mapping[str, NDArray], counts: ArrayLike) -> Figure:
    """Recall of each class (percent) against its training samples: name -> (seeds, K); counts (K,), mean over the seeds."""
    figure, axis = plt.subplots(figsize=(6, 3.2))
    sizes = np.asarray(counts, dtype=np.float64)
    order = np.argsort(sizes)
    looks = ((ORANGE, "o--"), (BLUE, "s-"), (PINK, "D:"), (GREEN, "^-."))
    for k, ((name, values), (tone, shape)) in enumerate(zip(found.items(), looks, strict=False)):
        spread = [interval(column) for column in np.asarray(values)[:, order].T]
        means, halves = [s.mean for s in spread], np.nan_to_num([s.half for s in spread])
        look: dict[str, Any] = {"fmt": shape, "ms": 4, "lw": 1.3, "capsize": 2, "color": tone}
        at = sizes[order] + 0.01 * sizes.max() * (k - (len(found) - 1) / 2)  # side by side
        axis.errorbar(at, means, halves, label=f"{name} (n = {len(values)})", **look)
    axis.set(xlabel="the student's samples of the class (count)", ylabel="recall of the class (%)")
    axis.legend(fontsize=8)
    return figure
