"""Spoilt training sets: wrong labels and unequal classes. The test part is never touched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from kdlib.data.core import Dataset, file_names
from kdlib.utils import seeds


def with_label_noise(data: Dataset, rate: float, seed: int) -> Dataset:
    """Give each training sample, with probability `rate` in [0,1], another class drawn uniformly; the test part stays clean."""
    if data.is_regression:
        raise ValueError(f"label noise changes classes, and {data.name} has none; choose a dataset with classes")
    if not 0 <= rate <= 1:
        raise ValueError(f"label noise rate must lie in [0, 1], got {rate}")
    rng, k = seeds.stream(seed, "noise"), data.num_classes
    wrong = rng.random(len(data.train_y)) < rate
    shift = rng.integers(1, k, size=len(data.train_y)) * wrong
    return replace(data, name=f"{data.name}+noise{rate:g}", train_y=(data.train_y + torch.from_numpy(shift)) % k)


def imbalance_rates(num_classes: int, ratio: float) -> np.ndarray:
    """Sampling rates (K,) that fall linearly from 1 for class 0 to 1 / ratio for the last class.

    With 100 classes and ratio 100 they are 100%, 99%, ..., 1%: the imbalanced CIFAR-100 of "Medium-difficulty samples
    constitute smoothed decision boundary ...", Appendix A.6 and Table 11. Raises ValueError for fewer than 2 classes
    and for a ratio that is not a finite number of at least 1.
    """
    if num_classes < 2:
        raise ValueError(f"imbalance needs at least 2 classes, got {num_classes}; choose a dataset with classes")
    if not (math.isfinite(ratio) and ratio >= 1):
        raise ValueError(f"imbalance, the largest class over the smallest, must be a number of at least 1, got {ratio}")
    return np.linspace(1.0, 1.0 / ratio, num_classes)


def with_imbalance(data: Dataset, rates: Sequence[float] | np.ndarray, seed: int) -> Dataset:
    """Keep the share `rates[c]` in (0,1] of the training samples of class c, at least one; the test part stays as it is."""
    if len(rates) != data.num_classes or not all(0 < r <= 1 for r in rates):
        raise ValueError(f"imbalance needs {data.num_classes} rates in (0, 1], one for each class")
    rng = seeds.stream(seed, "noise", 1)
    rows = []
    for label, rate in enumerate(rates):
        members = torch.nonzero(data.train_y == label).flatten().numpy()
        rows.append(rng.permutation(members)[: max(1, round(rate * len(members)))])
    kept = torch.zeros(len(data.train_y), dtype=torch.bool)
    kept[np.concatenate(rows)] = True
    train_files, other_files = file_names(data.train_files, kept, data.other_files)
    return replace(
        data,
        name=f"{data.name}+imbalance",
        train_x=data.train_x[kept],
        train_y=data.train_y[kept],
        train_files=train_files,
        other_files=other_files,
    )
