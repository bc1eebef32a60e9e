"""Small data, networks and a teacher for the tests of the training loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.conventional import one_cycle
from kdlib.losses import cross_entropy
from kdlib.models import build
from kdlib.training.logit_cache import LogitCache
from kdlib.training.loop import train
from kdlib.training.recipe import Recipe
from tests.plain import CLASSES, Smooth, small_data

DATA = small_data()


KEEP = np.flatnonzero(np.random.default_rng(1).random(60) < 0.8)  # 46 of 60


ONE_STEP = Recipe(
    epochs=1, batch_size=64, lr=1.0, momentum=0, weight_decay=0, schedule="constant", augment="crop_flip"
)  # the weights then move by exactly the gradient


STEPS = Recipe(
    epochs=3, batch_size=16, lr=0.05, schedule="one_cycle", augment="crop_flip"
)  # 3 steps an epoch, the last of 14


STUDENTS = {"smooth": 1e-5, "mlp": 1e-4, "resnet8": 1e-2}


"""Student -> tolerance of one step's gradient, relative to each tensor's largest value (see `Smooth`)."""


DRIFT = 20  # times that after the nine steps of `STEPS`


def network(name: str = "resnet8", seed: int = 0) -> nn.Module:
    return Smooth(CLASSES, 3, 8, seed) if name == "smooth" else build(name, CLASSES, 3, 8, seed=seed)


def teacher(name: str = "resnet8") -> nn.Module:
    """A frozen network with statistics of its own: a few steps on the data, then eval mode."""
    found = network(name, seed=99)
    train(found, DATA, np.arange(60), dataclasses.replace(STEPS, epochs=2), seed=5, loss=cross_entropy, device="cpu")
    return found.requires_grad_(False).eval()


TEACHER = teacher()


SMOOTH_TEACHER = teacher("smooth")


KINKS = dict.fromkeys(("fsp", "fitnets", "ab", "ft", "vid"), 1e-2)  # a ReLU in the student or in the loss


def fresh_cache(model: nn.Module = TEACHER, augment: str = "crop_flip", folder: Path | None = None) -> LogitCache:
    return LogitCache(model, DATA, augment, folder)


def schedule_of(steps: int, epochs: int) -> Callable[[int, int], float]:
    """One cycle over `epochs` epochs of `steps` steps, as the factor of the learning rate."""
    return lambda epoch, step: one_cycle((epoch * steps + step + 0.5) / (epochs * steps))


def same_state(left: nn.Module, right: nn.Module, tolerance: float) -> None:
    """Equal weights and batch norm statistics; the tolerance is relative to each tensor's largest value (or 0.1)."""
    for (name, a), b in zip(left.state_dict().items(), right.state_dict().values(), strict=True):
        a, b = a.double(), b.double()
        worst = float((a - b).abs().max()) if a.numel() else 0.0
        assert worst <= 2e-6 + tolerance * max(float(b.abs().max()), 0.1), f"{name} differs by {worst:g}"


def identical(left: nn.Module, right: nn.Module) -> bool:
    pairs = zip(left.state_dict().values(), right.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


# -- one step: loss and gradient


def logit_objective(loss: Callable, source: nn.Module | None) -> Callable:
    def objective(model: nn.Module, x: Tensor, labels: Tensor, positions: np.ndarray) -> tuple[Tensor, Tensor]:
        logits = model(x)
        with torch.no_grad():
            soft = None if source is None else source(x)
        return logits, loss(logits, soft, labels).mean()

    return objective
