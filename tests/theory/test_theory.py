"""The theory: closed forms against many trained students, exact fractions and the paper's own sum."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from kdlib.theory import counterexamples
from kdlib.theory import ridge as theory

SEEDS = range(6)


def problem(seed: int, d: int = 3, N: int = 12, n_kept: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A random (X, kept, theta); the kept columns are scattered, not the first ones."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((d, N)), rng.permutation(N)[:n_kept], rng.standard_normal(d)


# ---------------------------------------------------------------- estimators


def test_ridge_minimises_lambda_and_not_half_lambda() -> None:
    X, _, theta = problem(0)
    y = X.T @ theta + 0.3
    theta_hat = theory.ridge(X, y, 0.7)
    gradient = 2 * X @ (X.T @ theta_hat - y)
    np.testing.assert_allclose(gradient + 2 * 0.7 * theta_hat, 0, atol=1e-12)  # of ... + lambda ||theta||^2
    assert np.abs(gradient + 0.7 * theta_hat).max() > 1e-2  # of the stated objective, lambda/2


def test_ridge_takes_many_label_vectors() -> None:
    X, _, _ = problem(1)
    y = np.random.default_rng(2).standard_normal((12, 4))
    together = theory.ridge(X, y, 2.0)
    for r in range(4):
        np.testing.assert_allclose(together[:, r], theory.ridge(X, y[:, r], 2.0))


def test_the_ends_of_alpha() -> None:
    X, kept, theta = problem(2)
    y = X.T @ theta
    teacher = theory.ridge(X, y, 1.0)
    alone = theory.ridge(X[:, kept], y[kept], 1.0)
    np.testing.assert_allclose(theory.self_distil(X[:, kept], y[kept], teacher, 0.0, 1.0), alone)
    other_labels = theory.self_distil(X[:, kept], y[kept] + 9, teacher, 1.0, 1.0)
    np.testing.assert_allclose(theory.self_distil(X[:, kept], y[kept], teacher, 1.0, 1.0), other_labels)


def test_without_noise_the_error_is_the_bias() -> None:
    X, kept, theta = problem(3)
    y = X.T @ theta
    student = theory.self_distil(X[:, kept], y[kept], theory.ridge(X, y, 0.4), 0.6, 0.4)
    np.testing.assert_allclose(student - theta, theory.student_bias(X[:, kept], X, theta, 0.6, 0.4))


def test_numbers_of_an_independent_evaluation() -> None:
    """DKDP Eq. 4, computed elsewhere on inputs from named seeds; 12 of 30 samples kept."""

    def normal(seed: int, shape: tuple[int, ...]) -> np.ndarray:
        u = np.random.Generator(np.random.PCG64(seed)).random((2, *shape))
        return np.sqrt(-2 * np.log1p(-u[0])) * np.cos(2 * np.pi * u[1])

    X, theta = normal(1302, (4, 30)), normal(1303, (4,))
    y, X_f = X.T @ theta + 0.3 * normal(1304, (30,)), X[:, :12]
    student = theory.self_distil(X_f, y[:12], theory.ridge(X, y, 0.7), 0.6, 0.7)
    expected = [-1.1099594308869107, -0.41534190013673866, -0.2620571949440424, -0.7714406108386114]
    np.testing.assert_allclose(student, expected, rtol=1e-9)
    assert theory.bias_squared(X_f, X, theta, 0.6, 0.7) == pytest.approx(0.020444762931328832, rel=1e-9)
    assert theory.bias_squared(X_f, X_f, theta, 0.6, 0.7) == pytest.approx(0.038526229569178054, rel=1e-9)


# ---------------------------------------------------------------- closed form and Monte Carlo


@pytest.mark.parametrize("seed", SEEDS)
def test_closed_form_within_three_standard_errors_of_monte_carlo(seed: int) -> None:
    X, kept, theta = problem(seed)
    alpha, lam, sigma = (0.0, 0.3, 0.5, 0.7, 0.9, 1.0)[seed], 10.0 ** (seed / 2 - 1), 0.5 + seed / 5
    trained = theory.monte_carlo(X, kept, theta, alpha, lam, sigma, 20_000, np.random.default_rng(seed))
    parts = theory.total_error(X, kept, theta, alpha, lam, sigma)
    bias = theory.student_bias(X[:, kept], X, theta, alpha, lam)
    assert (np.abs(trained.bias - bias) < 3 * trained.bias_se).all()
    assert abs(trained.variance - parts.variance) < 3 * trained.variance_se
    assert abs(trained.total - parts.total) < 3 * trained.total_se
    assert trained.variance_se < 0.02 * parts.variance  # so that three of them can fail


def test_shared_noise_matters() -> None:
    """A kept sample's noise reaches the student twice; adding two separate variances is wrong."""
    X, kept, theta = problem(4)
    label_part = theory.student_variance(X, kept, 0.0, 0.5) * (1 - 0.5) ** 2
    teacher_part = theory.student_variance(X, kept, 1.0, 0.5) * 0.5**2
    variance = theory.student_variance(X, kept, 0.5, 0.5)
    assert variance > 1.1 * (label_part + teacher_part)
    trained = theory.monte_carlo(X, kept, theta, 0.5, 0.5, 1.0, 20_000, np.random.default_rng(0))
    assert abs(trained.variance - variance) < 3 * trained.variance_se


