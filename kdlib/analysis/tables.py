"""From the rows of `sweep` to a table that cannot mix: one row for each training, and every column that varies has a name.

A *table* is what `tidy` returns: the rows' own columns and

    pruning     which samples are kept: the scorer, with the window where it is not the scorer's own; "full" for f = 1
    alpha       weight of the KD term in (1 - alpha) CE + alpha KD; 0 for a student without a teacher
    teacher_id  seed of the teacher that had a part in the run, -1 where none had
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd

from kdlib.experiments.config import Run

NEEDED = ("scorer", "centre", "loss", "alpha", "fraction", "seed", "test_acc")
ACCURACIES = ("test_acc", "test_acc_best", "teacher_acc", "train_loss")
REPORTS = {*ACCURACIES, "kept", "steps", "status", "seconds", "device", "version", "rules", "used_share", "message"}
# On the accuracy of the last epoch; for the precision, no difference is detected in `data/results/controls`.
WITHOUT_EFFECT = {"cache_logits", "compile", "eval_every", "keep_student", "precision"}
DIMENSIONS = ("pruning", "fraction", "alpha", "seed", "teacher_id")
NAMED_BY_DIMENSIONS = {"scorer", "centre", "selection", "fraction", "alpha", "seed", "teacher_seed", *DIMENSIONS}
OF_THE_LOSS = {"loss", "tau", "reshape", "feature_loss", "beta", "weighting", "ce_weight", "kd_weight"}
OF_THE_TEACHER = {"teacher_seed", "teacher_fraction", "teacher_epochs", "teacher_recipe"}
OF_THE_SELECTION = {"hard_cut"}
SCORED_BY_THE_TEACHER = ("difficulty",)  # the score is the cross-entropy of the run's own teacher
OWN_CENTRE = {"moderate": 0.5}  # every other scorer keeps the hardest samples
WINDOWS = {1.0: "hardest", 0.5: "medium", 0.0: "easiest"}
NO_TEACHER = -1
RECIPE = (
    "dataset", "student", "validation", "label_noise", "epochs", "batch_size", "lr", "momentum", "weight_decay",
    "optimiser", "schedule", "warmup", "milestones", "augment", "budget",
)  # fmt: skip
DEFAULTS = {field.name: field.default for field in fields(Run)}


class MixedRows(ValueError):
    """Rows of one cell that are not trainings of one configuration."""


def tidy(rows: pd.DataFrame, dimensions: Sequence[str] = (), averaged: Sequence[str] = ()) -> pd.DataFrame:
    """The table of finished runs, one row for each training; see the module for its columns.

    rows:       what `sweep` or `load_rows` returns; diverged runs (no accuracy) are left out.
    dimensions: further columns whose values are told apart, such as "tau".
    averaged:   columns whose runs are averaged, so that they do not count as seeds.

    A column that has no part in a run (the temperature of a student without a teacher) does not tell it apart, and two
    rows that agree in all that has a part are one training. ValueError names a missing column, MixedRows (a ValueError) a
    column in which the rows differ although it is neither a dimension, nor averaged, nor a mere report (seconds, device,
    accuracies).
    """
    missing = sorted({*NEEDED, *dimensions, *averaged} - set(rows.columns))
    if missing:
        raise ValueError(f"the rows have no column {missing[0]!r}")
    table = rows[rows.test_acc.notna()].reset_index(drop=True)
    no_teacher = _without_teacher(table)
    table["alpha"] = _kd_weight(table, no_teacher)
    if "weighting" in table:
        table["weighting"] = table.weighting.replace("alpha_on_ce", "convex")
    table["pruning"] = _prunings(table)
    unscored = ~table.scorer.map(lambda text: text.split("(")[0]).isin(SCORED_BY_THE_TEACHER)
    seeds = _filled(table["teacher_seed"]) if "teacher_seed" in table else pd.Series(0, table.index)
    table["teacher_id"] = seeds.where(~(no_teacher & unscored), NO_TEACHER)
    active = _active(table, no_teacher, unscored)
    _refuse_to_mix(table, active, {*dimensions, *averaged})
    cell = [*DIMENSIONS, *dimensions]
    identity = table[cell].join(active[[c for c in active if c not in cell]])
    table = table[~identity.duplicated(keep="last")]
    return (_average(table, cell) if averaged else table).reset_index(drop=True)


def _without_teacher(table: pd.DataFrame) -> pd.Series:
    found = table.loss == "cross_entropy"
    if "feature_loss" in table and "weighting" in table:
        found |= (table.alpha == 0) & (table.feature_loss == "none") & (table.weighting != "alpha_on_ce")
    return found


def _kd_weight(table: pd.DataFrame, no_teacher: pd.Series) -> pd.Series:
    alpha = table.alpha.astype(float)
    if "weighting" in table:
        alpha = alpha.where(table.weighting != "alpha_on_ce", (1 - alpha).round(9))
    return alpha.where(~no_teacher, 0.0)


def _prunings(table: pd.DataFrame) -> list[str]:
    selections = table.selection if "selection" in table else ["window"] * len(table)
    parts = zip(table.scorer, table.centre, selections, table.fraction, strict=True)
    return [pruning_name(*part) for part in parts]


def pruning_name(scorer: str, centre: float | None, selection: str, fraction: float) -> str:
    """Which samples a run keeps, as the column `pruning` says it; see the module."""
    if selection == "window" and fraction >= 1:
        return "full"
    own = OWN_CENTRE.get(scorer, 1.0)
    centre = own if centre is None or np.isnan(centre) else float(centre)
    window = "" if scorer == "random" or centre == own else WINDOWS.get(centre, f"centre {centre:g}")
    name = window if (scorer, window) == ("difficulty", "medium") else f"{scorer} {window}".strip()
    if selection == "window":
        return name
    return selection if scorer == "random" else f"{name} {selection}"


def _active(table: pd.DataFrame, no_teacher: pd.Series, unscored: pd.Series) -> pd.DataFrame:
    """The columns that decide the accuracy, as comparable values; "" where a column has no part in the run."""
    pruned_by_chance = table.pruning.isin(["random", "full"])
    idle = {
        **dict.fromkeys(OF_THE_LOSS, no_teacher),
        **dict.fromkeys(OF_THE_TEACHER, no_teacher & unscored),
        "teacher": no_teacher & pruned_by_chance,
    }
    found = {}
    for name in table.columns:
        if _reports(name) or name in NAMED_BY_DIMENSIONS:
            continue
        values = _filled(table[name])
        if not pd.api.types.is_numeric_dtype(values):
            values = values.map(str)
        if _of_the_pruning(name):
            part = pruned_by_chance
        else:
            part = table.loss != "dkd" if name.startswith("dkd_") else idle.get(name)
        found[name] = values if part is None else values.astype(object).where(~part, "")
    return pd.DataFrame(found, index=table.index)


def _filled(values: pd.Series) -> pd.Series:
    """Without gaps: a row that is older than a field has the field's default, a field that is not set is "none"."""
    if not values.isna().any():
        return values
    default = DEFAULTS.get(str(values.name))
    return values.astype(object).where(values.notna(), "none" if default is None else default).infer_objects()


