"""The runs that a claim speaks of, by point, and the paired differences between two of its points."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from kdlib.analysis.claims.specification import Claim
from kdlib.analysis.claims.verdict import Effect, Rule, Verdict, conclude, every
from kdlib.analysis.names import named
from kdlib.analysis.statistics import Estimate, estimate
from kdlib.analysis.tables import DEFAULTS, NO_TEACHER, SCORED_BY_THE_TEACHER, tidy

Runs = dict[tuple[int, int], float]
"""(teacher_id, seed) -> test accuracy in percent."""

USUAL: dict[str, object] = {
    "validation": False, "label_noise": 0.0, "imbalance": 1.0, "budget": "epochs", "feature_loss": "none",
    "reshape": "none", "teacher_fraction": 1.0, "ce_weight": None, "kd_weight": None, "kept_file": "",
}  # fmt: skip
"""What every claim takes as given, unless it is about that very column."""

LOSSES = ("cross_entropy", "kd")
PAPER_TAU = 4.0
OWN_TEACHERS = 1_000_000  # more than there are seeds, so that two teacher seeds cannot meet


@dataclass
class Cells:
    """The runs of one claim: point -> runs. A point is (pruning, fraction, alpha) and the claim's own dimensions."""

    claim: Claim
    names: tuple[str, ...]
    runs: dict[tuple, Runs]
    left_out: list[str] = field(default_factory=list)
    used: dict[tuple, set[tuple[int, int]]] = field(default_factory=dict)

    def values(self, name: str, **fixed: object) -> list:
        """The values of a dimension among the points that have the given values of others."""
        place = self.names.index(name)
        return sorted({key[place] for key in self.runs if all(key[self.names.index(n)] == v for n, v in fixed.items())})

    def point(self, pruning: str, fraction: float, alpha: float, **own: object) -> Runs:
        """The runs at a point, empty if there are none. A pruning "a/b" is the first of both that was measured."""
        tail = tuple(own[name] for name in self.names[3:])
        for name in pruning.split("/"):
            key = (name, round(fraction, 6), round(alpha, 6), *tail)
            if key in self.runs:
                self.used.setdefault(key, set()).update(self.runs[key])
                return self.runs[key]
        return {}

    def shown(self, pruning: str) -> str:
        """The pruning's name for a reader; of "a/b" that of the one that `point` takes."""
        found = set(self.values("pruning"))
        return named(next((name for name in pruning.split("/") if name in found), pruning))

    def fractions(self) -> tuple[list[float], list[str]]:
        """The fractions to judge, and the missing ones in words."""
        found, missing = self.claim.chosen(self.values("fraction"))
        return found, [f"f = {f:g}" for f in missing]

    def alpha(self) -> float | None:
        """The KD weight to judge: the first of the claim's list that was measured; it is noted if it is not the first."""
        there = {round(a, 6) for a in self.values("alpha")}
        if "*" in self.claim.alphas:
            return max(there, default=None)
        for text in self.claim.alphas:
            if round(float(text), 6) in there:
                if text != self.claim.alphas[0]:
                    self.left_out.append(f"KD weight {text} where the paper has {self.claim.alphas[0]}")
                return float(text)
        return None

    def counted(self) -> str:
        """How many trainings the verdict rests on."""
        if not (count := sum(len(keys) for keys in self.used.values())):
            return "no runs"
        seeds = {seed for keys in self.used.values() for _, seed in keys}
        teachers = {teacher for keys in self.used.values() for teacher, _ in keys if teacher != NO_TEACHER}
        told = f"{_many(count, 'training')} of {_many(len(self.used), 'configuration')}, {_many(len(seeds), 'seed')}"
        return f"{told}, {_many(len(teachers), 'teacher')}" if teachers else told

    def given(self) -> str:
        """What all runs share and no interval can take in."""
        keys = [(key[0], teacher) for key, runs in self.used.items() for teacher, _ in runs]
        teachers = {teacher for _, teacher in keys if teacher != NO_TEACHER}
        by_scores = [
            name
            for name, _ in keys
            if not name.startswith(("random", "full", "medium", "imbalanced", *SCORED_BY_THE_TEACHER))
        ]
        parts = (["this teacher"] if len(teachers) == 1 else []) + (["these scores"] if by_scores else [])
        return f"given {' and '.join(parts)}" if parts else ""


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


