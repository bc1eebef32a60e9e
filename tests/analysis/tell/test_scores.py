"""Sentences about scores follow the numbers they are given, also when these turn round."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from kdlib.analysis.statistics import Interval
from kdlib.analysis.tell import scores as tell
from kdlib.scorers import Signals


def test_shares_without_an_interval_say_so() -> None:
    assert tell.percent(Interval(61.2, 3.4, 5)) == "61 ± 3%"
    assert tell.percent(Interval(61.2, float("nan"), 2)) == "61% (n = 2)"


def test_a_folded_text_opens_on_demand() -> None:
    assert tell.folded("Result", "x").startswith("<details>") and "x" in tell.folded("Result", "x")


@pytest.mark.parametrize(("learned", "words"), [(0, "2 of them are never learned"), (1, "1 of them is never learned")])
def test_the_toys_wrong_labels_may_be_learned(learned: int, words: str) -> None:
    correct = np.ones((4, 8), dtype=bool)
    correct[:, :2] = False
    correct[0, 0] = bool(learned)
    letters = dict(zip("ABCDE", range(5), strict=True))
    text = tell.toy(correct, np.zeros(8), np.ones(8), letters)
    assert words in text and f"A is right in {learned} of 4 epochs" in text
    assert "no sample is always right" in text


def test_never_learned_takes_the_nearest_fraction_and_pairs_the_rules() -> None:
    shares = pd.DataFrame(
        [
            {"rule": rule, "fraction": f, "run": r, "share": 10.0 + r + 40 * (rule == "hard")}
            for rule in ("zero", "hard")
            for f in (0.1, 0.5)
            for r in range(3)
        ]
    )
    text = tell.never_learned(shares, 0.12, 11.0, 4)
    assert "hardest 10%" in text and "+40.0 ± 0.0 points" in text and "*zero*" in text and "or in a class" in text


def test_agreement_names_the_pairs_at_the_ends() -> None:
    ranks = np.array([[1, 0.2, 0.9], [0.2, 1, 0.5], [0.9, 0.5, 1]])
    text = tell.agreement(ranks, ranks, ["forgetting", "el2n", "aum"], 0.1, 1.0)
    assert "0.20 (forgetting, EL2N) to 0.90 (forgetting, AUM)" in text and "GraNd" not in text


@pytest.mark.parametrize(("rank", "learned", "coincide"), [(0.99, 1.0, True), (0.8, 1.0, False), (0.99, 0.9, False)])
def test_agreement_names_relatives(rank: float, learned: float, coincide: bool) -> None:
    text = tell.agreement(np.full((2, 2), rank), np.full((2, 2), rank), ["difficulty", "entropy"], 0.1, learned)
    assert ("almost coincide" in text) == coincide


def test_the_attainable_share_is_at_most_all() -> None:
    assert "at most 100% of the kept" in tell.attainable(0.1, 0.05, "digits")
    assert "at most 20% of the kept" in (text := tell.attainable(0.1, 0.5, "digits")) and "So more than half" in text


@pytest.mark.parametrize(("late", "helped"), [(0.9, "2 of 2"), (0.1, "1 of 2")])
def test_reliability_counts_who_is_helped(late: float, helped: str) -> None:
    text = tell.reliability({"el2n": {1: [0.5], 2: [late]}, "aum": {1: [0.4], 2: [0.6]}})
    assert f"raises it for {helped}" in text and text.endswith("a single run, AUM agrees least with itself.")


def test_reliability_of_two_runs_claims_no_trend() -> None:
    text = tell.reliability({"el2n": {1: [0.5]}, "forgetting": {1: [0.4]}})
    assert "→" not in text and "many ties can be part of the reason" in text


def noise(shares: dict[str, float], seeds: int = 3) -> pd.DataFrame:
    points = [(0.05, 1.0), (0.1, 0.5)]
    return pd.DataFrame(
        [
            {"scorer": name, "seed": s, "fraction": f, "centre": c, "share": share + s}
            for name, share in shares.items()
            for s in range(seeds)
            for f, c in points
        ]
    )


def signal(learned: bool) -> Signals:
    correct = np.ones((1, 3, 4), dtype=bool)
    correct[..., 0] = learned
    return Signals(correct=correct)


def test_label_noise_speaks_of_never_learned_samples_only_if_there_are_any() -> None:
    table = noise({"forgetting": 40, "el2n": 90})
    wrong = [np.array([True, False, False, False])]
    assert "opposite ends" in tell.label_noise(table, 10.0, [signal(False)], wrong, few=0.05)
    assert "Every run learns every sample" in tell.label_noise(table, 10.0, [signal(True)], wrong, few=0.05)


@pytest.mark.parametrize(("guess_late", "word"), [(80.0, "fewer"), (99.0, "more"), (90.0, "as many")])
def test_early_or_late_follows_the_interval(guess_late: float, word: str) -> None:
    looks = np.array([[90.0, guess_late], [91.0, guess_late + 1.2], [92.0, guess_late + 1.9]])
    text = tell.early_or_late("as many", looks)
    assert f"**{word}" in text and text.startswith("<details>")
