"""How a network is trained: schedule of the learning rate, sizes of steps and epochs. No training happens in this room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from kdlib.data.augment import AUGMENTATIONS
from kdlib.utils.errors import choose


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; defaults are the digits recipe of the lessons.

    `budget`: "epochs" passes over the kept samples `epochs` times (both papers), "steps" takes as many steps as that many
    epochs of the full data would. `schedule`: "one_cycle" (linear up over `warmup` of all steps, linear down to 0), "steps"
    (times 0.1 after each epoch in `milestones`), "constant". `eval_every`: epochs between test accuracies (the last epoch
    always has one). Weight decay acts on every parameter, momentum is not Nesterov's, the last partial batch is kept.
    `precision` of forward and backward pass; weights and their updates are float32 always. `compile`: by `torch.compile`.
    """

    epochs: int = 60
    batch_size: int = 64
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "one_cycle"
    warmup: float = 0.2
    milestones: tuple[int, ...] = ()
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
        choose("schedule", self.schedule, SCHEDULES)
        choose("augmentation", self.augment, AUGMENTATIONS)
        choose("precision", self.precision, PRECISIONS)
        choose("budget", self.budget, {"epochs": 0, "steps": 0})

    def plan(self, kept: int, total: int) -> tuple[int, int]:
        """(epochs, steps in each) for `kept` of `total` samples. A last batch of one sample joins the batch before."""
        per_epoch = len(batches(kept, self.batch_size))
        if self.budget == "epochs":
            return self.epochs, per_epoch
        return -(-self.epochs * len(batches(total, self.batch_size)) // per_epoch), per_epoch


def _one_cycle(recipe: Recipe, progress: float, epoch: int) -> float:
    return min(progress / recipe.warmup, 1.0) if progress < recipe.warmup else (1 - progress) / (1 - recipe.warmup)


def _stepwise(recipe: Recipe, progress: float, epoch: int) -> float:
    return 0.1 ** sum(epoch > milestone for milestone in recipe.milestones)


SCHEDULES: dict[str, Callable[[Recipe, float, int], float]] = {
    "one_cycle": _one_cycle,
    "steps": _stepwise,
    "constant": lambda recipe, progress, epoch: 1.0,
}
PRECISIONS: dict[str, torch.dtype | None] = {"auto": None, "float32": torch.float32, "bfloat16": torch.bfloat16}


def batches(count: int, size: int) -> list[slice]:
    """Slices of at most `size`, the last partial one kept; a single left-over sample joins its neighbour (batch norm)."""
    starts = list(range(0, count, size))
    if len(starts) > 1 and count - starts[-1] == 1:
        starts.pop()
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], count], strict=True)]
