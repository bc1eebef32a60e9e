"""Figures on teachers of several sizes: accuracy against the number of parameters, the temperature and the teacher's data.

Colour runs from few kept samples (light) to many (dark), or from small teachers to large ones. Bars are 95% intervals; fewer
than three trainings have none. The student's own size is a dotted line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from kdlib.analysis.plots.accuracy import ACCURACY, seeds_note
from kdlib.analysis.plots.style import PALETTE

BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, BLACK, GREY = PALETTE
MARKERS = "osD^vPX"


def tones(count: int) -> NDArray:
    """`count` colours from light to dark, which differ in brightness too: (count, 4)."""
    return mpl.colormaps["viridis"](np.linspace(0.85, 0.0, count))


def lines(
    axis: Axes,
    found: pd.DataFrame,
    x: str,
    by: str,
    label: Callable[[Any], str],
    alone: Sequence[float] = (),
    each: int = 0,
) -> None:
    """A line against `x` for each value of `by`: `found` has the columns x, by, mean, half, n.

    A point whose `x` is in `alone` is of another kind: it is drawn hollow and no line leads to it. each: students of one
    teacher, if the teachers' means are the sample; 0 leaves the teachers out of the legend.
    """
    values = sorted(found[by].unique())
    for k, (value, tone) in enumerate(zip(values, tones(len(values)), strict=True)):
        part = found[found[by] == value].sort_values(x)
        lone = part[x].isin(list(alone))
        look: dict[str, Any] = {
            "color": tone,
            "marker": MARKERS[k % len(MARKERS)],
            "ms": 4.5,
            "capsize": 2.5,
            "lw": 1.4,
        }
        name = f"{label(value)} ({_students_note(part, each)})"
        for chosen, own in ((part[~lone], {"label": name}), (part[lone], {"ls": "none", "markerfacecolor": "white"})):
            axis.errorbar(chosen[x], chosen["mean"], chosen.half.fillna(0), **{**look, **own})


def _students_note(found: pd.DataFrame, each: int) -> str:
    """`n = 6 to 10`, or `6 to 10 students of 3 to 5 teachers`."""
    if not each:
        return seeds_note(found)
    teachers = seeds_note(found.assign(n=found.n // each)).removeprefix("n = ")
    return f"{seeds_note(found).removeprefix('n = ')} students of {teachers} teachers"


def ticks(axis: Axes, at: Mapping[float, str]) -> None:
    """A logarithmic x axis with the given ticks only: place -> text."""
    axis.set_xscale("log")
    axis.set_xticks(list(at), list(at.values()))
    axis.xaxis.set_minor_locator(NullLocator())


def against_size(
    found: pd.DataFrame,
    sizes: Mapping[str, int],
    student: str,
    others: Sequence[str],
    plain: Mapping[float, float],
    each: int = 0,
) -> Figure:
    """The student's accuracy against its teacher's number of parameters, a line for each f.

    found: columns teacher, fraction, mean, half, n. sizes: teacher -> parameters. others: teachers of another family, drawn
    hollow and apart. plain: f -> accuracy (percent) without a teacher, dashed in the colour of its f.
    each: see `lines`.
    """
    figure, axis = plt.subplots(figsize=(6, 3.5))
    placed = found.assign(size=found.teacher.map(sizes))
    lines(axis, placed, "size", "fraction", lambda f: f"f = {100 * f:g}%", [sizes[name] for name in others], each)
    for (_, level), tone in zip(sorted(plain.items()), tones(len(plain)), strict=True):
        axis.axhline(level, color=tone, ls="--", lw=1)
    axis.axvline(sizes[student], color=GREY, ls=":", lw=1.2)
    ticks(axis, {count: f"{name}\n{count:,}" for name, count in sizes.items()})
    axis.tick_params(axis="x", labelsize=7)
    axis.set(xlabel="the teacher and its parameters (count)", ylabel=f"student's {ACCURACY}")
    if plain:
        axis.plot([], [], color=GREY, ls="--", lw=1, label="no KD, same f")
    axis.plot([], [], color=GREY, ls=":", lw=1.2, label="the student's own size")
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=2 if each else 3, fontsize=8)
    return figure


def in_study(found: pd.DataFrame, size: Callable[[str], int], plain: Mapping[float, float]) -> Figure:
    """`against_size` for the table of `kdlib.analysis.effects.by_teacher`; an empty table gives axes that say so.

    plain: f -> accuracy (percent) without a teacher, of which those at a fraction of the table are drawn.
    """
    if not found.empty:
        student = str(found.student.iloc[0])
        names = sorted({student, *found.teacher}, key=size)
        beside = {f: plain[f] for f in plain if f in set(found.fraction)}
        return against_size(found, {name: size(name) for name in names}, student, [], beside)
    figure, axis = plt.subplots(figsize=(6, 1.6))
    axis.text(0.5, 0.5, "no rows yet", transform=axis.transAxes, ha="center", color="#666666")
    axis.set(xticks=[], yticks=[], xlabel="the teacher and its parameters (count)", ylabel=ACCURACY)
    return figure


def temperatures(found: pd.DataFrame, label: Mapping[float, str], each: int = 0) -> Figure:
    """The student's accuracy against the temperature, a line for each teacher: columns tau, size, mean, half, n.

    label: the teacher's parameters -> its name. each: see `lines`.
    """
    figure, axis = plt.subplots(figsize=(6, 3.5))
    shifted = found.assign(tau=found.tau * 1.012 ** found.groupby("tau")["size"].rank().sub(2))  # bars side by side
    lines(axis, shifted, "tau", "size", lambda size: label[size], each=each)
    ticks(axis, {tau: f"{tau:g}" for tau in sorted(found.tau.unique())})
    axis.set(xlabel=r"temperature $\tau$ (no unit)", ylabel=f"student's {ACCURACY}")
    figure.legend(loc="outside lower center", ncols=2 if each else 3, fontsize=8, title="teacher", title_fontsize=8)
    return figure


def teacher_data(found: pd.DataFrame) -> Figure:
    """The student's accuracy against the fraction f_t of the data that its teacher saw, a line for each f.

    found: columns teacher_fraction, fraction, mean, half, n. A line begins at f_t = f, where the teacher knows no more than the
    student's own samples.
    """
    figure, axis = plt.subplots(figsize=(6, 3.3))
    lines(axis, found, "teacher_fraction", "fraction", lambda f: f"student's f = {100 * f:g}%")
    ticks(axis, {f: f"{100 * f:g}%" for f in sorted(found.teacher_fraction.unique())})
    axis.set(xlabel="the teacher's fraction $f_t$ (share of the training samples)", ylabel=f"student's {ACCURACY}")
    axis.legend(fontsize=8)
    return figure


def boundaries(
    panels: Mapping[str, NDArray], extent: float, points: NDArray, labels: NDArray, wrong: NDArray | None = None
) -> Figure:
    """What networks say over a square of the plane, a panel each: name -> probability of class 1 (G, G), rows from below.

    extent: half the side of the square. points: the kept samples (n, 2); labels: their classes (n,), 0 or 1. wrong: samples
    with a wrong label (m, 2), drawn as crosses.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(6, 2.3), sharey=True, squeeze=False)
    span = (-extent, extent, -extent, extent)
    for axis, (name, field) in zip(axes[0], panels.items(), strict=True):
        shown = axis.imshow(field, origin="lower", extent=span, cmap="PuOr", vmin=0, vmax=1, alpha=0.8)
        for label, marker in ((0, "s"), (1, "o")):
            chosen = points[labels == label]
            axis.plot(chosen[:, 0], chosen[:, 1], marker, color="white", markeredgecolor=BLACK, ms=5, ls="none")
        if wrong is not None:
            axis.plot(wrong[:, 0], wrong[:, 1], "x", color="white", ms=6, mew=2.4, ls="none")
            axis.plot(wrong[:, 0], wrong[:, 1], "x", color=BLACK, ms=5, mew=1.2, ls="none")
        axis.set_title(name, fontsize=8)
        axis.grid(visible=False)
        axis.set_xlabel("$x_1$ (no unit)")
    axes[0, 0].set_ylabel("$x_2$ (no unit)")
    figure.colorbar(shown, ax=axes[0, -1], shrink=0.8, label="probability of class 1")
    return figure


def effects_of(values: Mapping[str, tuple[float, float]], xlabel: str) -> Figure:
    """Effects in points with their 95% intervals, one below another: name -> (mean, half width); zero is dashed."""
    figure, axis = plt.subplots(figsize=(6, 0.45 * len(values) + 0.9))
    axis.axvline(0, color=GREY, ls="--", lw=1.2)
    for y, (mean, half) in enumerate(values.values()):
        axis.errorbar(mean, y, xerr=half if np.isfinite(half) else None, fmt="D", color=BLUE, ms=5, capsize=3)
    axis.set_yticks(range(len(values)), list(values))
    axis.set_ylim(len(values) - 0.5, -0.5)
    axis.set_xlabel(xlabel)
    return figure
