"""Claims that accuracies cannot decide: D13 is a theorem; D14, D15, M6 and M7 read small tables of measurements.

A lesson or a script makes the table, one row for each training (or scored training); `COLUMNS` names what it holds,
beside the column `dataset`. The command `claims` reads it from `data/results/records/`, a file `D14.csv` for D14.
`class_relations` and `relation_similarity` make the similarity of D14 from logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kdlib.analysis.claims.cells import NONE, Runs, gap, paired
from kdlib.analysis.claims.specification import Claim
from kdlib.analysis.claims.verdict import FAILS, NOT_MEASURED, UNDECIDED, Effect, Verdict, conclude
from kdlib.analysis.names import named
from kdlib.analysis.statistics import estimate
from kdlib.analysis.tables import NO_TEACHER
from kdlib.theory.counterexamples import Counterexample, known_counterexample, survey
from kdlib.utils import paths

GROUPS = ("easy", "medium", "hard")
OF_STUDY = ("dataset", "student", "teacher", "epochs")
"""Columns that tell a study's records from those of other students."""

COLUMNS: dict[str, dict[str, str]] = {
    "D14": {
        "fraction": "kept fraction f of the student's data",
        "alpha": "KD weight, 0 without a teacher",
        "seed": "seed of the student",
        "teacher_seed": "seed of the teacher that the student is compared with",
        "similarity": "correlation of the student's class relations with the teacher's (see relation_similarity)",
    },
    "D15": {
        "scorer": "the score that ranks the samples",
        "seed": "seed of the scored training",
        "base_rate": "share of all samples whose label was changed, in [0, 1]",
        "share": "share of the highest-scoring samples whose label was changed, in [0, 1]",
    },
    "M6": {
        "group": "easy, medium or hard samples",
        "seed": "seed of the student",
        "teacher_seed": "seed of its teacher",
        "gradient_sd": "standard deviation over epochs of the last layer's gradient norm",
        "mutual_information": "mutual information of the student's and the teacher's predicted classes, in nats",
    },
    "M7": {
        "group": "easy, medium or hard samples",
        "seed": "seed of the student",
        "teacher_seed": "seed of its teacher",
        "student_acc": "the student's accuracy on the group's training samples, in percent",
        "teacher_acc": "the teacher's accuracy on them, in percent",
    },
}


def class_relations(logits: NDArray, labels: NDArray) -> NDArray:
    """What a network thinks of each class, shape (K, K): mean softmax over the samples of class i, the own class 0.

    logits (N, K), labels (N,) in 0..K-1. Each row is divided by its sum, so that it holds how the error is shared out
    among the other classes and not how large it is. A class without samples has a row of zeros.
    """
    soft = np.exp(logits - logits.max(axis=1, keepdims=True))
    soft /= soft.sum(axis=1, keepdims=True)
    found = np.zeros((logits.shape[1], logits.shape[1]))
    np.add.at(found, labels, soft)
    np.fill_diagonal(found, 0.0)
    totals = found.sum(axis=1, keepdims=True)
    return np.divide(found, totals, out=np.zeros_like(found), where=totals > 0)


def relation_similarity(student: NDArray, teacher: NDArray) -> float:
    """Pearson correlation of two `class_relations` matrices over all pairs of different classes."""
    apart = ~np.eye(len(teacher), dtype=bool)
    return float(np.corrcoef(student[apart], teacher[apart])[0, 1])


@lru_cache
def _random_problems() -> dict[str, NDArray]:
    """How often random problems violate Theorem 1; one fixed draw."""
    return survey(np.random.default_rng(0), 2000)


def theorem(rows: pd.DataFrame, claim: Claim, example: Counterexample | None = None) -> Verdict:
    """D13: "for any X, theta*, alpha" is refuted by one counterexample in exact fractions; no rows take part."""
    found = example or known_counterexample()
    ratios = _random_problems()
    share, average = (float(np.mean(ratios[name] > 1)) for name in ("ratio", "average"))
    exact = f"squared bias {found.large_teacher} with the larger teacher, {found.small_teacher} with the smaller"
    notes = (
        f"{exact}: X = {found.X.tolist()}, the first {found.n_kept} columns kept, theta* = {found.theta.tolist()}, "
        f"alpha = {found.alpha}, lambda = {found.lam}",
        f"of {len(ratios['ratio'])} random problems {share:.2%} violate it, averaged over the directions of theta* "
        f"{average:.2%}",
    )
    verdict = FAILS if found.large_teacher > found.small_teacher else UNDECIDED
    rule = "fails if one problem has the larger squared bias with the larger teacher, in exact fractions; only a proof can hold"
    return Verdict(claim.id, verdict, verdict, rule, runs="none needed", notes=notes)


