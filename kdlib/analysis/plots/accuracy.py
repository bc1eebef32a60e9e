"""Figures of accuracy: against the kept fraction f, against alpha, differences between runs, and paper beside ours.

Every function takes tables of `kdlib.analysis.statistics` and returns a figure. Colour and marker are the pruning, a solid
line a student with KD, a dashed one a student without. Bands and bars are 95% intervals over seeds; fewer than three
seeds have none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator
from numpy.typing import ArrayLike, NDArray

from kdlib.analysis.names import named
from kdlib.analysis.plots.scores import picture
from kdlib.analysis.plots.style import PALETTE, SCORER_COLOURS
from kdlib.analysis.statistics import Interval, gain_points, points

BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, BLACK, GREY = PALETTE
KEPT = "kept fraction f (share of the training samples)"
ACCURACY = "test accuracy (%)"
LEGEND: dict[str, Any] = {"fontsize": 8, "handlelength": 3.2}  # long enough to tell a dashed line from a solid one


def colour(pruning: str) -> str:
    """The scorer's colour; a variant (`grand_last`) has its family's; the medium window is scored by difficulty."""
    scorer = "difficulty" if pruning == "medium" else pruning.split(" ")[0]
    return SCORER_COLOURS.get(scorer) or SCORER_COLOURS.get(scorer.split("_")[0], PINK)


MARKERS = {"random": "s", "forgetting": "o", "el2n": "D", "grand": "v", "medium": "^", "difficulty": "^"}


def marker(pruning: str) -> str:
    """The marker of a pruning, so that two colours that are alike stay apart."""
    return MARKERS.get(pruning.split(" ")[0].split("_")[0], "P")


def fraction_axis(axis: Axes, fractions: ArrayLike, narrow: bool = False) -> None:
    """A logarithmic x axis whose ticks are the fractions themselves; the percent sign moves to the label if narrow."""
    at = np.unique(np.asarray(fractions, dtype=np.float64))
    axis.set_xscale("log")
    axis.set_xticks(at, [f"{100 * f:g}" if narrow else f"{100 * f:g}%" for f in at])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlabel("kept fraction f (%)" if narrow else KEPT)


def seeds_note(found: pd.DataFrame) -> str:
    """The seeds of some points: `n = 10`, or `n = 1 to 3` where they differ."""
    low, high = int(found.n.min()), int(found.n.max())
    return f"n = {low}" if low == high else f"n = {low} to {high}"


def curves(axis: Axes, table: pd.DataFrame, alphas: Mapping[float, str], narrow: bool = False) -> None:
    """Accuracy against f: a line per pruning and alpha (`alphas` maps alpha to a line style), with its band."""
    found = points(table, ("pruning", "alpha", "fraction"))
    for k, name in enumerate(dict.fromkeys(table.pruning)):
        for alpha, style in alphas.items():
            line = found[(found.pruning == name) & np.isclose(found.alpha, alpha)].copy()
            inside = colour(name) if alpha else "white"  # hollow: no teacher; tells lone points apart, too
            point: dict[str, Any] = {"marker": marker(name), "ms": 4, "markerfacecolor": inside}
            if len(line) == 1:  # a band has no width at one point: a bar, beside the other lines' points
                line["fraction"] *= apart(k + 1, 1, found.fraction)
                axis.errorbar(line.fraction, line["mean"], line.half.fillna(0), capsize=2.5, color=colour(name))
            axis.plot(line.fraction, line["mean"], ls=style, lw=1.6, color=colour(name), **point)
            low, high = line["mean"] - line.half, line["mean"] + line.half
            axis.fill_between(line.fraction, low, high, color=colour(name), alpha=0.15, lw=0)
    fraction_axis(axis, found.fraction, narrow)
    axis.set_ylabel(ACCURACY)


def line_keys(table: pd.DataFrame, alphas: Mapping[float, tuple[str, str]], counts: bool = True) -> list[Line2D]:
    """Legend entries: a colour for each pruning (with its n), a line style for each alpha (style, name)."""
    keys = []
    for name in dict.fromkeys(table.pruning):
        n = points(table[table.pruning == name], ("alpha", "fraction"))
        label = f"{named(name)} ({seeds_note(n)})" if counts else named(name)
        keys.append(Line2D([], [], color=colour(name), marker=marker(name), ms=4, lw=1.6, label=label))
    for alpha, (style, label) in alphas.items():
        fill: dict[str, Any] = {"marker": "o", "ms": 4, "markerfacecolor": GREY if alpha else "white"}
        keys.append(Line2D([], [], color=GREY, ls=style, lw=1.6, label=label, **fill))
    return keys


STYLES = {0.5: ("-", "with KD"), 0.0: ("--", "without KD")}


def accuracy_vs_fraction(
    table: pd.DataFrame, full: Interval | None, alpha: float = 0.5, full_name: str = "all data, no KD"
) -> Figure:
    """The main result: accuracy against f with KD (solid) and without (dashed); dashed grey: the level `full`, if known."""
    figure, axis = plt.subplots(figsize=(6, 3.5))
    curves(axis, table, {alpha: "-", 0.0: "--"})
    if full is not None:
        axis.axhline(full.mean, color=GREY, ls=(0, (6, 3)), lw=1.2)
        place: dict[str, Any] = {"xytext": (0, 3), "textcoords": "offset points", "color": "#666666", "fontsize": 8}
        axis.annotate(f"{full_name}: {full.mean:.1f}% (n = {full.n})", (table.fraction.min(), full.mean), **place)
    axis.legend(handles=line_keys(table, {alpha: STYLES[0.5], 0.0: STYLES[0.0]}), loc="lower right", **LEGEND)
    return figure


def soft_targets(image: NDArray, logits: NDArray, classes: Sequence[str], taus: Sequence[float], label: int) -> Figure:
    """Left, one sample (C, H, W) uint8; right, the teacher's softmax(logits / tau) at each temperature, logits (K,)."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(6, 2.4), width_ratios=(1, 2.8))
    picture(left, image, f"label {classes[label]}")
    shown, width = np.argsort(-logits, kind="stable")[:10], 0.8 / len(taus)
    shown = np.sort(shown)
    for k, (tau, tone) in enumerate(zip(taus, (BLUE, ORANGE, GREEN), strict=False)):
        soft = np.exp((logits - logits.max()) / tau)
        at = np.arange(len(shown)) + (k - (len(taus) - 1) / 2) * width
        right.bar(at, 100 * (soft / soft.sum())[shown], width, color=tone, label=rf"$\tau$ = {tau:.3g}")
    right.set_xticks(range(len(shown)), [classes[c] for c in shown], fontsize=8)
    right.set(xlabel="class (label)", ylabel="soft target $q$ (%)", ylim=(0, 100))
    right.legend(fontsize=8)
    return figure