def test_monte_carlo_repeats_with_its_seed_and_only_with_it() -> None:
    X, kept, theta = problem(5)
    runs = [theory.monte_carlo(X, kept, theta, 0.5, 1.0, 1.0, 50, np.random.default_rng(s)) for s in (1, 1, 2)]
    np.testing.assert_array_equal(runs[0].errors, runs[1].errors)
    assert (runs[0].errors != runs[2].errors).all()
    assert runs[0].errors.shape == (3, 50)


@pytest.mark.parametrize("seed", SEEDS)
def test_bias_is_the_papers_double_sum_over_singular_vectors(seed: int) -> None:
    X, kept, theta = problem(seed)
    alpha, lam = 0.4, 0.8
    U, s, _ = np.linalg.svd(X[:, kept])
    V, s_t, _ = np.linalg.svd(X)
    written = np.zeros(3)
    for i in range(3):
        for j in range(3):
            weight = lam / (s[i] ** 2 + lam) * (1 + alpha * s[i] ** 2 / (s_t[j] ** 2 + lam))
            written -= (theta @ V[:, j]) * (V[:, j] @ U[:, i]) * weight * U[:, i]
    np.testing.assert_allclose(theory.student_bias(X[:, kept], X, theta, alpha, lam), written)


def test_order_of_samples_does_not_matter() -> None:
    X, kept, theta = problem(6)
    order = np.random.default_rng(0).permutation(12)
    moved = [int(np.flatnonzero(order == k)[0]) for k in kept]
    before = theory.total_error(X, kept, theta, 0.5, 1.0)
    np.testing.assert_allclose(theory.total_error(X[:, order], moved, theta, 0.5, 1.0), before)


def test_break_even_is_where_the_totals_are_equal() -> None:
    X, theta = np.random.default_rng([0, 4]).standard_normal((5, 40)), np.random.default_rng([0, 7]).standard_normal(5)
    lams = np.logspace(-2, 2, 61)
    turns = theory.break_even(X, range(10), theta, 1.0, 0.5, lams)
    assert len(turns) == 1
    totals = [theory.total_error(X, range(10), theta, a, turns[0], 0.5).total for a in (0.0, 1.0)]
    np.testing.assert_allclose(*totals)
    assert len(theory.break_even(X, range(10), theta, 1.0, 0.0, lams)) == 0  # without noise the teacher never pays


# ---------------------------------------------------------------- Lemma 1 and Theorem 1


