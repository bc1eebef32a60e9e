"""Claims about the teacher's size: D9, D10, D11. They need teachers of several sizes, with at least two seeds each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd

from kdlib.analysis.claims.cells import NONE, Cells, cells, combined, gap, judge
from kdlib.analysis.claims.specification import Claim
from kdlib.analysis.claims.verdict import FAILS, HOLDS, UNDECIDED, Effect, Rule, Verdict, every, some
from kdlib.models import build, parameters_count

SHAPES = {"digits": (10, 1, 8), "cifar10": (10, 3, 32), "svhn": (10, 3, 32)}  # else as CIFAR-100
FEWEST_SIZES = 3
FEWEST_TAUS = 3


@lru_cache
def size(network: str, dataset: str) -> int:
    """The number of parameters of a network, with the classes and the images of a dataset."""
    return parameters_count(build(network, *SHAPES.get(dataset, (100, 3, 32))))


def larger_teacher_hurts(rows: pd.DataFrame, claim: Claim) -> Verdict:
    """D9: at small f accuracy falls with the logarithm of the teacher's number of parameters."""
    points = cells(rows, claim, free=("teacher",))
    return _about_teachers(points, [_fall(points, _dataset(rows), {})])


def at_every_temperature(rows: pd.DataFrame, claim: Claim) -> Verdict:
    """D11: D9 at every temperature that was measured between those that the claim names, at least three of them."""
    points = cells(rows, claim, free=("teacher", "tau"))
    low, high = (float(text) for text in claim.option("tau")[0].split(".."))
    taus = [tau for tau in points.values("tau") if low <= tau <= high]
    missing = [] if len(taus) >= FEWEST_TAUS else [f"{FEWEST_TAUS} temperatures from {low:g} to {high:g}"]
    return _about_teachers(points, [_fall(points, _dataset(rows), {"tau": tau}) for tau in taus], missing)


def _fall(points: Cells, dataset: str, own: dict[str, float]) -> Effect:
    """How many points accuracy falls when the teacher has ten times the parameters (least squares over teachers)."""
    fraction, alpha = float(points.claim.fractions), points.alpha()
    where = ", ".join(
        ["fall for ten times the teacher's parameters", *(f"{name} = {value:g}" for name, value in own.items())]
    )
    if alpha is None:
        return Effect(where, NONE)
    pruning = points.claim.prunings[0]
    teachers = points.values("teacher", pruning=pruning, fraction=fraction, alpha=alpha, **own)
    if len(teachers) < FEWEST_SIZES:
        return Effect(f"{where} (at least {FEWEST_SIZES} sizes of teachers)", NONE)
    logs = np.log10([size(name, dataset) for name in teachers])
    slope = (logs - logs.mean()) / ((logs - logs.mean()) ** 2).sum()
    parts = [points.point(pruning, fraction, alpha, teacher=name, **own) for name in teachers]
    return combined(where, parts, lambda *accuracies: float(-slope @ accuracies))


def smaller_teacher_helps(rows: pd.DataFrame, claim: Claim) -> Verdict:
    """D10: at small f some teacher smaller than the student beats a teacher of the student's own architecture."""
    points = cells(rows, claim, free=("teacher",))
    students, alpha, dataset = sorted(set(rows.student)), points.alpha(), _dataset(rows)
    fraction, pruning = float(claim.fractions), claim.prunings[0]
    if alpha is None or len(students) != 1:
        return judge(points, [], ["one student, with teachers of several sizes"])
    teachers = points.values("teacher", pruning=pruning, fraction=fraction, alpha=alpha)
    smaller = [name for name in teachers if size(name, dataset) < size(students[0], dataset)]
    own = points.point(pruning, fraction, alpha, teacher=students[0])
    effects = [
        gap(f"teacher {name} minus self-distillation", points.point(pruning, fraction, alpha, teacher=name), own)
        for name in smaller
    ]
    return _about_teachers(points, effects, [] if smaller else [f"a teacher smaller than {students[0]}"], rule=some)


def _about_teachers(points: Cells, effects: list[Effect], missing: Sequence[str] = (), rule: Rule = every) -> Verdict:
    found = judge(points, effects, missing, rule)
    lone = any(effect.estimate.teachers < 2 for effect in found.effects)
    if lone and found.verdict in (HOLDS, FAILS):
        reading = f"undecided: a claim about teachers needs at least 2 of each size; {found.reading}"
        return replace(found, verdict=UNDECIDED, reading=reading)
    return found


def _dataset(rows: pd.DataFrame) -> str:
    return str(rows.dataset.iloc[0]) if "dataset" in rows and len(rows) else ""
