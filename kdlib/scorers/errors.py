"""Scores from predicted probabilities at one point of training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def el2n(probs: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Error L2 norm ||p - onehot(y)||_2, averaged over every leading axis; (N,), between 0 and sqrt(2).

    probs: (..., N, K), typically (runs, N, K) early in training; labels: (N,).
    Paul et al. 2021, "Deep learning on a data diet", Definition 2.2.
    """
    error = np.array(probs, dtype=np.float64)
    rows = np.arange(len(labels))
    error[..., rows, labels] -= 1.0
    norms = np.sqrt(np.square(error).sum(axis=-1))
    return norms.reshape(-1, len(labels)).mean(axis=0)
