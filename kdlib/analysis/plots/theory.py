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


def formula_check(alphas: Array, bias: Array, variance: Array, at: Array, trained: Sequence[MonteCarlo]) -> Figure:
    """Closed form (lines) and Monte Carlo (points, 3 standard errors) over alpha.

    alphas (A,); bias (A, d) and variance (A,) from the formulas; `trained` has one MonteCarlo for each alpha in `at`.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(6, 2.8))
    panels = [(left, bias[:, k], PALETTE[k], f"component {k + 1}") for k in range(bias.shape[1])]
    points = [[(run.bias[k], run.bias_se[k]) for run in trained] for k in range(bias.shape[1])]
    panels.append((right, variance, PINK, "formula"))
    points.append([(run.variance, run.variance_se) for run in trained])
    for (axis, line, colour, name), found in zip(panels, points, strict=True):
        means, se = np.array(found).T
        axis.plot(alphas, line, color=colour, label=name)
        axis.errorbar(at, means, 3 * se, fmt="o", ms=3, capsize=3, color=colour)
        axis.set_xlabel(r"KD weight $\alpha$")
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


def ratio_by_direction(X: Like, n_kept: int, alpha: float, lam: float, theta: Like | None = None) -> Figure:
    """Left, samples and singular vectors of both data sets; right, a ratio of squared biases against the direction of theta.

    X (2, N), of which the student keeps the first `n_kept` columns. The ratio divides the squared bias with a teacher on
    all of X by that with a teacher on the kept samples; where it exceeds 1 (shaded) Theorem 1 fails. `theta` marks one
    direction.
    """
    X = theory.as_matrix("X", X)
    X_f, added = X[:, :n_kept], X[:, n_kept:]
    figure, (left, right) = plt.subplots(1, 2, figsize=(6, 3.2), width_ratios=(1, 1.25))
    _draw_axes(left, X_f, YELLOW, "-", "singular vectors of $X_f$")
    _draw_axes(left, X, GREEN, "--", "singular vectors of $X$")
    left.scatter(*X_f, s=30, color=BLACK, label="kept samples", zorder=3)
    ring = {"marker": "s", "facecolors": "none", "edgecolors": BLUE}
    left.scatter(*added, s=90, label="added for the teacher", zorder=4, **ring)
    reach = 1.25 * float(np.linalg.norm(X, axis=0).max())
    left.set(xlabel="feature 1 (feature units)", ylabel="feature 2 (feature units)")
    left.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    _ratio_curve(right, X_f, X, alpha, lam)
    if theta is not None:
        truth = theory.as_vector("theta", theta, 2)
        mark = np.degrees(np.arctan2(truth[1], truth[0])) % 180
        right.axvline(mark, color=GREY, ls=":", label=r"this $\theta^*$")
    for axis in (left, right):
        axis.legend(fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=1)
    return figure


def _ratio_curve(axis: Axes, X_f: Array, X: Array, alpha: float, lam: float) -> None:
    """Squared bias with the large teacher over that with the small one, for directions of theta from 0 to 180 degrees."""
    degrees = np.linspace(0, 180, 361)
    directions = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
    large, small = (np.sum((theory.bias_operator(X_f, T, alpha, lam) @ directions) ** 2, axis=0) for T in (X, X_f))
    ratio = large / small
    fails = ratio > 1 + theory.ROUNDING
    axis.plot(degrees, ratio, color=BLACK)
    axis.axhline(1, color=GREY, lw=1)
    name = "Theorem 1 fails" + ("" if fails.any() else ": nowhere")
    axis.fill_between(degrees, 1, ratio, where=list(fails), color=ORANGE, alpha=0.5, lw=0, label=name)
    axis.set(xlabel=r"direction of $\theta^*$ (degrees)", xticks=[0, 45, 90, 135, 180])
    axis.set(ylabel="ratio of squared biases", ylim=(0, 1.5))


def failures(middles: Array, rates: Mapping[str, Array]) -> Figure:
    """Share of random problems on which Theorem 1 fails (percent) against the number of kept samples N_f.

    middles (B,): the middle N_f of each bin; `rates`: name -> (B, 3) of share and both ends of its 95% interval.
    """
    figure, axis = plt.subplots(figsize=(6, 2.9))
    for (name, found), colour, marker in zip(rates.items(), (BLUE, GREEN, ORANGE), "os^", strict=False):
        share, low, high = np.asarray(found).T
        axis.errorbar(
            middles, share, [share - low, high - share], color=colour, marker=marker, ms=4, capsize=2, label=name
        )
    axis.set_yscale("symlog", linthresh=0.1)
    axis.set(ylim=(0, 100), xlabel=r"kept samples $N_f$", ylabel="Theorem 1 fails (% of problems)")
    axis.set_yticks([0, 0.1, 1, 10, 100], ["0", "0.1", "1", "10", "100"])
    axis.legend(fontsize=8, title=r"which $\theta^*$", title_fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def total_error(X_t: Array, kept: Sequence[int], theta: Array, sigma: float, alpha: float, lam: float) -> Figure:
    """Left, squared bias, variance and total over alpha at this lambda; right, the total with KD over the total without it.

    X_t (d, N_t) the teacher's samples, `kept` the student's columns, sigma the label noise. Dashed: the student without
    a teacher (alpha = 0), and the teacher itself. Dotted: this `alpha` and `lam`. Right: below 1 the teacher pays off.
    """
    alphas, lams = np.linspace(0, 1, 41), np.logspace(-2, 2, 61)
    parts = np.array([theory.total_error(X_t, kept, theta, a, lam, sigma) for a in alphas])
    teacher = theory.total_error(X_t, range(np.shape(X_t)[1]), theta, 0, lam, sigma).total
    figure, (left, right) = plt.subplots(1, 2, figsize=(6, 3.4))
    for values, name, colour in zip(parts.T, ("squared bias", "variance", "total"), (BLUE, ORANGE, BLACK), strict=True):
        left.plot(alphas, values, color=colour, label=name)
    left.axhline(parts[0, 2], color=GREY, ls="--", lw=1.2, label="no KD")
    left.axhline(teacher, color=GREEN, ls="--", lw=1.2, label="teacher itself")
    left.axvline(alpha, color=BLACK, ls=":", lw=1, label=r"this $\alpha$")
    left.set(xlabel=r"KD weight $\alpha$", ylabel=f"error {SQUARED}", ylim=(0, None))
    without, *taught = (
        np.array([theory.total_error(X_t, kept, theta, weight, at, sigma).total for at in lams])
        for weight in (0, 0.5, 1)
    )
    for totals, name, colour in zip(taught, ("0.5", "1"), (SKY, PINK), strict=True):
        right.plot(lams, totals / without, label=rf"$\alpha$ = {name}", color=colour)
    right.axhline(1, color=GREY, ls="--", lw=1.2, label="no KD")
    right.axvline(lam, color=BLACK, ls=":", lw=1, label=r"this $\lambda$")
    right.set(
        xscale="log", xlabel=r"$\lambda$ (squared feature units)", ylabel="total error, KD / no KD", ylim=(0, 1.5)
    )
    left.set_title(rf"at $\lambda$ = {lam:.3g}", y=1.17)
    right.set_title("does the teacher pay off?", y=1.17)
    for axis, columns in ((left, 3), (right, 2)):
        axis.legend(fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=columns, columnspacing=1)
    return figure
