"""Figures of lesson 08: what feature losses compare, how strongly they act, and what they add to plain KD."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import ArrayLike, NDArray

from kdlib.analysis.loss_effects import Winner
from kdlib.analysis.plots.accuracy import fraction_axis, seeds_note
from kdlib.analysis.plots.style import PALETTE

BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, BLACK, GREY = PALETTE
NAMES = {"fitnets": "FitNets", "none": "KD, weight 1"}


def named(loss: str) -> str:
    """The loss as a reader knows it: `AB` for `ab`; its options stay behind it."""
    name, bracket, options = loss.partition("(")
    return f"{NAMES.get(name, name.upper())}{' ' if bracket else ''}{bracket}{options}"


def attention_maps(images: NDArray, rows: Mapping[str, Sequence[NDArray]], labels: Sequence[str]) -> Figure:
    """Attention maps of some samples: images (B, C, H, W) on top, then one row of pictures for each network.

    rows: network -> B maps (H, W), each with its own grey scale; only where a network looks matters.
    """
    figure, axes = plt.subplots(1 + len(rows), len(images), figsize=(6, 1.1 * (1 + len(rows))), squeeze=False)
    shown = {"image": [image.mean(axis=0) for image in images], **rows}
    for line, (name, pictures) in zip(axes, shown.items(), strict=True):
        for axis, picture in zip(line, pictures, strict=True):
            axis.imshow(picture, cmap="gray" if name == "image" else "viridis")
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
        line[0].set_ylabel(name, fontsize=8)
    for axis, label in zip(axes[0], labels, strict=True):
        axis.set_title(f"label {label}", fontsize=8)
    return figure


def similarities(matrices: Mapping[str, NDArray], labels: ArrayLike) -> Figure:
    """Gram matrices (B, B) of one batch that is sorted by class, a panel each, on one colour scale; labels (B,) sorted."""
    figure, axes = plt.subplots(1, len(matrices), figsize=(6, 2.4), squeeze=False, sharey=True)
    top = max(float(matrix.max()) for matrix in matrices.values())
    edges = np.flatnonzero(np.diff(np.asarray(labels))) + 0.5
    for axis, (name, matrix) in zip(axes[0], matrices.items(), strict=True):
        drawn = axis.imshow(matrix, cmap="viridis", vmin=0, vmax=top)
        for edge in edges:
            axis.axhline(edge, color="white", lw=0.4)
            axis.axvline(edge, color="white", lw=0.4)
        axis.grid(False)
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("sample, by class")
    axes[0, 0].set_ylabel("sample (sorted by class)")
    figure.colorbar(drawn, ax=axes[0], label="similarity (row of length 1)", shrink=0.8)
    return figure


def gradients(found: pd.DataFrame) -> Figure:
    """How strongly each loss acts: its gradient's length over that of CE + KD, at beta = 1 and at the codes' weight.

    found: feature_loss, weight ("beta = 1" or another name), seed, ratio; a bar is the range over the seeds' networks.
    """
    figure, axis = plt.subplots(figsize=(6, 3.4))
    names = list(dict.fromkeys(found.feature_loss))[::-1]
    for k, (weight, part) in enumerate(found.groupby("weight", sort=False)):
        by_name = part.groupby("feature_loss").ratio.agg(["median", "min", "max"]).loc[names]
        at = np.arange(len(names)) + (0.15 if k == 0 else -0.15)
        spread = np.abs(by_name[["min", "max"]].sub(by_name["median"], axis=0)).T
        look = _look(k)
        axis.errorbar(
            by_name["median"], at, xerr=spread.to_numpy(), label=f"{weight} (n = {part.seed.nunique()})", **look
        )
    axis.axvline(1, color=GREY, ls="--", lw=1.2)
    axis.set_xscale("log")
    axis.set_yticks(range(len(names)), [named(name) for name in names])
    axis.set(xlabel="length of the gradient over that of CE + KD (no unit)", ylabel="loss (name)")
    axis.legend(fontsize=8, loc="center left")
    return figure


def _look(place: int) -> dict[str, Any]:
    """Hollow orange for beta = 1, filled blue for the codes' weights."""
    tone = ORANGE if place == 0 else BLUE
    return {
        "fmt": "o",
        "ms": 4.5,
        "capsize": 2.5,
        "lw": 1.3,
        "color": tone,
        "markerfacecolor": "white" if place == 0 else tone,
    }