def _reports(name: str) -> bool:
    return name in REPORTS or name in WITHOUT_EFFECT or name.endswith(("_seconds", "_images"))


def _of_the_pruning(name: str) -> bool:
    return name.startswith("score_") or name in OF_THE_SELECTION


def _refuse_to_mix(table: pd.DataFrame, active: pd.DataFrame, named: set[str]) -> None:
    for name in active.columns:
        values = (
            active[name][active[name].map(lambda value: value != "")] if active[name].dtype == object else active[name]
        )
        if name in named or values.nunique() < 2:
            continue
        if _of_the_pruning(name) and (values.groupby(table.pruning[values.index]).nunique() < 2).all():
            continue  # each method has its own way of scoring
        told = ", ".join(str(value) for value in sorted(values.unique(), key=str)[:5])
        raise MixedRows(
            f"the rows mix runs that differ in {name!r} ({told}); keep the rows of one value, "
            f"or name it in dimensions=(...) or averaged=(...)"
        )


def _average(table: pd.DataFrame, cell: list[str]) -> pd.DataFrame:
    means = {name: ("mean" if name in ACCURACIES else "first") for name in table.columns if name not in cell}
    return table.groupby(cell, sort=False, as_index=False).agg(means)


def studies(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows of each dataset and recipe of the student, apart: verdicts never mix them. Largest first."""
    recipe = [name for name in RECIPE if name in rows.columns]
    if not recipe:
        return [rows]
    identity = rows[recipe].astype(object).where(rows[recipe].notna(), "none").map(str).agg("|".join, axis=1)
    return sorted((group for _, group in rows.groupby(identity, sort=False)), key=len, reverse=True)


def own_rows(rows: Iterable[Mapping[str, Any]], **fixed: Any) -> list[dict[str, Any]]:
    """The rows of one study: those whose columns have the given values.

    A store holds the rows of every study that was ever run in it; what is exported or reported as one study's result
    is taken from here. A row that is older than a field has the field's default, and a column that has no part in a
    run (alpha without a teacher) does not tell it apart: runs of two studies may share that training.
    """
    return [dict(row) for row in rows if all(_same(row, name, value) for name, value in fixed.items())]


def _same(row: Mapping[str, Any], name: str, wanted: Any) -> bool:
    plain = row.get("loss") == "cross_entropy"
    if plain and (name in OF_THE_LOSS - {"loss"} or name in OF_THE_TEACHER or name == "alpha"):
        return True
    if row.get("scorer") == "random" and (_of_the_pruning(name) or name == "centre" or (plain and name == "teacher")):
        return True
    value = row.get(name, DEFAULTS.get(name))
    both = isinstance(value, list | tuple) and isinstance(wanted, list | tuple)
    return list(value) == list(wanted) if both else value == wanted
