"""Claims about which samples are kept, and how many: D1 to D5, D16, M1, M2, M5, M9."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pandas as pd

from kdlib.analysis.claims.cells import NONE, Cells, Runs, cells, combined, gap, judge
from kdlib.analysis.claims.specification import Claim
from kdlib.analysis.claims.verdict import Effect, Verdict, conclude, some
from kdlib.analysis.names import named
from kdlib.analysis.statistics import estimate

PAPER_FRACTION = 0.1  # where the paper prints its gains


def gain_everywhere(rows: pd.DataFrame, claim: Claim) -> Verdict:
    """D1: acc(KD) - acc(no KD) lies above 0 for each pruning at each fraction."""
    points = cells(rows, claim)
    alpha, (fractions, missing) = points.alpha(), points.fractions()
    if alpha is None:
        return judge(points, [], [f"KD weight {claim.alphas[0]}"])
    effects = [
        gap(
            f"{points.shown(p)}, f = {f:g}",
            points.point(p, f, alpha),
            points.point(p, f, 0.0),
            paper=_paper_gain(claim, p, f),
        )
        for p in claim.prunings
        for f in fractions
    ]
    return judge(points, effects, missing)


def _paper_gain(claim: Claim, pruning: str, fraction: float) -> float | None:
    known = claim.effects()
    return next((known[p] for p in pruning.split("/") if p in known and fraction == PAPER_FRACTION), None)


def gain_at_small_f(rows: pd.DataFrame, claim: Claim) -> Verdict:
    """D2: for each pruning, the gain at the smallest fraction minus the gain at every other lies above 0."""
    points = cells(rows, claim)
    alpha, (fractions, missing) = points.alpha(), points.fractions()
    if alpha is None or len(fractions) < 2:
        return judge(points, [], missing or ["a second fraction"])
    smallest, effects = fractions[0], []
    for p, f in itertools.product(claim.prunings, fractions[1:]):
        parts = [points.point(p, at, a) for at in (smallest, f) for a in (alpha, 0.0)]
        where = f"{points.shown(p)}, gain at f = {smallest:g} minus gain at f = {f:g}"
        effects.append(_combined(where, parts, lambda a, b, c, d: a - b - c + d))
    return judge(points, effects, missing)


def _combined(where: str, parts: list[Runs], combine: Callable[..., float]) -> Effect:
    return combined(where, parts, combine) if all(parts) else Effect(where, NONE)


def random_beats_scorers(rows: pd.DataFrame, claim: Claim) -> Verdict:
    """D3: random minus each scorer lies above 0 at each small fraction, with KD and without."""
    points = cells(rows, claim)
    alpha, (fractions, missing) = points.alpha(), points.fractions()
    if alpha is None or not fractions:
        return judge(points, [], missing or [f"a fraction {claim.fractions}"])
    effects = [
        gap(f"random - {points.shown(p)}, f = {f:g}, {name}", points.point("random", f, a), points.point(p, f, a))
        for p in claim.prunings
        for f in fractions
        for a, name in ((0.0, "no KD"), (alpha, "KD"))
    ]
    return judge(points, effects, missing)


def robust_at_large_f(rows: pd.DataFrame, claim: Claim) -> Verdict:
    """D4: with KD, every two methods differ by less than a point at each large fraction, and by less than without KD.

    The difference between the largest and the smallest of several means is never 0, however equal the methods are; so
    the spread is bounded by bounding the difference of every two methods. For the comparison, each seed's spread is
    taken along the order that the *other* seeds show without KD, so that chance does not widen it.
    """
    points = cells(rows, claim)
    alpha, (fractions, missing) = points.alpha(), points.fractions()
    if alpha is None or not fractions:
        return judge(points, [], missing or [f"a fraction {claim.fractions}"])
    effects: list[Effect] = []
    for f in fractions:
        for one, other in itertools.combinations(claim.prunings, 2):
            for a, b in ((one, other), (other, one)):
                taught = points.point(a, f, alpha), points.point(b, f, alpha)
                where = f"{points.shown(a)} - {points.shown(b)} with KD, f = {f:g}"
                effects.append(gap(where, *taught, threshold=-claim.threshold))
        effects.append(_narrowing(points, f, alpha))
    return judge(points, effects, missing)


def _narrowing(points: Cells, fraction: float, alpha: float) -> Effect:
    """The spread over methods without KD minus the one with KD, along the order that the other seeds show."""
    where = f"spread without KD - with KD, f = {fraction:g}"
    plain = [points.point(p, fraction, 0.0) for p in points.claim.prunings]
    taught = [points.point(p, fraction, alpha) for p in points.claim.prunings]
    shared = set.intersection(*(set(part) for part in plain))
    seeds = sorted(seed for _, seed in shared)
    if len(seeds) < 2:
        return Effect(where, NONE)
    teacher_of = {seed: teacher for teacher, seed in shared}
    accuracies = np.array([[part[teacher_of[seed], seed] for seed in seeds] for part in plain])
    found: Runs = {}
    for teacher, seed in sorted(set.intersection(*(set(part) for part in taught))):
        if seed in seeds:
            own = seeds.index(seed)
            weights = np.delete(accuracies, own, axis=1).mean(axis=1)
            weights -= weights.mean()
            difference = accuracies[:, own] - np.array([part[teacher, seed] for part in taught])
            found[teacher, seed] = float(2 * weights @ difference / max(np.abs(weights).sum(), 1e-12))
    n = len({seed for _, seed in found})
    return Effect(where, estimate(found, n) if found else NONE)


def part_is_enough(rows: pd.DataFrame, claim: Claim) -> Verdict:
    """D5: at some fraction up to the paper's, forgetting with KD reaches the accuracy of all data without KD."""
    points = cells(rows, claim)
    alpha, (fractions, _) = points.alpha(), points.fractions()
    full = points.point("full", 1.0, 0.0)
    if alpha is None or not full:
        return judge(points, [], ["runs on all data without KD"])
    pruning, largest = claim.prunings[0], float(claim.fractions[2:])
    effects = [
        gap(f"{named(pruning)} with KD, f = {f:g}, minus all data", points.point(pruning, f, alpha), full)
        for f in fractions
    ]
    return judge(points, effects, [] if largest in fractions else [f"f = {largest:g}"], some)


