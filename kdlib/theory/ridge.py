"""Ridge regression with a teacher: what distillation on pruned data does to bias and variance.

The setting is "Distilling the Knowledge in Data Pruning" (DKDP), Sec. 3.3. A sample is a column of X, shape
(d, N), and the labels are y = X' theta + eta with independent noise of mean 0 and standard deviation sigma.
The student sees the columns `kept` of the teacher's matrix, with the same labels, noise included. Its error
is linear in both unknowns,

    eps = theta_s - theta = B theta + W eta        (B: `bias_operator`, W: `noise_operator`),

so every expectation here is a small matrix product, and `monte_carlo` checks it by training many students.
Entries of theta have the unit of a label over that of a feature; squared bias, variance and total error
have its square.

Every function raises ValueError for lam <= 0, alpha outside [0, 1] and shapes or indices that do not fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

Like = npt.ArrayLike
Array = npt.NDArray[np.float64]
ROUNDING = 1e-9  # two squared biases closer than this (relative) count as equal


# ---------------------------------------------------------------------------------------------- checks


def as_matrix(name: str, value: Like) -> Array:
    """`value` as a finite float matrix (d, N), or a ValueError that says what is wrong with it."""
    X = np.asarray(value, dtype=np.float64)
    if X.ndim != 2 or 0 in X.shape:
        raise ValueError(f"{name} must be a matrix (d, N), one column per sample; got shape {X.shape}")
    if not np.isfinite(X).all():
        raise ValueError(f"{name} must hold finite numbers only")
    return X


def as_vector(name: str, value: Like, d: int) -> Array:
    """`value` as a float vector (d,), or a ValueError."""
    theta = np.asarray(value, dtype=np.float64)
    if theta.shape != (d,):
        raise ValueError(f"{name} must have shape ({d},), one entry per feature; got {theta.shape}")
    return theta


def as_columns(kept: Like, N: int) -> npt.NDArray[np.int64]:
    """`kept` as column indices: whole numbers in 0..N-1, none twice, at least one; or a ValueError."""
    ids = np.asarray(kept)
    if ids.ndim != 1 or ids.size == 0 or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError("kept must be a non-empty list of column indices")
    if ids.min() < 0 or ids.max() >= N or len(np.unique(ids)) != ids.size:
        raise ValueError(f"kept must hold different column indices between 0 and {N - 1}")
    return ids.astype(np.int64)


def check_weights(lam: float, alpha: float = 0.0) -> None:
    """ValueError unless lam > 0 and 0 <= alpha <= 1."""
    if not 0 < lam < np.inf:
        raise ValueError(f"lam must be a positive number; got {lam}")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must lie in [0, 1]; got {alpha}")


def _split(X: Like, kept: Like) -> tuple[Array, Array]:
    """The teacher's matrix and the student's part of it."""
    full = as_matrix("X", X)
    return full, full[:, as_columns(kept, full.shape[1])]


def _solve(X: Array, lam: float, right: Array) -> Array:
    """(X X' + lambda I)^-1 right."""
    return np.asarray(np.linalg.solve(X @ X.T + lam * np.eye(len(X)), right), dtype=np.float64)


# ---------------------------------------------------------------------------------------------- estimators


def ridge(X: Like, y: Like, lam: float) -> Array:
    """Ridge regression: theta_hat = (X X' + lambda I)^-1 X y  (DKDP Sec. 3.3, the closed form as printed).

    X (d, N); y (N,), or (N, R) for R label vectors at once; returns (d,) or (d, R).

    The paper states the objective ||y - X' theta||^2 + (lambda/2) ||theta||^2, whose minimum has lambda/2
    in the place of lambda. The closed form minimises ||y - X' theta||^2 + lambda ||theta||^2, and so does
    this function.
    """
    X, labels = as_matrix("X", X), np.asarray(y, dtype=np.float64)
    check_weights(lam)
    if labels.ndim not in (1, 2) or len(labels) != X.shape[1]:
        raise ValueError(f"y must have shape ({X.shape[1]},) or ({X.shape[1]}, R); got {labels.shape}")
    return _solve(X, lam, X @ labels)


def self_distil(X_f: Like, y_f: Like, theta_t: Like, alpha: float, lam: float) -> Array:
    """The distilled student: ridge on the targets (1 - alpha) y_f + alpha X_f' theta_t  (DKDP Eq. 4).

    X_f (d, N_f) kept samples; y_f (N_f,) or (N_f, R) their labels; theta_t (d,) or (d, R) the teacher;
    alpha the KD weight: 0 is training without a teacher, 1 ignores the labels. Returns theta_s, shaped as
    theta_t.
    """
    X_f, labels, teacher = as_matrix("X_f", X_f), np.asarray(y_f, np.float64), np.asarray(theta_t, np.float64)
    check_weights(lam, alpha)
    if labels.shape[:1] != X_f.shape[1:]:
        raise ValueError(f"y_f must hold {X_f.shape[1]} labels, one per column of X_f; got {labels.shape}")
    if teacher.shape != X_f.shape[:1] + labels.shape[1:]:
        raise ValueError(f"theta_t must have shape {X_f.shape[:1] + labels.shape[1:]}; got {teacher.shape}")
    return ridge(X_f, (1 - alpha) * labels + alpha * X_f.T @ teacher, lam)


# ---------------------------------------------------------------------------------------------- bias


def bias_operator(X_f: Like, X_t: Like, alpha: float, lam: float) -> Array:
    """B with E[eps] = B theta: B = -lambda (G_f + lambda I)^-1 (I + alpha G_f (G_t + lambda I)^-1), G = X X'.

    X_f (d, N_f) the student's samples, X_t (d, N_t) the teacher's; returns (d, d). The expectation of DKDP
    Eq. 4.
    """
    X_f, X_t = as_matrix("X_f", X_f), as_matrix("X_t", X_t)
    check_weights(lam, alpha)
    if len(X_f) != len(X_t):
        raise ValueError(f"X_f and X_t must have equally many features; got {len(X_f)} and {len(X_t)}")
    identity = np.eye(len(X_f))
    return -lam * _solve(X_f, lam, identity + alpha * X_f @ X_f.T @ _solve(X_t, lam, identity))


def student_bias(X_f: Like, X_t: Like, theta: Like, alpha: float, lam: float) -> Array:
    """E[eps] = E[theta_s] - theta in closed form, shape (d,)  (DKDP supplementary, proof of Theorem 1)."""
    B = bias_operator(X_f, X_t, alpha, lam)
    return B @ as_vector("theta", theta, len(B))


def bias_squared(X_f: Like, X_t: Like, theta: Like, alpha: float, lam: float) -> float:
    """||E[eps]||^2, the quantity that Theorem 1 compares."""
    return float(np.sum(student_bias(X_f, X_t, theta, alpha, lam) ** 2))


# ---------------------------------------------------------------------------------------------- variance


def noise_operator(X_t: Like, kept: Like, alpha: float, lam: float) -> Array:
    """W with eps - E[eps] = W eta: W = (G_f + lambda I)^-1 ((1 - alpha) X_f S' + alpha G_f R).

    X_f = X_t S are the columns `kept`, R = (G_t + lambda I)^-1 X_t; returns (d, N_t). The noise of a kept
    sample enters twice, through the student's label and through the teacher, so both parts are added before
    anything is squared.
    """
    X_t, X_f = _split(X_t, kept)
    check_weights(lam, alpha)
    inner = alpha * X_f @ X_f.T @ _solve(X_t, lam, X_t)
    inner[:, np.asarray(kept)] += (1 - alpha) * X_f
    return _solve(X_f, lam, inner)


def student_variance(X_t: Like, kept: Like, alpha: float, lam: float, sigma: float = 1.0) -> float:
    """E||eps - E[eps]||^2 = sigma^2 ||W||_F^2, the trace of the error's covariance; sigma is the noise."""
    if not 0 <= sigma < np.inf:
        raise ValueError(f"sigma must be a number of at least 0; got {sigma}")
    return float(sigma**2 * np.sum(noise_operator(X_t, kept, alpha, lam) ** 2))


class ErrorParts(NamedTuple):
    """Squared bias, variance and their sum E||theta_s - theta||^2."""

    bias_squared: float
    variance: float
    total: float


def total_error(X_t: Like, kept: Like, theta: Like, alpha: float, lam: float, sigma: float = 1.0) -> ErrorParts:
    """Bias and variance of a student on the columns `kept`, teacher on all of X_t, noise sigma."""
    X_t, X_f = _split(X_t, kept)
    bias = bias_squared(X_f, X_t, theta, alpha, lam)
    variance = student_variance(X_t, kept, alpha, lam, sigma)
    return ErrorParts(bias, variance, bias + variance)


@dataclass(frozen=True)
class MonteCarlo:
    """Means over noise draws with their standard errors (`_se`); `errors` are theta_s - theta, (d, draws)."""

    errors: Array
    bias: Array
    bias_se: Array
    variance: float
    variance_se: float
    total: float
    total_se: float


def monte_carlo(
    X_t: Like,
    kept: Like,
    theta: Like,
    alpha: float,
    lam: float,
    sigma: float,
    draws: int,
    rng: np.random.Generator,
) -> MonteCarlo:
    """Train `draws` teachers and students at once, each on labels with fresh noise; average their errors.

    Nothing of the closed form is used: the teacher is fitted to all columns of X_t, the student to `kept`
    with Eq. 4. Raises ValueError for fewer than 2 draws or sigma < 0 too.
    """
    X_t, X_f = _split(X_t, kept)
    truth = as_vector("theta", theta, len(X_t))
    if draws < 2 or not 0 <= sigma < np.inf:
        raise ValueError(f"draws must be at least 2 and sigma at least 0; got {draws} and {sigma}")
    y = (X_t.T @ truth)[:, None] + sigma * rng.standard_normal((X_t.shape[1], draws))
    errors = self_distil(X_f, y[np.asarray(kept)], ridge(X_t, y, lam), alpha, lam) - truth[:, None]
    bias = errors.mean(axis=1)
    spread = np.sum((errors - bias[:, None]) ** 2, axis=0) * draws / (draws - 1)
    square = np.sum(errors**2, axis=0)
    bias_se, spread_se, square_se = (v.std(axis=-1, ddof=1) / np.sqrt(draws) for v in (errors, spread, square))
    means = float(spread.mean()), float(spread_se), float(square.mean()), float(square_se)
    return MonteCarlo(errors, bias, bias_se, *means)


def break_even(X_t: Like, kept: Like, theta: Like, alpha: float, sigma: float, lams: Like) -> Array:
    """Penalties at which a student of KD weight `alpha` has the same total error as one without a teacher.

    lams (L,) increasing: between neighbours whose differences have opposite signs the root is found (Brent's method);
    returns the roots (R,), possibly none.
    """

    def gap(lam: float) -> float:
        with_teacher, without = (total_error(X_t, kept, theta, a, lam, sigma).total for a in (alpha, 0.0))
        return with_teacher - without

    grid = np.asarray(lams, dtype=np.float64)
    signs = np.sign([gap(lam) for lam in grid])
    return np.array([brentq(gap, grid[i], grid[i + 1]) for i in np.flatnonzero(signs[:-1] * signs[1:] < 0)])


# ---------------------------------------------------------------------------------------------- Theorem 1


def lemma1_gaps(X: Like, kept: Like) -> Array:
    """sigma_k(X) - sigma_k(X_f), k = 1..d, largest first; Lemma 1 (DKDP supplementary): none is negative.

    Columns Z add the positive semidefinite Z Z' to X_f X_f', which only raises its eigenvalues (Weyl).
    """
    full, part = (np.sqrt(np.maximum(np.linalg.eigvalsh(M @ M.T)[::-1], 0)) for M in _split(X, kept))
    return full - part


def teacher_effect(X: Like, kept: Like, theta: Like, alpha: float, lam: float) -> float:
    """Squared bias with a teacher on all of X, minus squared bias with a teacher on the kept samples only.

    Theorem 1 (DKDP Sec. 3.3) says: at most 0 for every X, theta and alpha.
    """
    X, X_f = _split(X, kept)
    return bias_squared(X_f, X, theta, alpha, lam) - bias_squared(X_f, X_f, theta, alpha, lam)


def violates_theorem(X: Like, kept: Like, theta: Like, alpha: float, lam: float) -> bool:
    """True where the larger teacher gives the larger squared bias, beyond rounding: Theorem 1 fails."""
    _, X_f = _split(X, kept)
    effect = teacher_effect(X, kept, theta, alpha, lam)
    return effect > ROUNDING * bias_squared(X_f, X_f, theta, alpha, lam)


def average_case(X: Like, kept: Like, alpha: float, lam: float) -> float:
    """Squared bias averaged over all directions of theta: teacher on all of X / teacher on kept samples.

    For isotropic theta, E||B theta||^2 is proportional to ||B||_F^2: no sampling is needed.
    """
    X, X_f = _split(X, kept)
    large, small = (np.sum(bias_operator(X_f, X_t, alpha, lam) ** 2) for X_t in (X, X_f))
    return float(large / small)


def worst_case(X: Like, kept: Like, alpha: float, lam: float) -> tuple[float, Array]:
    """The largest bias^2(teacher on all) / bias^2(teacher on kept) over theta, and a unit theta for it.

    It is the squared largest singular value of B_t B_f^-1; above 1, some theta violates Theorem 1 on this X.
    """
    X, X_f = _split(X, kept)
    B_t, B_f = (bias_operator(X_f, X_t, alpha, lam) for X_t in (X, X_f))
    _, values, right = np.linalg.svd(np.linalg.solve(B_f.T, B_t.T).T)
    theta = np.linalg.solve(B_f, right[0])
    return float(values[0] ** 2), theta / np.linalg.norm(theta)


def aligned_columns(X_f: Like, lengths: Like) -> Array:
    """New samples along the left singular vectors of X_f, the k-th of the given length; returns (d, d).

    Beside X_f they raise its singular values and leave its singular vectors where they are (u' = u): the
    case in which the paper's proof of Theorem 1 is exact.
    """
    X_f = as_matrix("X_f", X_f)
    vectors = np.linalg.eigh(X_f @ X_f.T)[1][:, ::-1]
    return np.asarray(vectors * as_vector("lengths", lengths, len(X_f)), dtype=np.float64)
