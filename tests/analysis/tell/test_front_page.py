"""The scoreboard in words follows from the verdicts."""

import pandas as pd
import pytest

from kdlib.analysis.claims import FAILS, HOLDS, NOT_MEASURED, UNDECIDED, Effect, Verdict
from kdlib.analysis.statistics import estimate
from kdlib.analysis.tell import front_page


def verdict(claim, said, *effects, reading=""):
    return Verdict(claim, said, reading or said, "a rule", tuple(effects))


def effect(f, *differences):
    return Effect(f"medium - random, f = {f}", estimate({(0, seed): value for seed, value in enumerate(differences)}))


def test_tally_counts_each_claim_once_over_all_studies():
    judged = {
        "digits": [verdict("D1", HOLDS), verdict("D2", HOLDS), verdict("D3", NOT_MEASURED), verdict("D4", UNDECIDED)],
        "cifar": [verdict("D1", NOT_MEASURED), verdict("D2", FAILS), verdict("D3", NOT_MEASURED), verdict("D4", FAILS)],
    }
    assert front_page.status(judged) == {"D1": HOLDS, "D2": front_page.SPLIT, "D3": NOT_MEASURED, "D4": FAILS}
    assert front_page.tally(judged) == (
        "Of 4 claims, each on the data that it speaks of, 1 holds, 1 fails, "
        "1 holds in one study and fails in another and 1 is not measured yet."
    )


def test_what_the_teacher_adds_is_said_of_random_samples_in_order():
    columns = ["pruning", "fraction", "mean", "half", "n"]
    gains = pd.DataFrame([("random", 0.3, -1.0, 0.5, 3), ("el2n", 0.1, 9.0, 1.0, 3), ("random", 0.1, 4.0, 0.5, 3)])
    assert front_page.teacher_adds(gains.set_axis(columns, axis=1)) == (
        "On samples kept at random the teacher adds, in points of test accuracy, +4.0 ± 0.5 (n = 3) at f = 0.1 and "
        "-1.0 ± 0.5 (n = 3) at f = 0.3 (95% intervals)."
    )


def test_medium_minus_random_is_said_where_it_was_measured():
    columns = ["pruning", "fraction", "mean", "half", "n"]
    leads = pd.DataFrame([("el2n", 0.1, 9.0, 1.0, 3), ("medium", 0.1, 2.0, 0.5, 3), ("medium", 0.05, -1.0, 1.5, 3)])
    leads = leads.set_axis(columns, axis=1)
    told = front_page.medium_adds(leads)
    assert "+1.0 ± 1.5 (n = 3) at f = 0.05 and -2.0 ± 0.5 (n = 3) at f = 0.1 (95% intervals)." in told
    assert front_page.medium_adds(leads[leads.fraction == 0.05]).endswith("(95% intervals); no difference detected.")
    assert front_page.medium_adds(leads[leads.pruning == "el2n"]) == ""


def test_lines_name_each_study_and_theory_once():
    judged = {
        "a": [verdict("D13", FAILS), verdict("M1", HOLDS)],
        "b": [verdict("D13", FAILS), verdict("M1", NOT_MEASURED)],
    }
    assert [(line.verdict.claim, line.study) for line in front_page.lines(judged)] == [("D13", ""), ("M1", "a")]


@pytest.mark.parametrize(
    ("said", "start"),
    [(HOLDS, "Medium: "), (FAILS, "Not medium: "), (UNDECIDED, "Undecided: "), (NOT_MEASURED, "Only on other")],
)
def test_the_answer_follows_the_verdict_and_gives_its_intervals(said, start):
    judged = {
        "digits": [verdict("M1", NOT_MEASURED)],
        "cifar100": [verdict("M1", said, effect(0.3, 1, 1.5, 2), effect(0.7, -1, 0, 1))],
    }
    found = front_page.random_or_medium(judged)
    assert found.startswith(start) and "+1.5 ± 1.2 (n = 3) at f = 0.3 and +0.0 ± 2.5 (n = 3) at f = 0.7" in found
    assert found.endswith("measured on cifar100.") and found.count(". ") == 0, "one sentence"


def test_the_study_that_decides_counts():
    judged = {
        "first": [verdict("M1", UNDECIDED, effect(0.3, 1, 2, 3))],
        "second": [verdict("M1", FAILS, effect(0.3, -1, -2, -3))],
    }
    assert front_page.random_or_medium(judged).endswith("measured on second.")


def test_nothing_measured():
    assert front_page.random_or_medium({"": [verdict("M1", NOT_MEASURED)]}) == front_page.NOTHING
