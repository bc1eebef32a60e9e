"""Contrasts inside a table, paired by seed and teacher, and the differences that a paper's tables print."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import product

import pandas as pd
from scipy.stats import t as student_t

from kdlib.analysis.effects import self_distilled
from kdlib.analysis.statistics import FEWEST, points
from kdlib.analysis.tables import tidy

CELL = ["where", "teacher", "student", "loss", "fraction"]


def contrast(
    table: pd.DataFrame, column: str, weights: Mapping[Hashable, float], by: Sequence[str] = ("fraction",)
) -> pd.DataFrame:
    """The sum of weight x accuracy over the values of `column`, for each of `by`: columns `by`, mean, half, n.

    table: of `kdlib.analysis.tables.tidy`. `{"medium": 1, "random": -1}` over the column pruning is a difference,
    `{0.0: -0.5, 0.5: 1, 1.0: -0.5}` over the column centre says by how much the middle exceeds the mean of both ends.
    Only seeds and teachers that have every value take part. Values of one seed and teacher are averaged first.
    """
    keys = [*by, "seed", *(["teacher_id"] if "teacher_id" in table else [])]
    part = table[table[column].isin(list(weights))]
    wide = part.pivot_table(index=keys, columns=column, values="test_acc", aggfunc="mean")
    wide = wide.reindex(columns=list(weights)).dropna()
    found = wide.mul(pd.Series(dict(weights)), axis=1).sum(axis=1).rename("test_acc").reset_index()
    return points(found, by)


def against(table: pd.DataFrame, column: str, base: Hashable, by: Sequence[str] = ("fraction",)) -> pd.DataFrame:
    """Each other value of `column` minus `base`, in points: columns `column`, `by`, mean, half, n.

    The values keep the order in which the table first names them.
    """
    others = [value for value in dict.fromkeys(table[column]) if value != base]
    found = [contrast(table, column, {value: 1.0, base: -1.0}, by).assign(**{column: value}) for value in others]
    columns = [column, *by, "mean", "half", "n"]
    return pd.concat(found, ignore_index=True)[columns] if found else pd.DataFrame(columns=columns)


def published(numbers: pd.DataFrame, first: str, second: str, trials: int = 3) -> pd.DataFrame:
    """first - second (rows of `data/paper/reported.csv`, by their pruning) in the medium-difficulty paper's CIFAR tables.

    Columns where, teacher, student, loss, fraction, mean, half, n. The paper prints means and standard deviations of
    `trials` trials; the interval is Welch's, for trials that are not paired. Whether it holds the spread of random subsets
    is not known: the paper does not say that its trials redraw the subset.
    """
    rows = numbers[(numbers.paper == "medium") & (numbers.dataset == "cifar100") & numbers["std"].notna()]
    one, other = (rows[rows.pruning == name] for name in (first, second))
    both = one.merge(other, on=CELL, suffixes=("", "_other"))
    squares = [both[name] ** 2 / trials for name in ("std", "std_other")]
    freedom = sum(squares) ** 2 / sum(square**2 / (trials - 1) for square in squares)
    half = student_t.ppf(0.975, freedom) * sum(squares) ** 0.5 if trials >= FEWEST else float("nan")
    return both[CELL].assign(mean=(both.value - both.value_other).round(9), half=half, n=trials)


def of_study(rows: pd.DataFrame, first: str, second: str, alpha: float, *, own_teacher: bool = True) -> pd.DataFrame:
    """first - second (prunings) with KD at weight `alpha` in the rows of a study: fraction, mean, half, n; may be empty.

    rows: of one student and recipe, as `kdlib.analysis.tables.studies` splits them; an empty table while there are none.
    own_teacher: only students under a teacher of their own architecture count (`kdlib.analysis.effects.self_distilled`).
    """
    columns = ["fraction", "mean", "half", "n"]
    taught = _taught(rows) if own_teacher else rows
    if taught.empty:
        return pd.DataFrame(columns=columns)
    return of_tidy(tidy(taught), (first, second), alpha)[columns]


def of_method(rows: pd.DataFrame, reshaped: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """Medium samples with the class-wise reshape minus random ones: fraction, mean, half, n; may be empty.

    rows: of a study with random samples; reshaped: of the same students on medium samples with several reshapes.
    """
    if rows.empty or reshaped.empty:
        return pd.DataFrame(columns=["fraction", "mean", "half", "n"])
    both = pd.concat([rows, reshaped[reshaped.reshape == "classwise_std"]], ignore_index=True)
    table = tidy(both, dimensions=("reshape",))
    named = table.assign(pruning=table.pruning.where(table.reshape == "none", "medium + reshape"))
    return of_tidy(named, ("medium + reshape", "random"), alpha)


def _taught(rows: pd.DataFrame) -> pd.DataFrame:
    chosen = self_distilled(rows)
    return chosen[chosen.loss == "kd"] if len(chosen) else chosen


def of_tidy(table: pd.DataFrame, arms: tuple[str, str], alpha: float) -> pd.DataFrame:
    """The difference of two prunings in a table with KD at weight `alpha`: fraction, mean, half, n."""
    return contrast(table[table.alpha.round(9) == alpha], "pruning", {arms[0]: 1.0, arms[1]: -1.0})


def by_precision(
    rows: pd.DataFrame, copies: pd.DataFrame, arms: tuple[str, str], alpha: float
) -> dict[str, pd.DataFrame]:
    """The difference of two prunings, with KD at weight `alpha`, in each pair of precisions of their trainings.

    rows and copies: of a study, and of the same runs in another precision. Names: "medium in float32 minus random in bfloat16".
    Only fractions count at which the two rows of a pair differ in it; empty where there is none.
    """
    parts = [part for part in map(_taught, (rows, copies)) if len(part) and "precision" in part]
    if not parts:
        return {}
    own = tidy(parts[0])
    own = own[(own.alpha.round(9) == alpha) & own.pruning.isin(arms)]
    several = own.groupby(["fraction", "seed", "teacher_id"]).precision.nunique() > 1
    mixed = set(several[several].index.get_level_values("fraction"))
    every = pd.concat(parts, ignore_index=True)
    tables = {name: tidy(part) for name, part in every[every.fraction.isin(mixed)].groupby("precision", sort=True)}
    found = {}
    for first, second in product(tables, repeat=2):
        both = [tables[name][tables[name].pruning == arm] for name, arm in zip((first, second), arms, strict=True)]
        at = of_tidy(pd.concat(both, ignore_index=True), arms, alpha)
        if len(at):
            found[f"{arms[0]} in {first} minus {arms[1]} in {second}"] = at
    return found
