"""Figures of the theory lesson: from matrices and tables of numbers to a picture, nothing else.

Colours mean one thing throughout: blue squared bias, orange variance, black their sum; green the large teacher
(f_t = 1), yellow the small one (f_t = f).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kdlib.analysis.plots.style import PALETTE
from kdlib.theory import ridge as theory
from kdlib.theory.ridge import Array, Like, MonteCarlo

BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, BLACK, GREY = PALETTE
SQUARED = r"(units of $\theta^2$)"


def toy(X: Array, y: Array, kept: Sequence[int], theta: Array, errors: Mapping[str, Array]) -> Figure:
    """Left, the samples in the plane of their two features; right, estimates over many noise draws.

    X (2, N), y (N,), theta (2,); `errors` maps a name to theta_hat - theta, (2, draws); 300 draws are shown.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(6, 3.3), width_ratios=(1, 1.15))
    points = left.scatter(X[0], X[1], c=y, cmap="cividis", s=45, zorder=2)
    rings = {"facecolors": "none", "edgecolors": ORANGE, "linewidths": 1.5}
    left.scatter(X[0, kept], X[1, kept], s=150, label="kept", **rings)
    left.set(xlabel="feature 1 (feature units)", ylabel="feature 2 (feature units)", title="samples")
    left.legend(loc="best", markerscale=0.6)
    left.margins(0.15)
    figure.colorbar(points, ax=left, label="label $y$ (label units)", location="bottom", shrink=0.9)
    for (name, error), colour in zip(errors.items(), (YELLOW, GREEN, PINK), strict=False):
        cloud = theta[:, None] + error
        right.scatter(*cloud[:, :300], s=5, alpha=0.35, color=colour, linewidths=0)
        right.scatter(*cloud.mean(1), marker="X", s=70, color=colour, edgecolors=BLACK, label=name, zorder=3)
    right.scatter(*theta, marker="*", s=150, color=BLACK, label=r"truth $\theta^*$", zorder=4)
    right.set(xlabel=r"$\theta_1$ (label per feature unit)", ylabel=r"$\theta_2$ (label per feature unit)")
    right.set_title("estimates (cross: their mean)")
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    return figure


