"""Figures of medium difficulty: windows of a toy, who learns what, the map of all windows, reshaped logits, effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kdlib.analysis.plots.accuracy import apart, fraction_axis, seeds_note
from kdlib.analysis.plots.style import PALETTE
from kdlib.analysis.statistics import points

BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, BLACK, GREY = PALETTE
GROUPS = ("easy", "medium", "hard")


def toy(x: NDArray, labels: NDArray, windows: Mapping[str, NDArray]) -> Figure:
    """Samples x (N, 2) of a few classes, a panel for each window (name -> ids (n,)): kept ones dark, the others pale."""
    figure, axes = plt.subplots(1, len(windows), figsize=(6, 2.3), sharex=True, sharey=True)
    for axis, (name, ids) in zip(axes, windows.items(), strict=True):
        kept = np.isin(np.arange(len(x)), ids)
        for label, shape, tone in zip(np.unique(labels), "os^", (BLUE, ORANGE, GREEN), strict=False):
            for part, look in ((~kept, {"alpha": 0.15, "s": 8}), (kept, {"s": 14, "edgecolors": BLACK, "lw": 0.3})):
                axis.scatter(*x[part & (labels == label)].T, marker=shape, color=tone, **look)
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("feature 1 (no unit)", fontsize=8)
        axis.tick_params(labelsize=7)
    axes[0].set_ylabel("feature 2 (no unit)", fontsize=8)
    return figure


def who_learns(gap: pd.DataFrame, taught: pd.DataFrame) -> Figure:
    """Left, training accuracy of teacher and student on each group; right, that of students of one window on each group.

    gap:    columns group, seed, teacher_acc, student_acc (percent): students trained on all samples.
    taught: columns kept (the window trained on), group, seed, test_acc (percent on training samples of the group).
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(6, 2.9), width_ratios=(1, 1.25))
    at = np.arange(len(GROUPS))
    for k, (column, word, tone) in enumerate((("teacher_acc", "teacher", ORANGE), ("student_acc", "student", BLUE))):
        found = points(gap.assign(test_acc=gap[column]), ["group"]).set_index("group").loc[list(GROUPS)]
        shown: dict[str, Any] = {"fmt": "so"[k], "ms": 5, "capsize": 3, "color": tone}
        label = word if k == 0 else f"{word} ({seeds_note(found)})"
        left.errorbar(at + 0.16 * (k - 0.5), found["mean"], found.half.fillna(0), label=label, **shown)
    left.set_xticks(at, GROUPS)
    lowest = min(98.0, float(gap[["teacher_acc", "student_acc"]].min().min()) - 1)
    left.set(
        xlim=(-0.5, 2.5),
        ylim=(lowest, 100.4),
        xlabel="group of training samples (name)",
        ylabel="training accuracy (%)",
    )
    left.set_title("trained on all samples", fontsize=9)
    left.legend(fontsize=8, loc="lower left")
    wide = points(taught, ["kept", "group"]).pivot(index="kept", columns="group", values="mean")
    wide = wide.loc[list(dict.fromkeys(taught.kept)), list(GROUPS)]
    bar = {"label": "accuracy on unseen samples (%)"}
    sns.heatmap(wide, ax=right, annot=True, fmt=".1f", cmap="cividis", annot_kws={"size": 8}, cbar_kws=bar)
    right.set(xlabel="group of training samples (name)", ylabel="student trained on")
    right.set_title("trained on a part", fontsize=9)
    right.tick_params(axis="y", rotation=0)
    right.grid(False)
    return figure


KINDS = {"random": ("random", BLACK, "s"), "difficulty easiest": ("easy", GREEN, "v"), "medium": ("medium", SKY, "^")}
KINDS["difficulty"] = ("hard", ORANGE, "D")


