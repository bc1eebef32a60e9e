"""What KD adds: the effects that the paper prints, and those of a study of ours, as tables that stand side by side."""

from __future__ import annotations

import pandas as pd

from kdlib.analysis.names import named
from kdlib.analysis.statistics import gain_points, points, tidy
from kdlib.experiments.grid import load_rows
from kdlib.utils import paths

GAINS = ["pruning", "fraction", "mean", "half", "n", "where"]


def published_gains(numbers: pd.DataFrame) -> pd.DataFrame:
    """What KD adds on CIFAR-100 to a self-distilled ResNet-32, in points, from the rows of `data/paper/reported.csv`.

    Columns pruning, fraction, mean, half (NaN), n (0: the paper gives neither spread nor seeds) and where. The gains of
    Sec. 4.1 are as printed (alpha = 0.5); those of Table 1 are differences of its rows "KD" and "none", whose KD row is
    trained with CE + 2 KD. The two recipes are rows of their own, also where both have a point.
    """
    same = (numbers.paper == "dkdp") & (numbers.dataset == "cifar100") & (numbers.student == "resnet32")
    rows = numbers[same & (numbers.fraction < 1)]
    printed = rows[rows.loss == "kd-none"].assign(mean=rows.value)
    tabled = rows[(rows["where"] == "Table 1") & rows.loss.isin(["none", "kd"])]
    by_loss = tabled.pivot(index=["pruning", "fraction", "where"], columns="loss", values="value")
    differences = (by_loss["kd"] - by_loss["none"]).rename("mean").reset_index()
    found = pd.concat([printed, differences]).assign(half=float("nan"), n=0)
    found["where"] = found["where"].str.replace("Sec.", "Sec. ")
    return found[GAINS].sort_values(["pruning", "where", "fraction"], ignore_index=True)


def study_rows(name: str) -> pd.DataFrame:
    """The rows of `data/results/NAME.jsonl`; an empty table while there is no such file."""
    there = (paths.given("results") / f"{name}.jsonl").is_file()
    return load_rows(name) if there else pd.DataFrame()


def self_distilled(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of a study whose teacher, where one had a part, has the student's architecture, at temperature 4.

    A study holds students of several architectures, which no table may mix; those of the student with most rows are kept.
    A table that does not tell architectures apart is returned as it is.
    """
    if not {"student", "teacher", "tau"} <= set(rows.columns):
        return rows
    alone = rows.loss == "cross_entropy"
    chosen = rows[alone | ((rows.teacher == rows.student) & (rows.tau == 4))]
    return chosen[chosen.student.isin(chosen.student.mode()[:1])]


def study_gains(rows: pd.DataFrame, alpha: float = 0.5) -> pd.DataFrame:
    """What KD adds in the rows of a study, in points: pruning, fraction, mean, half, n; empty for no rows.

    Only self-distilled students count (`self_distilled`). GraNd of the last layer stands for GraNd, which the study does
    not take over all parameters.
    """
    chosen = self_distilled(rows)
    if chosen.empty:
        return pd.DataFrame(columns=GAINS[:-1])
    found = gain_points(tidy(chosen), alpha)
    return found[found.fraction < 1].replace({"pruning": {"grand_last": "grand"}}).reset_index(drop=True)


def missing_points(paper: pd.DataFrame, ours: pd.DataFrame) -> list[str]:
    """The points of the paper that we have not measured, in words: `forgetting at 50%`."""
    there = set(zip(ours.pruning, ours.fraction, strict=True))
    wanted = sorted(set(zip(paper.pruning, paper.fraction, strict=True)))
    return [f"{named(name)} at {f:.0%}" for name, f in wanted if (name, f) not in there]


def taught_by_most(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the student that the most kinds of networks have taught; no rows for none."""
    if rows.empty:
        return rows
    kinds = rows[rows.loss != "cross_entropy"].groupby("student").teacher.nunique()
    return rows if kinds.empty else rows[rows.student == kinds.idxmax()]


def by_teacher(rows: pd.DataFrame, alpha: float = 0.5, tau: float = 4.0) -> pd.DataFrame:
    """A study's students on random samples by their teacher: student, teacher, fraction, mean, half, n; empty for no rows.

    The student is the one that the most kinds of networks have taught.
    """
    columns = ["student", "teacher", "fraction", "mean", "half", "n"]
    rows = taught_by_most(rows)
    if not rows.empty:
        rows = rows[(rows.scorer == "random") & (rows.loss == "kd") & (rows.alpha == alpha) & (rows.tau == tau)]
    if rows.empty:
        return pd.DataFrame(columns=columns)
    return points(tidy(rows, dimensions=("teacher", "student")), ("student", "teacher", "fraction"))


def untaught(rows: pd.DataFrame, student: str) -> dict[float, float]:
    """Mean accuracy (percent) of a study's students without a teacher on random samples, by fraction."""
    plain = rows[(rows.scorer == "random") & (rows.loss == "cross_entropy") & (rows.student == student)]
    return plain.groupby("fraction").test_acc.mean().to_dict()
