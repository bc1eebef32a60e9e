"""Figures of the first lesson: a training seen from outside, soft targets, and what they do for students.

Black is a student with the teacher's soft targets, orange one without; full data is dashed, the teacher dotted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from kdlib.analysis.plots.style import PALETTE
from kdlib.analysis.statistics import interval

BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, BLACK, GREY = PALETTE
LOOKS = {"no KD": (ORANGE, "o", "--"), "KD": (BLACK, "D", "-")}  # colour, marker, line
OTHERS = [(BLUE, "s", "-"), (GREEN, "^", "-."), (PINK, "v", ":"), (YELLOW, "P", "--")]


def _looks(names: Sequence[str]) -> dict[str, tuple[str, str, str]]:
    free = iter(OTHERS)
    return {name: LOOKS[name] if name in LOOKS else next(free) for name in names}


def training(losses: ArrayLike, accuracies: ArrayLike) -> Figure:
    """One training: mean training loss (nats) and test accuracy (percent) after each epoch, both (E,)."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(6, 2.5))
    epochs = np.arange(1, len(np.asarray(losses)) + 1)
    left.plot(epochs, losses, color=BLACK)
    left.set(yscale="log", xlabel="epoch", ylabel="training loss (nats)")
    right.plot(epochs, accuracies, color=BLACK)
    right.set(xlabel="epoch", ylabel="test accuracy (percent)")
    return figure


def soft_targets(image: NDArray, targets: Mapping[str, NDArray], classes: Sequence[str]) -> Figure:
    """An image (C, H, W), and beside it the targets: name -> probabilities (K,), one panel each."""
    figure, axes = plt.subplots(1, 1 + len(targets), figsize=(6, 2.0), width_ratios=(0.8, *[1] * len(targets)))
    picture = np.moveaxis(np.asarray(image), 0, -1)
    axes[0].imshow(picture.squeeze(-1) if picture.shape[-1] == 1 else picture, cmap="gray_r", vmin=0, vmax=255)
    axes[0].set_axis_off()
    axes[0].set_title("sample", fontsize=9)
    for axis, (name, probabilities), tone in zip(axes[1:], targets.items(), (GREY, SKY, BLUE), strict=False):
        axis.bar(np.arange(len(classes)), 100 * np.asarray(probabilities), color=tone)
        axis.set_title(name, fontsize=9)
        axis.set_xticks(np.arange(len(classes)), classes, fontsize=7)
        axis.set(xlabel="class", ylim=(0, 103))
    for axis in axes[2:]:
        axis.set_yticklabels([])
    axes[1].set_ylabel("probability (percent)")
    return figure


def curves(
    x: ArrayLike,
    values: Mapping[str, NDArray],
    xlabel: str,
    levels: Mapping[str, float] | None = None,
    *,
    log: bool = True,
) -> Figure:
    """Test accuracy against `x` (T,): one line for each name -> (seeds, T) accuracies in percent.

    The band is the 95% interval over seeds; fewer than three seeds are points. `levels` (name -> percent): horizontal
    lines, the first dashed, the second dotted. `log`: a logarithmic axis with a tick at every point.
    """
    figure, axis = plt.subplots(figsize=(6, 3.2))
    at = np.asarray(x, dtype=np.float64)
    for (name, found), (colour, marker, line) in zip(values.items(), _looks(list(values)).values(), strict=True):
        _line(axis, at, np.asarray(found), name, colour, marker, line)
    for (name, level), line in zip((levels or {}).items(), ("--", ":"), strict=False):
        axis.axhline(level, color=GREY, ls=line, lw=1.2, label=name)
    axis.set(xlabel=xlabel, ylabel="test accuracy (percent)")
    if log:
        axis.set_xscale("log")
        axis.set_xticks(at, [f"{v:,.0f}" for v in at])
        axis.minorticks_off()
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    return figure


def _line(axis: Axes, at: NDArray, found: NDArray, name: str, colour: str, marker: str, line: str) -> None:
    spread = [interval(column) for column in found.T]
    label = f"{name} (n = {len(found)})"
    axis.plot(at, [s.mean for s in spread], color=colour, marker=marker, ms=4, ls=line, label=label)
    if np.isfinite(spread[0].half):
        axis.fill_between(at, [s.low for s in spread], [s.high for s in spread], color=colour, alpha=0.15, lw=0)
    else:
        axis.plot(at, found.T, color=colour, marker=".", ls="none", ms=3)


def running_out(gradients: Mapping[str, Sequence[ArrayLike]], curves: Mapping[str, ArrayLike], step: int) -> Figure:
    """The gradients at a step (1 is the first), and what the steps so far have given; axes are the same at every step.

    `gradients`: name -> for each step (n,) lengths of the loss's gradient at the logits of the kept samples, drawn in
    falling order; `curves`: name -> (steps,) test accuracy (percent).
    """
    every = np.concatenate([np.asarray([np.asarray(g) for g in found]).ravel() for found in gradients.values()])
    limits, last = (0.7 * max(every.min(), 1e-6), 1.5 * every.max()), len(np.asarray(next(iter(curves.values()))))
    figure, (left, right) = plt.subplots(1, 2, figsize=(6, 2.6))
    for name, (colour, marker, line) in _looks(list(gradients)).items():
        strongest_first = np.sort(np.asarray(gradients[name][step - 1]))[::-1]
        so_far = np.asarray(curves[name])[:step]
        left.plot(np.arange(1, len(strongest_first) + 1), strongest_first, color=colour, marker=marker, ms=3, ls=line)
        right.plot(np.arange(1, len(so_far) + 1), so_far, color=colour, ls=line)
        right.plot(len(so_far), so_far[-1], color=colour, marker=marker, ms=5, ls=line, label=name)
    left.set(yscale="log", ylim=limits, xlabel="kept sample (rank)")
    left.set_ylabel("length of the loss's\ngradient at the logits")
    right.set(
        xscale="log", xlim=(0.9, 1.2 * last), ylim=(0, 100), xlabel="step (count)", ylabel="test accuracy (percent)"
    )
    right.legend(fontsize=8, loc="lower right")
    return figure


def controls(values: Mapping[str, ArrayLike], baseline: str) -> Figure:
    """Test accuracy (percent) of each kind of target, name -> (seeds,); `baseline` is also drawn as a dashed line.

    Small points are seeds, the large one is their mean with its 95% interval (from three seeds on).
    """
    figure, axis = plt.subplots(figsize=(6, 2.8))
    for y, (name, found) in enumerate(values.items()):
        seeds, mean = np.asarray(found, dtype=np.float64), interval(found)
        colour = LOOKS[name][0] if name in LOOKS else BLUE
        axis.plot(seeds, np.full(len(seeds), y + 0.2), ".", color=GREY, ms=4, label="" if y else "one seed")
        half = mean.half if np.isfinite(mean.half) else None
        axis.errorbar(mean.mean, y, xerr=half, fmt="D", color=colour, ms=5, capsize=3)
    word = "mean" if half is None else "mean, 95% interval"
    axis.errorbar([], [], xerr=None if half is None else [], fmt="D", color=BLACK, ms=4, capsize=3, label=word)
    count = len(np.asarray(next(iter(values.values()))))
    axis.axvline(interval(values[baseline]).mean, color=ORANGE, ls="--", lw=1, label=f"{baseline} (n = {count})")
    axis.set_yticks(np.arange(len(values)), list(values))
    axis.invert_yaxis()
    axis.set(xlabel="test accuracy (percent)", ylabel="student")
    axis.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    return figure