@pytest.mark.parametrize("seed", SEEDS)
def test_lemma_1(seed: int) -> None:
    X, kept, _ = problem(seed)
    gaps = theory.lemma1_gaps(X, kept)
    full, part = (np.linalg.svd(M, compute_uv=False) for M in (X, X[:, kept]))
    np.testing.assert_allclose(gaps, full - part, atol=1e-12)
    assert (gaps > 0).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_theorem_1_holds_where_singular_vectors_do_not_turn(seed: int) -> None:
    X, kept, theta = problem(seed)
    X_f, rng = X[:, kept], np.random.default_rng(seed)
    full = np.hstack([X_f, theory.aligned_columns(X_f, rng.uniform(0.1, 3, 3))])
    for alpha, lam in ((0.2, 0.1), (0.9, 1.0), (1.0, 100.0)):
        assert theory.teacher_effect(full, range(5), theta, alpha, lam) < 0
        assert theory.worst_case(full, range(5), alpha, lam)[0] < 1  # for no theta at all


def test_theorem_1_always_holds_for_one_feature() -> None:
    rng = np.random.default_rng(0)
    found = counterexamples.survey(rng, 500, dims=(1,))
    assert (found["ratio"] <= 1 + theory.ROUNDING).all()
    assert counterexamples.find_counterexample(rng, d=1, n_kept=1, tries=500) is None


def test_no_teacher_no_effect() -> None:
    X, kept, theta = problem(1)
    assert theory.teacher_effect(X, kept, theta, 0.0, 1.0) == 0
    assert not theory.violates_theorem(X, kept, theta, 0.0, 1.0)
    assert not theory.violates_theorem(X, range(12), theta, 1.0, 1.0)  # nothing pruned


def test_worst_case_is_reached_and_not_passed() -> None:
    X, kept, _ = problem(2)
    worst, theta = theory.worst_case(X, kept, 1.0, 1.0)

    def ratio(direction: np.ndarray) -> float:
        large, small = (theory.bias_squared(X[:, kept], X_t, direction, 1.0, 1.0) for X_t in (X, X[:, kept]))
        return large / small

    assert ratio(theta) == pytest.approx(worst)
    others = np.random.default_rng(0).standard_normal((300, 3))
    assert max(ratio(other) for other in others) <= worst


def test_average_case_is_the_mean_over_directions() -> None:
    X, kept, _ = problem(3)
    directions = np.random.default_rng(0).standard_normal((3, 40_000))
    large, small = (
        np.sum((theory.bias_operator(X[:, kept], X_t, 0.8, 1.0) @ directions) ** 2) for X_t in (X, X[:, kept])
    )
    assert theory.average_case(X, kept, 0.8, 1.0) == pytest.approx(large / small, rel=0.01)


def test_how_often_theorem_1_fails() -> None:
    found = counterexamples.survey(np.random.default_rng(0), 3000)
    limit = 1 + theory.ROUNDING
    assert 0.008 < (found["ratio"] > limit).mean() < 0.03  # about one random problem in 60
    assert (found["average"] > limit).mean() < 0.002  # averaged over theta: nearly never
    assert (found["worst"] > limit).mean() > 0.2
    assert (found["worst"] >= found["ratio"] * (1 - 1e-6)).all()
    assert (found["worst"] >= found["average"] * (1 - 1e-6)).all()
    assert (found["kept"] >= found["d"]).all() and found["kept"].max() < 40


def test_failure_rate_is_a_share_with_its_wilson_interval() -> None:
    share, low, high = counterexamples.failure_rate([0.5] * 98 + [1.2, 1 + theory.ROUNDING / 2])
    assert share == pytest.approx(1.0)
    assert low == pytest.approx(0.1767, abs=1e-3) and high == pytest.approx(5.449, abs=1e-3)  # Wilson 1927, 1 of 100
    with pytest.raises(ValueError, match="at least one problem"):
        counterexamples.failure_rate([])


# ---------------------------------------------------------------- exact counterexamples


def test_the_known_counterexample_in_fractions() -> None:
    known = counterexamples.known_counterexample()
    assert known.large_teacher == Fraction(208657, 2393209)
    assert known.small_teacher == Fraction(11729, 142805)
    assert known.large_teacher > known.small_teacher
    assert theory.violates_theorem(known.X, [0, 1], known.theta, 1, 1)
    effect = theory.teacher_effect(known.X, [0, 1], known.theta, 1, 1)
    assert effect == pytest.approx(float(known.large_teacher - known.small_teacher))