def apart(place: int, count: int, fractions: ArrayLike) -> float:
    """The factor on f that sets the bars of `count` lines side by side, so that they do not hide each other.

    A step is a fiftieth of the axis, so that a point stays near its own tick.
    """
    ends = np.asarray(fractions, dtype=np.float64)
    step = max(ends.max() / ends.min(), 2.0) ** 0.02
    return float(step ** (place - (count - 1) / 2))


def differences(panels: Mapping[str, pd.DataFrame], ylabel: str) -> Figure:
    """Differences in points against f, a panel each (title -> pruning, fraction, mean, half, n); zero is dashed."""
    figure, axes = plt.subplots(1, len(panels), figsize=(6, 3), sharey=True, squeeze=False)
    for axis, (title, found) in zip(axes[0], panels.items(), strict=True):
        axis.axhline(0, color=GREY, ls="--", lw=1.2)
        names = list(dict.fromkeys(found.pruning))
        for k, name in enumerate(names):
            line = found[found.pruning == name]
            x = line.fraction * apart(k, len(names), found.fraction)
            shown: dict[str, Any] = {"fmt": marker(name) + "-", "ms": 3.5, "lw": 1.4, "capsize": 2.5}
            label = f"{named(name)} ({seeds_note(line)})"
            axis.errorbar(x, line["mean"], line.half.fillna(0), color=colour(name), label=label, **shown)
        fraction_axis(axis, found.fraction, narrow=len(panels) > 1)
        axis.set_title(title if len(panels) > 1 else "", fontsize=9)
        axis.legend(fontsize=8)
    axes[0, 0].set_ylabel(ylabel)
    return figure