@dataclass(frozen=True)
class Layout:
    """Which row belongs to which point: point -> (teacher_id, seed) -> place of the row among the rows."""

    places: dict[tuple, dict[tuple[int, int], int]]
    left_out: tuple[str, ...]


def cells(
    rows: pd.DataFrame, claim: Claim, free: Sequence[str] = (), fixed: Mapping[str, object] | None = None,
    value: str = "test_acc",
) -> Cells:  # fmt: skip
    """The points of a claim, from the rows that have the usual values in every column it is not about.

    free: dimensions of the claim's own. fixed: values that it wants of a column. The teacher has the student's
    architecture in "Distilling the Knowledge in Data Pruning", unless it is one of the dimensions. value: the column
    that is judged. ValueError if the rows that are left differ in a column that is not a dimension.
    """
    found = layout(rows, claim, tuple(free), fixed or {})
    values = rows[value].to_numpy(dtype=np.float64)
    runs = {
        point: {key: float(values[place]) for key, place in places.items() if not np.isnan(values[place])}
        for point, places in found.places.items()
    }
    return Cells(claim, ("pruning", "fraction", "alpha", *free), runs, list(found.left_out))


def layout(rows: pd.DataFrame, claim: Claim, free: tuple[str, ...], fixed: Mapping[str, object]) -> Layout:
    """The rows that a claim speaks of, by point; it depends on every column but the accuracies."""
    numbered = rows.reset_index(drop=True).assign(
        test_acc=np.where(rows.test_acc.notna(), np.arange(len(rows)), np.nan)
    )
    chosen, left_out = usual(numbered, free, fixed)
    if "teacher" not in free and {"teacher", "student"} <= set(chosen.columns):
        chosen, others = _of_one_kind(chosen, claim)
        left_out += others
    table = tidy(chosen, dimensions=[name for name in free if name in chosen.columns])
    names = ("pruning", "fraction", "alpha", *free)
    columns = [table[name].tolist() if name in table else [DEFAULTS.get(name)] * len(table) for name in names]
    places: dict[tuple, dict[tuple[int, int], int]] = {}
    keys = zip(_teachers(table), table.seed.astype(int), strict=True)
    for point, key, place in zip(zip(*columns, strict=True), keys, table.test_acc.astype(int), strict=True):
        where = (point[0], round(point[1], 6), round(point[2], 6), *point[3:])
        places.setdefault(where, {})[key] = int(place)
    return Layout(places, tuple(left_out))


def _of_one_kind(rows: pd.DataFrame, claim: Claim) -> tuple[pd.DataFrame, list[str]]:
    """The rows whose teacher has the student's architecture, or for MD's claims the one that most rows have."""
    taught = rows.loss != "cross_entropy"
    wanted = rows.student if claim.paper == "dkdp" else rows.teacher[taught].mode().reindex([0]).iloc[0]
    keep = ~taught | (rows.teacher == wanted)
    return rows[keep], _dropped(rows, keep, "with a teacher of another architecture")


def _teachers(table: pd.DataFrame) -> list[int]:
    """Which teacher had a part in each run: where labels or class sizes are drawn anew for each seed, each has its own."""
    ids = table.teacher_id.astype(int)
    drawn = pd.Series(False, table.index)
    for name, none in (("label_noise", 0.0), ("imbalance", 1.0)):
        if name in table:
            drawn |= table[name].fillna(none).astype(float) > none
    own = ids * OWN_TEACHERS + table.seed.astype(int)
    return ids.where(~drawn | (ids == NO_TEACHER), own).tolist()


def usual(rows: pd.DataFrame, free: Sequence[str], fixed: Mapping[str, object]) -> tuple[pd.DataFrame, list[str]]:
    """The rows with usual values, and in words how many of the others were left out for which column."""
    left_out: list[str] = []
    chosen = rows
    for name, wanted in {**USUAL, **fixed}.items():
        if name in chosen.columns and name not in free:
            column = chosen[name]
            keep = column.isna() if wanted is None else column.isna() | (column.map(_method) == wanted)
            left_out += _dropped(chosen, keep, f"with another {name} than {wanted}")
            chosen = chosen[keep]
    if "loss" not in free:
        keep = chosen.loss.isin(LOSSES)
        left_out += _dropped(chosen, keep, "with another loss than kd")
        chosen = chosen[keep]
    if "tau" in chosen and "tau" not in free:
        taught = chosen.loss != "cross_entropy"
        if chosen.tau[taught].nunique() > 1:
            keep = ~taught | (chosen.tau == PAPER_TAU)
            left_out += _dropped(chosen, keep, f"with another tau than {PAPER_TAU:g}")
            chosen = chosen[keep]
    return chosen, left_out


