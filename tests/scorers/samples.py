"""Made-up signals of every kind, for the tests of scorers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from kdlib.scorers import SCORERS, Signals
from kdlib.scorers.signals import AXES

N, K = 40, 5


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def labels() -> np.ndarray:
    y = rng(3).integers(0, K - 1, N)
    y[0] = K - 1  # a class of one sample
    return y


def signals() -> Signals:
    g = rng()
    return Signals(
        correct=g.random((3, 6, N)) < 0.6,
        margin=g.normal(size=(3, 6, N)).astype(np.float32),
        error=g.random((3, 6, N)).astype(np.float32),
        early_probs=g.dirichlet(np.ones(K), (3, N)).astype(np.float32),
        late_probs=g.dirichlet(np.ones(K), (3, N)).astype(np.float32),
        grad_norm=g.random((2, N)),
        grad_norm_last=g.random((2, N)),
        embedding=g.normal(size=(N, 4)).astype(np.float32),
        subset_correct=g.random((20, N)) < 0.7,
        trained=g.random((20, N)) < 0.7,
        view_difficulty=g.random((3, N)),
        released=g.normal(size=N),
    )


def reordered(s: Signals, order: np.ndarray) -> Signals:
    axis = {name: axes.index("N") for name, axes in AXES.items() if "N" in axes}
    return dataclasses.replace(s, **{name: np.take(getattr(s, name), order, axis=a) for name, a in axis.items()})


# -- every entry of the registry


# name of the case -> scorer and options
ENTRIES: dict[str, tuple[str, dict[str, Any]]] = {name: (name, {}) for name in SCORERS} | {
    "difficulty over views": ("difficulty", {"views": 3}),
    "memorization, empty group 0": ("memorization", {"empty_group": "zero"}),
    "k-center from the centre": ("k_center", {"start": "centre"}),
    "first learned": ("epochs_to_learn", {"until": "first"}),
    "herding by argmax": ("herding", {"rule": "argmax"}),
    "el2n of the first three epochs": ("el2n_training", {"epochs": 3}),
}


def scores_of(case: str, s: Signals, y: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    name, options = ENTRIES[case]
    return SCORERS[name](s, y, generator, **options)
