"""Claims about the KD weight alpha: D6, D7, D8, M10."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from kdlib.analysis.claims.cells import Runs, cells, combined, gap, judge
from kdlib.analysis.claims.specification import Claim
from kdlib.analysis.claims.verdict import HOLDS, UNDECIDED, Verdict
from kdlib.analysis.names import named
from kdlib.analysis.statistics import rank_correlation


def one_weight_beats_another(rows: pd.DataFrame, claim: Claim) -> Verdict:
    """D6, D7: at one fraction the first KD weight gives more accuracy than the second; unless the size that the paper
    prints is borne out, too, the claim holds in direction only.
    """
    points = cells(rows, claim)
    fractions, missing = points.fractions()
    more, less = (float(text) for text in claim.alphas)
    pruning = claim.prunings[0]
    effects = [
        gap(
            f"alpha = {more:g} minus alpha = {less:g}, {named(pruning)}, f = {f:g}",
            points.point(pruning, f, more),
            points.point(pruning, f, less),
            size=claim.threshold,
            paper=claim.threshold,
        )
        for f in fractions
    ]
    return judge(points, effects, missing)


def best_alpha_falls(rows: pd.DataFrame, claim: Claim) -> Verdict:
    """D8: the slope of accuracy against alpha falls as f grows (the interaction alpha x log f), and the best alpha with it.

    The interaction uses every accuracy, so that flat curves give 0 and not an arbitrary best alpha. Only students with
    KD take part: what the first bit of KD adds is claim D2's. The two curves of best alphas alone decide nothing; a
    slope that falls while one alpha stays best does not bear the claim out either, and leaves it undecided.
    """
    points = cells(rows, claim)
    pruning = claim.prunings[0]
    fractions = [f for f in points.fractions()[0] if points.values("alpha", pruning=pruning, fraction=f)]
    weights = [points.values("alpha", pruning=pruning, fraction=f) for f in fractions]
    alphas = sorted(a for a in set.intersection(*(set(w) for w in weights)) if a > 0) if weights else []
    if len(fractions) < 3 or len(alphas) < 2:
        return judge(points, [], ["at least 3 fractions with at least 2 KD weights each"])
    parts = [points.point(pruning, f, a) for f in fractions for a in alphas]
    steps, logs = np.array(alphas) - np.mean(alphas), np.log10(fractions) - np.log10(fractions).mean()
    contrast = -np.outer(logs / (logs**2).sum(), steps / (steps**2).sum()).ravel()
    place = f"{named(pruning)}, f = {fractions[0]:g} to {fractions[-1]:g}"
    where = f"fall of the slope of accuracy in alpha, for ten times f ({place})"
    effect = combined(where, parts, lambda *accuracies: float(contrast @ accuracies))
    means = np.reshape([np.mean(list(part.values())) for part in parts], (len(fractions), len(alphas)))
    best = [alphas[i] for i in means.argmax(axis=1)]
    note = "best alpha of the means: " + ", ".join(f"{a:g} at f = {f:g}" for f, a in zip(fractions, best, strict=True))
    found = judge(points, [effect], notes=[note, _ranks(parts, fractions, alphas)])
    if found.verdict == HOLDS and best[-1] >= best[0]:
        return replace(found, verdict=UNDECIDED, reading="undecided: the slope falls, the best alpha does not")
    return found


def _ranks(parts: Sequence[Runs], fractions: Sequence[float], alphas: Sequence[float]) -> str:
    """The rank correlation of the seeds' best alphas with f, with its p-value from permutations; beside, not deciding."""
    keys = sorted(set.intersection(*(set(part) for part in parts)))
    if not keys:
        return "no seed has every KD weight at every f"
    curves = np.reshape([[part[key] for part in parts] for key in keys], (len(keys), len(fractions), len(alphas)))
    best = np.asarray(alphas)[curves.argmax(axis=2)]
    found = rank_correlation(fractions, best, np.random.default_rng(0), permutations=1000)
    chance = f"p = {found.p_below:.2g} by permutation, n = {found.n}"
    return f"rank correlation of the best alpha with f {found.mean:+.2f} ({chance})"


def best_alphas(table: pd.DataFrame) -> pd.DataFrame:
    """For each f and seed the alpha of the highest accuracy, ties averaged: columns fraction, seed, best.

    For a picture; a verdict does not rest on it (see `best_alpha_falls`).
    """
    top = table.groupby(["fraction", "seed"]).test_acc.transform("max")
    best = table[table.test_acc == top].groupby(["fraction", "seed"]).alpha.mean()
    return best.rename("best").reset_index()


def adaptive_is_no_better(rows: pd.DataFrame, claim: Claim) -> Verdict:
    """M10: the adaptive alpha is at most half a point better than the fixed one at each fraction where they differ.

    That an interval contains 0 is no evidence for equality, a single noisy run would do; so "no better" means that a
    lead of the margin (the claim's threshold) is excluded.
    """
    points = cells(rows, claim)
    fixed, pruning = float(claim.alphas[0]), claim.prunings[0]
    adaptive = dict(zip(map(float, claim.fractions.split("|")), map(float, claim.option("adaptive")), strict=True))
    fractions, missing = points.fractions()
    effects = [
        gap(
            f"fixed alpha {fixed:g} minus adaptive {adaptive[f]:g}, f = {f:g}",
            points.point(pruning, f, fixed),
            points.point(pruning, f, adaptive[f]),
            threshold=-claim.threshold,
        )
        for f in fractions
    ]
    return judge(points, effects, missing)