def _method(value: object) -> object:
    """`vid(samples=2)` is the method `vid`."""
    return value.split("(")[0] if isinstance(value, str) and not value.startswith("/") else value


def _dropped(rows: pd.DataFrame, keep: pd.Series, why: str) -> list[str]:
    count = int((~keep).sum())
    return [f"{count} rows {why}"] if count else []


# ------------------------------------------------------------------------------------------- differences


def paired(first: Runs, second: Runs) -> Runs:
    """first - second for each teacher and seed that both have; a side without teachers goes with each of the other's."""
    return _pairs(first, second)[0]


def _pairs(first: Runs, second: Runs) -> tuple[Runs, int]:
    """The paired differences, and the independent trainings in them: those of the side that has fewer."""
    lone_first, lone_second = _alone(first), _alone(second)
    if lone_first == lone_second:
        found = {key: first[key] - second[key] for key in sorted(first.keys() & second.keys())}
        return found, len(found)
    taught, plain, sign = (first, second, 1.0) if lone_second else (second, first, -1.0)
    keys = sorted(key for key in taught if (NO_TEACHER, key[1]) in plain)
    found = {key: sign * (taught[key] - plain[NO_TEACHER, key[1]]) for key in keys}
    return found, len({seed for _, seed in keys})


def _alone(runs: Runs) -> bool:
    return all(teacher == NO_TEACHER for teacher, _ in runs)


NONE = Estimate(float("nan"), float("nan"), float("nan"), 0)


def gap(where: str, first: Runs, second: Runs, **sizes: Any) -> Effect:
    """The effect first - second, with n = 0 if no pair of runs exists; sizes: fields of Effect."""
    pairs, n = _pairs(first, second)
    found = estimate(pairs, n) if pairs else NONE
    return Effect(where, found, **sizes)


def combined(where: str, parts: Sequence[Runs], combine: Callable[..., float], **sizes: Any) -> Effect:
    """The effect `combine(values)` for each teacher and seed that all the parts have; parts without teachers are shared."""
    taught = [part for part in parts if not _alone(part)]
    keys = set.intersection(*(set(part) for part in taught or parts)) if parts else set()
    found: Runs = {}
    for teacher, seed in sorted(keys):
        values = [part.get((NO_TEACHER, seed) if _alone(part) else (teacher, seed)) for part in parts]
        if all(value is not None for value in values):
            found[teacher, seed] = combine(*values)
    n = len({seed for _, seed in found}) if len(taught) < len(parts) else len(found)
    return Effect(where, estimate(found, n) if found else NONE, **sizes)


def measured(effects: Sequence[Effect]) -> tuple[list[Effect], list[str]]:
    """The effects that have runs, and the names of the others."""
    return [e for e in effects if e.estimate.n], [e.where for e in effects if not e.estimate.n]


def judge(
    points: Cells,
    effects: Sequence[Effect],
    missing: Sequence[str] = (),
    rule: Rule = every,
    notes: Sequence[str] = (),
) -> Verdict:
    """The verdict from effects at the points of a claim; an effect without runs, and a pruning without any, is missing."""
    there, absent = measured(effects)
    wants, found = points.claim.prunings, points.values("pruning")
    nowhere = [named(name) for name in wants if name != "*" and not set(name.split("/")) & set(found)]
    known = {part for name in wants for part in name.split("/")} | {"random", "full"}
    others = [named(name) for name in found if name not in known and "*" not in wants]
    left_out = [*points.left_out, *(f"pruning {name}: the claim does not name it" for name in others)]
    absent = [*nowhere, *(where for where in absent if not any(name in where for name in nowhere))]
    wanted = [*missing, *absent]
    return conclude(points.claim.id, there, wanted, rule, points.given(), left_out, notes, points.counted())
