"""Regenerate inputs from their JSON spec (numpy only; one primitive: uniform doubles from PCG64)."""

import numpy as np


def U(seed, shape):
    return np.random.Generator(np.random.PCG64(int(seed))).random(tuple(shape))


def make(s):
    if isinstance(s, list):
        return [make(x) for x in s]
    if "array" in s:
        return np.array(s["array"], dtype=s.get("dtype", "float64"))
    g, sh = s["gen"], list(s["shape"])
    if g == "normal":  # Box-Muller, cosine branch
        u = U(s["seed"], [2] + sh)
        x = np.sqrt(-2.0 * np.log1p(-u[0])) * np.cos(2.0 * np.pi * u[1])
        x = s.get("shift", 0.0) + s.get("scale", 1.0) * x
    elif g == "uniform":
        x = s["lo"] + (s["hi"] - s["lo"]) * U(s["seed"], sh)
    elif g == "integers":  # lo <= x < hi
        x = np.floor(s["lo"] + (s["hi"] - s["lo"]) * U(s["seed"], sh))
    elif g == "bernoulli":  # 1 with probability p
        x = (U(s["seed"], sh) < s["p"]).astype(np.int64)
    elif g == "perm":  # permutation of range(shape[0])
        x = np.argsort(U(s["seed"], sh), kind="stable")
    elif g == "cycle":  # 0,1,..,mod-1,0,1,...
        x = np.arange(sh[0]) % s["mod"]
    elif g == "const":
        x = np.full(sh, s["value"])
    else:
        raise ValueError(g)
    for p in s.get("post", []):
        x = {"relu": lambda a: np.maximum(a, 0.0), "abs": np.abs}[p](x)
    return np.ascontiguousarray(x.astype(s.get("dtype", "float64")))


def probe(a):
    """(l2, sum, probe, first six) of a flattened array; probe = sum_k a_k cos(0.1 (k+1))."""
    a = np.asarray(a, dtype=np.float64).ravel()
    return dict(
        l2=float(np.sqrt((a * a).sum())),
        sum=float(a.sum()),
        probe=float((a * np.cos(0.1 * np.arange(1, a.size + 1))).sum()),
        head=[float(v) for v in a[:6]],
    )


def model_fill(role, shape, bn_gain=1.0):
    """Order- and name-independent parameter fill for whole networks (float64).
    role: conv (weight; out, in/groups, kh, kw), linear (weight), bias, bn_weight, bn_bias, bn_mean, bn_var"""
    n = int(np.prod(shape))
    if role in ("conv", "linear"):
        seed = 7 + sum(int(d) * 101**k for k, d in enumerate(shape))
        return make(
            dict(gen="normal", seed=seed, shape=list(shape), scale=float(np.sqrt(2.0 / np.prod(shape[1:]))))
        )
    c = np.arange(n, dtype=np.float64)
    return {
        "bias": 0.05 * np.sin(0.7 * c + 0.3),
        "bn_weight": bn_gain * (1.0 + 0.3 * np.cos(0.9 * c)),
        "bn_bias": 0.1 * np.sin(1.3 * c + 0.5),
        "bn_mean": 0.05 * np.cos(0.4 * c + 0.2),
        "bn_var": 1.0 + 0.3 * np.sin(0.6 * c) ** 2,
    }[role]