def by_window(table: pd.DataFrame, leads: pd.DataFrame) -> Figure:
    """Left, accuracy against f for random, easy, medium and hard samples; right, each minus random (`leads`)."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(6, 3.2))
    found = points(table, ["pruning", "fraction"])
    for axis, source in ((left, found), (right, leads)):
        for name, (word, tone, shape) in KINDS.items():
            line = source[source.pruning == name].sort_values("fraction")
            if not line.empty:
                shown: dict[str, Any] = {"fmt": shape + "-", "ms": 4, "lw": 1.4, "capsize": 2.5, "color": tone}
                label = f"{word} ({seeds_note(line)})"
                axis.errorbar(line.fraction, line["mean"], line.half.fillna(0), label=label, **shown)
        fraction_axis(axis, source.fraction, narrow=True)
        axis.tick_params(axis="x", labelsize=7)
    right.axhline(0, color=GREY, ls="--", lw=1.2)
    left.set_ylabel("test accuracy (%)")
    left.legend(fontsize=8)
    right.set_ylabel("minus random (points)")
    return figure


def window_map(found: pd.DataFrame) -> Figure:
    """Every window minus random, in points: columns centre, fraction, mean, half. Bold: the 95% interval excludes 0."""
    figure, axis = plt.subplots(figsize=(6, 3.3))
    mean = found.pivot(index="centre", columns="fraction", values="mean").sort_index(ascending=False)
    half = found.pivot(index="centre", columns="fraction", values="half").reindex(index=mean.index)
    far = max(1.0, float(np.nanmax(np.abs(mean.to_numpy()))))
    look: dict[str, Any] = {"cmap": "RdBu", "vmin": -far, "vmax": far, "linewidths": 0.5}
    bar = {"label": "accuracy minus random (points)"}
    sns.heatmap(mean, ax=axis, annot=True, fmt="+.1f", annot_kws={"size": 8}, cbar_kws=bar, **look)
    certain = (mean.abs() > half).to_numpy().ravel()
    for text, sure in zip(axis.texts, certain, strict=True):
        text.set_fontweight("bold" if sure else "normal")
        text.set_alpha(1.0 if sure else 0.7)
    axis.set_xticklabels([f"{100 * f:g}" for f in mean.columns])
    axis.set_yticklabels([f"{c:g}" for c in mean.index], rotation=0)
    axis.set(xlabel="kept fraction f: the window's width (%)", ylabel="window's centre (0 easiest, 1 hardest)")
    axis.set_title(f"bold: the 95% interval leaves out 0 ({seeds_note(found)})", fontsize=9)
    axis.grid(False)
    return figure


def profile(found: pd.DataFrame, fraction: float) -> Figure:
    """One column of the map with its intervals: centre, fraction, mean, half, n; random is the dashed zero."""
    figure, axis = plt.subplots(figsize=(5, 2.4))
    line = found[np.isclose(found.fraction, fraction)].sort_values("centre")
    axis.axhline(0, color=GREY, ls="--", lw=1.2)
    shown: dict[str, Any] = {"fmt": "^-", "ms": 4, "capsize": 3, "color": SKY, "ecolor": BLACK}
    axis.errorbar(line.centre, line["mean"], line.half.fillna(0), **shown)
    axis.set(xlabel="window's centre (0 easiest, 1 hardest)", ylabel="minus random (points)")
    axis.set_title(f"f = {fraction:.0%} ({seeds_note(line)})", fontsize=9)
    return figure


def reshaped(rows: Mapping[str, tuple[NDArray, NDArray]], mean: NDArray, classes: Sequence[str]) -> Figure:
    """Logits before and after reshaping, a panel for each sample (name -> before (K,), after (K,)); right, the class's mean."""
    figure, axes = plt.subplots(1, len(rows) + 1, figsize=(6, 2.4), sharey=True)
    at = np.arange(len(mean))
    for axis, (name, (before, after)) in zip(axes, rows.items(), strict=False):
        axis.bar(at - 0.2, before, 0.4, color=GREY, label="before")
        axis.bar(at + 0.2, after, 0.4, color=BLUE, label="after")
        axis.set_title(name, fontsize=9)
    axes[-1].bar(at, mean, 0.5, color=GREEN)
    axes[-1].set_title("mean of its class", fontsize=9)
    axes[0].set_ylabel("teacher's logit (no unit)")
    axes[0].legend(fontsize=7)
    for axis in axes:
        axis.set_xticks(at, classes, fontsize=7)
        axis.set_xlabel("class (label)")
    return figure


def lines(axis: Axes, found: pd.DataFrame, column: str, tones: Mapping[str, str]) -> None:
    """Differences against f side by side, a line for each value of `column`; zero is dashed."""
    axis.axhline(0, color=GREY, ls="--", lw=1.2)
    names = list(dict.fromkeys(found[column]))
    for k, name in enumerate(names):
        line = found[found[column] == name].sort_values("fraction")
        x = line.fraction * apart(k, len(names), found.fraction)
        shown: dict[str, Any] = {"fmt": "osD^vP"[k % 6] + "-", "ms": 4, "lw": 1.3, "capsize": 2.5}
        tone = tones.get(name, (BLUE, ORANGE, GREEN, PINK, YELLOW, BLACK)[k % 6])
        axis.errorbar(x, line["mean"], line.half.fillna(0), color=tone, label=f"{name} ({seeds_note(line)})", **shown)


def reshape_effects(found: pd.DataFrame) -> Figure:
    """Each reshape minus none in points against f: columns reshape, fraction, mean, half, n."""
    figure, axis = plt.subplots(figsize=(6, 3.2))
    lines(axis, found, "reshape", {})
    fraction_axis(axis, found.fraction)
    axis.set_ylabel("accuracy minus no reshaping (points)")
    axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def beside(panels: Mapping[str, pd.DataFrame], ylabel: str) -> Figure:
    """Differences in points against f, a panel each, on one y axis: title -> line, fraction, mean, half, n.

    A panel without rows says so.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(6, 3.3), sharey=True, squeeze=False)
    for axis, (title, found) in zip(axes[0], panels.items(), strict=True):
        axis.set_title(title, fontsize=9)
        if found.empty:
            axis.axhline(0, color=GREY, ls="--", lw=1.2)
            axis.text(0.5, 0.6, "not measured yet", transform=axis.transAxes, ha="center", color="#666666", fontsize=8)
            axis.set(xticks=[], xlabel="kept fraction f (%)")
            continue
        lines(axis, found, "line", {})
        fraction_axis(axis, found.fraction, narrow=True)
        axis.tick_params(axis="x", labelsize=7)
        axis.legend(fontsize=6, loc="upper center", bbox_to_anchor=(0.5, -0.22))
    axes[0, 0].set_ylabel(ylabel)
    return figure
