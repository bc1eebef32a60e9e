"""Networks by name: `build("resnet20", num_classes=10, in_channels=3, image_size=32)`.

To add a network: write a `Network` with `features` in a file of its family and add one entry to MODELS.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from kdlib.errors import choose
from kdlib.models.features import Features, Network, parameters_count
from kdlib.models.mlp import MLP
from kdlib.models.resnet import ResNet

__all__ = ["MODELS", "Features", "Network", "build", "parameters_count"]

THIN = (16, 16, 32, 64)
WIDE = (32, 64, 128, 256)

# name -> constructor(num_classes, in_channels, image_size)
MODELS: dict[str, Callable[[int, int, int], Network]] = {
    "mlp": MLP,
    "resnet8": partial(ResNet, depth=8, widths=THIN),
    "resnet14": partial(ResNet, depth=14, widths=THIN),
    "resnet20": partial(ResNet, depth=20, widths=THIN),
    "resnet32": partial(ResNet, depth=32, widths=THIN),
    "resnet44": partial(ResNet, depth=44, widths=THIN),
    "resnet56": partial(ResNet, depth=56, widths=THIN),
    "resnet110": partial(ResNet, depth=110, widths=THIN),
    "resnet8x4": partial(ResNet, depth=8, widths=WIDE),
    "resnet32x4": partial(ResNet, depth=32, widths=WIDE),
}


def build(name: str, num_classes: int, in_channels: int, image_size: int, seed: int = 0) -> Network:
    """The network `name` for (in_channels, image_size, image_size) images, its weights drawn from `seed`.

    The same seed gives the same weights, and torch's global generator is left as it was. Raises ValueError
    for an unknown name (naming the nearest), a class or channel count below 1, or an image too small for the
    network.
    """
    make = choose("model", name, MODELS)
    for what, count in (("num_classes", num_classes), ("in_channels", in_channels)):
        if count < 1:
            raise ValueError(f"{what} is {count}; it must be 1 or more")
    with torch.random.fork_rng(devices=[]):  # torch's initialisers only draw from the global generator
        torch.manual_seed(seed)
        return make(num_classes, in_channels, image_size)
