"""Sentences about random against medium follow the numbers they are given, also when these turn round."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from kdlib.analysis.design import Ratio
from kdlib.analysis.statistics import Interval
from kdlib.analysis.tell import random_or_medium as tell

NAN = float("nan")


@pytest.mark.parametrize(
    ("random", "medium", "words"), [(50, 60, "for medium"), (60, 50, "for random"), (50, 50, "equal")]
)
def test_one_pair_may_go_either_way(random: float, medium: float, words: str) -> None:
    row = {"teacher_acc": 90.0, "kept": 10, "steps": 5}
    text = tell.one_pair({**row, "test_acc": random}, {**row, "test_acc": medium})
    assert words in text and (random == medium or "10.0 points" in text)


def test_sentences_come_from_the_list_of_claims() -> None:
    text = tell.sentences(("D3", "M1"))
    assert (
        "| first paper, Sec. 4.1 |" in text
        and "| second paper, Tables 7 to 9 |" in text
        and "| up to 40% |" in text
        and "30%, 40%, 50% and 70%" in text
    )
    assert tell.fractions("0.1|*") == "10% and others"


def test_pairs_compare_both_intervals() -> None:
    random = np.array([50.0, 60.0, 55.0, 58.0])
    medium = random + np.array([1.0, 2.0, 3.0, -0.5])
    text = tell.pairs(random, medium, Interval(1.375, 9.0, 4), 0.25)
    assert (
        "ahead in 3 of 4 pairs" in text
        and "is narrower than the unpaired one (± 9.0)" in text
        and "25.0% of all" in text
    )
    assert f"is {np.corrcoef(random, medium)[0, 1]:+.2f} here" in text
    assert "not narrower" in tell.pairs(random, medium, Interval(1.375, 0.1, 4), 0.25)
    assert "unpaired" not in tell.pairs(random[:2], medium[:2], Interval(1.5, NAN, 2), 0.5)


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (Ratio(3.0, 1.5, 6.0), "hides a part"),
        (Ratio(1.2, 0.6, 2.4), "do not show"),
        (Ratio(0.3, 0.2, 0.6), "a surprise"),
    ],
)
def test_fixed_subset_needs_the_interval(ratio: Ratio, words: str) -> None:
    spread = np.array([1.0, 2.0, 3.0])
    text = tell.fixed_subset(spread, 2 * spread, 3 * spread, ratio)
    assert words in text and "is 1.00 points" in text and "2.00 where all share one, 3.00 on medium" in text


def leads(means: list[float], half: float = 1.0) -> pd.DataFrame:
    rows = [
        {"teacher": "own", "line": "α = 0.5", "fraction": f, "mean": mean, "half": half, "n": 10}
        for f, mean in zip((0.05, 0.1, 0.3), means, strict=True)
    ]
    return pd.DataFrame(rows)


def test_who_leads_names_a_winner_only_where_detected() -> None:
    text = tell.who_leads(leads([3.0, -3.0, 0.5]), 5)
    assert "| own | α = 0.5 | +3.00 ± 1.00 **medium** | -3.00 ± 1.00 **random** | +0.50 ± 1.00 not decided |" in text
    assert "too few pairs" in tell.who_leads(leads([3.0, -3.0, 0.5], NAN), 2)


def test_answer_counts_the_cells() -> None:
    text = tell.answer(leads([3.0, -3.0, 0.5]))
    assert "medium leads in 1 of 3 cells (f = 5%)" in text and "random leads in 1 of 3 cells (f = 10%)" in text
    assert "neither is detected ahead in 1 of 3 cells (f = 30%)" in text and "about 0.2 would" in text
    assert "3 of 3 cells have too few pairs" in tell.answer(leads([3.0, -3.0, 0.5], NAN))


def test_turns_says_where_the_lead_moves() -> None:
    at = {0.05: Interval(2.0, 1.0, 10), 0.3: Interval(0.1, 1.0, 10)}
    text = tell.turns({"alpha": at, "teacher": {f: Interval(0.0, 1.0, 10) for f in at}})
    assert "| +0.10 ± 1.00 (n = 10) | 5% |" in text and "| +0.00 ± 1.00 (n = 10) | nowhere |" in text
    assert text.endswith("Of 4 differences about 0.2 would be detected by chance alone if nothing differed.")


def test_ends_and_teachers_are_named() -> None:
    text = tell.ends({"own": Interval(2.0, 1.0, 10), "larger": Interval(0.0, 1.0, 10)}, 0.05, 0.7)
    assert "at f = 5% minus that at f = 70%" in text and "own +2.0 ± 1.0 (n = 10), above zero; larger" in text
    assert "(-0.6 ± 3.1 points, n = 10 pairs, 5 teachers)" in tell.by_teachers(Interval(-0.6, 3.1, 10), 5)
    assert "n = 10 pairs, 1 teacher)" in tell.by_teachers(Interval(-4.6, 3.1, 10), 1)


def test_first_protocol_goes_by_the_means() -> None:
    found = pd.DataFrame({"pruning": ["a", "b"] * 2, "fraction": [0.1, 0.1, 0.5, 0.5], "mean": [3.0, 1.0, 2.0, -1.0]})
    found["half"] = 1.5
    text = tell.first_protocol(found)
    assert "beats each scorer at f = 10% and loses to at least one at f = 50%" in text
    assert (
        "Of the 4 intervals below, those that leave out zero lie above it at 2 (f = 10% and 50%) and below it at 0."
        in text
    )
    found["mean"] = [3.0, 1.0, 2.0, -0.04]
    assert "f = 10% and is level with the best one at f = 50%. Of" in tell.first_protocol(found)
    assert "nowhere" in tell.first_protocol(found.assign(mean=-1.0))


def test_second_protocol_gives_shares() -> None:
    shares = pd.DataFrame(
        {
            "fraction": [0.1, 0.3, NAN],
            "first_higher": [0.2, 0.9, 0.1],
            "second_higher": [0.8, 0.1, 0.05],
            "apart": [0.0, 0.5, 0.0],
        }
    )
    text = tell.second_protocol({"own": shares}, 3, [0.3])
    assert (
        "in 90% at f = 30% (mean ± SD of the two lie apart, whichever leads, in 50%)" in text
        and "at every f, small ones included, in 10%, and random in 5%" in text
    )


def test_power_tables() -> None:
    assert "| 1 | 50% | 51% |" in tell.by_simulation({1.0: 0.5}, {1.0: 0.51}, 10)
    assert "| 10% | 1.50 | 1.20 | 40 |" in tell.seen_by({0.1: 1.5}, {0.1: 1.2}, {0.1: 40}, 10, 1.4)


def test_cifar_says_what_is_missing() -> None:
    text = tell.cifar({"a": leads([3.0, -3.0, 0.5]), "b": leads([0, 0, 0]).iloc[:0]})
    assert "- a: +3.0 ± 1.0 (n = 10) at f = 5% (medium), -3.0" in text and "- b: not measured yet." in text
