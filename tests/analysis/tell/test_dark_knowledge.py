"""The words of lesson 05 follow the numbers: other numbers, other words."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kdlib.analysis.classes import Agreement
from kdlib.analysis.statistics import Interval
from kdlib.analysis.tell import dark_knowledge as tell
from kdlib.utils import paths

NEAR = np.array([0.80, 0.82, 0.81, 0.79, 0.83])


def test_one_sample_names_the_next_classes_without_the_label() -> None:
    text = tell.one_sample({"teacher": np.array([0.5, 0.3, 0.15, 0.05])}, 0, list("abcd"), 4.0)
    assert "| teacher | 50% | b (30%), c (15%) and d (5%) |" in text


def test_measures_compare_seed_by_seed_with_the_reference() -> None:
    found = {"accuracy (percent)": {"no KD": NEAR - 0.1, "twin": NEAR, "better": NEAR + 0.2, "KD": NEAR}}
    text = tell.measures(found)
    assert "| no KD | 0.71 ± 0.02 (below) |" in text and "| better | 1.01 ± 0.02 (above) |" in text
    assert "| twin | 0.81 ± 0.02 (no difference detected) |" in text and "| KD | 0.81 ± 0.02 |" in text
    few = {"accuracy (percent)": {name: values[:2] for name, values in found["accuracy (percent)"].items()}}
    assert "(too few)" in tell.measures(few)


def test_softness_alone_is_ruled_out_only_if_every_empty_control_falls_short() -> None:
    found = {"no KD": NEAR - 0.3, "smooth": NEAR - 0.2, "shuffled": NEAR - 0.2, "KD": NEAR}

    def told(values: dict) -> str:
        return tell.softness_alone("relations", values, "no KD", "KD", ["smooth", "shuffled"])

    assert "softness alone is not enough" in told(found)
    level = told({**found, "shuffled": NEAR + np.array([0.01, -0.01, 0.0, 0.01, -0.01])})
    assert "no lead over shuffled is detected: softness alone may be enough" in level
    assert "KD minus shuffled +0.00 ± 0.01 (n = 5)" in level and "A lead of up to 0.01 is not excluded." in level
    assert "none to explain" in told({**found, "no KD": NEAR})
    few = {name: values[:2] for name, values in found.items()}
    assert "too few seeds" in told(few)


def test_calibration_names_the_too_sure_and_the_not_sure_enough() -> None:
    errors = {"no KD": NEAR + 2, "other": NEAR, "KD": NEAR + 5}
    floors = dict.fromkeys(errors, NEAR)
    sure = {"no KD": NEAR, "other": NEAR - NEAR.mean(), "KD": -NEAR}
    text = tell.calibration(errors, floors, sure)
    assert "Detected as too sure: no KD; as not sure enough: KD." in text and "+2.00 ± 0.00 (n = 5)" in text
    assert "All 3 kinds of student are detected as too sure" in tell.calibration(
        errors, floors, dict.fromkeys(errors, NEAR)
    )


def test_tree_counts_only_small_p() -> None:
    found = {"students": Agreement(0.6, 0.001, 45), "teacher": Agreement(0.1, 0.4, 45)}
    text = tell.tree(found, {"students": 200, "teacher": 9})
    assert "(p at most 0.05) for students." in text and "| teacher | 9 | +0.10 | 0.4 |" in text
    assert "not independent" not in text
    own = tell.tree({"the teacher itself": found["students"]}, {"the teacher itself": 9})
    assert own.endswith("not independent: both sides come from the same outputs.")


def test_recovered_gives_both_similarities_on_each_data() -> None:
    text = tell.recovered({"digits": {"no KD": NEAR, "KD": NEAR + 0.1}, "CIFAR-100": {"no KD": NEAR}})
    assert "on digits no KD +0.81 ± 0.02 (n = 5) and KD +0.91 ± 0.02 (n = 5); on CIFAR-100 no KD +0.81" in text


def test_recalibrated_follows_the_sign_of_the_gap() -> None:
    assert "that choice lowers the error by 0.40 ± 0.30 points" in tell.recalibrated(0.8, Interval(-0.4, 0.3, 10), 220)
    assert "raises" in tell.recalibrated(0.8, Interval(0.4, 0.3, 10), 220)
    assert "no difference detected" in tell.recalibrated(0.8, Interval(0.1, 0.3, 10), 220)
    assert "nothing changes" in tell.recalibrated(1.0, Interval(0.0, 0.0, 10), 220)


def test_one_class_gives_the_places_of_the_printed_classes() -> None:
    names = list("abcde")
    table = pd.DataFrame(0.0, index=names, columns=names)
    table.loc["a"] = [0.0, 0.1, 0.5, 0.3, 0.1]
    table.insert(0, "superclass", ["x", "y", "x", "x", "y"])
    text = tell.one_class(table, "a", ("d", "b"))
    assert (
        "d as number 2 and b as number 3 of 4 others" in text and "Of the first 4, 2 are of the superclass *x*" in text
    )


def test_images_needed_on_the_committed_table() -> None:
    found = pd.read_csv(paths.data() / "results" / "cifar100_teacher_hierarchy.csv")
    one = found[found.images == 1].groupby("source").share.mean()
    text = tell.images_needed(found, 4 / 99, 0.66)
    assert "34% of the classes have an error" in text
    assert f"{one['soft targets']:.0%}" in text and f"{one['predicted classes']:.0%}" in text and "n = 100" in text


def test_images_needed_says_none_where_no_size_is_enough() -> None:
    rows = [(size, part, source, share) for size in (1, 2) for part in range(3)
            for source, share in (("soft targets", 0.9), ("predicted classes", 0.1 * size))]  # fmt: skip
    text = tell.images_needed(pd.DataFrame(rows, columns=["images", "part", "source", "share"]), 0.2, 0.5)
    assert "reach that level with none" in text


def test_parts_are_a_table() -> None:
    assert "| with KD | 0.100 | 0.050 | 0.500 |" in tell.parts({"with KD": (0.1, 0.05, 0.5)})
