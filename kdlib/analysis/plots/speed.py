"""Figures of lesson 07: the ladder of speed, where arithmetic and time go, what a cache saves, hours on several GPUs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from kdlib.analysis.plots.accuracy import BLACK, BLUE, GREEN, GREY, ORANGE, PINK, SKY, YELLOW

TONES = (BLUE, ORANGE, GREEN, YELLOW, PINK, SKY, GREY)


def ladder(panels: Mapping[str, pd.DataFrame]) -> Figure:
    """Images per CPU-second, rung by rung, a panel for each network; the black line is the machine's limit.

    Columns rung, rate, limit (NaN: none).
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(6, 2.6), squeeze=False)
    for axis, (title, found) in zip(axes[0], panels.items(), strict=True):
        at = np.arange(len(found))
        most = float(np.nanmax([found.rate.max(), found.limit.max()]))
        axis.barh(at, found.rate, 0.7, color=[GREY, *[BLUE] * (len(found) - 1)])
        for k, rate in enumerate(found.rate):
            axis.text(0.01 * most, k, f"{rate:.0f}", color="white", va="center", fontsize=7)
        there = found.limit.notna().to_numpy()
        axis.vlines(found.limit[there], at[there] - 0.42, at[there] + 0.42, color=BLACK, lw=2)
        axis.set_yticks(at, found.rung if axis is axes[0, 0] else [""] * len(found), fontsize=8)
        axis.invert_yaxis()
        axis.set(xlabel="images (per CPU-second)", xlim=(0, 1.08 * most))
        axis.set_title(title.replace("resnet", "ResNet-"), fontsize=9)
    axes[0, 0].set_ylabel("loop")
    limit = Line2D([], [], color=BLACK, lw=2, marker="|", ms=0, label="limit of the machine")
    figure.legend(handles=[limit], loc="outside upper right", fontsize=8)
    return figure


def shares(bars: Mapping[str, Mapping[str, float]], xlabel: str, ylabel: str = "step") -> Figure:
    """Stacked bars: bar -> (part -> amount). Parts keep their colour; each piece is labelled in percent of its bar."""
    figure, axis = plt.subplots(figsize=(6, 0.8 + 0.55 * len(bars)))
    parts = list(dict.fromkeys(part for found in bars.values() for part in found))
    for k, (found, total) in enumerate((found, sum(found.values())) for found in bars.values()):
        left = 0.0
        for part, amount in found.items():
            axis.barh(k, amount, 0.62, left=left, color=TONES[parts.index(part) % len(TONES)])
            if amount > 0.05 * total:
                axis.text(left + amount / 2, k, f"{amount / total:.0%}", ha="center", va="center", fontsize=7)
            left += amount
    axis.set_yticks(range(len(bars)), list(bars))
    axis.invert_yaxis()
    axis.set(xlabel=xlabel, ylabel=ylabel)
    keys = [plt.Rectangle((0, 0), 1, 1, color=TONES[k % len(TONES)]) for k in range(len(parts))]
    figure.legend(keys, parts, loc="outside upper center", ncols=min(len(parts), 4), fontsize=8)
    return figure


def cache(epochs: Sequence[int], share: Sequence[float], measured: Mapping[int, float]) -> Figure:
    """Share of the teacher's forward passes that the first student needs: the formula as a line, a count as points (%)."""
    figure, axis = plt.subplots(figsize=(6, 2.8))
    axis.plot(epochs, share, color=BLUE, lw=1.6, label="expected")
    axis.plot(list(measured), list(measured.values()), "o", ms=4, color=ORANGE, label="counted")
    axis.set(xscale="log", ylim=(0, 105), xlabel="epochs (count)", ylabel="teacher asked (% of images)")
    axis.legend(fontsize=8)
    return figure
