"""Sentences and tables of the theory lesson, worded from the numbers that they report.

All quantities are those of `kdlib.theory`; squared bias, variance and total error have the square of theta's unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from IPython.display import Markdown
from numpy.typing import NDArray

from kdlib.analysis.tell import SEEN
from kdlib.analysis.tell.start import folded
from kdlib.theory import ridge
from kdlib.theory.counterexamples import Counterexample, failure_rate
from kdlib.theory.ridge import Array, MonteCarlo


def moved(before: float, after: float, error: float = 0.0) -> str:
    """ "rises", "falls" or "does not change": `error` is the standard error of the difference; two of them count."""
    if abs(after - before) <= max(2 * error, ridge.ROUNDING * abs(before)):
        return "does not change detectably"
    return "rises" if after > before else "falls"


def clouds(runs: Mapping[str, MonteCarlo], without: str, taught: str) -> Markdown:
    """Squared bias, variance and total of each estimate, and what the teacher changes from `without` to `taught`."""
    lines = ["| estimate | squared bias | variance | total error | standard error of the total |", "|---" * 5 + "|"]
    for name, run in runs.items():
        cells = (np.sum(run.bias**2), run.variance, run.total)
        lines.append(f"| {name} | {' | '.join(f'{cell:.4f}' for cell in cells)} | {run.total_se:.4f} |")
    a, b = runs[without], runs[taught]
    variance = moved(a.variance, b.variance, float(np.hypot(a.variance_se, b.variance_se)))
    bias = moved(float(np.sum(a.bias**2)), float(np.sum(b.bias**2)), float(np.hypot(_bias_se(a), _bias_se(b))))
    text = f"From *{without}* to *{taught}* the variance {variance} and the squared bias {bias}."
    return Markdown("\n".join(lines) + f"\n\n{SEEN}{text}")


def _bias_se(run: MonteCarlo) -> float:
    """Standard error of the squared length of the mean error, to first order."""
    return float(np.sqrt(np.sum((2 * run.bias * run.bias_se) ** 2)))


def gradients(stated: float, solved: float) -> Markdown:
    """Lengths of the gradient at the printed solution, of the objective as stated and of the one that is solved."""
    zero = "zero up to rounding" if solved < 1e-9 * max(stated, 1.0) else "not zero"
    return Markdown(
        f"Length of the gradient at the printed solution: **{stated:.3f}** with $\\lambda/2$, **{solved:.0e}**, {zero}, "
        f"with $\\lambda$."
    )


def formulas(off: Sequence[float], variance: Array, bias: Array) -> Markdown:
    """How far trained students lie off the formulas (in standard errors), and which way variance and bias go with alpha.

    off: one entry for each number compared; variance (A,) and bias (A, d) over increasing alpha.
    """
    agree = "agree" if max(off) < 4 else "do not agree"
    squares = np.sum(bias**2, axis=1)
    return Markdown(
        f"{SEEN}Formula and trained students {agree}: of {len(off)} numbers the farthest lies {max(off):.1f} standard errors "
        f"off, the typical one {np.median(off):.1f}. From one end of $\\alpha$ to the other the variance "
        f"{moved(variance[0], variance[-1])} (to {variance[-1] / variance[0]:.0%}) and the squared bias "
        f"{moved(squares[0], squares[-1])} (to {squares[-1] / squares[0]:.0%})."
    )


def lemma(values: NDArray, smallest: float, problems: int) -> Markdown:
    """Lemma 1 on one data set, values (F, d) of singular values over growing f, and on random problems."""
    falls = bool((np.diff(values, axis=0) < -ridge.ROUNDING).any())
    return Markdown(
        f"{SEEN}{'A line falls: Lemma 1 fails here.' if falls else 'No line ever falls.'} The smallest "
        f"$\\sigma_k(\\mathbf X) - \\sigma_k(\\mathbf X_f)$ in {problems:,} random problems is {smallest:.1e}."
    )


def exact_case(worst: float) -> Markdown:
    """Whether the larger teacher is at most as biased for every theta; `worst` is the largest ratio of squared biases."""
    what = "never exceeds 1" if worst <= 1 + ridge.ROUNDING else "exceeds 1"
    return Markdown(
        f"{SEEN}The added sample leaves the cross of singular vectors where it was, and the ratio {what}: over *all* "
        f"$\\theta^*$ it is at most {worst:.3f}."
    )


def counterexample(found: Counterexample) -> Markdown:
    """A problem and its two squared biases as exact fractions, with the verdict on Theorem 1 and its rule."""
    small, large = found.small_teacher, found.large_teacher
    verdict = "fails as stated" if large > small else "is not refuted by this case"
    problem = (
        f"$\\mathbf X_f$ has the columns {found.X_f.T.tolist()}, the added sample is {found.X[:, found.n_kept].tolist()}, "
        f"$\\theta^* =$ {found.theta.tolist()}, $\\lambda = {found.lam}$, $\\alpha = {found.alpha}$."
    )
    bias = (
        f"Squared bias of the student: {small} = {float(small):.4f} with the small teacher, {large} = {float(large):.4f} "
        f"with the large one, a ratio of {float(large / small):.3f}."
    )
    rule = '*Rule:* a claim "for any" fails with one case in exact arithmetic.'
    return Markdown(f"{problem} {bias}\n\n**Verdict:** Theorem 1 {verdict}. {rule}")


def survey(cases: Mapping[str, NDArray]) -> Markdown:
    """How often the ratio of squared biases exceeds 1, for each kind of truth: name -> (problems,)."""
    lines = ["| which $\\theta^*$ | problems | Theorem 1 fails | 95% interval | largest ratio |", "|---" * 5 + "|"]
    for name, ratios in cases.items():
        share, low, high = failure_rate(ratios)
        lines.append(f"| {name} | {len(ratios):,} | {share:.3g}% | {low:.2g}% to {high:.2g}% | {ratios.max():.7g} |")
    return Markdown("\n".join(lines))


def rates(edges: Sequence[int], found: Mapping[str, Array]) -> Markdown:
    """Failures with the fewest kept samples, where they are rarest, and in the last bin: name -> (B, 3) share, low, high.

    `edges` (B + 1,): bin b holds N_f from edges[b] to edges[b + 1] - 1. "Detectably": the 95% intervals do not overlap.
    """
    names = [f"{a}" if b == a + 1 else f"{a} to {b - 1}" for a, b in zip(edges[:-1], edges[1:], strict=True)]
    lines = []
    for name, shares in found.items():
        best = int(np.argmin(shares[:, 0]))
        fewest = f"the fewest, {shares[best, 0]:.2g}%, with {names[best]}{_more(shares[:, 0] == shares[best, 0])}"
        if len(shares) > 2 and (shares[1:, 0] == shares[best, 0]).all():
            fewest = f"{shares[best, 0]:.2g}% in all other bins"
        fewer = "detectably fewer" if shares[best, 2] < shares[0, 1] else "not detectably fewer"
        more = f"; in the last bin ({names[-1]}) detectably more again, {shares[-1, 0]:.2g}%"
        rises = more if shares[-1, 1] > shares[best, 2] else ""
        lines.append(f"- *{name}*: {shares[0, 0]:.2g}% fail with {names[0]} kept samples; {fewest} ({fewer}){rises}.")
    return Markdown(f"{SEEN}Failures against $N_f$:\n\n" + "\n".join(lines))


def _more(alike: NDArray) -> str:
    """How many bins there are beside the first one of those that are `alike` (B,)."""
    again = int(alike.sum()) - 1
    return f" and {again} more bin{'s' if again > 1 else ''}" if again else ""


def price(X: Array, kept: Sequence[int], theta: Array, alpha: float, lam: float, sigma: float, lams: Array) -> Markdown:
    """Whether the teacher pays off at this lambda and noise, where that changes, and with the best lambda of each student."""
    none, full = (ridge.total_error(X, kept, theta, a, lam, sigma) for a in (0.0, alpha))
    names = ("squared bias", "variance", "total error")
    parts = [f"the {name} goes from {a:.3f} to {b:.3f}" for name, a, b in zip(names, none, full, strict=True)]
    verdict = "the teacher pays off" if full.total < none.total else "the teacher does not pay off"
    source = "variance" if full.bias_squared >= none.bias_squared else "bias as well as variance"
    by = f", by {source}" if full.total < none.total else ""
    turns = ridge.break_even(X, kept, theta, alpha, sigma, lams)
    where = ", ".join(f"{turn:.2g}" for turn in turns) or "no penalty between the ends of the picture"
    best = [min(ridge.total_error(X, kept, theta, a, at, sigma).total for at in lams) for a in (0.0, alpha)]
    own = "still pays off" if best[1] < best[0] else "no longer pays off"
    at = f"$\\lambda$ = {lam:g}, $\\sigma_\\eta$ = {sigma:g}, $\\alpha$ = {alpha:g}"
    here = f"At {at}, {'; '.join(parts)}: **{verdict}**{by}."
    there = f"The sign changes at $\\lambda$ = {where}. With the best $\\lambda$ of each, the total goes from "
    note = f"{best[0]:.3f} to {best[1]:.3f}: the teacher {own}. (Exact expectations for one data set: they have no spread.)"
    return Markdown(f"{SEEN}{here} {there}{note}")


def distances(guess: str, without: float, taught: float) -> Markdown:
    """The answer of the predict exercise, folded: how far from the teacher a student ends, without it and with it."""
    return folded(
        f"You guessed *{guess}*. Distance to the teacher: {without:.2g} for a student without it, {taught:.1g} with it. Why? "
        f"What does $(\\mathbf G_f + \\lambda \\mathbf I)^{{-1}} \\mathbf G_f$ tend to?"
    )


def difference(sigma: float, without: float, taught: float) -> Markdown:
    """Total errors without and with the teacher at one noise level, and which is smaller."""
    what = "the teacher pays off" if taught < without else "the teacher does not pay off"
    return Markdown(
        f"$\\sigma_\\eta$ = {sigma:g}: total error {without:.3f} without and {taught:.3f} with the teacher, difference "
        f"{taught - without:+.3f}: {what}."
    )
