"""Sentences about windows and reshapes follow the numbers they are given, also when these turn round."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from kdlib.analysis.statistics import Interval
from kdlib.analysis.tell import medium as tell


def found(column: str, values: dict[str, list[float]], half: float = 1.0) -> pd.DataFrame:
    rows = [
        {column: name, "fraction": f, "mean": mean, "half": half, "n": 5}
        for name, means in values.items()
        for f, mean in zip((0.1, 0.3), means, strict=True)
    ]
    return pd.DataFrame(rows)


def test_students_are_ranked() -> None:
    row = {"kept": 10, "fraction": 0.1, "steps": 7, "teacher_acc": 90.0}
    text = tell.students({"easy": {**row, "test_acc": 50.0}, "hard": {**row, "test_acc": 60.0}})
    assert text.index("| hard | 60.0% |") < text.index("| easy | 50.0% |") and "on 10 samples (f = 10%)" in text


def test_windows_tell_mean_and_smallest_certainty() -> None:
    text = tell.windows(np.array([0.2, 0.4, 1.0]), {"hard": np.array([0, 1]), "easy": np.array([2])}, "Kept:")
    assert "| hard | 30.0% | 20.0% |" in text and "| easy | 100.0% | 100.0% |" in text


def records(student: float, teacher: float) -> pd.DataFrame:
    groups = {"easy": 0.0, "medium": 1.0, "hard": 4.0}
    rows = [
        {"group": g, "seed": s, "teacher_acc": teacher, "student_acc": student - low + 0.001 * s}
        for g, low in groups.items()
        for s in range(3)
    ]
    return pd.DataFrame(rows)


def test_gap_names_the_lead_the_ceiling_and_the_best_window() -> None:
    kept = [
        {"kept": k, "group": g, "seed": s, "test_acc": 50.0 + 20 * (k == "hard") + s}
        for k in ("easy", "hard")
        for g in ("easy", "medium", "hard")
        for s in range(3)
    ]
    text = tell.gap(records(95.0, 95.0), pd.DataFrame(kept))
    assert "+3.999 ± 0.002 on hard" in text and "those of *hard* samples" in text and "little room" not in text
    assert "little room" in tell.gap(records(100.0 + 4, 100.0), pd.DataFrame(kept))


def test_by_fraction_says_where_it_lies_above_and_below_zero() -> None:
    text = tell.samples(found("pruning", {"medium": [3.0, 0.2], "difficulty easiest": [-3.0, -2.0]}))
    assert "medium minus random: above zero at f = 10%; no difference detected at f = 30%" in text
    assert "easy minus random: below zero at f = 10% and 30%" in text
    assert "class-wise minus none: below zero at f = 10% and 30%" in tell.reshapes(
        found("reshape", {"class-wise": [-2.0, -2.0]})
    )


@pytest.mark.parametrize(
    ("slope", "over_easy", "over_hard", "shape"),
    [
        (5.0, 2.0, 3.0, "hump"),
        (0.0, -2.0, -3.0, "valley"),
        (5.0, 2.0, -3.0, "rises from easy to hard"),
        (-5.0, -2.0, 0.5, "falls from easy to hard"),
        (0.5, 0.2, 0.3, "none detected"),
    ],
)
def test_a_hump_is_a_middle_above_both_ends(slope: float, over_easy: float, over_hard: float, shape: str) -> None:
    text = tell.hump(*(found("x", {"": [value, 0.0]}) for value in (slope, over_easy, over_hard)))
    assert f"| {shape} |" in text and text.endswith("| none detected |")
    assert "none detected" in tell.hump(*[found("x", {"": [9.0, 9.0]}, float("nan"))] * 3)


def test_top_windows_names_the_highest_mean_of_each_column() -> None:
    rows = [{"centre": c, "fraction": f, "mean": c * f} for c in (0.0, 0.5, 1.0) for f in (0.1, -0.3)]
    text = tell.top_windows(pd.DataFrame(rows))
    assert "1 at f = 10% (+0.1 points)" in text and "0 at f = -30% (-0.0 points)" in text


def test_reshaping_is_a_temperature() -> None:
    logits = np.array([[0.0, 1.0, 2.0], [0.0, 2.0, 4.0]])
    text = tell.reshaping(
        logits, np.array([2.0, 2.0, 2.0]), {"a": np.array([0]), "b": np.array([1])}, np.array([0, 1]), 4
    )
    assert "| a | 2.00 | 2.00 to 2.00 | 2.0 |" in text and "| b | 1.00 | 1.00 to 1.00 | 4.0 |" in text


def test_methods_are_bold_where_detected() -> None:
    text = tell.methods(found("pruning", {"herding_centre": [3.0, 0.2], "difficulty": [-3.0, 0.0]}))
    assert "| herding | **+3.0 ± 1.0** | +0.2 ± 1.0 |" in text and "| hard | **-3.0 ± 1.0** | +0.0 ± 1.0 |" in text


def test_a_bold_interval_does_not_seem_to_end_at_zero() -> None:
    close = pd.DataFrame({"pruning": ["medium"], "fraction": [0.3], "mean": [-3.24], "half": [3.16], "n": [5]})
    assert "**-3.24 ± 3.16**" in tell.methods(close)


def test_printed_counts_the_intervals() -> None:
    text = tell.printed(found("line", {"a": [3.0, 0.5], "b": [-3.0, 0.0]}))
    assert "above zero at 1 of them, below at 1" in text and "by -3.0 to +3.0 points, +0.1 on average over 4" in text


def test_ours_says_what_is_not_measured() -> None:
    assert tell.ours(found("line", {}), ["a", "b"], "CIFAR-100").endswith(
        "- a: not measured yet.\n- b: not measured yet."
    )
    text = tell.ours(found("line", {"a: easy": [2.0, 0.0]}).assign(series="a"), ["a", "b"], "CIFAR-100")
    assert (
        "a: easy minus random: above zero at f = 10%" in text
        and "- b: not measured yet." in text
        and "- a: not" not in text
    )


def test_closest_takes_the_smallest_difference() -> None:
    text = tell.closest({1.0: Interval(-3.0, 1.0, 5), 4.0: Interval(0.5, 1.0, 5)}, ("KD", "class-wise"))
    assert "The closest is 4." in text and "1: -3.0 ± 1.0" in text


def test_ours_may_be_given_one_teacher() -> None:
    rows = pd.DataFrame({"loss": ["kd", "kd", "cross_entropy"], "teacher": "resnet20", "teacher_seed": [0, 0, 1]})
    assert (
        tell.given(rows) == ", given this teacher"
        and tell.given(rows.assign(loss="kd")) == tell.given(rows.iloc[:0]) == ""
    )
    assert tell.ours(found("line", {}), ["a"], "X", tell.given(rows)).startswith("On X, ours, given this teacher:")


def test_shared_fractions_names_them_or_that_there_are_none() -> None:
    assert "begin at 30%, our point is at 5%, so the two CIFAR-100 panels share no point" in tell.shared_fractions(
        [0.7, 0.3], [0.05]
    )
    assert "our points are at 5% and 10%" in tell.shared_fractions([0.3], [0.1, 0.05])
    assert (
        tell.shared_fractions([0.3, 0.7], [0.3, 0.1]) == "Both CIFAR-100 panels have f = 30%."
        and tell.shared_fractions([0.3], []) == ""
    )


def test_precisions_doubt_a_difference_that_is_not_detected_in_both() -> None:
    parts = {"medium in a minus random in b": found("line", {"": [3.0, 3.0]}).iloc[:1]}
    text = tell.precisions(parts)
    assert "Medium in a minus random in b: +3.0 ± 1.0 (n = 5) at f = 10%." in text and "feign" not in text
    small = {"medium in a minus random in a": found("line", {"": [0.5, 0.5]})}
    assert (
        "With n = 5 the precision could hide or feign" in tell.precisions(parts | small) and tell.precisions({}) == ""
    )


def test_opening_names_both_steps() -> None:
    text = tell.opening(
        found("pruning", {"medium": [3.0, 0.0]}), found("reshape", {"class-wise": [-3.0, 0.0]}), "digits"
    )
    assert "medium minus random: above zero at f = 10%; no" in text and "(n = 5, given this teacher)" in text
    assert "On medium samples, class-wise minus none: below zero at f = 10%" in text
