"""Sentences about losses follow the numbers they are given, also when these turn round."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from kdlib.analysis.loss_effects import winner_on_halves
from kdlib.analysis.statistics import Interval
from kdlib.analysis.tell import losses as tell
from kdlib.experiments.groups import TABLE_1


def effects(*rows: tuple[str, float, float, float]) -> pd.DataFrame:
    """(loss, mean, p, p after Holm) at weight 1 and f = 10%."""
    return pd.DataFrame(
        [
            {
                "feature_loss": name,
                "beta": 1.0,
                "fraction": 0.1,
                "mean": mean,
                "half": 1.0,
                "n": 6,
                "p": p,
                "p_holm": holm,
            }
            for name, mean, p, holm in rows
        ]
    )


def test_two_students_may_go_either_way() -> None:
    row = {"kept": 10, "test_acc": 50.0, "teacher_acc": 90.0, "feature_loss": "none"}
    assert "5.0 points above" in tell.two_students(row, {**row, "test_acc": 55.0, "feature_loss": "vid"})
    assert "5.0 points below" in tell.two_students(row, {**row, "test_acc": 45.0, "feature_loss": "vid"})


@pytest.mark.parametrize(("holm", "after"), [(0.04, "1 above plain KD (VID"), (0.3, "0 above plain KD")])
def test_added_counts_before_and_after_holm(holm: float, after: str) -> None:
    found = effects(("vid", 3.0, 0.01, holm), ("at", -2.0, 0.2, 0.4))
    levels = {0.1: Interval(90.0, 1.0, 6)}
    text = tell.added(found, levels, {0.1: Interval(80.0, 1.0, 6)})
    alone, corrected = text.splitlines()[-2:]
    assert "1 above plain KD (VID, weight 1, f = 10%), 0 below" in alone
    assert after in corrected and "over all 2 comparisons" in corrected
    assert "f = 10%: 80.0 ± 1.0 (n = 6) without KD, 90.0 ± 1.0 (n = 6) with plain KD" in text


def test_added_says_when_seeds_are_too_few() -> None:
    levels = {0.1: Interval(90.0, float("nan"), 2)}
    assert "Too few seeds" in tell.added(effects(("vid", 3.0, np.nan, np.nan)), levels, levels)


def test_gradients_names_the_weak_and_the_strong() -> None:
    found = pd.DataFrame(
        [("at", "beta = 1", 0, 0.01), ("rkd", "beta = 1", 0, 3.0), ("ab", "beta = 1", 0, 0.5)],
        columns=["feature_loss", "weight", "seed", "ratio"],
    )
    assert "Below 10%: AT. Above that of CE + KD: RKD." in tell.gradients(found)
    two = pd.concat([found, found.assign(seed=1, ratio=[0.2, 0.9, 0.5])])
    assert "all 2 networks" in tell.gradients(two)
    assert "Below 10%: none. Above that of CE + KD: none." in tell.gradients(two)


def test_methods_has_a_line_for_each_loss_of_the_table() -> None:
    lines = tell.methods(dict.fromkeys(TABLE_1, 50.0)).splitlines()
    assert len(lines) == 2 + len(TABLE_1) and lines[2] == "| FitNets | maps, after a learnt layer | 1 | 50 |"


def test_winners_says_what_holds_by_construction_where_it_does() -> None:
    steady = np.tile([5.0, 0.0], (4, 1))
    noise = np.random.default_rng(0).normal(size=(4, 2))
    names = ["vid", "at"]
    text = tell.winners({"steady": winner_on_halves(steady), "noise": winner_on_halves(noise)}, names, 4)
    assert "can never be larger on the seeds that did not choose" in text
    assert "can never be larger" not in tell.winners({"noise": winner_on_halves(noise[:3])}, names, 3)
    assert "| steady | +5.0 | +5.0 | +0.0 | VID (6 of 6 splits) | 1 |" in text


def test_stages_and_dkd_follow_the_interval() -> None:
    text = tell.stages({"ab": Interval(2.0, 1.0, 6), "ft": Interval(-2.0, 1.0, 6), "fsp": Interval(0.5, 1.0, 6)}, 6)
    assert "accuracy with AB rises by 2.0" in text and "with FT falls by 2.0" in text
    assert "FSP: no difference detected" in text
    found = pd.DataFrame(
        [(0.5, 0.1, 2.0, 1.0, 6, 90.0), (0.5, 0.4, 0.1, 1.0, 6, 90.0)],
        columns=["weight", "fraction", "mean", "half", "n", "level"],
    )
    text = tell.decoupled({"rate 1": found, "rate 2": found.assign(mean=-found["mean"])}, 10.0)
    assert "failed" not in text
    failed = tell.decoupled({"rate 1": found.assign(level=[12.0, 90.0])}, 10.0)
    assert "The training failed: accuracy 12% at f = 10%, where chance gives 10%." in failed
    assert "rate 1, weight 0.5: rises at f = 10% (+2.0 ± 1.0); no difference detected at f = 40%" in text
    assert "rate 2, weight 0.5: falls at f = 10%" in text


def test_control_groups_losses_by_what_their_interval_says() -> None:
    text = tell.control({0.1: {"ab": Interval(2.0, 1.0, 6), "at": Interval(0.2, 1.0, 6), "sp": Interval(0.1, 1.0, 6)}})
    assert "f = 10%, rises: AB (+2.0 ± 1.0); no difference detected: AT (+0.2 ± 1.0) and SP" in text
    assert "All 3 comparisons" in text and "Detected after it, over all 3: AB at f = 10%." in text


def test_control_names_what_holm_leaves() -> None:
    many = dict.fromkeys(TABLE_1, Interval(1.1, 1.0, 6)) | {"ab": Interval(9.0, 1.0, 6)}
    assert "over all 10: AB at f = 10%." in tell.control({0.1: many})
    assert "over all 9: none." in tell.control({0.1: {k: v for k, v in many.items() if k != "ab"}})
    assert "over all 1: none." in tell.control({0.1: {"ab": Interval(9.0, float("nan"), 2)}})


def test_by_hand_and_doubts() -> None:
    assert "does not fall" in tell.by_hand(20.0, [1.0, 2.0], 50.0, 50.1)
    assert "falls" in tell.by_hand(20.0, [2.0, 1.0], 50.0, 50.1)
    assert "0.50 on average over the kept samples (from 0.25 to 0.75)" in tell.doubts([0.25, 0.75], 8.0, 4.0)


def test_beside_counts_what_is_missing() -> None:
    paper = effects(("vid", 3.0, np.nan, np.nan), ("at", -1.0, np.nan, np.nan)).assign(n=0)
    none = paper.iloc[:0]
    assert "Not measured yet by us on CIFAR-100: 2 of 2 comparisons" in tell.beside(paper, none)
    assert "VID at f = 10% (+3.0) has the largest lead" in tell.beside(paper, none)
    assert "have the largest lead" in tell.beside(pd.concat([paper, paper.assign(fraction=0.3)]), none)
    text = tell.beside(paper, effects(("vid", 1.0, 0.1, 0.1)))
    assert "1 of 2 comparisons" in text and "| VID | 10% | +3.0 | +1.0 ± 1.0 | -2.0 |" in text
    assert "Not measured" not in tell.beside(paper.iloc[:1], effects(("vid", 1.0, 0.1, 0.1)))


def test_smaller_batch_and_tried() -> None:
    assert "larger, 2.0 times" in tell.smaller_batch("equal", {64: 0.1, 32: 0.2})
    assert "smaller, 0.5 times" in tell.smaller_batch("equal", {64: 0.2, 32: 0.1})
    assert "AT with weight 30 lies below plain KD" in tell.tried("at", 30.0, Interval(-3.0, 1.0, 3))