def formula_check(alphas: Array, bias: Array, variance: Array, trained: Sequence[MonteCarlo]) -> Figure:
    """Closed form (lines) and Monte Carlo (points, 3 standard errors) over alpha.

    alphas (A,); bias (A, d) and variance (A,) from the formulas; one MonteCarlo per alpha.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(6, 2.8))
    panels = [(left, bias[:, k], PALETTE[k], f"component {k + 1}") for k in range(bias.shape[1])]
    points = [[(run.bias[k], run.bias_se[k]) for run in trained] for k in range(bias.shape[1])]
    panels.append((right, variance, PINK, "formula"))
    points.append([(run.variance, run.variance_se) for run in trained])
    for (axis, line, colour, name), found in zip(panels, points, strict=True):
        means, se = np.array(found).T
        axis.plot(alphas, line, color=colour, label=name)
        axis.errorbar(alphas, means, 3 * se, fmt="o", ms=3, capsize=3, color=colour)
        axis.set_xlabel(r"KD weight $\alpha$ (no unit)")
    left.set(ylabel=r"bias $E[\epsilon_s]$ (units of $\theta$)", title="bias")
    right.set(ylabel=f"variance {SQUARED}", title="variance", ylim=(0, None))
    right.errorbar([], [], [], fmt="o", ms=3, capsize=3, color=PINK, label=r"trained, $\pm$ 3 SE")
    for axis in (left, right):
        axis.legend(fontsize=8)
    return figure


def singular_values(fractions: Array, values: Array) -> Figure:
    """Lemma 1: every singular value of X_f against the kept fraction f; fractions (F,), values (F, d)."""
    figure, axis = plt.subplots(figsize=(6, 2.6))
    for k in range(values.shape[1]):
        axis.plot(fractions, values[:, k], marker="o", ms=3, color=PALETTE[k], label=rf"$\sigma_{k + 1}(X_f)$")
    axis.set(xlabel="kept fraction f (share of all samples)", ylabel=r"$\sigma_k$ (feature units)")
    axis.set_ylim(0, None)
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _draw_axes(axis: Axes, X: Array, colour: str, style: str, label: str) -> None:
    """Lines along the left singular vectors of X (2, N) through the origin, the first one longer."""
    U, _, _ = np.linalg.svd(X)
    reach = 1.2 * float(np.linalg.norm(X, axis=0).max())
    for k, length in enumerate((reach, 0.4 * reach)):
        ends = np.outer(U[:, k], (-length, length))
        axis.plot(ends[0], ends[1], color=colour, ls=style, lw=1.3, label=label if k == 0 else None)


def bias_by_direction(X: Like, n_kept: int, alpha: float, lam: float, theta: Like | None = None) -> Figure:
    """Left, samples and singular vectors of both data sets; right, squared bias against the direction of theta.

    X (2, N), of which the student keeps the first `n_kept` columns. Shaded: directions of theta (length 1) in
    which the larger teacher has the larger squared bias. `theta` marks one direction with a dotted line.
    """
    X = theory.as_matrix("X", X)
    X_f, added = X[:, :n_kept], X[:, n_kept:]
    figure, (left, right) = plt.subplots(1, 2, figsize=(6, 3.3), width_ratios=(1, 1.25))
    _draw_axes(left, X_f, YELLOW, "-", "singular vectors of $X_f$")
    _draw_axes(left, X, GREEN, "--", "singular vectors of $X$")
    left.scatter(*X_f, s=30, color=BLACK, label="kept samples", zorder=3)
    ring = {"marker": "s", "facecolors": "none", "edgecolors": BLUE}
    left.scatter(*added, s=90, label="added for the teacher", zorder=4, **ring)
    left.set(xlabel="feature 1 (feature units)", ylabel="feature 2 (feature units)")
    left.set_aspect("equal", adjustable="datalim")
    _bias_curves(right, X_f, X, alpha, lam)
    if theta is not None:
        truth = theory.as_vector("theta", theta, 2)
        mark = np.degrees(np.arctan2(truth[1], truth[0])) % 180
        right.axvline(mark, color=GREY, ls=":", label=r"this $\theta^*$")
    for axis in (left, right):
        axis.legend(fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=1)
    return figure


def _bias_curves(axis: Axes, X_f: Array, X: Array, alpha: float, lam: float) -> None:
    degrees = np.linspace(0, 180, 361)
    directions = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
    operators = (theory.bias_operator(X_f, X_t, alpha, lam) for X_t in (X_f, X))
    small, large = (np.sum((B @ directions) ** 2, axis=0) for B in operators)
    axis.plot(degrees, small, color=YELLOW, label="small teacher, $f_t = f$")
    axis.plot(degrees, large, color=GREEN, ls="--", label="large teacher, $f_t = 1$")
    fails = large > small * (1 + theory.ROUNDING)
    name = "Theorem 1 fails" + ("" if fails.any() else ": nowhere")
    whole = axis.get_xaxis_transform()  # y from 0 to 1 is the height of the panel
    axis.fill_between(degrees, 0, 1, where=list(fails), transform=whole, color=ORANGE, alpha=0.25, lw=0, label=name)
    axis.set(xlabel=r"direction of $\theta^*$, length 1 (degrees)", xticks=[0, 45, 90, 135, 180])
    axis.set(yscale="log", ylabel=f"squared bias {SQUARED}")


def survey(ratios: Mapping[str, Array]) -> Figure:
    """Histogram of bias^2(large teacher) / bias^2(small teacher), a line per name; right of 1 Theorem 1 fails."""
    figure, axis = plt.subplots(figsize=(6, 2.9))
    top = max(1.05, *(float(np.max(ratio)) for ratio in ratios.values()))
    edges = 0.025 * np.arange(int(top / 0.025) + 2)  # 1 is an edge: no bin lies on both sides of it
    for (name, ratio), colour in zip(ratios.items(), (BLUE, GREEN, ORANGE), strict=False):
        counts, _ = np.histogram(ratio, edges)
        axis.stairs(counts, edges, color=colour, label=f"{name} (n = {len(ratio):,})", lw=1.3)
    axis.axvspan(1, edges[-1], color=ORANGE, alpha=0.1, lw=0)
    axis.set(yscale="log", xlim=(0, edges[-1]), ylim=(0.7, None), ylabel="problems per bin (count, log scale)")
    axis.set_xlabel("squared bias, large teacher divided by small teacher (no unit)")
    axis.legend(fontsize=8, loc="upper right", title="right of 1, Theorem 1 fails", title_fontsize=8)
    return figure


def shares(paper: Mapping[str, float], ours: Mapping[str, tuple[float, float, float]]) -> Figure:
    """Share of problems that violate Theorem 1: the paper's claim left, ours right, one y axis.

    `paper` maps a case to a share in percent; `ours` maps the same cases to (share, low, high) in percent.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(6, 2.9), sharey=True)
    at, claimed = np.arange(len(paper)), np.array(list(paper.values()), dtype=np.float64)
    middle, low, high = np.array([ours[name] for name in paper]).T
    left.bar(at, claimed, color=GREY, width=0.6)
    right.bar(at, middle, color=BLUE, width=0.6)
    right.errorbar(at, middle, [middle - low, high - middle], fmt="none", ecolor=BLACK, capsize=3)
    text = {"xytext": (0, 3), "textcoords": "offset points", "ha": "center", "fontsize": 8}
    for axis, tops, values in ((left, claimed, claimed), (right, high, middle)):
        for x, top, value in zip(at, tops, values, strict=True):
            axis.annotate(f"{value:.3g}%", (x, top), **text)
        axis.set_xticks(at, list(paper), fontsize=8)
        axis.set_xlabel(r"which $\theta^*$ is asked")
    left.set(title="paper: Theorem 1", ylabel="problems that violate it (%)", ylim=(0, 1.2 * high.max()))
    right.set_title("ours, with 95% intervals")
    return figure


