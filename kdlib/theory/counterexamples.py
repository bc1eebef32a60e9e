"""Where Theorem 1 of DKDP fails: exact counterexamples, a search for new ones, and how often it happens.

`kdlib.theory.ridge` holds the formulas. Here they are evaluated on whole-number problems in exact fractions, so
that "larger" is a proof, and on many random problems, so that "often" is a number. The notation is that of
`kdlib.theory.ridge`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from kdlib.theory import ridge as theory
from kdlib.theory.ridge import Array, Like

Exact = npt.NDArray[np.object_]
Whole = npt.NDArray[np.int64]


def _exact(values: Any) -> Exact:
    return np.vectorize(Fraction, otypes=[object])(np.asarray(values, dtype=object))


def _solve_exact(A: Exact, b: Exact) -> Exact:
    """A^-1 b by Gauss-Jordan elimination in fractions; A is positive definite, so no pivot is 0."""
    rows = np.column_stack([A, b])
    for i in range(len(rows)):
        rows[i] = rows[i] / rows[i, i]
        for j in range(len(rows)):
            if j != i:
                rows[j] = rows[j] - rows[j, i] * rows[i]
    return rows[:, -1]


def exact_bias_squared(X_f: Like, X_t: Like, theta: Like, alpha: float | Fraction, lam: float | Fraction) -> Fraction:
    """||E[eps]||^2 of `theory.bias_squared` as an exact fraction: comparing two of them is a proof.

    Raises ValueError for lam <= 0, alpha outside [0, 1] and shapes that do not fit.
    """
    theory.student_bias(X_f, X_t, theta, float(alpha), float(lam))  # its checks
    F, T, truth = _exact(X_f), _exact(X_t), _exact(theta)
    weight, penalty = Fraction(alpha), Fraction(lam) * _exact(np.eye(len(F), dtype=int))
    from_teacher = weight * (F @ F.T @ _solve_exact(T @ T.T + penalty, truth))
    bias = -Fraction(lam) * _solve_exact(F @ F.T + penalty, truth + from_teacher)
    return Fraction(sum(entry * entry for entry in bias))


@dataclass(frozen=True)
class Counterexample:
    """Theorem 1 fails here: the student keeps the first `n_kept` columns of X, the teacher sees all."""

    X: Whole
    n_kept: int
    theta: Whole
    alpha: int | Fraction
    lam: int | Fraction
    tried: int = 0  # problems looked at until this one was found

    @property
    def X_f(self) -> Whole:
        """The student's samples, (d, n_kept)."""
        return self.X[:, : self.n_kept]

    @property
    def small_teacher(self) -> Fraction:
        """Exact squared bias when the teacher saw the kept samples only (f_t = f)."""
        return exact_bias_squared(self.X_f, self.X_f, self.theta, self.alpha, self.lam)

    @property
    def large_teacher(self) -> Fraction:
        """Exact squared bias when the teacher saw every sample (f_t = 1)."""
        return exact_bias_squared(self.X_f, self.X, self.theta, self.alpha, self.lam)


def known_counterexample() -> Counterexample:
    """Keep 2 of 3 samples, lambda = alpha = 1: 208657/2393209 with the larger teacher, 11729/142805 not."""
    return Counterexample(np.array([[-3, -1, -3], [-3, -3, -3]]), 2, np.array([1, 2]), 1, 1)