def alpha_against_fraction(table: pd.DataFrame, best: pd.DataFrame) -> Figure:
    """Left, points above alpha = 0 against alpha, one line per f (star: best); right, the best alpha against f.

    best: columns fraction, mean, half, n of the seeds' best alphas.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(6, 3.2), width_ratios=(1.35, 1))
    fractions = sorted(table.fraction.unique())
    tones = mpl.colormaps["plasma"](np.linspace(0.85, 0.1, len(fractions)))
    for k, (f, tone) in enumerate(zip(fractions, tones, strict=True)):
        at_f = table[table.fraction == f]
        found = pd.concat([gain_points(at_f, a).assign(alpha=a) for a in sorted(at_f.alpha.unique())])
        mark, aside = "osD^vP"[k % 6], 0.015 * (k - (len(fractions) - 1) / 2)  # so that bars stand side by side
        shown: dict[str, Any] = {"ms": 3.5, "lw": 1.1, "capsize": 2, "color": tone, "label": f"{100 * f:g}%"}
        left.errorbar(found.alpha + aside, found["mean"], found.half.fillna(0), fmt=f"{mark}-", **shown)
        top = found.iloc[found["mean"].argmax()]
        left.plot(top.alpha + aside, top["mean"], "*", ms=10, color=tone, markeredgecolor=BLACK, mew=0.5, zorder=4)
    left.axhline(0, color=GREY, ls="--", lw=1.2)
    left.set(xlabel=r"KD weight $\alpha$ (no unit)", ylabel="validation accuracy\nabove $\\alpha$ = 0 (points)")
    handles, labels = left.get_legend_handles_labels()
    title = f"f ({seeds_note(best)}); star: best of the means"
    figure.legend(handles, labels, loc="outside lower center", ncols=6, fontsize=8, title=title, title_fontsize=8)
    right.errorbar(best.fraction, best["mean"], best.half.fillna(0), fmt="o-", ms=4, capsize=3, color=BLUE)
    fraction_axis(right, best.fraction, narrow=True)
    right.set(ylabel=r"best $\alpha$ (mean over seeds)", ylim=(-0.05, 1.05))
    return figure


def effects(panels: Mapping[str, pd.DataFrame], ylabel: str = "gain of KD (points)") -> Figure:
    """What KD adds in points against f, a panel each, on equal axes: title -> pruning, fraction, mean, half, n.

    Published effects have n = 0 (their seeds are not known); one with a `bound` of 1 or -1 ("more than 8") has an arrow
    into the side where the effect lies. Those of a table of the paper (column `where`) are a hollow series, the others
    lone points. A panel without rows says so; zero is dashed.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(6, 3.2), sharex=True, sharey=True, squeeze=False)
    everything = pd.concat(panels.values())
    for axis, (title, found) in zip(axes[0], panels.items(), strict=True):
        axis.axhline(0, color=GREY, ls="--", lw=1.2)
        axis.set_title(title, fontsize=9)
        places = found["where"] if "where" in found else pd.Series("", found.index)
        series = list(dict.fromkeys(zip(found.pruning, places, strict=True)))
        for k, (name, where) in enumerate(series):
            line = found[(found.pruning == name) & (places == where)].sort_values("fraction")
            line = line.assign(fraction=line.fraction * apart(k, len(series), everything.fraction))
            label = f"{named(name)}{f' ({where})' if where else f' ({seeds_note(line)})' if line.n.any() else ''}"
            inside = "white" if "Table" in where else colour(name)
            look: dict[str, Any] = {"color": colour(name), "lw": 1.4, "label": label, "markerfacecolor": inside}
            bounds = line[line["bound"].notna()] if "bound" in line else line[:0]
            joined = "" if len(bounds) or (where and "Table" not in where) else "-"
            axis.plot(line.fraction, line["mean"], marker=marker(name), ms=4, ls=joined, **look)
            _arrows(axis, bounds, colour(name))
            spread = line[line.half.notna()]
            axis.errorbar(spread.fraction, spread["mean"], spread.half, fmt="none", capsize=2.5, color=colour(name))
        if found.empty:
            axis.text(0.5, 0.5, "no rows yet", transform=axis.transAxes, ha="center", color="#666666")
        else:
            axis.legend(fontsize=7, handlelength=1.6, frameon=True, framealpha=1, edgecolor="#999999")
        fraction_axis(axis, everything.fraction, narrow=True)
        axis.tick_params(axis="x", labelsize=7)
    if "bound" in everything:
        axes[0, 0].margins(y=0.2)  # room for the arrows
    axes[0, 0].set_ylabel(ylabel)
    return figure


