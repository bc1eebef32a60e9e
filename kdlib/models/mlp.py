"""A multilayer perceptron: the fastest student, used for the digits."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from kdlib.models.features import Features, Network


class MLP(Network):
    """Flatten, two hidden ReLU layers of `width` units, linear classifier: C*H*W - 128 - 128 - K.

    Maps are the two hidden layers as (B, width, 1, 1), so that every feature loss takes them. Raises
    ValueError for an empty image.
    """

    def __init__(self, num_classes: int, in_channels: int, image_size: int, *, width: int = 128) -> None:
        super().__init__()
        if image_size < 1:
            raise ValueError(f"image_size {image_size} is too small for a multilayer perceptron; use 1 or more")
        self.hidden1 = nn.Linear(in_channels * image_size * image_size, width)
        self.hidden2 = nn.Linear(width, width)
        self.head = nn.Linear(width, num_classes)

    def features(self, x: Tensor, preact: bool = False) -> Features:
        a1 = self.hidden1(x.flatten(1))
        a2 = self.hidden2(F.relu(a1))
        h2 = F.relu(a2)
        maps = [a1, a2] if preact else [F.relu(a1), h2]
        return Features([m[:, :, None, None] for m in maps], h2, self.head(h2))
