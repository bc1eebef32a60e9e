"""Figures of lesson 15: how images are dealt to processes, what a core decodes, what an experiment costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from kdlib.analysis.plots.accuracy import BLUE, GREEN, GREY, ORANGE, PINK, YELLOW, fraction_axis

TONES = (BLUE, ORANGE, GREEN, YELLOW, PINK)
BOUNDS = {"compute": "o", "decoding": "s", "reading": "^", "gradients": "D"}  # what limits a training: its marker


def tiny_run(rows: pd.DataFrame) -> Figure:
    """Top-1 and top-5 accuracy of single trainings; columns name, test_acc, test_top5 (percent)."""
    figure, axis = plt.subplots(figsize=(6, 2.4))
    at = np.arange(len(rows))
    for k, (column, tone, label) in enumerate((("test_acc", BLUE, "top-1"), ("test_top5", ORANGE, "top-5"))):
        bars = axis.barh(at + 0.36 * (k - 0.5), rows[column], 0.34, color=tone, label=label)
        axis.bar_label(bars, fmt="%.1f", padding=2, fontsize=8)
    axis.set_yticks(at, rows.name)
    axis.invert_yaxis()
    axis.set(xlabel="accuracy on the validation images (%)", ylabel="network", xlim=(0, 100))
    axis.legend(loc="upper center", ncols=2, fontsize=8, bbox_to_anchor=(0.5, 1.18))
    return figure


def dealing(ways: Mapping[str, Sequence[Sequence[int]]], count: int) -> Figure:
    """Which process gets which image: way -> a list of image ids for each process. An image's second time is orange."""
    figure, axes = plt.subplots(1, len(ways), figsize=(6, 2.2), sharey=True, squeeze=False)
    most = max(len(ids) for dealt in ways.values() for ids in dealt)
    for axis, (title, dealt) in zip(axes[0], ways.items(), strict=True):
        seen: set[int] = set()
        for turn in range(most):
            for rank, ids in enumerate(dealt):
                if turn < len(ids):
                    again = ids[turn] in seen
                    seen.add(ids[turn])
                    axis.add_patch(plt.Rectangle((turn + 0.05, rank - 0.4), 0.9, 0.8, color=ORANGE if again else BLUE))
                    axis.text(turn + 0.5, rank, str(ids[turn]), ha="center", va="center", color="white")
        axis.set(xlim=(0, most), ylim=(len(dealt) - 0.5, -0.5), xlabel="turn (count)")
        axis.set_xticks(np.arange(most) + 0.5, [str(t) for t in range(1, most + 1)])
        axis.set_yticks(range(len(dealt)))
        axis.set_title(title, fontsize=9)
        axis.grid(False)
    axes[0, 0].set_ylabel("process (number)")
    return figure


def decoding(rates: Mapping[str, float], sizes: Mapping[str, float]) -> Figure:
    """Left, training views per core second of each way to decode; right, bytes of a file: name -> number."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(6, 2.4), width_ratios=(1.6, 1))
    for axis, values, tone, label in (
        (left, rates, BLUE, "one core (images per second)"),
        (right, {name: size / 1e3 for name, size in sizes.items()}, ORANGE, "size of a file (kB)"),
    ):
        bars = axis.barh(range(len(values)), list(values.values()), color=tone)
        axis.bar_label(bars, fmt="%.0f", padding=2, fontsize=8)
        axis.set_yticks(range(len(values)), list(values))
        axis.invert_yaxis()
        axis.set(xlabel=label, xlim=(0, 1.2 * max(values.values())))
    left.set_ylabel("what is decoded")
    return figure


RECIPES = {"dkdp": "DKDP: ResNet-50 from ResNet-50", "md": "MD: MobileNet from ResNet-34"}


def costs(panels: Mapping[str, pd.DataFrame]) -> Figure:
    """Hours from start to end against f, a panel for each recipe, a line for each number of GPUs.

    Columns fraction, gpus, hours, bound. The marker says what a training waits for.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(6, 3.4), sharey=True, squeeze=False)
    for axis, (name, found) in zip(axes[0], panels.items(), strict=True):
        for (gpus, line), tone in zip(found.groupby("gpus"), TONES, strict=False):
            axis.plot(line.fraction, line.hours, color=tone, lw=1.4, label=f"{gpus} GPU{'s' if gpus != 1 else ''}")
            for bound, part in line.groupby("bound"):
                axis.plot(part.fraction, part.hours, BOUNDS[str(bound)], color=tone, ms=5)
        fraction_axis(axis, found.fraction, narrow=True)
        axis.set_yscale("log")
        axis.set_title(RECIPES.get(name, name), fontsize=9)
    axes[0, 0].set_ylabel("extrapolated time (hours)")
    axes[0, 0].legend(loc="lower right", fontsize=8)
    there = set(pd.concat(panels.values()).bound)
    keys = [Line2D([], [], ls="", color=GREY, marker=m, ms=5, label=b) for b, m in BOUNDS.items() if b in there]
    figure.legend(handles=keys, title="waits for", loc="outside upper center", ncols=4, fontsize=8, title_fontsize=8)
    return figure
