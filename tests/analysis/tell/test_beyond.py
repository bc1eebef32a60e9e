"""The words about transformers, regression and teachers follow their numbers."""

import numpy as np
import pandas as pd

from kdlib.analysis.statistics import Estimate, Interval
from kdlib.analysis.tell import beyond as tell


def points(*means, half=1.0):
    return pd.DataFrame({"fraction": [0.05, 0.1, 0.2][: len(means)], "mean": means, "half": half, "n": 4})


def test_two_students_says_more_or_less():
    plain, taught = {"kept": 10, "steps": 5, "test_acc": 60.0}, {"test_acc": 55.0, "teacher_acc": 90.0}
    assert "5.0 points less" in tell.two_students(plain, taught)
    assert "5.0 points more" in tell.two_students({**plain, "test_acc": 50.0}, taught)


def test_gains_counts_what_is_detected():
    said = tell.gains({"a": points(3.0, 0.5), "b": points(-2.0)})
    assert "A gain is detected at 1 of 3 points and a loss at 1." in said and "no difference detected" in said


def test_optimisers_and_pairs_word_a_paired_difference():
    said = tell.optimisers({"AdamW": [60.0, 61.0, 62.0], "SGD": [50.0, 51.0, 52.1]})
    assert "From SGD to AdamW the accuracy rises by 10.0" in said
    assert tell.pairs({"the gain": Interval(-3.0, 1.0, 4)}) == "the gain falls by 3.0 ± 1.0 points (n = 4)."


def test_regression_shows_both_levels_and_the_gain():
    levels = {"el2n": (Interval(10.0, 2.0, 5), Interval(30.0, 2.0, 5))}
    said = tell.regression(levels, {"el2n": Interval(20.0, 1.0, 5)}, Interval(48.0, 1.0, 5))
    assert "10.0 ± 2.0" in said and "+20.0 ± 1.0 (n = 5) | rises" in said and "48.0 ± 1.0" in said


def test_against_random_sorts_scores_by_what_their_interval_says():
    gaps = {"a": Interval(3.0, 1.0, 5), "b": Interval(-3.0, 1.0, 5), "c": Interval(0.5, 1.0, 5)}
    said = tell.against_random({"without KD": gaps})
    assert "Without KD, better than random: a; worse: b; no difference detected: c" in said
    assert "better than random: none" in tell.against_random({"with KD": {"b": gaps["b"]}})


def test_hard_samples_has_the_sign_of_the_ranks():
    gains = {name: Interval(value, 1.0, 5) for name, value in (("a", 30.0), ("b", 10.0), ("c", 1.0))}
    without = {name: Interval(value, 1.0, 5) for name, value in (("a", -5.0), ("b", 20.0), ("c", 40.0))}
    said = tell.hard_samples("a", gains, without)
    assert "The largest gain is a's" in said and "-1.00" in said


def test_quality_names_gains_losses_and_weak_teachers():
    table = pd.DataFrame({"epochs": [1, 60], "teacher_acc": [70.0, 97.0], "mean": [-3.0, 4.0], "half": 1.0, "n": 5})
    pooled = {1: Estimate(-3.0, 0.1, 4, 5), 60: Estimate(4.0, 0.1, 4, 5)}
    said = tell.quality(table, pooled, Interval(90.0, 1.0, 5))
    assert "epochs 1" in said and "gain is detected at 60, a loss at 1" in said


def test_slope_has_an_interval_over_teachers():
    rows = [
        {"teacher_seed": t, "teacher_acc": 70.0 + x, "mean": (0.2 + 0.001 * t) * x}
        for t in range(3)
        for x in (0, 10, 20)
    ]
    said = tell.slope(pd.DataFrame(rows), [0, 1, 2])
    assert "rises by 0.20" in said and "teachers, n = 3" in said
    one = tell.slope(pd.DataFrame(rows)[lambda t: t.teacher_seed == 0], [0])
    assert "an interval needs" in one and np.isfinite(0.2)
