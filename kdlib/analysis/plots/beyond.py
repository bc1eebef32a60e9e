"""Figures of distillation beyond convolutional networks: transformers, regression, and teachers of different quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kdlib.analysis.plots.accuracy import fraction_axis, seeds_note
from kdlib.analysis.plots.style import PALETTE
from kdlib.analysis.statistics import Interval

BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, BLACK, GREY = PALETTE
LINES = [(BLUE, "o", "-"), (ORANGE, "s", "--"), (GREEN, "^", "-."), (PINK, "v", ":")]


def attention(weights: NDArray, image: NDArray, token: int) -> Figure:
    """Left, an image (H, W); then what one token attends to, one panel a head: weights (heads, T, T), rows sum to 1."""
    heads, tokens = len(weights), weights.shape[1]
    side = int(round(tokens**0.5))
    figure, axes = plt.subplots(1, 1 + heads, figsize=(6, 2.0))
    patch = image.shape[0] / side
    row, column = divmod(token, side)
    axes[0].imshow(image, cmap="gray_r")
    axes[0].set_title("image", fontsize=9)
    top = 100 * weights[:, token].max()
    for head, axis in enumerate(axes[1:]):
        shown = axis.imshow(100 * weights[head, token].reshape(side, side), cmap="cividis", vmin=0, vmax=top)
        axis.set_title(f"head {head + 1}", fontsize=9)
        axis.plot(column, row, "s", ms=9, fillstyle="none", color=ORANGE, mew=1.6)
    box = (column * patch - 0.5, row * patch - 0.5)
    axes[0].add_patch(plt.Rectangle(box, patch, patch, fill=False, ec=ORANGE, lw=1.6))
    for axis in axes:
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
        axis.set_xlabel("column" if axis is axes[0] else "column of patches", fontsize=8)
    axes[0].set_ylabel("row", fontsize=8)
    figure.colorbar(shown, ax=axes[1:], label="weight (%)", shrink=0.8)
    return figure


def rates(curves: Mapping[str, Sequence[float]]) -> Figure:
    """Learning rate as a share of its peak against the share of the training, name -> values."""
    figure, axis = plt.subplots(figsize=(6, 2.1))
    for (name, values), (tone, _, style) in zip(curves.items(), LINES, strict=False):
        axis.plot(np.linspace(0, 100, len(values)), values, color=tone, ls=style, lw=1.6, label=name)
    axis.set(xlabel="training done (%)", ylabel="rate / peak (no unit)")
    axis.legend(fontsize=8)
    return figure


def gains(panels: Mapping[str, pd.DataFrame], ylabel: str = "gain of KD (points)") -> Figure:
    """What KD adds against f, a line for each name -> table with the columns fraction, mean, half, n; zero is dashed."""
    figure, axis = plt.subplots(figsize=(6, 3.0))
    axis.axhline(0, color=GREY, ls="--", lw=1.2)
    for k, ((name, found), (tone, mark, style)) in enumerate(zip(panels.items(), LINES, strict=False)):
        look: dict[str, Any] = {"fmt": mark, "ls": style, "color": tone, "ms": 5, "lw": 1.5, "capsize": 3}
        x = found.fraction * 1.03 ** (k - (len(panels) - 1) / 2)  # side by side, so that bars do not hide each other
        axis.errorbar(x, found["mean"], found.half.fillna(0), label=f"{name} ({seeds_note(found)})", **look)
    fraction_axis(axis, pd.concat(panels.values()).fraction)
    axis.set_ylabel(ylabel)
    axis.legend(fontsize=8)
    return figure


def regression_scores(found: Mapping[str, tuple[Interval, Interval]], level: float, floor: float = -20.0) -> Figure:
    """Variance explained (%) of students on each score's samples: name -> (without KD, with KD); `level`: all data.

    Means below `floor` are drawn at the edge, as arrows.
    """
    figure, axis = plt.subplots(figsize=(6, 3.5))
    names = list(found)
    for part, (tone, mark, label) in enumerate(((ORANGE, "s", "without KD"), (BLACK, "D", "with KD"))):
        for row, name in enumerate(names):
            value, y = found[name][part], row + 0.18 * (2 * part - 1)
            inside = value.mean >= floor
            half = value.half if np.isfinite(value.half) and inside else None
            shape = mark if inside else "<"
            text = f"{label} (n = {value.n})" if row == 0 else None
            axis.errorbar(max(value.mean, floor), y, xerr=half, fmt=shape, color=tone, ms=4.5, capsize=2, label=text)
    axis.axvline(level, color=GREY, ls="--", lw=1.2, label="all data, no KD")
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.set_xlim(left=floor - 3)
    beyond = f"; < below {floor:g}" if any(part.mean < floor for pair in found.values() for part in pair) else ""
    axis.set(
        xlabel=rf"variance explained on the test set, 100 $R^2$ (%{beyond})", ylabel="score whose samples are kept"
    )
    axis.legend(fontsize=8)
    return figure


def teacher_quality(table: pd.DataFrame, plain: Interval) -> Figure:
    """Gain of KD against the teacher's accuracy: a point for each teacher with its interval over students.

    table: columns epochs, teacher_acc, mean, half, n (points over students without KD); plain: accuracy of those students.
    """
    figure, axis = plt.subplots(figsize=(6, 3.0))
    axis.axhline(0, color=GREY, ls="--", lw=1.2)
    axis.axvline(plain.mean, color=GREY, ls=":", lw=1.4, label=f"students without KD: {plain.mean:.1f}%")
    groups = list(table.groupby("epochs"))
    tones = plt.colormaps["viridis"](np.linspace(0.9, 0.05, len(groups)))
    for (epochs, part), tone in zip(groups, tones, strict=True):
        look: dict[str, Any] = {"fmt": "o", "ms": 5, "capsize": 3, "color": tone}
        axis.errorbar(part.teacher_acc, part["mean"], part.half.fillna(0), label=f"{epochs}", **look)
    axis.set(xlabel="teacher's test accuracy (%)", ylabel=f"gain of KD (points, {seeds_note(table)})")
    place: dict[str, Any] = {"loc": "outside right center", "fontsize": 8, "title_fontsize": 8}
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles[1:], labels[1:], title="teacher's\nepochs", **place)
    axis.legend(handles[:1], labels[:1], fontsize=8, loc="best")
    return figure
