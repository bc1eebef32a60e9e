"""Scores from predicted probabilities at one point of training: errors, difficulty, uncertainty.

`probs` is (..., N, K) with any axes in front (runs, epochs, views); a score is the mean over them, (N,).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Labels = NDArray[np.integer]


def error_norms(probs: Floats, labels: Labels) -> NDArray[np.float64]:
    """||p - onehot(y)||_2 for every row, (..., N), each between 0 and sqrt(2)."""
    return np.sqrt(np.square(_error(probs, labels)).sum(axis=-1))


def _error(probs: Floats, labels: Labels) -> NDArray[np.float64]:
    """p - onehot(y), (..., N, K)."""
    error = np.array(probs, dtype=np.float64)
    error[..., np.arange(len(labels)), labels] -= 1.0
    return error


def el2n(probs: Floats, labels: Labels) -> NDArray[np.float64]:
    """Error L2 norm: E ||p - onehot(y)||_2 over runs (and epochs, if several), (N,).

    probs: (..., N, K), early in training: `signals.early_probs`. Late in
    training nearly all errors are close to 0. Paul et al. 2021, "Deep learning on a data diet", Definition
    2.2.
    """
    return _mean(error_norms(probs, labels))


def l1_error(probs: Floats, labels: Labels) -> NDArray[np.float64]:
    """E ||p - onehot(y)||_1 = 2 (1 - E p_y), (N,), in [0, 2].

    probs: (..., N, K). One of the other error scores in the code of Paul et al. 2021, "Deep learning on a data diet".
    """
    return _mean(np.abs(_error(probs, labels)).sum(axis=-1))


def sum_margin(probs: Floats, labels: Labels) -> NDArray[np.float64]:
    """E sum_{k != y} (p_k - p_y) = 1 - K E p_y, (N,), in [1 - K, 1].

    The summed margin in the code of "Deep learning on a data diet". It is a rising function of `l1_error`, so both rank
    the samples alike: by the mean probability of the label.
    """
    return _mean(_label_margins(probs, labels).sum(axis=-1))


def max_margin(probs: Floats, labels: Labels) -> NDArray[np.float64]:
    """E [max_{k != y} p_k - p_y], (N,), in [-1, 1]: above 0 where another class wins.

    The largest margin in the code of "Deep learning on a data diet". Raises ValueError for fewer than 2 classes.
    """
    return _mean(_label_margins(probs, labels).max(axis=-1))


def _label_margins(probs: Floats, labels: Labels) -> NDArray[np.float64]:
    """p_k - p_y over the other classes k, (..., N, K - 1)."""
    p = np.asarray(probs, dtype=np.float64)
    if p.shape[-1] < 2:
        raise ValueError("a margin between classes needs at least 2 classes; choose el2n or a dataset with more")
    others = np.arange(p.shape[-1]) != np.asarray(labels)[:, None]  # (N, K)
    own = p[..., np.arange(len(labels)), labels]
    return p[..., others].reshape(*p.shape[:-1], -1) - own[..., None]


def difficulty(logits: Floats, labels: Labels) -> NDArray[np.float64]:
    """Cross-entropy of a trained teacher, d = log sum_k exp z_k - z_y in nats, (N,).

    logits: (..., N, K); leading axes are averaged over, so that (V, N, K) is the mean over V augmented views
    and (N, K) the clean image. Float64 throughout: a good teacher is right by so much that float32
    probabilities tie. "Medium-difficulty samples constitute smoothed decision boundary ...", Eq. 3.
    """
    z = np.asarray(logits, dtype=np.float64)
    z = z - z.max(axis=-1, keepdims=True)
    return _mean(_log_sum_exp_minus_label(z, labels))


def _log_sum_exp_minus_label(z: NDArray[np.float64], labels: Labels) -> NDArray[np.float64]:
    """log(1 + sum_{k != y} exp(z_k - z_y)): keeps its digits where the label's probability rounds to 1."""
    rows = np.arange(len(labels))
    own = z[..., rows, labels]
    others = np.exp(z)
    others[..., rows, labels] = 0.0
    rest = others.sum(axis=-1)
    confident = own > np.log(np.maximum(rest, 1e-300))  # z <= 0, so the exponential below cannot overflow
    ratio = rest * np.exp(-np.where(confident, own, 0.0))
    return np.where(confident, np.log1p(ratio), np.log(rest + np.exp(own)) - own)


def difficulty_from_probs(probs: Floats, labels: Labels) -> NDArray[np.float64]:
    """`difficulty` from softmax probabilities (..., N, K): -log p_y, taken as log1p of the others' odds.

    A float32 p_y that rounds to 1 still leaves its others' tiny probabilities to rank by. A p_y that
    underflowed to 0 counts as the dtype's smallest positive number, so the score stays finite (about 103 nats
    in float32).
    """
    probs = np.asarray(probs)
    floor = float(np.finfo(probs.dtype).smallest_subnormal)
    others = probs.astype(np.float64)
    rows = np.arange(len(labels))
    own = np.maximum(others[..., rows, labels], floor)
    others[..., rows, labels] = 0.0
    return _mean(np.log1p(others.sum(axis=-1) / own))


def entropy(probs: Floats) -> NDArray[np.float64]:
    """Entropy of the prediction, -sum_k p_k log p_k in nats, (N,), in [0, log K]; 0 log 0 = 0. Needs no label.

    An uncertainty score of active learning (Settles 2009, "Active learning literature survey", Sec. 3.1), as are
    `least_confidence` and `margin`. DeepCore's code ranks entropy and margin the other way round, keeping the certain
    samples: that is our `centre=0`.
    """
    p = np.asarray(probs, dtype=np.float64)
    return _mean(-(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=-1))


def least_confidence(probs: Floats) -> NDArray[np.float64]:
    """1 - max_k p_k, (N,), in [0, 1 - 1/K]. Needs no label. DeepCore's code takes minus the largest logit instead."""
    return _mean(1.0 - np.asarray(probs, dtype=np.float64).max(axis=-1))


def margin(probs: Floats) -> NDArray[np.float64]:
    """Minus the gap between the two largest probabilities, (N,), in [-1, 0]; higher = less certain. Needs no label.

    The margin to the label over training is `kdlib.scorers.dynamics.aum`. Raises ValueError for fewer than 2 classes.
    """
    p = np.asarray(probs, dtype=np.float64)
    if p.shape[-1] < 2:
        raise ValueError("margin needs at least 2 classes; choose another scorer or a dataset with more")
    second, first = np.moveaxis(np.partition(p, -2, axis=-1)[..., -2:], -1, 0)
    return _mean(second - first)


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values.reshape(-1, values.shape[-1]).mean(axis=0)
