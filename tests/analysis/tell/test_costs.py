"""Sentences on costs follow from the numbers, their form included."""

import numpy as np
import pandas as pd

from kdlib.analysis.costs import Cost
from kdlib.analysis.statistics import Interval
from kdlib.analysis.tell import costs as tell

PLAIN = Cost(1000, 0, 0, 0)


def test_two_runs_count_the_teacher() -> None:
    full = {"test_acc": 97.0, "student_images": 1000, "teacher_images": 0, "score_images": 0, "fraction": 1.0}
    part = {"test_acc": 95.0, "student_images": 100, "teacher_images": 1000, "score_images": 0, "fraction": 0.1}
    text = tell.two_runs(full, part)
    assert "for 100, which is 10% of them" in text and "it is 1,100, 110%" in text


def test_columns_stand_side_by_side() -> None:
    row = {"student_images": 1, "teacher_images": 2, "score_images": 3, "cache_images": 4}
    assert "| cache | 9 | 4 |" in tell.columns(row, {"student": 1, "teacher": 2, "scoring": 3, "cache": 9})


def test_operations_have_their_ratio() -> None:
    assert "| net | 1,000 | 2,500 | 2.50 |" in tell.operations({"net": (1000, 2500)})


def test_infobatch_saves_the_rest() -> None:
    assert "| 30% | 64% | 36% |" in tell.infobatch({0.3: 0.64}, 60)


def table(**columns: object) -> pd.DataFrame:
    return pd.DataFrame({"n": 5, **columns})


def test_only_an_interval_makes_a_method_not_worse() -> None:
    found = table(name=["a", "b", "c"], share=[1.0, 0.7, 0.1], mean=[0.1, -0.2, -3.0], half=[0.5, float("nan"), 1.0])
    text = tell.against_full(found)
    assert "Not detected below all data without KD: a." in text
    assert "| c | 10% | -3.0 ± 1.0 (n = 5) | below zero |" in text


def test_shorter_training_is_told_apart_by_its_interval() -> None:
    text = tell.shorter(table(fraction=[0.1, 0.7], mean=[-5.0, 0.1], half=[1.0, 0.5]), "pruned minus short")
    assert (
        "| 10% | -5.0 ± 1.0 (n = 5) | below zero |" in text
        and "| 70% | +0.1 ± 0.5 (n = 5) | no difference detected |" in text
    )


def test_pays_from_the_first_whole_student_that_is_cheaper() -> None:
    costs = {
        "never": Cost(1000, 10, 0, 0),
        "at once": Cost(500, 0, 0, 0),
        "third": Cost(500, 1000, 0, 0),
        "fourth": Cost(700, 0, 1000, 0),
    }
    text = tell.pays(costs, PLAIN, dict.fromkeys(costs, Interval(-1.0, 0.5, 5)))
    assert "| never | 0.0 | 1.00 | never |" in text and "| at once | 0.0 | 0.50 | from the first |" in text
    assert "| third | 1.0 | 0.50 | from 3 on |" in text  # two students cost as much as two full trainings
    assert "| fourth | 1.0 | 0.70 | from 4 on |" in text


def test_a_goal_is_reached_when_every_student_stays_there_or_not_at_all() -> None:
    curves = {
        "fast": ([100, 200, 300], np.array([[50, 92, 95], [60, 90, 95], [60, 90, 95]])),
        "by luck": ([100, 200, 300], np.array([[95, 50, 95]])),
        "slow": ([100, 200], np.array([[50.0, 92.0], [50.0, 60.0]])),
    }
    text = tell.reached(curves, 91.0, 1000)
    assert "| fast | 27 ± 14% |" in text and "| by luck | 30% (n = 1) |" in text
    assert "| slow | not by 1 of 2 students |" in text


def test_seconds_follow_steps_without_the_suspended_row() -> None:
    rows = pd.DataFrame({"images": [1000, 2000, 2000], "student_seconds": [2.0, 3.0, 99.0], "loss": "kd"})
    text = tell.seconds(rows.assign(suspended=[False, False, True]))
    assert "3 rows, 1 of them left out" in text and "| KD | 1 to 2 (1 and 1 rows) | 2.0 | 1.5 |" in text


def test_beside_the_paper_or_not_measured() -> None:
    paper = pd.DataFrame({"name": ["KD", "half"], "none": 69.57, "kd": [70.72, float("nan")], "gain": [1.15, 0.41]})
    text = tell.beside(paper, None)
    assert "| KD | 69.57 | 70.72 | +1.15 |" in text and "| half | 69.57 | not read | +0.41 |" in text
    assert "nothing of ours" in text and "KD minus no KD 2.0 ± 0.5." in tell.beside(paper, Interval(2.0, 0.5, 4))


def test_a_smaller_gain_of_infobatch_is_worded_only_where_there_is_one() -> None:
    assert "smaller gain is consistent" in tell.gain_of_infobatch([0.0, 0.1, 0.2], [2.0, 2.1, 2.3])
    assert "no smaller gain follows" in tell.gain_of_infobatch([0.0, 0.1, 0.2], [0.1, 0.0, 0.2])
    assert "points" in tell.one_image(450) and "0.22" in tell.one_image(450)


def test_a_price_is_cheaper_or_dearer() -> None:
    assert tell.price(Cost(100, 1000, 0, 0), PLAIN, 1).endswith("1.10 times the cost of all data (dearer).")
    assert tell.price(Cost(100, 1000, 0, 0), PLAIN, 5).endswith("0.30 times the cost of all data (cheaper).")
