"""Wording from numbers: the form of a sentence follows from the interval."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from kdlib.analysis import claims, tell
from kdlib.analysis.statistics import Estimate, Interval, interval


@pytest.mark.parametrize(
    ("mean", "half", "word", "sentence"),
    [
        (3.14, 0.4, "rises", "Accuracy rises by 3.1 ± 0.4 points (n = 5)."),
        (-3.14, 0.4, "falls", "Accuracy falls by 3.1 ± 0.4 points (n = 5)."),
        (0.3, 0.4, "no difference detected", "Accuracy: no difference detected (+0.3 ± 0.4 points, n = 5)."),
        (-3.0, np.nan, "too few for an interval", "Accuracy differs by -3.0 points (n = 5; an interval needs 3)."),
        (0.4, 0.4, "no difference detected", "Accuracy: no difference detected (+0.4 ± 0.4 points, n = 5)."),
    ],
)
def test_the_interval_chooses_the_word(mean: float, half: float, word: str, sentence: str) -> None:
    found = Interval(mean, half, 5)
    assert tell.direction(found) == word and tell.change("Accuracy", found) == sentence


def test_a_comparison_names_the_upper_one() -> None:
    assert tell.comparison("KD", "no KD", Interval(2.0, 0.5, 4)) == "KD lies above no KD by 2.0 ± 0.5 points (n = 4)."
    assert "lies below" in tell.comparison("KD", "no KD", Interval(-2.0, 0.5, 4))
    assert "KD against no KD: no difference detected" in tell.comparison("KD", "no KD", interval([-1.0, 1.0, 0.1]))


def test_estimates_are_told_like_intervals() -> None:
    assert tell.direction(Estimate(2.0, 0.1, 4.0, 5, 2)) == "rises"
    assert tell.number(Estimate(2.0, 0.1, 4.0, 5, 2), 2) == "+2.00 ± 0.28 (n = 5)"
    assert tell.number(Interval(77.12, np.nan, 2), sign=False) == "77.1 (n = 2)"


def test_a_trend_says_where() -> None:
    found = {0.1: Interval(5, 1, 3), 0.3: Interval(3, 1, 3), 0.7: Interval(-2, 1, 3), 1.0: Interval(0, 1, 3)}
    assert tell.trend("Accuracy", "f", found) == (
        "Accuracy: rises at f = 0.1 and 0.3; falls at f = 0.7; no difference detected at f = 1."
    )
    assert tell.listed([]) == "" and tell.listed(["a", "b", 3]) == "a, b and 3"


def test_tables_are_markdown() -> None:
    assert tell.table(["a", "b"], [[1, "x|y"]]) == "| a | b |\n|:---|:---|\n| 1 | x\\|y |"
    found = pd.DataFrame(
        {"pruning": ["random", "el2n"], "fraction": [0.1, 0.1], "mean": [2.0, -0.1], "half": [0.5, np.nan], "n": [3, 2]}
    )
    lines = tell.differences(found, ("pruning", "fraction")).splitlines()
    assert lines[0] == "| pruning | f | difference (points) | reading |"
    assert lines[2] == "| random | 10% | +2.0 ± 0.5 (n = 3) | above zero |"
    assert lines[3] == "| el2n | 10% | -0.1 (n = 2) | too few for an interval |"


def test_verdicts_are_told_with_their_rule() -> None:
    found = claims.verdict("D13", pd.DataFrame())
    assert tell.verdict(found).startswith(
        "**D13**, a teacher trained on more data"
    ) and "Rule: fails if one problem" in tell.verdict(found)
    assert "| **D13**" in tell.verdicts({"theory": claims.all_verdicts(pd.DataFrame())})
