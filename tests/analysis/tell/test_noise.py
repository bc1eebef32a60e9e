"""Sentences about noise follow the numbers they are given, also when these turn round."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kdlib.analysis.statistics import Interval
from kdlib.analysis.tell import noise as tell


def test_noisy_labels_are_counted() -> None:
    assert "Of 4 labels 1 are wrong (25.0%; asked for: 20%)" in tell.noisy_labels(
        np.array([True, False, False, False]), 0.2
    )


def test_learning_says_when_labels_are_seen_through() -> None:
    shares = {"right": [0.2, 0.8, 1.0], "learned": [0.1, 0.2, 0.7], "through": [0.1, 0.7, 0.2]}
    curves = {name: np.array(values) for name, values in shares.items()}
    text = tell.learning(curves, 90.0, 90.0)
    assert "in epoch 2, 70% of them, and 20% in the end" in text
    assert "learned 80% of the right labels and 20% of the wrong ones; in the end 100% and 70%" in text
    assert "epoch 3, 90% of them, the last one" in tell.learning({**curves, "through": np.array([0.1, 0.7, 0.9])}, 9, 9)


def test_kept_says_more_and_fewer() -> None:
    found = pd.DataFrame(
        [("random", 0.4, 0.1, 1.0, 6), ("el2n", 0.4, 40.0, 1.0, 6), ("medium", 0.4, -30.0, 1.0, 6)],
        columns=["pruning", "label_noise", "mean", "half", "n"],
    )
    text = tell.kept(found, 0.5)
    assert "| random | +0.1 ± 1.0, no difference detected |" in text
    assert "of the kept 50% at most about 80% at 40% noise can be wrong" in text
    assert "| EL2N | +40.0 ± 1.0, more |" in text and "| medium | -30.0 ± 1.0, fewer |" in text


def test_hardest_counts_wrong_labels() -> None:
    text = tell.hardest({"forgetting": [0, 1], "el2n": [1, 2]}, np.array([True, True, False, False]))
    assert "forgetting 2 of 2 and EL2N 1 of 2" in text and "Among all they are 50%" in text


def test_gains_tell_each_change_apart() -> None:
    found = pd.DataFrame(
        [
            {"pruning": "random", "label_noise": rate, "seed": s, "difference": gain + 0.1 * (s % 3) * (k + 1)}
            for k, (rate, gain) in enumerate(((0.0, 5.0), (0.1, 36.0), (0.2, 36.1), (0.4, 18.0)))
            for s in range(6)
        ]
    )
    text = tell.gains(found).splitlines()[-1]
    assert "rises from 0% to 10% (+31.1 ±" in text and "falls from 20% to 40% (-18.0 ±" in text and "| +5.1 ±" in text


def test_below_chance_only_where_the_interval_is() -> None:
    found = pd.DataFrame(
        [("el2n", 0.0, 0.4, 1.0, 0.5, 6), ("random", 0.0, 0.4, 9.0, 2.0, 6)],
        columns=["pruning", "alpha", "label_noise", "mean", "half", "n"],
    )
    assert "Below chance (10%): plain, EL2N at 40% wrong labels. A student" in tell.below_chance(
        found, 10, {0.0: "plain"}
    )
    assert tell.below_chance(found[1:], 10, {}) == "No accuracy is detected below chance (10%)."


def test_without_teacher_asks_for_half_of_the_gain() -> None:
    plain, kd = [60.0, 61.0, 62.0], [70.0, 71.2, 72.0]
    for smoothed, end in (
        ([69.0, 70.0, 71.1], "most of the gain"),
        ([62.0, 63.0, 64.1], "it gains"),
        (plain, "no gain"),
    ):
        students = {"none": plain, "smooth": smoothed, "KD": kd}
        assert f"points: {end}" in tell.without_teacher(students, "none", "smooth", "KD")
    assert "percent of all samples: a 60.0 ± 2.5." in tell.names_the_truth({"a": [59.0, 60.0, 61.0]})


def test_random_and_hard_compares_by_seed() -> None:
    found = pd.DataFrame(
        [
            {
                "pruning": name,
                "alpha": 0.0,
                "label_noise": 0.4,
                "seed": s,
                "test_acc": base + s + 0.1 * (s % 2) * (base > 60),
            }
            for name, base in (("random", 70.0), ("el2n", 50.0))
            for s in range(5)
        ]
    )
    assert "Random lies above EL2N by 20.0" in tell.random_and_hard(found, {0.0: "without KD"}, 0.4)


def test_teacher_on_wrong_counts_first_answers() -> None:
    logits = np.eye(3)[[0, 1, 2, 0]]
    text = tell.teacher_on_wrong(logits, np.array([0, 1, 0, 0]), np.array([0, 2, 2, 0]), "it")
    assert "Of the 2 wrongly labelled samples, it puts the true label first for 50% and the given one for 50%" in text


def test_own_or_clean_and_tried() -> None:
    students = {"own": [50.0, 51.0, 52.0], "clean": [60.0, 61.1, 62.0]}
    assert "student of the clean lies above that of the own by 10.0" in tell.own_or_clean(students, "own", "clean")
    assert "alpha = 0.8 lies below alpha = 1" in tell.tried(0.8, Interval(-3.0, 1.0, 6), 1.0)


def test_imbalance_tells_mean_and_rare_classes_apart() -> None:
    rows = {"KD": [90.0, 91.0, 92.1], "no KD": [80.0, 81.0, 82.0]}
    few = {"KD": [40.0, 41.0, 42.0], "no KD": [50.0, 51.2, 52.0]}
    text = tell.imbalance(rows, [("KD", "no KD")], few, 3)
    assert (
        "KD lies above no KD by 10.0" in text
        and "In the recall of the 3 rarest classes KD lies below no KD by 10.1" in text
    )


def test_kept_of_the_rare() -> None:
    text = tell.kept_of_the_rare({"random": [10.0, 11.0, 9.0], "el2n": [30.0, 31.0, 30.0]}, [10.0, 10.0, 10.0], 3)
    assert "the 3 rarest classes are 10.0% of all samples" in text
    assert "random 10.0 ± 2.5 (no difference detected) and EL2N 30.3 ± 1.4 (more)" in text


def test_guess_is_folded() -> None:
    text = tell.guess("half", Interval(1.0, 0.5, 6), 40.0)
    assert text.startswith("<details>") and "1 ± 0% of the labels are wrong, among all 40%" in text