def _arrows(axis: Axes, bounds: pd.DataFrame, tone: str) -> None:
    """An arrow from each bound into the side where the effect lies."""
    for at, value, side in zip(bounds.fraction, bounds["mean"], bounds.get("bound", []), strict=True):
        axis.annotate(
            "",
            (at, value),
            xytext=(0, 24 * side),
            textcoords="offset points",
            arrowprops={"arrowstyle": "<|-", "color": tone},
        )


def learning_curves(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Figure:
    """Left, the mean loss (nats) of each epoch, right, the test accuracy (%): name -> (losses (E,), accuracies (E,))."""
    figure, axes = plt.subplots(1, 2, figsize=(6, 2.6))
    for (name, columns), (tone, style) in zip(curves.items(), ((BLUE, "-"), (ORANGE, "--")), strict=False):
        for axis, values in zip(axes, columns, strict=True):
            axis.plot(np.arange(len(values)) + 1, values, color=tone, ls=style, lw=1.5, label=name)
    axes[0].set(ylabel="mean loss (nats, each its own)", yscale="log")
    axes[1].set_ylabel(ACCURACY)
    axes[1].legend(fontsize=8)
    for axis in axes:
        axis.set_xlabel("epoch (count)")
    return figure


def predictions(image: NDArray, soft: Mapping[str, NDArray], classes: Sequence[str], label: int) -> Figure:
    """One sample (C, H, W) uint8, and beside it what each network answers: name -> probabilities (K,), a panel each.

    The label's bar is blue. With more than ten classes the ten that the first network finds likeliest are shown.
    """
    figure, axes = plt.subplots(1, 1 + len(soft), figsize=(6, 2.2), width_ratios=(0.9, *[1] * len(soft)))
    picture(axes[0], image, f"label {classes[label]}")
    shown = np.sort(np.argsort(-next(iter(soft.values())), kind="stable")[:10])
    for axis, (name, values) in zip(axes[1:], soft.items(), strict=True):
        axis.barh(range(len(shown)), 100 * values[shown], color=[BLUE if c == label else GREY for c in shown])
        axis.set_yticks(range(len(shown)), [classes[c] for c in shown] if axis is axes[1] else [], fontsize=7)
        axis.invert_yaxis()
        axis.set(xlim=(0, 100), xlabel="soft prediction (%)")
        ends = axis.set_xticks([0, 50, 100], ["0", "50", "100"])
        ends[0].label1.set_horizontalalignment("left")  # away from the neighbouring panel's
        ends[-1].label1.set_horizontalalignment("right")
        axis.set_title(name, fontsize=9)
    axes[1].set_ylabel("class (label)")
    return figure
