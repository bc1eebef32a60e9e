"""Regenerate inputs from their JSON spec (numpy only; one primitive: uniform doubles from PCG64)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

POST: dict[str, Callable[[np.ndarray], np.ndarray]] = {"relu": lambda a: np.maximum(a, 0.0), "abs": np.abs}


def U(seed: int, shape: Sequence[int]) -> np.ndarray:
    """Uniform doubles in [0, 1)."""
    return np.random.Generator(np.random.PCG64(int(seed))).random(tuple(shape))


def generate(s: dict[str, Any]) -> np.ndarray:
    """One generated array, before its `post` steps and its cast."""
    g, sh = s["gen"], list(s["shape"])
    if g == "normal":  # Box-Muller, cosine branch
        u = U(s["seed"], [2, *sh])
        x = np.sqrt(-2.0 * np.log1p(-u[0])) * np.cos(2.0 * np.pi * u[1])
        return s.get("shift", 0.0) + s.get("scale", 1.0) * x
    if g == "uniform":
        return s["lo"] + (s["hi"] - s["lo"]) * U(s["seed"], sh)
    if g == "integers":  # lo <= x < hi
        return np.floor(s["lo"] + (s["hi"] - s["lo"]) * U(s["seed"], sh))
    if g == "bernoulli":  # 1 with probability p
        return (U(s["seed"], sh) < s["p"]).astype(np.int64)
    if g == "perm":  # permutation of range(shape[0])
        return np.argsort(U(s["seed"], sh), kind="stable")
    if g == "cycle":  # 0, 1, .., mod-1, 0, 1, ...
        return np.arange(sh[0]) % s["mod"]
    if g == "const":
        return np.full(sh, s["value"])
    raise ValueError(f"unknown generator {g!r}")


def make(s: Any) -> Any:
    """The array of a spec, or the list of arrays of a list of specs."""
    if isinstance(s, list):
        return [make(x) for x in s]
    if "array" in s:
        return np.array(s["array"], dtype=s.get("dtype", "float64"))
    x = generate(s)
    for p in s.get("post", []):
        x = POST[p](x)
    return np.ascontiguousarray(x.astype(s.get("dtype", "float64")))


def probe(a: Any) -> dict[str, Any]:
    """(l2, sum, probe, first six) of a flattened array; probe = sum_k a_k cos(0.1 (k+1))."""
    a = np.asarray(a, dtype=np.float64).ravel()
    return {
        "l2": float(np.sqrt((a * a).sum())),
        "sum": float(a.sum()),
        "probe": float((a * np.cos(0.1 * np.arange(1, a.size + 1))).sum()),
        "head": [float(v) for v in a[:6]],
    }


def model_fill(role: str, shape: Sequence[int], bn_gain: float = 1.0) -> np.ndarray:
    """Order- and name-independent parameter fill for whole networks (float64).

    role: conv (weight; out, in/groups, kh, kw), linear (weight), bias, bn_weight, bn_bias, bn_mean, bn_var
    """
    n = int(np.prod(shape))
    if role in ("conv", "linear"):
        seed = 7 + sum(int(d) * 101**k for k, d in enumerate(shape))
        scale = float(np.sqrt(2.0 / np.prod(shape[1:])))
        return make({"gen": "normal", "seed": seed, "shape": list(shape), "scale": scale})
    c = np.arange(n, dtype=np.float64)
    return {
        "bias": 0.05 * np.sin(0.7 * c + 0.3),
        "bn_weight": bn_gain * (1.0 + 0.3 * np.cos(0.9 * c)),
        "bn_bias": 0.1 * np.sin(1.3 * c + 0.5),
        "bn_mean": 0.05 * np.cos(0.4 * c + 0.2),
        "bn_var": 1.0 + 0.3 * np.sin(0.6 * c) ** 2,
    }[role]
