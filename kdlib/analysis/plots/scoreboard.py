"""Figures about verdicts: the board of all claims, the effects that decide, and how often a verdict is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from kdlib.analysis.claims import Effect
from kdlib.analysis.plots.style import PALETTE

BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, BLACK, GREY = PALETTE
LOOKS = {"holds": (GREEN, "o"), "in direction": (SKY, "D"), "undecided": (YELLOW, "s"), "fails": (ORANGE, "X")}
SIDES = {"above": GREEN, "on both sides of": YELLOW, "below": ORANGE}  # where an interval lies
ABSENT = ("#cccccc", ".")  # not measured
SYMBOLS = "osD^v"
LIMIT = 5.0  # percent: no verdict may be wrong more often than this where there is no effect


def board(words: Mapping[str, Mapping[str, str]]) -> Figure:
    """A mark for each claim (columns) on each set of rows: name -> claim -> verdict in a word."""
    names = list(words)
    claims = list(next(iter(words.values())))
    figure, axis = plt.subplots(figsize=(6, 1.0 + 0.34 * len(names)))
    for y, name in enumerate(names):
        for x, claim in enumerate(claims):
            tone, symbol = LOOKS.get(words[name][claim], ABSENT)
            axis.plot(x, y, symbol, color=tone, ms=8 if symbol != "." else 4)
    axis.set_xticks(range(len(claims)), claims, fontsize=7, rotation=90)
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.set(ylim=(len(names) - 0.5, -0.5), xlabel="claim (number)", ylabel="rows")
    keys = [Line2D([], [], ls="", marker=m, color=c, ms=6, label=word) for word, (c, m) in LOOKS.items()]
    keys.append(Line2D([], [], ls="", marker=ABSENT[1], color=ABSENT[0], label="not measured"))
    figure.legend(handles=keys, loc="outside upper center", ncols=5, fontsize=7)
    return figure


def deciding(effects: Mapping[str, Effect]) -> Figure:
    """For each claim the effect that decides it, less its threshold, with its 95% interval; above zero it speaks for it."""
    figure, axis = plt.subplots(figsize=(6, 3))
    axis.axhline(0, color=GREY, ls="--", lw=1.2)
    for x, effect in enumerate(effects.values()):
        found, half = effect.estimate, np.nan_to_num(effect.estimate.half)
        tone = SIDES["above" if effect.above else "below" if effect.below else "on both sides of"]
        axis.errorbar(x, found.mean - effect.threshold, half, fmt="o", ms=5, color=tone, capsize=3)
    axis.set_xticks(range(len(effects)), list(effects), fontsize=8)
    axis.set_yscale("symlog", linthresh=1)
    axis.yaxis.set_major_formatter(lambda value, place: f"{value:g}")
    axis.margins(y=0.15)
    axis.set(xlabel="claim (number)", ylabel="deciding effect less threshold (points)")
    keys = [Line2D([], [], ls="", marker="o", ms=5, color=tone, label=side) for side, tone in SIDES.items()]
    title = "the 95% interval lies ... the threshold"
    figure.legend(handles=keys, title=title, loc="outside upper center", ncols=3, fontsize=8, title_fontsize=8)
    return figure


def rates(curves: Mapping[str, tuple[ArrayLike, ArrayLike]], xlabel: str, ylabel: str, limit: bool = True) -> Figure:
    """Shares of made-up tables in percent: name -> (x (K,), percent (K,)); dashed: what is allowed without an effect."""
    figure, axis = plt.subplots(figsize=(6, 3))
    for (name, (x, y)), tone, symbol in zip(curves.items(), PALETTE, SYMBOLS, strict=False):
        axis.plot(x, y, symbol + "-", ms=4, lw=1.4, color=tone, label=name)
    if limit:
        axis.axhline(LIMIT, color=GREY, ls="--", lw=1.2, label=f"{LIMIT:g}%")
    if all(float(value).is_integer() for x, _ in curves.values() for value in np.ravel(x)):
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set(xlabel=xlabel, ylabel=ylabel, ylim=(-3, 103))
    figure.legend(fontsize=8, ncols=3, loc="outside upper center")  # in the panel it would lie on the dashed line
    return figure


def power(table: pd.DataFrame, designs: Sequence[tuple[int, int]]) -> Figure:
    """For each claim the share of tables with the paper's effect in which its verdict holds: a mark for each design.

    table: columns claim, seeds, teachers, scenario, holds; designs: (seeds, teachers).
    """
    figure, axis = plt.subplots(figsize=(6, 3))
    claims = list(dict.fromkeys(table.claim))
    at = table[table.scenario == "paper's effect"]
    for k, (seeds, teachers) in enumerate(designs):
        rows = at[(at.seeds == seeds) & (at.teachers == teachers)].set_index("claim").holds.reindex(claims)
        look: dict[str, Any] = {"color": PALETTE[k], "marker": SYMBOLS[k], "ls": "", "ms": 4.5}
        axis.plot(np.arange(len(claims)) + (k - 1) * 0.15, 100 * rows, label=design(seeds, teachers), **look)
    axis.set_xticks(range(len(claims)), claims, fontsize=7, rotation=90)
    axis.set(xlabel="claim (number)", ylabel="verdict holds (% of tables)", ylim=(-3, 103))
    figure.legend(loc="outside upper center", ncols=3, fontsize=8)
    return figure


def design(seeds: int, teachers: int) -> str:
    """`5 seeds, 2 teachers`."""
    return f"{seeds} seeds, {teachers} teacher{'s' if teachers > 1 else ''}"
