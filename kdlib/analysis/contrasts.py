"""Contrasts inside a table, paired by seed and teacher, and the differences that a paper's tables print."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import pandas as pd
from scipy.stats import t as student_t

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
    `trials` trials; the interval is Welch's, for trials that are not paired. It cannot hold the spread of random subsets,
    since one subset serves all trials.
    """
    rows = numbers[(numbers.paper == "medium") & (numbers.dataset == "cifar100") & numbers["std"].notna()]
    one, other = (rows[rows.pruning == name] for name in (first, second))
    both = one.merge(other, on=CELL, suffixes=("", "_other"))
    squares = [both[name] ** 2 / trials for name in ("std", "std_other")]
    freedom = sum(squares) ** 2 / sum(square**2 / (trials - 1) for square in squares)
    half = student_t.ppf(0.975, freedom) * sum(squares) ** 0.5 if trials >= FEWEST else float("nan")
    return both[CELL].assign(mean=(both.value - both.value_other).round(9), half=half, n=trials)


def of_study(rows: pd.DataFrame, first: str, second: str, alpha: float) -> pd.DataFrame:
    """first - second (prunings) with KD at weight `alpha` in the rows of a study: fraction, mean, half, n; may be empty.

    rows: of one student and recipe, as `kdlib.analysis.tables.studies` splits them; an empty table while there are none.
    """
    columns = ["fraction", "mean", "half", "n"]
    taught = rows[rows.loss == "kd"] if len(rows) else rows
    if taught.empty:
        return pd.DataFrame(columns=columns)
    table = tidy(taught)
    return contrast(table[table.alpha.round(9) == alpha], "pruning", {first: 1.0, second: -1.0})[columns]
