"""The paper's effects are what it prints, ours are paired differences, and what is missing is named."""

from __future__ import annotations

from dataclasses import asdict

import pandas as pd
import pytest

from kdlib.analysis import effects
from kdlib.experiments.study import runs_of
from kdlib.utils import paths


@pytest.fixture
def paper() -> pd.DataFrame:
    return effects.published_gains(pd.read_csv(paths.data() / "paper" / "reported.csv"))


def rows(scorer: str, fraction: float, gain: float) -> list[dict]:
    base = {"scorer": scorer, "centre": 1.0, "alpha": 0.5, "fraction": fraction}
    return [
        {**base, "loss": loss, "seed": s, "test_acc": 30 + s + gain * (loss == "kd")}
        for loss in ("cross_entropy", "kd")
        for s in range(3)
    ]


def test_published_gains_are_as_printed_and_table_1_is_a_difference(paper: pd.DataFrame) -> None:
    at = paper.set_index(["pruning", "fraction", "where"])["mean"]
    assert at["forgetting", 0.1, "Sec. 4.1"] == 22.4
    assert at["forgetting", 0.1, "Table 1"] == pytest.approx(46.27 - 22.21)
    assert at["forgetting", 0.3, "Table 1"] == pytest.approx(66.82 - 49.41)
    assert set(paper.pruning) == {"random", "forgetting", "el2n", "grand"} and (paper.n == 0).all()


def test_study_gains_are_paired_and_grand_of_the_last_layer_is_called_grand() -> None:
    table = pd.DataFrame(rows("random", 0.1, 4.0) + rows("grand_last", 0.1, 2.0))
    found = effects.study_gains(table).set_index("pruning")
    assert found.loc["random", "mean"] == pytest.approx(4) and found.loc["random", "n"] == 3
    assert found.loc["grand", "mean"] == pytest.approx(2)


@pytest.mark.parametrize("count", [3, 24, None])
def test_study_gains_of_some_and_of_all_rows_of_the_study(count: int | None) -> None:
    """All of them hold students of two architectures and several temperatures, which no table may mix."""
    runs = list(runs_of("laptop"))[:count]
    table = pd.DataFrame([{**asdict(r), "test_acc": 50.0 + 4 * (r.loss == "kd"), "teacher_acc": 65.0} for r in runs])
    found = effects.study_gains(table)
    assert not found.empty and (found["mean"].round(6) == 4).all()
    assert set(effects.self_distilled(table).student) == {"resnet20"}


def test_no_rows_give_an_empty_table_and_every_point_is_missing(paper: pd.DataFrame) -> None:
    ours = effects.study_gains(effects.study_rows("no_such_study"))
    assert ours.empty and list(ours.columns) == effects.GAINS[:-1]
    missing = effects.missing_points(paper, ours)
    assert len(missing) == len(set(missing)) == len(paper.drop_duplicates(["pruning", "fraction"]))
    assert "EL2N at 10%" in effects.missing_points(paper, ours)


def test_measured_points_are_not_missing(paper: pd.DataFrame) -> None:
    ours = effects.study_gains(pd.DataFrame(rows("random", 0.1, 4.0)))
    assert "random at 10%" not in effects.missing_points(paper, ours)


def test_students_by_teacher_are_those_of_the_student_that_most_networks_taught():
    rows = pd.DataFrame(
        [
            {"student": student, "teacher": teacher, "scorer": scorer, "centre": None, "loss": "kd", "alpha": alpha, "tau": tau,
             "fraction": 0.1, "seed": seed, "teacher_seed": 0, "test_acc": acc}
            for student, teacher, scorer, alpha, tau, acc in [
                ("resnet14", "resnet8", "random", 0.5, 4.0, 40.0), ("resnet14", "resnet20", "random", 0.5, 4.0, 50.0),
                ("resnet14", "resnet20", "random", 0.5, 7.0, 1.0), ("resnet14", "resnet20", "random", 1.0, 4.0, 1.0),
                ("resnet14", "resnet20", "forgetting", 0.5, 4.0, 1.0), ("resnet20", "resnet20", "random", 0.5, 4.0, 60.0),
            ]
            for seed in range(3)
        ]
    )  # fmt: skip
    found = effects.by_teacher(rows)
    assert dict(zip(found.teacher, found["mean"], strict=True)) == {"resnet8": 40.0, "resnet20": 50.0}
    assert set(found.student) == {"resnet14"} and set(found.n) == {3}
    plain = rows[rows.student == "resnet14"].assign(loss="cross_entropy")
    assert effects.untaught(pd.concat([rows, plain]), "resnet14") == {
        0.1: plain[plain.scorer == "random"].test_acc.mean()
    }
    assert effects.by_teacher(pd.DataFrame()).empty and effects.taught_by_most(pd.DataFrame()).empty
