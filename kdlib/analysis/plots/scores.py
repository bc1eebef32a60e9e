"""Figures of difficulty scores: what they look like, how far they agree, and what the hardest samples are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.patheffects as patheffects
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from kdlib.analysis.names import NAMES
from kdlib.analysis.plots.style import PALETTE, SCORER_COLOURS
from kdlib.analysis.statistics import interval

BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, BLACK, GREY = PALETTE
UNITS = {
    "forgetting": "forgetting (events per run)",
    "el2n": "EL2N (length of the error)",
    "grand": "GraNd (length of the gradient)",
    "aum": "AUM (minus margin, logits)",
    "difficulty": "cross-entropy (nats)",
    "entropy": "entropy (nats)",
}


def colour(scorer: str) -> str:
    """The scorer's colour; a variant (`forgetting_hardest`) has that of its family, an unknown one pink."""
    return SCORER_COLOURS.get(scorer) or SCORER_COLOURS.get(scorer.split("_")[0], PINK)


def line_style(scorer: str) -> str:
    """Solid, and dotted for a variant of a scorer."""
    return "-" if scorer in SCORER_COLOURS else ":"


def line_look(scorer: str) -> dict[str, Any]:
    """How matplotlib draws a scorer's line: its colour, dotted for a variant, its name as a reader knows it."""
    look = {"color": colour(scorer), "ls": line_style(scorer), "lw": 1.6, "marker": "o", "ms": 3}
    return {**look, "label": NAMES.get(scorer, scorer)}


def mean_interval(values: ArrayLike) -> tuple[float, float]:
    """(mean, half width of its 95% interval by Student's t) of (n,) values; the half width is NaN for n < 3."""
    found = interval(values)
    return found.mean, found.half


# ------------------------------------------------------------------------------------ the toy


def toy(
    x: NDArray, labels: NDArray, events: NDArray, correct: NDArray, chosen: Mapping[str, int], normal: ArrayLike
) -> Figure:
    """Left, samples x (N, 2), filled by forgetting events (N,); right, when the chosen ones were right.

    correct: (E, N) bool; `chosen` maps a letter to a sample. Circles and squares are the two classes; dashed, the line
    through the origin between them, at a right angle to `normal` (2,).
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(6, 3.2), width_ratios=(1.1, 1))
    shown = {"cmap": "cividis", "vmin": 0, "vmax": max(1, int(events.max())), "edgecolors": BLACK, "linewidths": 0.5}
    for label, marker in ((0, "o"), (1, "s")):
        member = labels == label
        left.scatter([], [], marker=marker, s=32, facecolors="none", edgecolors=BLACK, label=f"class {label}")
        points = left.scatter(*x[member].T, c=events[member], marker=marker, s=32, **shown)
    left.margins(0.1)
    for letter, i in chosen.items():
        left.scatter(*x[i], s=110, facecolors="none", edgecolors=ORANGE, linewidths=1.2)
        _letter(left, letter, x, i)
    a, b = np.asarray(normal, dtype=np.float64)
    left.set(xlim=left.get_xlim(), ylim=left.get_ylim())
    left.axline((0, 0), (-b, a), color=BLACK, ls="--", lw=1, zorder=0, label="border")
    left.set(xlabel="feature 1 (standard deviations)", ylabel="feature 2 (standard deviations)")
    whole = MaxNLocator(nbins=6, integer=True)
    figure.colorbar(points, ax=left, label="forgetting events (count)", location="bottom", shrink=0.9, ticks=whole)
    left.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, columnspacing=1)
    _raster(right, correct[:, list(chosen.values())].T, list(chosen))
    return figure


def _letter(axis: Axes, letter: str, x: NDArray, i: int) -> None:
    """The letter of sample i of x (N, 2), beside it where the other samples are farthest."""
    angles = np.radians(np.arange(90, 450, 30))
    sides = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    reach = 0.11 * np.ptp(x, axis=0)
    gaps = np.linalg.norm((x[i] + reach * sides - x[:, None]) / reach, axis=-1)  # (N, sides)
    side = sides[gaps.min(axis=0).argmax()]
    halo = [patheffects.withStroke(linewidth=2.5, foreground="white")]
    look: dict[str, Any] = {"ha": "center", "va": "center", "fontweight": "bold", "path_effects": halo}
    leader = {"arrowstyle": "-", "lw": 0.6, "shrinkA": 0, "shrinkB": 3}
    axis.annotate(letter, x[i], xytext=x[i] + reach * side, arrowprops=leader, **look)


def _raster(axis: Axes, right: NDArray, names: Sequence[str]) -> None:
    """Epochs (columns) in which each sample (row) was right (blue) or wrong (orange)."""
    grid = np.indices(right.shape)
    row, epoch = grid[0], grid[1]
    for hit, tone, word in ((True, BLUE, "right"), (False, ORANGE, "wrong")):
        at = right == hit
        axis.scatter(epoch[at] + 1, row[at], marker="s", s=11, color=tone, linewidths=0)
        axis.scatter([], [], marker="s", s=30, color=tone, label=word)
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.grid(False)
    axis.set(xlabel="epoch (count)", ylabel="sample")
    axis.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)


# ------------------------------------------------------------------------------------ samples


def picture(axis: Axes, image: NDArray, title: str) -> None:
    """One uint8 image (C, H, W), grey or RGB, drawn smoothly, as the eye reads a small image best, without an axis."""
    grey = image.shape[0] == 1
    look: dict[str, Any] = {"cmap": "gray_r" if grey else None, "interpolation": "bicubic"}
    axis.imshow(image[0] if grey else image.transpose(1, 2, 0), vmin=0, vmax=255, **look)
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
    axis.grid(False)
    axis.set_title(title, fontsize=8, pad=2)


def _likeliest(axis: Axes, soft: NDArray, label: int, classes: Sequence[str]) -> None:
    """The three largest of the probabilities soft (K,) as bars in percent; the label's is blue."""
    top = np.argsort(-soft, kind="stable")[:3]
    axis.barh(range(len(top)), 100 * soft[top], color=[BLUE if c == label else GREY for c in top])
    axis.set_yticks(range(len(top)), [classes[c] for c in top], fontsize=7)
    axis.set(xlim=(0, 100), ylim=(len(top) - 0.4, -0.6))
    axis.grid(False)


