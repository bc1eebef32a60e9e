"""Training written out plainly, one image and one step at a time: what the engine is compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from kdlib.data.augment import AUGMENTATIONS
from kdlib.data.datasets import Dataset, make_dataset
from kdlib.models import Features, Network
from kdlib.training.recipe import Recipe
from kdlib.utils import seeds

CLASSES = 5


def small_data(train: int = 60, test: int = 20, channels: int = 3, size: int = 8) -> Dataset:
    """Noise images with a class-dependent brightness, so that there is something to learn."""
    rng = np.random.default_rng(0)

    def part(count: int) -> tuple[np.ndarray, np.ndarray]:
        y = np.arange(count) % CLASSES
        x = rng.integers(0, 120, (count, channels, size, size)) + 30 * y[:, None, None, None]
        return x.astype(np.uint8), y

    return make_dataset("small", part(train), part(test), [str(c) for c in range(CLASSES)])


class Smooth(Network):
    """Two convolutions with batch norm and tanh, the second with stride 2.

    Without kinks its gradient is exact to float rounding. In a ReLU network one activation that rounding moves across 0
    changes the gradient by a thousandth, in one of a few steps.
    """

    def __init__(self, num_classes: int, in_channels: int, image_size: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.conv1, self.bn1 = nn.Conv2d(in_channels, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
            self.conv2, self.bn2 = nn.Conv2d(6, 10, 3, 2, 1), nn.BatchNorm2d(10)
            self.head = nn.Linear(10, num_classes)

    def features(self, x: Tensor, preact: bool = False) -> Features:
        first = torch.tanh(self.bn1(self.conv1(x)))
        second = torch.tanh(self.bn2(self.conv2(first)))
        embedding = second.mean((2, 3))
        return Features([first, second], embedding, self.head(embedding))


def view(image: np.ndarray, view_id: int, augment: str) -> np.ndarray:
    """One view (C,H,W) of one image by slicing."""
    chosen, size = AUGMENTATIONS[augment], image.shape[-1]
    offset, flip = divmod(view_id, 2) if chosen.flip else (view_id, 0)
    pad = chosen.pad(size)
    top, left = divmod(offset, 2 * pad + 1)
    padded = np.pad(image, ((0, 0), (pad, pad), (pad, pad)))
    cut = padded[:, top : top + size, left : left + size]
    return cut[:, :, ::-1] if flip else cut


def images(data: Dataset, ids: np.ndarray, views: np.ndarray, augment: str) -> Tensor:
    """Normalised float32 (B,C,H,W)."""
    x = np.stack([view(data.train_x[i].numpy(), v, augment) for i, v in zip(ids, views, strict=True)])
    mean, std = (np.array(s)[:, None, None] for s in (data.mean, data.std))
    return torch.from_numpy(((x / 255 - mean) / std).astype(np.float32))


def presentation(seed: int, epoch: int, keep: np.ndarray, data: Dataset, augment: str) -> tuple[np.ndarray, np.ndarray]:
    """Positions in `keep` and view ids, in the order of the epoch: the documented streams of the seed."""
    positions = seeds.stream(seed, "order", epoch).permutation(len(keep))
    drawn = AUGMENTATIONS[augment].draw(seeds.stream(seed, "augment", epoch), data.image_shape[1], len(data.train_y))
    return positions, drawn[keep[positions]]


@dataclass
class Plain:
    """Losses of the epochs, and for every epoch and sample the training logits at its presentation (E, N, K)."""

    losses: list[float] = field(default_factory=list)
    logits: list[np.ndarray] = field(default_factory=list)


Objective = Callable[[nn.Module, Tensor, Tensor, np.ndarray], tuple[Tensor, Tensor]]
"""(model, images, labels, positions) -> logits (B, K), scalar loss."""


def train_plainly(
    model: nn.Module,
    data: Dataset,
    keep: np.ndarray,
    recipe: Recipe,
    seed: int,
    objective: Objective,
    rate: Callable[[int, int], float] = lambda epoch, step: 1.0,
    also: nn.Module | None = None,
) -> Plain:
    """SGD over nearly equal parts of the epoch's order; `also` is trained along; `rate(epoch, step)`: factor of lr."""
    parameters = [*model.parameters(), *(also.parameters() if also else [])]
    optimiser = torch.optim.SGD(
        parameters, recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay, foreach=False
    )
    found = Plain()
    model.train()
    for epoch in range(recipe.epochs):
        positions, views = presentation(seed, epoch, keep, data, recipe.augment)
        total, seen = 0.0, np.full((len(data.train_y), CLASSES), np.nan)
        for step, part in enumerate(np.array_split(np.arange(len(keep)), -(-len(keep) // recipe.batch_size))):
            ids = keep[positions[part]]
            x, labels = images(data, ids, views[part], recipe.augment), data.train_y[torch.from_numpy(ids)]
            logits, loss = objective(model, x, labels, positions[part])
            optimiser.param_groups[0]["lr"] = recipe.lr * rate(epoch, step)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item() * len(ids)
            seen[ids] = logits.detach().numpy()
        found.losses.append(total / len(keep))
        found.logits.append(seen)
    return found
