"""Figures of the KD weight alpha: its slope against f, a fitted rule alpha(f) with its band, accuracy against tau."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from kdlib.analysis.kd_weight import Fitted
from kdlib.analysis.plots.accuracy import fraction_axis, seeds_note
from kdlib.analysis.plots.style import PALETTE

BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, BLACK, GREY = PALETTE
LOOKS = [(BLUE, "o"), (ORANGE, "s"), (GREEN, "^"), (PINK, "v"), (BLACK, "D")]


def slopes(found: Mapping[str, pd.DataFrame]) -> Figure:
    """The slope of the accuracy in alpha against f: teacher -> fraction, mean, half, n of `kd_weight.slopes`."""
    figure, axis = plt.subplots(figsize=(6, 3))
    axis.axhline(0, color=GREY, ls="--", lw=1.2)
    for k, ((name, line), (tone, mark)) in enumerate(zip(found.items(), LOOKS, strict=False)):
        x = line.fraction * 1.03 ** (k - (len(found) - 1) / 2)  # side by side, so that bars do not hide each other
        label = f"{name} ({seeds_note(line)})"
        axis.errorbar(
            x, line["mean"], line.half.fillna(0), fmt=f"{mark}-", ms=4, lw=1.4, capsize=3, color=tone, label=label
        )
    fraction_axis(axis, pd.concat(found.values()).fraction)
    axis.set_ylabel("slope in $\\alpha$ (points per unit\nof $\\alpha$, $\\alpha$ > 0)")
    axis.legend(fontsize=8)
    return figure


def rules(found: Mapping[str, Fitted], fractions: Mapping[float, float]) -> Figure:
    """Fitted rules alpha(f) with their 95% bands, teacher -> rule; `fractions`: alpha at each f of a published rule."""
    figure, axis = plt.subplots(figsize=(6, 3))
    for (name, fitted), (tone, mark) in zip(found.items(), LOOKS, strict=False):
        f = np.geomspace(*fitted.rule.fractions, 60)
        low, high = fitted.band(f)
        axis.fill_between(f, low, high, color=tone, alpha=0.18, lw=0)
        axis.plot(f, fitted.rule(f), color=tone, lw=1.6, label=name)
        axis.plot(fitted.rule.fractions, fitted.rule.ends, mark, ms=5, color=tone)
    axis.plot(
        list(fractions), list(fractions.values()), "x", color=GREY, ms=6, label="second paper's Adaptive (CIFAR-100)"
    )
    ends = next(iter(found.values())).rule.fractions
    fraction_axis(axis, [*ends, max(fractions)])
    axis.set(ylabel=r"KD weight $\alpha$ (no unit)", ylim=(-0.05, 1.05))
    axis.legend(fontsize=8)
    return figure


def temperatures(found: Mapping[float, pd.DataFrame]) -> Figure:
    """Validation accuracy above that at the first temperature, in points, against tau: f -> tau, mean, half, n."""
    figure, axis = plt.subplots(figsize=(6, 3))
    axis.axhline(0, color=GREY, ls="--", lw=1.2)
    for k, ((f, line), (tone, mark)) in enumerate(zip(found.items(), LOOKS, strict=False)):
        x, label = line.tau * 1.04 ** (k - (len(found) - 1) / 2), f"f = {100 * f:g}% ({seeds_note(line)})"
        axis.errorbar(
            x, line["mean"], line.half.fillna(0), fmt=f"{mark}-", ms=4, lw=1.4, capsize=3, color=tone, label=label
        )
    first, ticks = next(iter(found.values())).tau.iloc[0], sorted(set(pd.concat(found.values()).tau))
    axis.set_xscale("log")
    axis.set_xticks(ticks, [f"{tau:g}" for tau in ticks])
    axis.minorticks_off()
    axis.set(xlabel=r"temperature $\tau$ (no unit)", ylabel=f"validation accuracy\nabove $\\tau$ = {first:g} (points)")
    axis.legend(fontsize=8)
    return figure