def total_error(X_t: Array, kept: Sequence[int], theta: Array, sigma: float, alpha: float, lam: float) -> Figure:
    """Left, squared bias, variance and total over alpha at this lambda; right, the total over lambda at a few alphas.

    X_t (d, N_t) the teacher's samples, `kept` the student's columns, sigma the label noise. Dashed: the student without
    a teacher (alpha = 0), and the teacher itself. Dotted: this `alpha` and `lam`. Dots: the best lambda of each alpha.
    """
    alphas, lams = np.linspace(0, 1, 41), np.logspace(-2, 2, 61)
    parts = np.array([theory.total_error(X_t, kept, theta, a, lam, sigma) for a in alphas])
    teacher = theory.total_error(X_t, range(np.shape(X_t)[1]), theta, 0, lam, sigma).total
    figure, (left, right) = plt.subplots(1, 2, figsize=(6, 3.4), sharey=True)
    for values, name, colour in zip(parts.T, ("squared bias", "variance", "total"), (BLUE, ORANGE, BLACK), strict=True):
        left.plot(alphas, values, color=colour, label=name)
    left.axhline(parts[0, 2], color=GREY, ls="--", lw=1.2, label="no KD")
    left.axhline(teacher, color=GREEN, ls="--", lw=1.2, label="teacher itself")
    left.axvline(alpha, color=BLACK, ls=":", lw=1)
    left.set(xlabel=r"KD weight $\alpha$ (no unit)", ylabel=f"error {SQUARED}")
    for weight, colour, style in ((0.0, GREY, "--"), (0.5, SKY, "-"), (1.0, PINK, "-")):
        totals = [theory.total_error(X_t, kept, theta, weight, at, sigma).total for at in lams]
        right.plot(lams, totals, label=rf"$\alpha$ = {weight:g}", color=colour, ls=style)
        right.plot(lams[np.argmin(totals)], min(totals), "o", color=colour, ms=5)
    right.axvline(lam, color=BLACK, ls=":", lw=1)
    small_lam = theory.total_error(X_t, kept, theta, 0, lams[0], sigma).total
    right.set(xscale="log", xlabel=r"$\lambda$ (squared feature units)", ylim=(0, 1.1 * max(parts.max(), small_lam)))
    left.set_title(rf"at $\lambda$ = {lam:.3g}", y=1.17)
    right.set_title(r"total (dot: best $\lambda$)", y=1.17)
    for axis in (left, right):
        axis.legend(fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, columnspacing=1)
    return figure
