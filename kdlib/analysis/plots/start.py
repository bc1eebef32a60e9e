"""Figures of the first lesson: what a soft target is, and what it does for students with few samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kdlib.analysis.plots.scores import mean_interval
from kdlib.analysis.plots.style import PALETTE

BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, BLACK, GREY = PALETTE


def soft_targets(image: NDArray, targets: Mapping[str, NDArray], classes: Sequence[str]) -> Figure:
    """An image (C, H, W), and beside it the targets: name -> probabilities (K,), one panel each."""
    figure, axes = plt.subplots(1, 1 + len(targets), figsize=(6, 2.0), width_ratios=(0.8, *[1] * len(targets)))
    picture = np.moveaxis(np.asarray(image), 0, -1)
    axes[0].imshow(picture.squeeze(-1) if picture.shape[-1] == 1 else picture, cmap="gray_r", vmin=0, vmax=255)
    axes[0].set_axis_off()
    axes[0].set_title("sample", fontsize=9)
    for axis, (name, probabilities), tone in zip(axes[1:], targets.items(), (BLACK, SKY, BLUE), strict=False):
        axis.bar(np.arange(len(classes)), 100 * np.asarray(probabilities), color=tone)
        axis.set_title(name, fontsize=9)
        axis.set_xticks(np.arange(len(classes)), classes, fontsize=7)
        axis.set(xlabel="class (label)", ylim=(0, 103))
    for axis in axes[2:]:
        axis.set_yticklabels([])
    axes[1].set_ylabel("probability (percent)")
    return figure


def students(rows: pd.DataFrame, full: float, teacher: float) -> Figure:
    """Test accuracy (percent) of students at each kept fraction, without and with KD; thin lines join equal seeds.

    rows: columns fraction, loss ("cross_entropy" or "kd"), seed, test_acc. `full` and `teacher` (percent) are dashed
    and dotted: the mean student on all samples without KD, and the teacher. Bars: 95% interval of the mean for n >= 3.
    """
    fractions = sorted(rows.fraction.unique())
    figure, axes = plt.subplots(1, len(fractions), figsize=(6, 3.0), sharey=True, squeeze=False)
    for axis, fraction in zip(axes[0], fractions, strict=True):
        pairs = rows[rows.fraction == fraction].pivot(index="seed", columns="loss", values="test_acc")
        pairs = pairs[["cross_entropy", "kd"]].to_numpy()
        axis.plot([0, 1], pairs.T, color=GREY, lw=0.8, marker="o", ms=3)
        for x, fill, name in ((0, "white", "no KD"), (1, BLACK, "KD")):
            mean, half = mean_interval(pairs[:, x])
            shape = {"fmt": "D", "ms": 6, "color": BLACK, "mfc": fill, "capsize": 4}
            axis.errorbar(x, mean, None if np.isnan(half) else half, label=f"{name}, mean of n = {len(pairs)}", **shape)
        axis.axhline(full, color=BLACK, ls="--", lw=1, label="all samples, no KD")
        axis.axhline(teacher, color=BLUE, ls=":", lw=1.3, label="the teacher")
        kept = rows[rows.fraction == fraction].kept.iloc[0]
        axis.set_title(f"f = {fraction:.0%}: {kept} samples kept", fontsize=9)
        axis.set_xticks([0, 1], ["no KD", "KD"])
        axis.set(xlim=(-0.4, 1.4), xlabel="student (trained how)")
    axes[0, 0].set_ylabel("test accuracy (percent)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=7)
    return figure
