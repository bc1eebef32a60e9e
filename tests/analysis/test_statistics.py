"""Intervals, estimates over teachers and seeds, many points, rank correlations: against formulas and known answers."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from kdlib.analysis import statistics
from kdlib.analysis.statistics import Estimate, estimate, holm, rank_correlation

FRACTIONS, ALPHAS = (0.05, 0.1, 0.3, 0.7), (0.0, 0.25, 0.5, 1.0)


def make(accuracy, prunings=("random", "forgetting", "el2n"), alphas=ALPHAS, seeds=6, noise=0.05) -> pd.DataFrame:  # type: ignore[no-untyped-def]
    """A table with accuracy(pruning, f, alpha) plus a shift that all runs of a seed share, plus a little noise."""
    rng = np.random.default_rng(0)
    shift = 3 * rng.standard_normal(seeds)
    points = [(p, f, a, s) for p in prunings for f in FRACTIONS for a in alphas for s in range(seeds)]
    rows = [(p, f, a, s, accuracy(p, f, a) + shift[s] + noise * rng.standard_normal()) for p, f, a, s in points]
    return pd.DataFrame(rows, columns=["pruning", "fraction", "alpha", "seed", "test_acc"])


def test_interval_is_the_t_interval() -> None:
    values = [1.0, 2.0, 4.0, 8.0]
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    found = statistics.interval(values)
    np.testing.assert_allclose((found.low, found.high), (low, high))
    assert found.n == 4 and str(found).startswith("+3.8 ±")
    assert np.isnan(statistics.interval([1.0, 2.0]).half)
    with pytest.raises(ValueError, match="at least one"):
        statistics.interval([])


@pytest.mark.parametrize(
    ("half", "shown"), [(0.36, "0.4"), (0.04, "0.04"), (0.004, "0.004"), (1e-9, "0.0"), (0.0, "0.0"), (np.nan, "nan")]
)
def test_a_half_width_above_zero_is_not_printed_as_zero(half: float, shown: str) -> None:
    assert f"{half:.{statistics.shown_digits(half, 1)}f}" == shown


def test_with_one_teacher_an_estimate_is_the_t_interval_over_seeds() -> None:
    values = [1.0, 2.0, 4.0, 8.0]
    found = estimate({(0, seed): value for seed, value in enumerate(values)})
    wanted = statistics.interval(values)
    np.testing.assert_allclose((found.mean, found.half), (wanted.mean, wanted.half))
    test = stats.ttest_1samp(values, 1.0, alternative="greater")
    assert found.p_above(1.0) == pytest.approx(test.pvalue) and found.p_below(1.0) == pytest.approx(1 - test.pvalue)
    assert (found.n, found.teachers) == (4, 1)


def test_teachers_with_seeds_of_their_own_are_the_sample() -> None:
    values = {(teacher, 10 * teacher + seed): teacher + 0.01 * seed for teacher in range(4) for seed in range(3)}
    means = [np.mean([v for (t, _), v in values.items() if t == teacher]) for teacher in range(4)]
    found = estimate(values)
    assert found.half == pytest.approx(statistics.interval(means).half) and (found.n, found.teachers) == (12, 4)
    pairs = estimate({(k, k): v for k, v in enumerate((1.0, 2.0, 4.0, 8.0))})
    assert pairs.half == pytest.approx(statistics.interval([1.0, 2.0, 4.0, 8.0]).half), "each seed with its own teacher"


def test_seeds_that_teachers_share_add_their_variance() -> None:
    same_students = {(teacher, seed): float(seed) for teacher in range(5) for seed in range(3)}
    found = estimate(same_students, n=3)
    assert found.n == 3 and found.half == pytest.approx(statistics.interval([0.0, 1.0, 2.0]).half), (
        "15 values from 3 trainings"
    )
    teachers_only = estimate({(teacher, seed): float(teacher) for teacher in range(3) for seed in range(5)})
    assert teachers_only.error == pytest.approx(stats.sem([0.0, 1.0, 2.0]))


@pytest.mark.parametrize(("teachers", "seeds", "ratio"), [(2, 5, 0.5), (2, 5, 2.0), (2, 3, 1.0), (3, 5, 1.0)])
def test_an_interval_over_few_teachers_misses_in_one_direction_in_at_most_five_percent(
    teachers: int, seeds: int, ratio: float
) -> None:
    rng = np.random.default_rng(1)
    keys = list(itertools.product(range(teachers), range(seeds)))
    over = 0
    for _ in range(2000):
        draws = (
            ratio * rng.standard_normal((teachers, 1))
            + 0.3 * rng.standard_normal(seeds)
            + rng.standard_normal((teachers, seeds))
        )
        over += estimate({key: float(draws[key]) for key in keys}).low > 0
    assert over <= stats.binom.ppf(0.999, 2000, 0.05)


def test_fewer_than_three_trainings_have_no_interval() -> None:
    found = estimate({(0, 0): 1.0, (0, 1): 1.1})
    assert np.isnan(found.half) and np.isnan(found.p_above()) and not found.low > 0
    copies = estimate({(teacher, seed): 1.0 + seed for teacher in range(5) for seed in range(2)}, n=2)
    assert np.isnan(copies.half), "ten differences with two students are two trainings"
    with pytest.raises(ValueError, match="at least one"):
        estimate({})


def test_equal_values_lie_where_they_lie() -> None:
    found = estimate({(0, seed): 2.0 for seed in range(3)})
    assert (found.p_above(0.0), found.p_above(2.0), found.p_below(3.0)) == (0.0, 1.0, 0.0)
    assert str(Estimate(1.0, 0.5, 2.0, 3)).startswith("+1.0 ± 2.2")


def test_holm_is_holms() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([]) == []
    with_gap = holm([float("nan"), 0.01])
    assert np.isnan(with_gap[0]) and with_gap[1] == pytest.approx(0.02), "a point without an interval still counts"


def test_rank_correlations_are_judged_by_permutation() -> None:
    rng = np.random.default_rng(0)
    one = rank_correlation([1, 2, 3, 4], [[4, 3, 2, 1]], rng, 4000)
    assert one.mean == pytest.approx(-1) and one.p_below == pytest.approx(1 / 24, abs=0.015)
    three = rank_correlation([1, 2, 3], [[3, 2, 1]] * 3, rng, 8000)
    assert three.mean == pytest.approx(-1) and three.p_below == pytest.approx(1 / 216, abs=0.003) and three.n == 3
    flat = rank_correlation([1, 2, 3], [[1, 1, 1]], rng)
    assert flat.mean == 0 and flat.p_below == flat.p_above == 1
    with pytest.raises(ValueError, match="shape"):
        rank_correlation([1, 2, 3], [[1, 2]], rng)


def test_pairing_removes_what_seeds_share() -> None:
    table = make(lambda p, f, a: 70 + 10 * (a == 0.5), noise=0.0)
    gains = statistics.gain_points(table)
    np.testing.assert_allclose(gains["mean"], 10)
    np.testing.assert_allclose(gains.half, 0, atol=1e-9)
    assert (gains.n == 6).all()


def test_pairing_ignores_seeds_that_only_one_side_has() -> None:
    table = make(lambda p, f, a: 70 + 10 * (a == 0.5), noise=0.0)
    table = table[(table.alpha > 0) | (table.seed < 4)]
    assert (statistics.gain_points(table).n == 4).all()


def test_against_random_has_the_sign_of_random() -> None:
    table = make(lambda p, f, a: 70 + 3 * (p == "random"), noise=0.0)
    found = statistics.against_random(table, 0.5)
    np.testing.assert_allclose(found["mean"], 3)
    assert set(found.pruning) == {"forgetting", "el2n"} and (found.n == 6).all()
    assert statistics.intervals(found, ("pruning", "fraction"))["el2n", 0.1].n == 6


def test_students_that_every_teacher_is_compared_with_count_once() -> None:
    points = [(a, t, s) for a in (0.0, 0.5) for t in ((-1,) if a == 0 else (0, 1, 2)) for s in range(3)]
    rows = [("random", 0.1, a, s, t, 60 + 10 * (a > 0) + (s if a == 0 else 0)) for a, t, s in points]
    table = pd.DataFrame(rows, columns=["pruning", "fraction", "alpha", "seed", "teacher_id", "test_acc"])
    found = statistics.gain_points(table).iloc[0]
    assert found.n == 3 and found["mean"] == pytest.approx(9) and len(statistics.kd_gain(table)) == 9
    assert found.half == pytest.approx(statistics.interval([9.0, 10.0, 8.0]).half), (
        "three students without KD, not nine"
    )
    scored = pd.concat([table, table.assign(pruning="el2n", test_acc=table.test_acc - 1 - 0.1 * table.teacher_id)])
    lead = statistics.against_random(scored, 0.5).iloc[0]
    assert (lead.n, lead["mean"]) == (9, pytest.approx(1.1)), "teachers are paired with themselves"
    assert lead.half == pytest.approx(statistics.interval([1.0, 1.1, 1.2]).half)
    assert statistics.points(table, ("fraction",)).n[0] == 12 and statistics.points(scored, ("fraction",)).n[0] == 12


def test_split_half_tells_a_signal_from_noise() -> None:
    rng = np.random.default_rng(0)
    signal = rng.standard_normal(200)
    noisy = signal + rng.standard_normal((6, 200))
    found = statistics.split_half(noisy, np.random.default_rng(1), splits=8)
    assert list(found) == [1, 2, 3] and all(len(values) == 8 for values in found.values())
    assert 0.3 < np.mean(found[1]) < np.mean(found[2]) < np.mean(found[3]) < 1
    assert abs(np.mean(statistics.split_half(rng.standard_normal((6, 200)), rng)[3])) < 0.15
    assert statistics.split_half(np.stack([signal] * 4), rng)[2] == pytest.approx([1.0] * 20)
    with pytest.raises(ValueError, match="at least 2 runs"):
        statistics.split_half(signal[None], rng)


def test_last_or_best_keeps_both_gains() -> None:
    table = make(lambda p, f, a: 70 + 10 * (a == 0.5), noise=0.0)
    table["test_acc_best"] = table.test_acc + (table.alpha == 0)
    found = statistics.last_or_best(table)
    np.testing.assert_allclose(found["gain, last epoch"], 10)
    np.testing.assert_allclose(found["gain, best epoch"], 9)
