"""Figures of the head to head of random and medium samples: pairs, spreads, smaller studies, what could be detected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from kdlib.analysis.plots.accuracy import fraction_axis
from kdlib.analysis.plots.style import PALETTE
from kdlib.analysis.statistics import Interval, interval

BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, BLACK, GREY = PALETTE


def pairs(random: NDArray, medium: NDArray, unpaired: Interval) -> Figure:
    """Left, one line a pair of students (S,) each, in percent; right, the differences with their paired interval.

    unpaired: the same difference with the interval of two independent samples, for comparison.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(6, 2.9), width_ratios=(1, 1.2))
    for one, other in zip(random, medium, strict=True):
        left.plot([0, 1], [one, other], color=SKY if other > one else GREY, marker="o", ms=3.5, lw=1.2)
    left.set_xticks([0, 1], ["random", "medium"])
    left.set_title("blue: medium leads", fontsize=9)
    left.set(xlim=(-0.3, 1.3), xlabel="kept samples (name)", ylabel="test accuracy (%)")
    differences = medium - random
    right.axvline(0, color=GREY, ls="--", lw=1.2)
    right.plot(differences, np.full(len(differences), 2.0), "o", color=SKY, ms=4, alpha=0.7)
    for height, found, tone in ((1, interval(differences), BLUE), (0, unpaired, ORANGE)):
        half = 0.0 if np.isnan(found.half) else found.half
        right.errorbar(found.mean, height, xerr=half, fmt="s", color=tone, ms=5, capsize=4)
    right.set_yticks([2, 1, 0], ["pairs", "paired\ninterval", "unpaired\ninterval"], fontsize=8)
    right.set(ylim=(-0.6, 2.6), xlabel="medium minus random (points)")
    right.set_title(f"n = {len(differences)}", fontsize=9)
    return figure


def spreads(groups: Mapping[str, NDArray]) -> Figure:
    """One dot a student, a row for each group (name -> accuracies (S,) in percent); bar: mean +- standard deviation."""
    figure, axis = plt.subplots(figsize=(6, 2.3))
    for row, ((name, values), tone) in enumerate(zip(groups.items(), (BLACK, ORANGE, SKY, GREEN), strict=False)):
        axis.plot(values, np.full(len(values), row), "o", color=tone, ms=4, alpha=0.5)
        axis.errorbar(
            values.mean(), row + 0.25, xerr=values.std(ddof=1), fmt="s", color=tone, ms=4, capsize=4, label=name
        )
    axis.set_yticks(range(len(groups)), [f"{name} (n = {len(values)})" for name, values in groups.items()], fontsize=8)
    axis.set(ylim=(len(groups) - 0.4, -0.5), xlabel="test accuracy (%); square: mean and one standard deviation")
    axis.set_ylabel("kept samples")
    return figure


def studies(shares: Mapping[str, pd.DataFrame], trials: int) -> Figure:
    """Share of small studies in which medium has the higher mean, against f; hollow: and the printed spreads are apart.

    shares: name -> columns fraction, first_higher, apart of `kdlib.analysis.design.smaller_studies`, medium first.
    """
    figure, axis = plt.subplots(figsize=(6, 2.9))
    axis.axhline(50, color=GREY, ls="--", lw=1.2)
    everything = pd.concat(shares.values()).dropna(subset="fraction")
    for k, (name, found) in enumerate(shares.items()):
        line, tone = found.dropna(subset="fraction"), (BLUE, ORANGE, GREEN)[k % 3]
        axis.plot(
            line.fraction,
            100 * line.first_higher,
            marker="osD"[k % 3],
            ms=5,
            color=tone,
            label=f"{name}: medium higher",
        )
        axis.plot(
            line.fraction,
            100 * line.apart,
            marker="osD"[k % 3],
            ms=5,
            color=tone,
            mfc="white",
            ls=":",
            label="spreads apart",
        )
    fraction_axis(axis, everything.fraction)
    axis.set(ylim=(-4, 104), ylabel=f"share of studies with {trials} trials (%)")
    axis.legend(fontsize=7, ncols=len(shares), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def detectable(
    counts: Sequence[int], effects: Mapping[float, NDArray], here: int, lines: Mapping[str, float], wanted: float
) -> Figure:
    """The smallest difference that n pairs detect with probability `wanted`: f -> effects (N,) at the counts, in points.

    here: our number of pairs (a vertical line); lines: name -> an effect (horizontal lines).
    """
    figure, axis = plt.subplots(figsize=(6, 3.2))
    tones = mpl.colormaps["viridis"](np.linspace(0.9, 0, len(effects)))
    for (f, values), tone in zip(effects.items(), tones, strict=True):
        axis.plot(counts, values, color=tone, marker="o", ms=3, lw=1.4, label=f"f = {f:.0%}")
    for (name, value), style in zip(lines.items(), ("--", ":"), strict=False):
        axis.axhline(value, color=BLACK, ls=style, lw=1.2, label=name)
    axis.axvline(here, color=GREY, lw=1.2, label=f"ours: n = {here}")
    axis.set(xscale="log", yscale="log", xlabel="pairs of students n (count)")
    axis.set_ylabel(f"detected with probability {wanted:.0%} (points)")
    axis.set_xticks(counts, [str(n) for n in counts])
    axis.xaxis.set_minor_locator(NullLocator())
    ticks = [t for t in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if _inside(t, effects)]
    axis.set_yticks(ticks, [f"{t:g}" for t in ticks])
    axis.yaxis.set_minor_locator(NullLocator())
    axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _inside(tick: float, effects: Mapping[float, NDArray]) -> bool:
    values = np.concatenate([np.asarray(v) for v in effects.values()])
    return bool(0.5 * values.min() <= tick <= 2 * values.max())
