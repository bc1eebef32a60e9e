"""Sentences about accuracy follow the numbers they are given, also when these turn round."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from kdlib.analysis.statistics import Interval
from kdlib.analysis.tell import accuracy as tell

NAN = float("nan")


def test_two_students_may_go_either_way() -> None:
    row = {"kept": 10, "scorer": "random", "fraction": 0.1, "steps": 5, "test_acc": 50.0, "teacher_acc": 90.0}
    assert "5.0 points more" in tell.two_students(row, {**row, "test_acc": 55.0})
    assert "5.0 points less" in tell.two_students(row, {**row, "test_acc": 45.0})


def test_by_hand_counts_the_losses_that_fall() -> None:
    curves = {"plain": ([2.0, 1.0], [10.0, 50.0]), "taught": ([1.0, 2.0], [20.0, 60.0])}
    text = tell.by_hand(curves, {"plain": {"test_acc": 50.2}, "taught": {"test_acc": 60.0}})
    assert "for 1 of 2 students" in text and "| plain | 2.00 | 1.00 | 50.00% | 50.20% |" in text


def test_nearness_names_the_closer_student() -> None:
    assert "student with KD is closer" in tell.nearness({"without KD": 0.3, "with KD": 0.1}, 4.0)
    assert "student without KD is closer" in tell.nearness({"without KD": 0.1, "with KD": 0.3}, 4.0)


def found(means: list[float], half: float = 1.0) -> pd.DataFrame:
    return pd.DataFrame(
        {"pruning": "el2n", "fraction": [0.1, 0.5, 0.7][: len(means)], "mean": means, "half": half, "n": 5}
    )


def test_gains_count_the_certain_points() -> None:
    text = tell.gains(found([5.0, 0.2, -3.0]))
    assert "+5.0 ± 1.0 (EL2N, f = 10%) and -3.0 ± 1.0 (EL2N, f = 70%). The" in text
    close = tell.gains(found([0.5, -0.02]))
    assert "and -0.02 ± 1.00" in close and "do not tell the two apart" in close
    assert "The 95% interval lies above zero at 1 of 3 points, below zero at 1, and contains zero at 1." in text


def test_against_random_says_where_it_wins_and_where_it_loses() -> None:
    text = tell.against_random({"without KD": found([5.0, 0.2, -3.0]), "with KD": found([0.1])})
    assert "without KD, random beats at least one scorer at f = 10% and loses to at least one at f = 70%" in text
    assert "with KD, random beats at least one scorer at f = none and loses to at least one at f = none" in text
    assert "(4 intervals, not corrected" in text


def test_beside_tells_what_is_missing() -> None:
    paper = found([20.0, 10.0], NAN).assign(n=0, where="Table 1")
    text = tell.beside(paper, found([15.0]), ["EL2N at 50%"])
    assert (
        "| EL2N | 10% | Table 1 | +20.0 | +15.0 ± 1.0 | -5.0 ± 1.0 |" in text
        and "Not measured yet by us: EL2N at 50%." in text
    )
    assert "No point is measured in both" in tell.beside(paper, found([]), [])


def test_ends_has_a_line_for_each_pruning_and_end() -> None:
    table = pd.DataFrame(
        [
            {"fraction": f, "pruning": "random", "alpha": a, "seed": s, "test_acc": 50 + 10 * a}
            for f in (0.1, 0.2, 0.7)
            for a in (0.0, 0.5)
            for s in range(3)
        ]
    )
    text = tell.ends(table, Interval(90.0, 1.0, 3), 0.5, ["random"])
    assert "| 10% | random | 50.0 ± 0.0 | 55.0 ± 0.0 |" in text and "| 70% |" in text and "| 20% |" not in text


@pytest.mark.parametrize(("line", "words"), [(80.0, "reaches it is 50%"), (99.0, "none reaches it")])
def test_enough(line: float, words: str) -> None:
    table = pd.DataFrame({"fraction": np.repeat([0.1, 0.5, 0.7], 3), "test_acc": np.repeat([70.0, 85.0, 90.0], 3)})
    assert words in tell.enough(table, Interval(line, 0.5, 3))


def test_spreads_are_compared_seed_by_seed() -> None:
    index = pd.MultiIndex.from_product([[0.1, 0.7], range(3)], names=["fraction", "seed"])
    without = pd.Series([5.0, 7.0, 9.0, 1.0, 2.0, 3.0], index)
    text = tell.spreads({"without KD": without, "with KD": without - np.repeat([4.0, 0.0], 3)})
    assert "| 10% | 7.0 ± 5.0 | 3.0 ± 5.0 | the spread falls by 4.0 ± 0.0 points (n = 3). |" in text
    assert "the spread: no difference detected (+0.00 ± 0.00 points, n = 3)" in text


def test_a_guess_is_answered_behind_a_click() -> None:
    text = tell.guess("less", "Gain", {"hardest": Interval(2.0, 1.0, 5)}, "Why?")
    assert text.startswith("<details>") and "You guessed *less*. Gain: hardest +2.0 ± 1.0 (n = 5). Why?" in text


def test_a_gain_at_one_point_alone_is_no_largest_one() -> None:
    text = tell.gains(found([5.0]))
    assert (
        "Gain in points: +5.0 ± 1.0 (EL2N, f = 10%). The 95% interval lies above zero at 1 of 1" in text
        and "smallest" not in text
    )


def test_one_answer_names_the_likeliest_class_of_each_network() -> None:
    text = tell.one_answer({"teacher": np.array([0.6, 0.4]), "student": np.array([0.3, 0.7])}, 0, "ab", 4.0)
    assert "the label, a." in text and "the teacher a (60%) and the student b (70%)." in text


def test_other_reasons_compare_levels_and_deviations() -> None:
    table = pd.DataFrame(
        {"pruning": "random", "fraction": 0.1, "seed": range(4), "test_acc": np.array([70.0, 74.0, 70.0, 74.0])}
    )
    steady = table.assign(test_acc=90.0)
    text = tell.other_reasons({"without KD": table, "with KD": steady})
    assert "with KD lie higher (90.0% beside 72.0% without KD)" in text and "vary less" in text
    assert "vary more" in tell.other_reasons({"a": steady, "b": table})
    assert "vary" not in tell.other_reasons({"a": steady[:1], "b": table[:1]})


def test_scores_that_are_recorded_otherwise_are_compared_with_random() -> None:
    lead = pd.DataFrame({"alpha": [0.0, 0.5], "fraction": 0.05, "mean": [3.5, 0.4], "half": [2.0, 1.5], "n": 3})
    text = tell.recorded_otherwise(lead)
    assert "without KD at f = 5% +3.5 ± 2.0 (n = 3), above zero" in text
    assert "with KD (alpha = 0.5) at f = 5% +0.4 ± 1.5 (n = 3), no difference detected" in text
    assert tell.recorded_otherwise(lead[:0]) == ""