def teacher_relations(rows: pd.DataFrame, claim: Claim) -> Verdict:
    """D14: class relations nearer to the teacher's with KD than without, at the claim's fraction."""
    at = rows[np.isclose(rows.fraction, float(claim.fractions))]
    taught, plain = (_runs(at[part], at.similarity[part]) for part in (at.alpha > 0, at.alpha == 0))
    effect = gap("similarity with KD minus without", taught, plain)
    shared = {seed for _, seed in taught.keys() & plain.keys()}  # a plain student is compared with every teacher
    if shared:
        effect = replace(effect, estimate=estimate(paired(taught, plain), len(shared)))
    return _records(claim, [effect], at)


def ambiguous_samples(rows: pd.DataFrame, claim: Claim) -> Verdict:
    """D15: of forgetting's highest-scoring samples more are mislabelled than of all, and more than half.

    Changed labels stand in for "ambiguous or of low quality", which nothing records.
    """
    at = rows[rows.scorer == claim.prunings[0]]
    base = float(at.base_rate.mean()) if len(at) else 0.0
    shares: Runs = {(NO_TEACHER, int(seed)): float(group.mean()) for seed, group in at.groupby("seed").share}
    found = estimate(shares) if shares else NONE
    effect = Effect(
        "share of changed labels among the highest-scoring samples", found, threshold=base, size=claim.threshold
    )
    others = sorted(set(rows.scorer) - {claim.prunings[0]})
    left_out = [f"scorer {named(name)}: the claim does not name it" for name in others]
    note = "changed labels stand in for ambiguous samples and samples of low quality"
    return conclude(
        claim.id, [effect], left_out=left_out, notes=[note], runs=f"{len(shares)} seeds of the scored trainings"
    )


def stable_and_aligned(rows: pd.DataFrame, claim: Claim) -> Verdict:
    """M6: gradient SD and mutual information both rise from hard to medium to easy samples."""
    return _records(
        claim,
        [
            *_steps(rows, rows.gradient_sd, "gradient SD", GROUPS),
            *_steps(rows, rows.mutual_information, "mutual information", GROUPS),
        ],
        rows,
    )


def hard_samples_widen_the_gap(rows: pd.DataFrame, claim: Claim) -> Verdict:
    """M7: the teacher's training accuracy minus the student's is larger on hard than on medium than on easy samples."""
    return _records(claim, _steps(rows, rows.teacher_acc - rows.student_acc, "gap", GROUPS[::-1]), rows)


def _steps(rows: pd.DataFrame, values: pd.Series, name: str, falling: Sequence[str]) -> list[Effect]:
    """The effects of a quantity that falls along the groups: each group minus the next."""
    runs = {group: _runs(rows[rows.group == group], values[rows.group == group]) for group in falling}
    return [gap(f"{name}: {a} - {b}", runs[a], runs[b]) for a, b in zip(falling, falling[1:], strict=False)]


def _runs(rows: pd.DataFrame, values: pd.Series) -> Runs:
    """(teacher_seed, seed) -> mean value; rows of one training are averaged, so that they count once."""
    found: dict[tuple[int, int], list[float]] = {}
    for teacher, seed, value in zip(rows.teacher_seed, rows.seed, values, strict=True):
        found.setdefault((int(teacher), int(seed)), []).append(float(value))
    return {key: sum(several) / len(several) for key, several in found.items()}


def _records(claim: Claim, effects: Sequence[Effect], rows: pd.DataFrame) -> Verdict:
    there = [effect for effect in effects if effect.estimate.n]
    teachers = rows.teacher_seed.nunique()
    runs = f"{len(rows)} records, {rows.seed.nunique()} seeds, {teachers} teacher{'s' if teachers != 1 else ''}"
    missing = [effect.where for effect in effects if not effect.estimate.n]
    return conclude(claim.id, there, missing, given="given this teacher" if teachers == 1 else "", runs=runs)


def lacking(claim: str, rows: pd.DataFrame) -> Verdict | None:
    """ "Not measured", with the columns that the claim's table needs, if the rows are another kind of table."""
    absent = [name for name in COLUMNS.get(claim, {}) if name not in rows.columns]
    if not absent:
        return None
    needs = f"needs a table of records with the columns {', '.join(COLUMNS[claim])}"
    return Verdict(claim, NOT_MEASURED, NOT_MEASURED, "", left_out=(needs,))


def recorded(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The tables of data/results/records, by claim (`D14.csv`), as far as they are of the rows' data and students.

    An empty table of rows leaves them whole.
    """
    found = {}
    for claim in COLUMNS:
        file = paths.given("results") / "records" / f"{claim}.csv"
        if file.is_file():
            table = pd.read_csv(file)
            for name in OF_STUDY:
                if name in table and name in rows:
                    table = table[table[name].isin(set(rows[name]))]
            found[claim] = table
    return {claim: table for claim, table in found.items() if len(table)}