def examples(
    groups: Mapping[str, ArrayLike], images: NDArray, labels: NDArray, soft: NDArray, classes: Sequence[str]
) -> Figure:
    """Samples drawn large, each with the teacher's three largest probabilities beside it (blue: the label's).

    `groups` maps a row's name to the ids (k,) of its samples; images (N, C, H, W) uint8; labels (N,); soft (N, K).
    """
    k = len(np.asarray(next(iter(groups.values()))))
    size, widths = (6, min(3.5, 0.35 + 1.05 * len(groups))), [1.3, 1] * k
    figure, axes = plt.subplots(len(groups), 2 * k, figsize=size, width_ratios=widths, squeeze=False)
    for row, (name, ids) in enumerate(groups.items()):
        for left, right, i in zip(axes[row, ::2], axes[row, 1::2], np.asarray(ids).tolist(), strict=True):
            picture(left, images[i], f"label {classes[labels[i]]}")
            _likeliest(right, soft[i], labels[i], classes)
            right.set_xticks([0, 50, 100], ["0", "50", "100"] if row == len(groups) - 1 else [], fontsize=7)
        axes[row, 0].set_ylabel(name, fontsize=9)
    figure.supxlabel("soft target (%) of the three likeliest classes; blue: the label", fontsize=8)
    return figure