def added(panels: Mapping[str, Mapping[str, pd.DataFrame]], names: Sequence[str]) -> Figure:
    """What each loss adds to plain KD, in points: a panel (title) with one or two series (label -> table) each.

    Tables as `kdlib.analysis.loss_effects.added` makes them, of one f; a loss without a value leaves a gap. Bars are 95%
    intervals; a panel without any value says so. A value that two series share is drawn once. The axis is linear to 5 points
    and logarithmic beyond.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(6, 3.5), sharey=True, sharex=True, squeeze=False)
    order = list(names)[::-1]
    least = pd.concat([table for series in panels.values() for table in series.values()])["mean"].min()
    ticks = [*([-50, -20] if least < -10 else []), *([-10] if least < -5 else []), -5, 0, 5]
    for axis, (title, series) in zip(axes[0], panels.items(), strict=True):
        axis.axvline(0, color=GREY, ls="--", lw=1.2)
        for k, edge in enumerate((-5, 5)):
            axis.axvline(edge, color=GREY, ls=":", lw=0.9, label="logarithmic beyond" if k == 0 else None)
        shown: set[tuple] = set()
        for k, (label, table) in enumerate(series.items()):
            values = list(zip(table.feature_loss, table.beta, table["mean"], strict=True))
            new = np.array([value not in shown for value in values], dtype=bool)
            shown |= set(values)
            _series(axis, table[table.feature_loss.isin(order) & new], order, label, k, len(series))
        if all(table.empty for table in series.values()):
            axis.text(0.5, 0.5, "no rows yet", transform=axis.transAxes, ha="center", color="#666666")
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("difference (points)")
        axis.tick_params(axis="x", labelsize=7)
        axis.set_xscale("symlog", linthresh=5, linscale=1.2)
        axis.set_xticks(ticks, ["" if tick == -10 else f"{tick:g}" for tick in ticks])  # there is no room for all
        axis.xaxis.set_minor_locator(NullLocator())
    keys: dict[str, Any] = {}
    for axis in axes[0]:
        keys |= dict(reversed(pair) for pair in zip(*axis.get_legend_handles_labels(), strict=True))
    if keys:
        figure.legend(keys.values(), keys.keys(), fontsize=8, ncols=3, loc="outside upper right", handlelength=1)
    axes[0, 0].set_yticks(range(len(order)), [named(name) for name in order])
    axes[0, 0].set_ylabel("loss added to KD (name)")
    return figure


def _series(axis: Axes, table: pd.DataFrame, order: Sequence[str], label: str, place: int, count: int) -> None:
    if table.empty:
        return
    at = table.feature_loss.map(order.index) + (0.15 * (1 - 2 * place) if count > 1 else 0)
    known = f" ({seeds_note(table)})" if (table.n > 0).all() else ""
    axis.errorbar(table["mean"], at, xerr=table.half.fillna(0), label=f"{label}{known}", **_look(place))


def winners(found: Mapping[str, Winner]) -> Figure:
    """The winner's lead on the seeds that chose it, and on the others: a pair of columns for each table (label)."""
    figure, axis = plt.subplots(figsize=(6, 3))
    axis.axhline(0, color=GREY, ls="--", lw=1.2)
    sides = (("chosen", "seeds that chose the winner", ORANGE), ("fresh", "the other seeds", BLUE))
    for k, (side, label, tone) in enumerate(sides):
        for place, winner in enumerate(found.values()):
            values = np.sort(getattr(winner, side))
            at = place + (k - 0.5) * 0.36
            axis.plot(at + np.linspace(-0.12, 0.12, len(values)), values, ".", ms=3, color=tone, alpha=0.5)
            axis.plot(
                [at - 0.15, at + 0.15], [values.mean()] * 2, color=tone, lw=2.4, label=label if place == 0 else None
            )
    axis.set_xticks(range(len(found)), list(found), fontsize=8)
    axis.set(xlabel="kept fraction and weight (name)", ylabel="winner minus plain KD (points)")
    axis.legend(fontsize=8, title="mean over all splits (line), each split (dots)", title_fontsize=7)
    return figure


def decoupled(panels: Mapping[str, pd.DataFrame]) -> Figure:
    """DKD minus KD in points against f, a line for each weight of the non-target part, a panel for each title.

    panels: title -> weight, fraction, mean, half, n. Each panel has its own y axis.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(6, 3), squeeze=False)
    for axis, (title, found) in zip(axes[0], panels.items(), strict=True):
        axis.axhline(0, color=GREY, ls="--", lw=1.2)
        for k, ((weight, line), tone) in enumerate(
            zip(found.groupby("weight"), (SKY, ORANGE, BLUE, GREEN), strict=False)
        ):
            shown: dict[str, Any] = {"fmt": "osD^"[k] + "-", "ms": 4, "lw": 1.4, "capsize": 2.5, "color": tone}
            x = line.fraction * 1.06 ** (k - 1)  # side by side, so that bars do not hide each other
            axis.errorbar(x, line["mean"], line.half.fillna(0), label=f"$w$ = {weight:g} ({seeds_note(line)})", **shown)
        fraction_axis(axis, found.fraction, narrow=True)
        axis.set_title(title, fontsize=9)
    axes[0, 0].set_ylabel("DKD minus KD (points)")
    axes[0, 0].legend(fontsize=8, title="weight of the other classes", title_fontsize=8)
    return figure
