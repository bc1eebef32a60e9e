"""Sentences of lesson 01 on made-up numbers and on real problems: their form follows from the numbers, both ways."""

import numpy as np
import pytest

from kdlib.analysis.tell import theory as tell
from kdlib.theory import counterexamples
from kdlib.theory import ridge as theory

X, THETA = np.random.default_rng([0, 4]).standard_normal((5, 40)), np.random.default_rng([0, 7]).standard_normal(5)
LAMS = np.logspace(-2, 2, 61)


def test_moved():
    assert tell.moved(1.0, 2.0) == "rises" and tell.moved(2.0, 1.0) == "falls"
    assert tell.moved(1.0, 1.1, error=0.1) == "does not change detectably"


def test_clouds():
    rng = np.random.default_rng(0)
    none, full = (theory.monte_carlo(X, range(10), THETA, a, 0.3, 0.5, 2000, rng) for a in (0.0, 1.0))
    text = tell.clouds({"none": none, "full": full}, "none", "full").data
    assert "the variance falls" in text and f"{full.variance:.4f}" in text
    assert "the variance rises" in tell.clouds({"none": none, "full": full}, "full", "none").data


def test_gradients():
    assert "zero up to rounding" in tell.gradients(0.6, 4e-15).data and "not zero" in tell.gradients(0.6, 0.1).data


def test_formulas_agree_or_not():
    variance, bias = np.array([2.0, 1.0]), np.array([[1.0, 0.0], [2.0, 0.0]])
    good = tell.formulas([0.5, 2.4], variance, bias).data
    assert " agree:" in good and "variance falls (to 50%)" in good and "squared bias rises (to 400%)" in good
    assert "do not agree" in tell.formulas([0.5, 9.0], variance, bias).data


def test_lemma_and_exact_case():
    assert "No line ever falls" in tell.lemma(np.array([[2.0, 1.0], [3.0, 1.5]]), 0.1, 10).data
    assert "Lemma 1 fails" in tell.lemma(np.array([[3.0], [2.0]]), -1.0, 10).data
    assert "never exceeds" in tell.exact_case(1.0).data and "ratio exceeds" in tell.exact_case(1.1).data


def test_a_verdict_names_its_rule_and_can_come_out_the_other_way():
    known = counterexamples.known_counterexample()
    text = tell.counterexample(known).data
    assert "208657/2393209" in text and "fails as stated" in text and "*Rule:*" in text
    other = counterexamples.Counterexample(known.X, 2, np.array([1, 0]), 1, 1)
    assert other.large_teacher < other.small_teacher
    assert "not refuted by this case" in tell.counterexample(other).data


def test_survey_and_rates():
    assert "| 1% |" in tell.survey({"worst": np.array([1.5] + [0.5] * 99)}).data
    falling = np.array([[5.0, 4.0, 6.0], [1.0, 0.5, 2.0], [1.2, 0.6, 2.2]])
    text = tell.rates([2, 3, 6, 9], {"one random": falling}).data
    assert "5% fail with 2 kept samples; the fewest, 1%, with 3 to 5 (detectably fewer)." in text
    flat = tell.rates([2, 3, 6, 9], {"one random": np.array([[5.0, 1.0, 9.0]] * 3)}).data
    assert "not detectably fewer" in flat
    others = np.array([[0.2, 0.1, 0.3], [0, 0, 0.2], [0, 0, 0.2]])
    assert "; 0% in all other bins (not detectably fewer)" in tell.rates([2, 3, 6, 9], {"average": others}).data
    again = tell.rates([2, 3, 6, 9], {"worst": np.array([[40.0, 39, 41], [20, 19, 21], [45, 44, 46]])}).data
    assert "in the last bin (6 to 8) detectably more again, 45%" in again


@pytest.mark.parametrize(
    ("lam", "verdict"), [(0.3, "**the teacher pays off**, by variance"), (10.0, "teacher does not pay off**.")]
)
def test_price_follows_from_the_penalty(lam, verdict):
    assert verdict in tell.price(X, range(10), THETA, 1.0, lam, 0.5, LAMS).data


def test_price_without_noise_names_no_turn():
    assert "no penalty between" in tell.price(X, range(10), THETA, 1.0, 0.3, 0.0, LAMS).data


def test_exercises():
    assert tell.distances("far", 0.4, 5e-10).data.startswith("<details>")
    assert "difference -0.225: the teacher pays off" in tell.difference(0.5, 0.28, 0.055).data
    assert "does not pay off" in tell.difference(0.0, 0.1, 0.2).data
