"""The words about transformers, regression and teachers follow their numbers."""

import numpy as np
import pandas as pd

from kdlib.analysis.statistics import Estimate, Interval
from kdlib.analysis.tell import beyond as tell
from kdlib.scorers.regression import REGRESSION_SCORERS


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
    assert "AdamW lies above SGD by 10.0" in said
    said = tell.pairs({("A's gain", "B's gain"): Interval(-3.0, 1.0, 4)})
    assert said.startswith("A's gain lies below B's gain by 3.0 ± 1.0 points (n = 4).")


def test_regression_shows_both_levels_and_the_gain():
    levels = {"el2n": (Interval(10.0, 2.0, 5), Interval(30.0, 2.0, 5))}
    said = tell.regression(levels, {"el2n": Interval(20.0, 1.0, 5)}, Interval(48.0, 1.0, 5))
    assert "10.0 ± 2.0" in said and "+20.0 ± 1.0 (n = 5) | above zero" in said and "48.0 ± 1.0" in said


def test_against_random_has_a_row_for_each_score_and_counts_the_comparisons():
    gaps = {"a": Interval(3.0, 1.0, 5), "b": Interval(0.5, 1.0, 5)}
    said = tell.against_random({"without KD": gaps, "with KD": gaps})
    assert "| a | +3.0 ± 1.0, above zero | +3.0 ± 1.0, above zero |" in said and "b | +0.5 ± 1.0, no diff" in said
    assert "These are 4 comparisons" in said and "about 0.2 would be" in said


def test_hard_samples_fits_the_level_with_kd_and_not_the_gain():
    noise = np.array([0.0, 0.1, -0.1])
    values = {name: (x + noise, 20 + 0.5 * x + 0.4 * noise) for name, x in (("a", 0.0), ("b", 20.0), ("c", 40.0))}
    said = tell.hard_samples({**values, "far": (-300 + noise, -100 + noise)}, "far")
    assert "largest gain is far's, but its students stay worse than the mean" in said
    assert "explain 5.0 ± 0.0 (n = 3) points less: less than that" in said and "Over the 3 scores" in said
    same = {name: (a, a + 5.0) for name, (a, _) in values.items()}
    assert "10.0 ± 0.0 (n = 3) points less: no difference from that" in tell.hard_samples(same, "far")


def test_quality_names_gains_losses_and_weak_teachers():
    found = {"epochs": [1, 1, 60, 60], "teacher_acc": [70.0, 95.0, 97.0, 97.0], "mean": [-3.0, -3.0, 4.0, 4.0]}
    table = pd.DataFrame({**found, "half": 1.0, "n": 5})
    pooled = {1: Estimate(-3.0, 0.1, 4, 5), 60: Estimate(4.0, 0.1, 4, 5)}
    said = tell.quality(table, pooled, Interval(90.0, 1.0, 5))
    assert "90.0%: 1 of 2 after 1 epoch." in said and "2 teachers x 5 students" in said
    assert "A gain is detected after 60 epochs, a loss after 1 epochs." in said and "below zero |" in said


def test_slope_has_an_interval_over_teachers():
    rows = [
        {"teacher_seed": t, "teacher_acc": 70.0 + x, "mean": (0.2 + 0.001 * t) * x, "epochs": 1 + x}
        for t in range(3)
        for x in (0, 10, 20)
    ]
    said = tell.slope(pd.DataFrame(rows), [0, 1, 2])
    assert "by +0.201 ± 0.002 points for each point of the teacher's accuracy (n = 3 teacher seeds): rises." in said
    assert "From teachers of 1 to those of 21 epochs it changes by +4.02 ± 0.05 (n = 3) points: rises." in said
    assert "too few for an interval" in tell.slope(pd.DataFrame(rows)[lambda t: t.teacher_seed == 0], [0])


def test_every_score_is_explained_and_gains_are_counted():
    assert set(tell.KEEPS) == set(REGRESSION_SCORERS) and "`craig`" in tell.scores(REGRESSION_SCORERS)
    said = tell.closing({"points": [Interval(3.0, 1.0, 5), Interval(0.5, 1.0, 5)], "scores": []})
    assert said == "Measured here: a gain of KD is detected for 1 of 2 points and 0 of 0 scores."
