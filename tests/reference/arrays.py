"""The small functions of arrays that the formulas are written with."""

from __future__ import annotations

from typing import Any

import numpy as np

Case = dict[str, Any]
Inputs = dict[str, Any]
Array = np.ndarray


def log_softmax(z: Array) -> Array:
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def softmax(z: Array) -> Array:
    return np.exp(log_softmax(z))


def kl(log_p: Array, log_q: Array) -> Array:
    """KL(q || p) of each row."""
    return (np.exp(log_q) * (log_q - log_p)).sum(-1)


def unit(x: Array, axis: int = 1) -> Array:
    return x / np.maximum(np.sqrt((x * x).sum(axis, keepdims=True)), 1e-12)


def std(x: Array) -> Array:
    return x.std(1, ddof=1, keepdims=True)


def pool(a: Array, b: Array) -> tuple[Array, Array]:
    """Block means of the larger of two square maps, whose sides divide."""
    side = min(a.shape[2], b.shape[2])

    def shrink(x: Array) -> Array:
        k = x.shape[2] // side
        return x.reshape(*x.shape[:2], side, k, side, k).mean((3, 5))

    return shrink(a), shrink(b)


def mean_ce(logits: Array, labels: Array) -> float:
    return -log_softmax(logits)[np.arange(len(labels)), labels].mean()