def _mosaic(axis: Axes, rows: Mapping[str, NDArray]) -> None:
    """Images side by side: `rows` maps a row's name to uint8 images (k, C, H, W), grey or RGB."""
    grid = np.stack(list(rows.values()))  # (rows, k, C, H, W)
    grey, gap = grid.shape[2] == 1, max(1, grid.shape[-1] // 6)
    grid = np.pad(grid, [(0, 0)] * 3 + [(0, gap)] * 2, constant_values=0 if grey else 255)
    height = grid.shape[-2]
    picture = grid.transpose(0, 3, 1, 4, 2).reshape(len(grid) * height, -1, grid.shape[2])
    picture = picture.squeeze(-1) if grey else picture
    axis.imshow(picture, cmap="gray_r" if grey else None, vmin=0, vmax=255, interpolation="nearest")
    axis.set_yticks(np.arange(len(rows)) * height + (height - gap) / 2 - 0.5, list(rows), fontsize=8)
    axis.set_xticks([])
    axis.tick_params(length=0)
    axis.grid(False)
    axis.spines[:].set_visible(False)


def window(scores: NDArray, images: NDArray, windows: Mapping[str, NDArray], unit: str, shown: int = 10) -> Figure:
    """The ranking with kept windows shaded, and below each window's `shown` samples, evenly spread over it.

    scores (N,); images (N, C, H, W); `windows` maps a name to the kept ids (n,).
    """
    rank = np.empty(len(scores), dtype=int)
    rank[np.argsort(scores, kind="stable")] = np.arange(len(scores))
    figure, (axis, below) = plt.subplots(2, 1, figsize=(6, 3.5), height_ratios=(2, 0.5 + 0.5 * len(windows)))
    axis.plot(np.sort(scores), color=BLACK, lw=1.2)
    rows = {}
    for (name, kept), tone in zip(windows.items(), (SKY, GREEN, ORANGE, PINK), strict=False):
        kept = np.asarray(kept)[np.argsort(rank[kept])]
        low, high = rank[kept[0]], rank[kept[-1]]
        axis.axvspan(low, high, color=tone, alpha=0.4, lw=0)
        axis.text((low + high) / 2, 1, name, transform=axis.get_xaxis_transform(), ha="center", va="bottom")
        rows[name] = images[kept[np.linspace(0, len(kept) - 1, shown).round().astype(int)]]
    axis.set(xlabel="rank, easiest first (count)", ylabel=unit)
    _mosaic(below, rows)
    return figure


# ------------------------------------------------------------------------------------ scores beside scores


def pairs(scores: Mapping[str, NDArray], kept: ArrayLike, name: str) -> Figure:
    """A histogram of each score (N,) and a scatter plot of each pair; the samples `kept` (n,), called `name`, in orange."""
    units = [UNITS.get(scorer, scorer) for scorer in scores]
    table = pd.DataFrame(dict(zip(units, scores.values(), strict=True)))
    chosen = np.isin(np.arange(len(table)), kept)
    table["samples"] = np.where(chosen, name, "the others")
    tones = {"the others": GREY, name: ORANGE}
    with mpl.rc_context({"figure.constrained_layout.use": False}):  # PairGrid has a layout of its own
        grid = sns.PairGrid(table, vars=units, hue="samples", palette=tones, hue_order=list(tones), corner=True)
        grid.map_lower(sns.scatterplot, s=7, linewidth=0, alpha=0.6, rasterized=True)
        grid.map_diag(sns.histplot, multiple="stack", bins=20, linewidth=0.2, alpha=1)
    grid.figure.set_size_inches(6, 3.5)
    for axis, unit in zip(grid.axes[-1], units, strict=True):
        axis.set_xlabel(unit, fontsize=7)
    for axis, unit in zip(grid.axes[1:, 0], units[1:], strict=True):
        axis.set_ylabel(unit.split(" (")[0], fontsize=8)
    handles = [plt.Line2D([], [], marker="o", ls="", ms=4, color=tone, label=word) for word, tone in tones.items()]
    grid.figure.set_layout_engine("tight")
    grid.figure.legend(handles=handles, loc="upper right", bbox_to_anchor=(0.98, 0.95), fontsize=8)
    return grid.figure


def agreement(ranks: NDArray, shared: NDArray, names: Sequence[str], fraction: float) -> Figure:
    """Left, Spearman rank correlations (S, S); right, the share of each kept set that another scorer keeps, too.

    shared: (S, S) in [0, 1] for kept sets of the fraction `fraction`.
    """
    figure, axes = plt.subplots(1, 2, figsize=(6, 3.4), sharey=True)
    words = [NAMES.get(name, name) for name in names]
    titles = ("rank correlation, all samples", f"kept by both at f = {fraction:.0%} (%)")
    for axis, values, form, top, title in zip(
        axes, (ranks, 100 * shared), (".2f", ".0f"), (1, 100), titles, strict=True
    ):
        lower = values[1:, :-1]  # the table is symmetric, and a scorer agrees with itself
        hidden = np.triu(np.ones_like(lower, dtype=bool), 1)
        shown = {"mask": hidden, "annot": True, "fmt": form, "cmap": "cividis", "square": True, "cbar": False}
        sns.heatmap(lower, ax=axis, vmin=0, vmax=top, xticklabels=words[:-1], yticklabels=words[1:], **shown)
        for text in axis.texts:  # seaborn's white on middle tones is hard to read
            red, green, blue, _ = plt.colormaps["cividis"](float(text.get_text()) / top)
            text.set_color("black" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.4 else "white")
        axis.set_title(title, fontsize=9)
        axis.grid(False)
        axis.tick_params(axis="x", rotation=40)
        axis.tick_params(axis="y", rotation=0)
        axis.set(xlabel="scorer")
    axes[0].set_ylabel("scorer")
    return figure


def reliability(values: Mapping[str, Mapping[int, ArrayLike]]) -> Figure:
    """Agreement of two disjoint groups of k runs: scorer -> k -> rank correlations (splits,).

    Line: the mean over the splits; dots: the splits themselves (they share runs, so no confidence interval is drawn).
    """
    figure, axis = plt.subplots(figsize=(6, 2.8))
    for place, (name, groups) in enumerate(values.items()):
        k = np.array(sorted(groups))
        splits = [np.asarray(groups[size]) for size in k]
        axis.plot(k, [v.mean() for v in splits], **{**line_look(name), "ms": 0})
        aside = k + 0.06 * (place - (len(values) - 1) / 2)
        at = np.repeat(aside, [len(v) for v in splits])
        axis.scatter(at, np.concatenate(splits), s=6, color=colour(name), alpha=0.35, lw=0)
    count = min(len(np.asarray(v)) for groups in values.values() for v in groups.values())
    axis.set(xlabel="runs averaged in each group, k (count)", ylabel="rank correlation of the groups", ylim=(None, 1))
    axis.set_xticks(k)
    title = f"line: mean\ndot: one of {count} splits"
    axis.legend(fontsize=8, title=title, title_fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


# ------------------------------------------------------------------------------------ who is kept


def never_learned(table: pd.DataFrame, base_rate: float) -> Figure:
    """Share of never-learned samples among the kept (percent) over f, a line per rule with its 95% interval over runs.

    table: columns rule, fraction, run, share (percent). Dashed: `base_rate`, their share of all samples (percent).
    """
    figure, axis = plt.subplots(figsize=(6, 2.8))
    for (rule, part), tone in zip(table.groupby("rule", sort=False), (BLUE, ORANGE), strict=False):
        mean, half = np.transpose([mean_interval(share) for _, share in part.groupby("fraction").share])
        at = 100 * np.sort(part.fraction.unique())
        axis.plot(at, mean, color=tone, marker="o", ms=4, lw=1.6, label=str(rule))
        axis.fill_between(at, *np.clip([mean - half, mean + half], 0, 100), color=tone, alpha=0.15, lw=0)
    axis.axhline(base_rate, color=BLACK, ls="--", lw=1, label="among all samples")
    axis.set(xlabel="kept fraction f (%)", ylabel="never learned, among the kept (%)", ylim=(0, 103), xscale="log")
    axis.set_xticks(at, [f"{f:g}" for f in at])
    axis.minorticks_off()
    axis.legend(fontsize=8, title=f"n = {table.run.nunique()} runs", title_fontsize=8)
    return figure


def label_noise(table: pd.DataFrame, base_rate: float, fraction: float) -> Figure:
    """Share of mislabelled samples among the kept (percent), a line per scorer with its 95% interval over seeds.

    table: columns scorer, seed, share (percent), fraction, centre; base_rate in percent. Left, the hardest samples
    (centre 1) over f, where a kept set holds at most base_rate / f mislabelled ones (dash-dotted); right, over the
    centre of the window at the kept fraction `fraction`. Fewer than 3 seeds: no interval.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(6, 3.5), sharey=True)
    hardest, slid = table[table.centre == 1].copy(), table[table.fraction == fraction]
    hardest["fraction"] *= 100
    _share_lines(left, hardest, "fraction")
    _share_lines(right, slid, "centre")
    f = np.geomspace(table.fraction.min(), 1, 100)
    left.plot(
        100 * f, np.minimum(100, base_rate / f), color=GREY, ls="-.", lw=1, label="if every wrong label were kept first"
    )
    for axis in (left, right):
        axis.axhline(base_rate, color=BLACK, ls="--", lw=1, label="share in all the data")
    left.set(xlabel="kept fraction f (%)", ylabel="mislabelled, among the kept (%)", ylim=(0, None), xscale="log")
    at = np.sort(hardest.fraction.unique())
    left.set_xticks(at, [f"{v:g}" for v in at])
    left.minorticks_off()
    left.set_title("the hardest samples", fontsize=9)
    right.set_xlabel("window's centre (0 easiest, 1 hardest)")
    right.set_title(f"windows at f = {100 * fraction:g}%", fontsize=9)
    n = table.seed.nunique()
    handles = left.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=3, fontsize=7, title=f"n = {n} noise seeds")
    return figure


def _share_lines(axis: Axes, table: pd.DataFrame, x: str) -> None:
    for scorer in table.scorer.unique():
        groups = table[table.scorer == scorer].groupby(x).share
        mean, half = np.transpose([mean_interval(share) for _, share in groups])
        at = np.array(list(groups.groups), dtype=np.float64)
        axis.plot(at, mean, **line_look(scorer))
        low, high = np.clip([mean - half, mean + half], 0, 100)
        axis.fill_between(at, low, high, color=colour(scorer), alpha=0.15, lw=0)


def class_counts(counts: Mapping[str, ArrayLike], quota: float, classes: Sequence[str]) -> Figure:
    """Kept samples of each class (K,) for each scorer; dashed: the count when every class keeps its share."""
    figure, axis = plt.subplots(figsize=(6, 2.6))
    at, width = np.arange(len(classes)), 0.8 / len(counts)
    for place, (name, values) in enumerate(counts.items()):
        shift = (place - (len(counts) - 1) / 2) * width
        axis.bar(at + shift, values, width, color=colour(name), label=NAMES.get(name, name))
    axis.axhline(quota, color=BLACK, ls="--", lw=1, label="balanced")
    if len(classes) <= 20:
        axis.set_xticks(at, classes)
    axis.set(xlabel="class (label)", ylabel="kept samples (count)")
    axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
