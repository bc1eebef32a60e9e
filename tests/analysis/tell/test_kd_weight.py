"""The words of lesson 04 follow the numbers: other numbers, other words."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kdlib.analysis import kd_weight
from kdlib.analysis.statistics import Interval
from kdlib.analysis.tell import kd_weight as tell
from tests.analysis.test_kd_weight import made_up, peaked


def line(*means: float, half: float = 1.0, n: int = 5) -> pd.DataFrame:
    return pd.DataFrame({"fraction": [0.02, 0.1][: len(means)], "mean": means, "half": half, "n": n})


def test_first_look_names_the_direction_of_each_difference() -> None:
    text = tell.first_look(
        {"good": line(3.0, 0.5), "bad": line(-2.0, -3.0)}, {"good": 98.0, "bad": 80.0}, (0.25, 1.0), 200
    )
    assert "200 validation samples" in text and "one of them is 0.5 points" in text
    rows = [row for row in text.splitlines() if row.startswith(("| good", "| bad"))]
    assert [row.split("|")[-2].strip() for row in rows] == ["rises", "no difference detected", "falls", "falls"]


def test_slopes_support_eq_3_only_where_the_interaction_lies_below_zero() -> None:
    found = {"one": line(3.0, 0.0), "two": line(0.0, 0.0)}
    contrasts = {"one": Interval(-4.0, 1.0, 5), "two": Interval(-1.0, 2.0, 5)}
    best = {"one": pd.Series({0.02: 0.75, 0.1: 0.25}), "two": pd.Series({0.02: 0.5, 0.1: 0.5})}
    text = tell.slopes(found, contrasts, best)
    told = "With the one the slope falls, and so does the best alpha of the means (0.75 at f = 2%, 0.25 at 10%)."
    assert told in text and "With the two" not in text and "falls by 4.0 ± 1.0" in text
    assert "but the best alpha of the means does not (0.5 at f = 2%" in tell.slopes(
        found, contrasts, {"one": best["two"]}
    )
    assert "no support" in tell.slopes(found, {"one": Interval(1.0, 2.0, 5), "two": Interval(2.0, 1.0, 5)}, best)
    few = dict.fromkeys(found, Interval(-9.0, float("nan"), 2))
    assert "Too few" in tell.slopes(found, few, best)


def test_rules_say_falls_only_where_the_interval_of_the_tilt_does() -> None:
    fits = {
        "steep": kd_weight.fit_rule(made_up(peaked, noise=0.5), np.random.default_rng(0)),
        "flat": kd_weight.fit_rule(made_up(lambda f, a: 70.0, noise=1.0), np.random.default_rng(0)),
    }
    text = tell.rules(fits)
    assert "With the steep it falls" in text and "with the flat it is not seen to change" in text


def leads(mean: float) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        [(f, s, mean + 0.1 * rng.standard_normal()) for f in (0.03, 0.3) for s in range(5)],
        columns=["fraction", "seed", "difference"],
    )


def test_held_out_counts_only_what_leaves_out_zero() -> None:
    found = {"up": leads(1.0), "none": leads(0.0), "down": leads(-1.0)}
    text = tell.held_out(found, dict.fromkeys(found, 0.5), dict.fromkeys(found, 90.0))
    assert "better than the best constant for up, and worse for down" in text and "+0.50" in text
    assert "(n = 5)" in text, "n counts seeds, not fractions"
    same = tell.held_out({"flat": leads(0.0).assign(difference=0.0)}, {"flat": 0.0}, {"flat": 97.0})
    assert "| flat | 97.0% | +0.00 | none | the same weight everywhere: nothing to test |" in same


def test_best_of_noise_reports_shares() -> None:
    best = np.array([[0.8, 0.2], [0.2, 0.8], [0.6, 0.4], [0.5, 0.4]])
    text = tell.best_of_noise(best, np.array([0.02, 0.4]))
    assert "in 75%" in text and "0.38" in text


def test_temperatures_leave_out_the_reference() -> None:
    part = pd.DataFrame({"tau": [1.0, 4.0], "mean": [0.0, 3.0], "half": [0.0, 1.0], "n": [5, 5]})
    text = tell.temperatures({0.1: part}, 1.0)
    assert "rises at tau = 4" in text and "tau = 1 " not in text.replace("against tau = 1,", "")


def test_gaps_beside_say_what_is_missing() -> None:
    ours = pd.DataFrame({"pruning": ["forgetting"], "fraction": [0.1], "mean": [-2.0], "half": [0.5], "n": [4]})
    text = tell.gaps_beside(kd_weight.published_weight_gaps(), {"digits": ours, "CIFAR-100": ours.iloc[:0]})
    assert "more than +8" in text and "less than -1" in text and "-2.0 ± 0.5 (n = 4)" in text
    assert "Not measured yet by us" in text and "forgetting at 70% on digits" in text and "other points" not in text
    other = tell.gaps_beside(kd_weight.published_weight_gaps(), {"digits": ours.assign(pruning="random")})
    assert "Ours at other points: random at 10% on digits -2.0 ± 0.5 (n = 4)." in other


def test_adaptive_counts_the_paper_s_signs_and_ours() -> None:
    paper = pd.DataFrame(
        {
            "teacher": ["t", "t"],
            "student": ["s", "s"],
            "fraction": [0.4, 0.5],
            "difference": [-0.2, 0.1],
            "spread": [0.1, 0.1],
        }
    )
    text = tell.adaptive(paper, {0.4: Interval(1.0, 0.5, 5), 0.5: Interval(0.0, 0.5, 5)})
    assert (
        "Of the second paper's 2 differences at these f 1 are below 0, and 1 exceed" in text
        and "leaves out zero, are above 0 at f = 40%." in text
    )
    assert "no interval leaves out zero" in tell.adaptive(
        paper, {0.4: Interval(0.1, 0.5, 5), 0.5: Interval(0.0, 0.5, 5)}
    )


def test_epochs_give_the_range_of_the_change() -> None:
    found = pd.DataFrame({"fraction": [0.1, 0.5], "gain, last epoch": [3.0, 1.0], "gain, best epoch": [2.5, 1.2]})
    assert "-0.5 to +0.2 points" in tell.epochs({"one": found}, 1.0)


def test_shares_and_entropies_are_tables() -> None:
    assert "| one | 90.0% | 80.0% |" in tell.agreement({"one": {0.02: 0.9, 0.1: 0.8}})
    assert "| 4 | 2.30 (10.0) |" in tell.softness({"one": {4.0: float(np.log(10))}}, 10)
