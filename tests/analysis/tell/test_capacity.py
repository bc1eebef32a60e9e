"""Sentences on teachers of several sizes follow from the numbers, their form included."""

import pandas as pd
import pytest

from kdlib.analysis import tell as words
from kdlib.analysis.statistics import Interval
from kdlib.analysis.tell import capacity as tell

SIZES = {"small": 100, "own": 1000, "large": 10_000}


def row(teacher: str, teacher_acc: float, test_acc: float) -> dict:
    return {"teacher": teacher, "teacher_acc": teacher_acc, "test_acc": test_acc, "kept": 14}


def test_the_better_teacher_may_have_the_worse_student() -> None:
    text = tell.two_teachers([row("small", 90.0, 80.0), row("large", 95.0, 78.5)], SIZES)
    assert "second teacher is 5.0 points better than the first, its student 1.5 points worse" in text
    assert "10,000 parameters" in text and "no interval" in text


def test_equal_students_are_not_called_better() -> None:
    assert "its student as good as" in tell.two_teachers([row("small", 90, 80), row("large", 95, 80)], SIZES)


@pytest.mark.parametrize(
    ("mean", "word"), [(2.0, "rises by 2.0"), (-2.0, "falls by 2.0"), (0.1, "no difference detected")]
)
def test_a_slope_rises_falls_or_neither(mean: float, word: str) -> None:
    found = pd.DataFrame({"fraction": [0.1], "mean": [mean], "half": [0.5], "n": [10]})
    text = tell.slopes(found, "fraction", "f = {:.0%}".format, 5)
    assert word in text and "f = 10%" in text and "5 teachers of each size" in text
    assert "10 students of 5 teachers" in text


def test_slopes_of_one_teacher_are_given_that_teacher() -> None:
    found = pd.DataFrame({"tau": [2.0], "mean": [1.0], "half": [float("nan")], "n": [2]})
    text = tell.slopes(found, "tau", "τ = {:g}".format, 1)
    assert "given one teacher of each size" in text and "an interval needs 3" in text


def test_against_own_names_only_certain_differences_smallest_teacher_first() -> None:
    found = pd.DataFrame(
        {"teacher": ["large", "small"], "fraction": 0.1, "mean": [-2.0, 1.0], "half": [0.5, 3.0], "n": [10, 6]}
    )
    text = tell.against_own(found, "own", SIZES)
    assert "better than self-distillation: none" in text
    assert "worse than self-distillation: large at f = 10%" in text
    assert text.index("| small") < text.index("| large") and "(6 students of 3 teachers)" in text
    assert "not corrected for their number" in text


def test_teachers_have_their_own_n() -> None:
    text = tell.teachers({"small": (100, [90, 91, 92], [80, 81, 82]), "large": (10_000, [95, 96], [99, 99])})
    assert "| small | 100 | 3 | 91.0 ± 2.5 | 81.0 ± 2.5 |" in text
    assert "| large | 10,000 | 2 | 95.5 (n = 2) | 99.0 (n = 2) |" in text


def test_worth_says_what_each_interval_says() -> None:
    found = pd.DataFrame({"fraction": [0.02, 0.4], "mean": [5.0, 0.1], "half": [1.0, 0.4], "n": [5, 5]})
    lines = tell.worth({"all data": found}).splitlines()
    assert lines[-2] == f"| all data | 2% | +5.0 ± 1.0 | {words.RISES} |"
    assert lines[-1].endswith(f"| {words.SAME} |")


def test_effects_are_one_sentence_each() -> None:
    text = tell.effects({"less sure": Interval(-1.0, 0.2, 10), "less trained": Interval(0.1, 0.2, 10)})
    assert "less sure: accuracy falls by 1.0 ± 0.2 points (10 students of 5 teachers)" in text
    assert "less trained: no difference" in text


@pytest.mark.parametrize(
    ("mean", "words"), [(-3.0, "lies below that of small by 3.0"), (0.5, "no difference detected (+0.5")]
)
def test_the_first_section_is_looked_at_again(mean: float, words: str) -> None:
    found = pd.DataFrame({"fraction": [0.1], "mean": [mean], "half": [1.0], "n": [6]})
    text = tell.again(found, "large", "small")
    assert "f = 10%: the student of large" in text and words in text and "6 students of 3 teachers" in text


@pytest.mark.parametrize(
    ("sure", "right", "beyond", "own", "words"),
    [
        (
            0.5,
            -5.0,
            4.0,
            -2.0,
            ["cost less than", "at full sureness and at the early teacher's own;", "no effect that"],
        ),
        (2.0, -5.0, -4.0, 0.5, ["cost more", "costs accuracy at full sureness;", "alone raises accuracy"]),
        (-2.0, 0.5, 0.1, 0.5, ["from the sum no difference", "at neither, as far as", "alone costs accuracy"]),
    ],
)
def test_sure_or_right_is_answered_by_the_intervals(
    sure: float, right: float, beyond: float, own: float, words: list[str]
) -> None:
    numbers = {"early": -1.0, "less sure": sure, "less trained": right, "beyond": beyond}
    found = {name: Interval(mean, 1.0, 5) for name, mean in numbers.items()}
    text = tell.sure_or_right(found, Interval(own, 1.0, 5))
    assert all(word in text for word in words), text
    assert f"- beyond: {beyond:+.1f} ± 1.0 points (n = 5)" in text


def test_a_teacher_of_the_study_counts_once_and_a_missing_one_is_named() -> None:
    study = pd.DataFrame(
        {"teacher": ["a", "a", "a"], "teacher_seed": [0, 0, 1], "teacher_recipe": "", "teacher_acc": [60.0, 60.0, 62.0]}
    )
    assert tell.our_teachers(study, "a") == [60.0, 62.0]
    assert tell.our_teachers(pd.DataFrame(), "a") == []
    text = tell.paper_teachers({"a": 70.0, "b": 71.0}, study, {"a": 1000, "b": 2000})
    assert "| a | 1,000 | 70.0 | 61.0 (n = 2) |" in text and "Not measured yet by us: b." in text


def test_a_toy_has_no_interval() -> None:
    assert "One draw, so no interval" in tell.toy({"2 hidden units": (86.5, 82.8)}, 16, 12)


def test_a_study_says_what_it_lacks() -> None:
    found = pd.DataFrame({"student": "resnet14", "teacher": ["a", "b"], "fraction": [0.1, 0.3]})
    assert "empty" in tell.in_study(found.iloc[:0])
    assert "nothing to compare" in tell.in_study(found.iloc[:1])
    assert tell.in_study(found).endswith("(resnet14) were taught by a (f = 10%) and b (f = 30%).")
