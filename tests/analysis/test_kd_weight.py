"""The KD weight alpha: slopes, interaction, a fitted rule and its test, on made-up tables whose answer is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from kdlib.analysis import claims, kd_weight
from kdlib.experiments.study import runs_of
from kdlib.utils import paths

FRACTIONS, ALPHAS = (0.02, 0.1, 0.5), (0.0, 0.25, 0.5, 0.75, 1.0)


def made_up(accuracy: Callable[[float, float], float], seeds: int = 6, noise: float = 0.0) -> pd.DataFrame:
    """A table in which accuracy(f, alpha) is the mean, with a level of its own for each seed."""
    rng = np.random.default_rng(3)
    rows = [
        ("forgetting", f, a, s, accuracy(f, a) + s + noise * rng.standard_normal())
        for f in FRACTIONS
        for a in ALPHAS
        for s in range(seeds)
    ]
    return pd.DataFrame(rows, columns=["pruning", "fraction", "alpha", "seed", "test_acc"])


def test_slope_leaves_out_the_students_without_a_teacher() -> None:
    table = made_up(lambda f, a: 20 * a - 50 * (a == 0))
    found = kd_weight.slopes(table)
    np.testing.assert_allclose(found["mean"], 20)
    assert found.fraction.tolist() == list(FRACTIONS) and set(found.n) == {6}


def test_a_slope_needs_two_weights() -> None:
    with pytest.raises(ValueError, match="at least 2 KD weights"):
        kd_weight.slopes(made_up(lambda f, a: a).query("alpha in (0, 0.5)"))


def test_interaction_is_the_change_of_the_slope_for_ten_times_f() -> None:
    found = kd_weight.interaction(made_up(lambda f, a: (3 - 7 * np.log10(f)) * a + 100 * f))
    assert found.mean == pytest.approx(-7) and found.n == 6


def test_interaction_of_flat_curves_is_seldom_detected() -> None:
    tables = [made_up(lambda f, a: 0.0).assign(test_acc=lambda t, k=k: noise(len(t), k)) for k in range(200)]
    found = [kd_weight.interaction(table) for table in tables]
    assert 0.01 < np.mean([abs(one.mean) > one.half for one in found]) < 0.1


def noise(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(n)


def test_interaction_is_that_of_the_verdict_on_the_best_alpha() -> None:
    table = made_up(lambda f, a: (3 - 7 * np.log10(f)) * a, noise=1.0)
    rows = table.assign(scorer="forgetting", centre=1.0, loss="kd", dataset="cifar100")
    judged = claims.verdict("D8", rows)
    assert f"{-kd_weight.interaction(table).mean:+.2f}" in judged.numbers


def test_a_seed_that_lacks_a_point_is_left_out() -> None:
    table = made_up(lambda f, a: a)
    assert kd_weight.cube(table.iloc[1:]).seeds.tolist() == [1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match="no seed"):
        kd_weight.cube(table[table.seed == 0].iloc[1:])


def peaked(f: float, a: float) -> float:
    """The best alpha is 1 at the smallest f and 0.25 at the largest."""
    best = 1 - 0.75 * np.log(f / FRACTIONS[0]) / np.log(FRACTIONS[-1] / FRACTIONS[0])
    return 80 - 40 * abs(a - best)


def test_the_rule_finds_a_weight_that_falls_and_not_a_constant() -> None:
    found = kd_weight.fit_rule(made_up(peaked, noise=0.5), np.random.default_rng(0))
    assert found.rule.ends == pytest.approx((1.0, 0.25), abs=0.1)
    assert found.gain > 3
    tilt, low, high = found.tilt()
    assert low <= tilt <= high < 0
    band = found.band(FRACTIONS)
    assert band.shape == (2, 3) and (band[0] <= band[1]).all()


def test_where_nothing_matters_the_band_is_wide() -> None:
    found = kd_weight.fit_rule(made_up(lambda f, a: 70.0, noise=1.0), np.random.default_rng(0))
    _, low, high = found.tilt()
    assert low < 0 < high and found.gain >= 0


def test_the_rule_is_the_same_for_the_same_generator() -> None:
    table = made_up(peaked, noise=3.0)
    first, second = (kd_weight.fit_rule(table, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(first.drawn, second.drawn)


def test_a_rule_is_a_line_in_log_f_and_constant_outside() -> None:
    rule = kd_weight.Rule((0.01, 1.0), (1.0, 0.0))
    np.testing.assert_allclose(rule([0.001, 0.01, 0.1, 1.0]), [1, 1, 0.5, 0])
    assert rule.weight(0.1) == 0.5 and kd_weight.always(0.3).weight(0.02) == 0.3


def test_lead_pairs_the_runs_of_two_rules() -> None:
    table = made_up(lambda f, a: 10 * a)
    rule = kd_weight.Rule((0.02, 0.5), (1.0, 0.5))
    found = kd_weight.lead(table[table.fraction != 0.1], rule, kd_weight.always(0.5))
    by_f = found.groupby("fraction").difference.mean()
    assert by_f.to_dict() == pytest.approx({0.02: 5.0, 0.5: 0.0})
    with pytest.raises(ValueError, match="no seed has runs"):
        kd_weight.lead(table, kd_weight.always(0.33), kd_weight.always(0.5))


def test_weight_gaps_take_self_distilled_runs_at_temperature_4() -> None:
    table = made_up(lambda f, a: 10 * a)
    common = {"scorer": "forgetting", "centre": 1.0, "loss": "kd", "student": "a", "teacher": "a", "tau": 4.0}
    rows = table.drop(columns="pruning").assign(**common)
    other = pd.concat([rows.assign(teacher="b"), rows.assign(tau=2.0)]).assign(test_acc=0.0)
    found = kd_weight.weight_gaps(pd.concat([rows, other], ignore_index=True))
    np.testing.assert_allclose(found["mean"], 5)
    assert found.fraction.tolist() == list(FRACTIONS)
    assert kd_weight.weight_gaps(pd.DataFrame()).empty


@pytest.mark.parametrize("count", [0, 3, 24, None])
def test_weight_gaps_cope_with_none_some_and_all_rows_of_the_study(count: int | None) -> None:
    runs = list(runs_of("laptop"))[:count]
    rows = pd.DataFrame([{**asdict(r), "test_acc": 50 + 10 * r.alpha, "teacher_acc": 65.0} for r in runs])
    found = kd_weight.weight_gaps(rows)
    np.testing.assert_allclose(found["mean"].astype(float), 5)
    wanted = {r.fraction for r in runs if r.loss == "kd" and r.alpha == 1}
    assert set(found.fraction) == wanted


def test_published_numbers_are_those_of_the_papers() -> None:
    found = kd_weight.published_weight_gaps()
    assert list(zip(found.fraction, found["mean"], strict=True)) == [(0.1, 8), (0.7, -1)]
    assert kd_weight.adaptive_weights() == ({0.4: 0.85, 0.5: 0.8, 0.7: 0.5}, 0.9)
    table = kd_weight.published_adaptive(pd.read_csv(paths.data() / "paper" / "reported.csv"))
    one = table[(table.student == "vgg8") & (table.fraction == 0.5)].iloc[0]
    assert one.difference == pytest.approx(66.30 - 66.81) and one.spread > 0