def pruned_beats_all(rows: pd.DataFrame, claim: Claim) -> Verdict:
    """D16: a random part with KD beats all data without KD, by the paper's size."""
    points = cells(rows, claim)
    alpha, (fractions, missing) = points.alpha(), points.fractions()
    full = points.point("full", 1.0, 0.0)
    effects = [
        gap(
            f"random, f = {f:g}, minus all data",
            points.point("random", f, alpha),
            full,
            size=claim.threshold,
            paper=claim.threshold,
            more=False,
        )
        for f in fractions
        if alpha is not None
    ]
    return judge(points, effects, missing)


def medium_beats_random(rows: pd.DataFrame, claim: Claim) -> Verdict:
    """M1: medium difficulty minus random lies above 0 at each fraction."""
    return _medium_minus_random(cells(rows, claim))


def medium_beats_random_features(rows: pd.DataFrame, claim: Claim) -> Verdict:
    """M5: the same under a feature loss."""
    return _medium_minus_random(cells(rows, claim, fixed={"feature_loss": claim.option("feature_loss")[0]}))


def _medium_minus_random(points: Cells) -> Verdict:
    alpha, (fractions, missing) = points.alpha(), points.fractions()
    if alpha is None:
        return judge(points, [], [f"KD weight {points.claim.alphas[0]}"])
    medium, random = points.claim.prunings
    known = points.claim.effects()
    effects = [
        gap(
            f"medium - random, f = {f:g}",
            points.point(medium, f, alpha),
            points.point(random, f, alpha),
            paper=known.get(f"{f:g}"),
        )
        for f in fractions
    ]
    return judge(points, effects, missing)


def easy_to_hard(rows: pd.DataFrame, claim: Claim) -> Verdict:
    """M2: at the small fraction easy beats random and random beats hard; at the large one hard beats easy."""
    points = cells(rows, claim)
    alpha, (fractions, missing) = points.alpha(), points.fractions()
    if alpha is None:
        return judge(points, [], [f"KD weight {claim.alphas[0]}"])
    easy, random, hard = claim.prunings
    small, large = (float(text) for text in claim.fractions.split("|"))
    orders = (
        ("easy - random", easy, random, small),
        ("random - hard", random, hard, small),
        ("hard - easy", hard, easy, large),
    )
    effects = [
        gap(f"{name}, f = {f:g}", points.point(a, f, alpha), points.point(b, f, alpha))
        for name, a, b, f in orders
        if f in fractions
    ]
    return judge(points, effects, missing)


def faster_and_better(rows: pd.DataFrame, claim: Claim) -> Verdict:
    """M9: the method on a part beats plain KD on all data, in at most three quarters of its training time."""
    reshape, parts, effects = claim.option("reshape")[0], [], []
    for value in ("test_acc", "student_seconds"):
        if value not in rows:
            return conclude(claim.id, [], [f"column {value}"])
        points = cells(rows, claim, free=("reshape",), value=value)
        alpha, (fractions, missing) = points.alpha(), points.fractions()
        if alpha is None or missing:
            return judge(points, [], missing or [f"KD weight {claim.alphas[0]}"])
        method = points.point(claim.prunings[0], fractions[0], alpha, reshape=reshape)
        parts.append((points, method, points.point("full", 1.0, alpha, reshape="none")))
    (points, *accuracies), (_, *seconds) = parts
    effects.append(gap(f"{claim.prunings[0]} with {reshape}, f = {fractions[0]:g}, minus KD on all data", *accuracies))
    saved = _combined("ratio of training times below its bound", list(seconds), lambda a, b: claim.threshold - a / b)
    return judge(points, [*effects, saved])
