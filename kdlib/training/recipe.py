"""How a network is trained: the learning rate over time, the optimiser, sizes of steps and epochs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from kdlib.data.augment import AUGMENTATIONS
from kdlib.utils.errors import choose


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; the defaults are the digits recipe of the lessons.

    epochs:       passes over the kept samples
    batch_size:   largest number of samples in a step
    lr:           peak learning rate
    momentum:     of SGD (not Nesterov's); AdamW takes it as its first beta
    weight_decay: L2 penalty on every parameter (SGD), decoupled decay (AdamW)
    optimiser:    see OPTIMISERS
    schedule:     see SCHEDULES; `warmup` is the share of the training in which one_cycle rises, `milestones` the
                  epochs after which `steps` divides the rate by 10
    remainder:    "even" spreads the samples over an epoch's batches, "last" leaves a smaller last batch
    augment:      see AUGMENTATIONS
    precision:    of forward and backward pass (weights and their updates are float32 always); "auto" is bfloat16
                  on a GPU and float32 on a CPU
    budget:       "epochs" (both papers), or "steps": as many steps as `epochs` passes over all data would take;
                  milestones, warm-ups and schedules then scale with the longer training
    eval_every:   epochs between test accuracies (the last epoch always has one); it changes no result
    compile:      send the network through `torch.compile`
    Raises ValueError for values out of range and names that are not known.
    """

    epochs: int = 60
    batch_size: int = 64
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    optimiser: str = "sgd"
    schedule: str = "one_cycle"
    warmup: float = 0.2
    milestones: tuple[int, ...] = ()
    remainder: str = "even"
    augment: str = "none"
    precision: str = "auto"
    budget: str = "epochs"
    eval_every: int = 1
    compile: bool = False

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "eval_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.lr > 0 or not 0 <= self.momentum < 1 or self.weight_decay < 0 or not 0 <= self.warmup < 1:
            raise ValueError("need lr > 0, momentum in [0, 1), weight_decay >= 0 and warmup in [0, 1)")
        if any(milestone < 1 for milestone in self.milestones):
            raise ValueError(f"milestones are epochs from 1 on, got {list(self.milestones)}")
        choose("optimiser", self.optimiser, OPTIMISERS)
        choose("schedule", self.schedule, SCHEDULES)
        choose("remainder", self.remainder, dict.fromkeys(REMAINDERS))
        choose("augmentation", self.augment, AUGMENTATIONS)
        choose("precision", self.precision, dict.fromkeys(PRECISIONS))
        choose("budget", self.budget, dict.fromkeys(BUDGETS))

    def batches(self, count: int) -> list[slice]:
        """The batches of an epoch over `count` samples."""
        return batches(count, self.batch_size, self.remainder)

    def plan(self, kept: int, total: int) -> tuple[int, int]:
        """(epochs, steps in each) for `kept` of `total` samples."""
        per_epoch = len(self.batches(kept))
        if self.budget == "epochs":
            return self.epochs, per_epoch
        return -(-self.epochs * len(self.batches(total)) // per_epoch), per_epoch

    def rate(self, progress: float) -> float:
        """Learning rate at `progress`, the finished share of the whole training in (0, 1)."""
        return self.lr * SCHEDULES[self.schedule](self, progress)


def _one_cycle(recipe: Recipe, progress: float) -> float:
    return min(progress / recipe.warmup, 1.0) if progress < recipe.warmup else (1 - progress) / (1 - recipe.warmup)


def _stepwise(recipe: Recipe, progress: float) -> float:
    return 0.1 ** sum(progress * recipe.epochs > milestone for milestone in recipe.milestones)


def _cosine(recipe: Recipe, progress: float) -> float:
    return (1 + math.cos(math.pi * progress)) / 2


# name -> factor of the peak learning rate at `progress`, the finished share of the whole training in (0, 1)
SCHEDULES: dict[str, Callable[[Recipe, float], float]] = {
    "one_cycle": _one_cycle,
    "steps": _stepwise,
    "cosine": _cosine,
    "constant": lambda recipe, progress: 1.0,
}
REMAINDERS = ("even", "last")
BUDGETS = ("epochs", "steps")


def _sgd(parameters: Iterable[Tensor], recipe: Recipe, rate: float | Tensor) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay, fused=True)


def _adamw(parameters: Iterable[Tensor], recipe: Recipe, rate: float | Tensor) -> torch.optim.Optimizer:
    betas = (recipe.momentum, 0.999)
    return torch.optim.AdamW(parameters, lr=rate, betas=betas, weight_decay=recipe.weight_decay, fused=True)


OPTIMISERS: dict[str, Callable[[Iterable[Tensor], Recipe, float | Tensor], torch.optim.Optimizer]] = {
    "sgd": _sgd,
    "adamw": _adamw,
}
PRECISIONS = ("auto", "float32", "bfloat16")


def precision_used(precision: str, device: torch.device) -> str:
    """ "float32" or "bfloat16": what "auto" means on the device."""
    return precision if precision != "auto" else "bfloat16" if device.type == "cuda" else "float32"


def batches(count: int, size: int, remainder: str = "even") -> list[slice]:
    """Slices of `count` samples into batches of `size`.

    remainder: "even" (default) takes ceil(count / size) batches whose sizes differ by one at most; "last" leaves the
    rest in a smaller last batch, as a DataLoader does. A last batch of three samples can undo much of an epoch.
    Batch normalisation needs two samples: where a batch of one would be left (and `size` is not 1), there is one
    batch less.
    """
    number = -(-count // size)
    if remainder == "even":
        number = max(1, min(number, count // 2)) if size > 1 else number
        larger = count % number  # so many batches, the first ones, take one sample more
        edges = [i * (count // number) + min(i, larger) for i in range(number)]
    else:
        edges = [i * size for i in range(number)]
        if size > 1 and number > 1 and count - edges[-1] == 1:
            edges.pop()
    return [slice(a, b) for a, b in itertools.pairwise([*edges, count])]