@pytest.mark.parametrize("alpha", [Fraction(1), Fraction(9, 10)])
def test_search_finds_counterexamples_that_are_exact(alpha: Fraction) -> None:
    found = counterexamples.find_counterexample(np.random.default_rng(1), alpha=alpha)
    assert found is not None and found.tried > 1
    assert found.large_teacher > found.small_teacher
    assert np.linalg.matrix_rank(found.X_f) == 2
    again = counterexamples.find_counterexample(np.random.default_rng(1), alpha=alpha)
    assert again is not None
    np.testing.assert_array_equal(found.X, again.X)


def test_fractions_agree_with_floats() -> None:
    rng = np.random.default_rng(3)
    X, theta = rng.integers(-4, 5, (3, 7)), rng.integers(-4, 5, 3)
    exact = counterexamples.exact_bias_squared(X[:, :4], X, theta, 0.25, 3)
    assert float(exact) == pytest.approx(theory.bias_squared(X[:, :4], X, theta, 0.25, 3), rel=1e-12)


# ---------------------------------------------------------------- bad input, imports

X, Y, THETA = np.eye(2, 4), np.ones(4), np.ones(2)
RNG = np.random.default_rng(0)
BAD: dict[str, tuple[str, Callable[[], object]]] = {
    "lam 0": ("lam must be a positive", lambda: theory.ridge(X, Y, 0)),
    "lam below 0": ("lam must be a positive", lambda: theory.student_bias(X, X, THETA, 0.5, -1)),
    "lam nan": ("lam must be a positive", lambda: theory.ridge(X, Y, float("nan"))),
    "alpha above 1": ("alpha must lie in", lambda: theory.self_distil(X, Y, THETA, 1.1, 1)),
    "alpha below 0": ("alpha must lie in", lambda: theory.noise_operator(X, [0], -0.1, 1)),
    "X a vector": ("X must be a matrix", lambda: theory.ridge(Y, Y, 1)),
    "X not finite": ("finite", lambda: theory.ridge(X * np.nan, Y, 1)),
    "too few labels": (r"y must have shape \(4,\)", lambda: theory.ridge(X, Y[:3], 1)),
    "labels of the student": ("y_f must hold 4 labels", lambda: theory.self_distil(X, Y[:3], THETA, 0.5, 1)),
    "teacher": (r"theta_t must have shape \(2,\)", lambda: theory.self_distil(X, Y, np.ones(3), 0.5, 1)),
    "theta": (r"theta must have shape \(2,\)", lambda: theory.student_bias(X, X, np.ones(3), 0.5, 1)),
    "features": ("equally many features", lambda: theory.bias_operator(X, np.eye(3), 0.5, 1)),
    "nothing kept": ("non-empty list", lambda: theory.lemma1_gaps(X, [])),
    "mask": ("column indices", lambda: theory.lemma1_gaps(X, [True, False, True, False])),
    "kept twice": ("different column indices between 0 and 3", lambda: theory.lemma1_gaps(X, [1, 1])),
    "kept outside": ("between 0 and 3", lambda: theory.teacher_effect(X, [4], THETA, 0.5, 1)),
    "kept negative": ("between 0 and 3", lambda: theory.average_case(X, [-1], 0.5, 1)),
    "sigma": ("sigma must be", lambda: theory.student_variance(X, [0, 1], 0.5, 1, sigma=-1)),
    "draws": ("draws must be", lambda: theory.monte_carlo(X, [0, 1], THETA, 0.5, 1, 1, 1, RNG)),
    "lengths": ("lengths must have shape", lambda: theory.aligned_columns(X, [1.0])),
    "search": ("n_kept at least d", lambda: counterexamples.find_counterexample(RNG, d=3, n_kept=2)),
    "survey": ("largest_n above 5", lambda: counterexamples.survey(RNG, 1, largest_n=5)),
    "exact": ("lam must be", lambda: counterexamples.exact_bias_squared(X, X, THETA, 1, 0)),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_a_value_error_in_one_line(name: str) -> None:
    message, call = BAD[name]
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_importing_the_theory_does_not_import_torch() -> None:
    modules = "kdlib.theory.ridge, kdlib.theory.counterexamples, kdlib.analysis.plots.theory"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