def find_counterexample(
    rng: np.random.Generator,
    *,
    d: int = 2,
    n_kept: int = 2,
    n_extra: int = 1,
    largest: int = 3,
    alpha: int | Fraction = 1,
    lam: int | Fraction = 1,
    tries: int = 5000,
) -> Counterexample | None:
    """The first of `tries` random whole-number problems that violates Theorem 1, or None.

    Entries of X and theta are drawn from -largest..largest. Every hit is confirmed in exact arithmetic. X_f
    has full rank, as the theorem asks (d <= N_f). Raises ValueError for d, n_extra, largest or tries below
    1, n_kept < d, lam <= 0 and alpha outside [0, 1].
    """
    if min(d, n_extra, largest, tries) < 1 or n_kept < d:
        raise ValueError("d, n_extra, largest and tries must be at least 1, and n_kept at least d")
    theory.check_weights(float(lam), float(alpha))
    for tried in range(1, tries + 1):
        X = rng.integers(-largest, largest + 1, (d, n_kept + n_extra))
        theta = rng.integers(-largest, largest + 1, d)
        if not theta.any() or np.linalg.matrix_rank(X[:, :n_kept]) < d:
            continue
        if theory.violates_theorem(X, range(n_kept), theta, float(alpha), float(lam)):
            found = Counterexample(X, n_kept, theta, alpha, lam, tried)
            if found.large_teacher > found.small_teacher:
                return found
    return None


class Problem(NamedTuple):
    """One random regression problem: the student keeps the columns `kept` of X, shape (d, N)."""

    X: Array
    kept: Whole
    theta: Array
    alpha: float
    lam: float


def random_problem(
    rng: np.random.Generator,
    dims: Sequence[int] = (2, 3, 4, 5),
    largest_n: int = 40,
    alpha: float | None = None,
) -> Problem:
    """A random problem with d <= N_f < N, as Theorem 1 assumes.

    Entries of X and theta normal, d from `dims`, N uniform up to `largest_n`, N_f uniform in d..N-1, lambda
    log-uniform in 0.01..1000, alpha uniform in (0, 1) unless given. Raises ValueError if `largest_n` leaves
    nothing to prune.
    """
    if largest_n <= max(dims) or min(dims) < 1:
        raise ValueError(f"dims must be at least 1 and largest_n above {max(dims)}; got {dims}, {largest_n}")
    d = int(rng.choice(dims))
    N = int(rng.integers(d + 1, largest_n + 1))
    kept = np.arange(rng.integers(d, N))
    weight = float(rng.uniform(0, 1)) if alpha is None else alpha
    lam = float(10 ** rng.uniform(-2, 3))
    return Problem(rng.standard_normal((d, N)), kept, rng.standard_normal(d), weight, lam)


def survey(
    rng: np.random.Generator,
    problems: int,
    dims: Sequence[int] = (2, 3, 4, 5),
    largest_n: int = 40,
    alpha: float | None = None,
) -> dict[str, Array]:
    """bias^2(teacher on all) / bias^2(teacher on kept) on random problems; above 1 violates Theorem 1.

    Arrays of shape (problems,): "ratio" at the problem's own theta, "average" over isotropic theta, "worst"
    over all theta; and "alpha", "lam", "d", "kept" (N_f). Raises ValueError as `random_problem`.
    """
    rows = []
    for _ in range(problems):
        p = random_problem(rng, dims, largest_n, alpha)
        X_f = p.X[:, p.kept]
        large, small = (theory.bias_squared(X_f, X, p.theta, p.alpha, p.lam) for X in (p.X, X_f))
        average = theory.average_case(p.X, p.kept, p.alpha, p.lam)
        worst, _ = theory.worst_case(p.X, p.kept, p.alpha, p.lam)
        rows.append((large / small, average, worst, p.alpha, p.lam, len(p.X), len(p.kept)))
    names = ("ratio", "average", "worst", "alpha", "lam", "d", "kept")
    return dict(zip(names, np.array(rows, dtype=np.float64).reshape(problems, 7).T, strict=True))


def failure_rate(ratios: Like) -> tuple[float, float, float]:
    """Percent of `ratios` (problems,) above 1 beyond rounding, where Theorem 1 fails, and its 95% Wilson interval.

    ValueError without any problem.
    """
    above = np.asarray(ratios) > 1 + theory.ROUNDING
    if not above.size:
        raise ValueError("a failure rate needs at least one problem")
    found = binomtest(int(above.sum()), above.size).proportion_ci(method="wilson")
    return 100 * float(above.mean()), 100 * float(found.low), 100 * float(found.high)
