"""VGG-8, -11, -13, -16 and -19 with batch norm, for small images (Simonyan & Zisserman 2015, arXiv 1409.1556)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from kdlib.models.features import Features, Network
from kdlib.models.layers import kaiming_fan_out, strides

WIDTHS = (64, 128, 256, 512, 512)


class VGG(Network):
    """Five stages of 3x3 convolutions (with bias) and batch norms; convs = convolutions per stage.

    A 2x2 max pooling stands before stages 2, 3 and 4, and before stage 5 only from 64x64 up: at 32x32 the
    maps are 32, 16, 8, 4, 4 wide. Poolings are dropped from the front on small images (8x8: 8, 8, 4, 2, 2).
    The classifier is one linear layer on the mean of the last map. Raises ValueError below 4x4.
    """

    def __init__(self, num_classes: int, in_channels: int, image_size: int, *, convs: Sequence[int]) -> None:
        super().__init__()
        self.pools = [1, *strides(3, image_size), 2 if image_size >= 64 else 1]
        self.stages = nn.ModuleList()
        for (c_in, c_out), count in zip(pairwise((in_channels, *WIDTHS)), convs, strict=True):
            self.stages.append(self.stage(c_in, c_out, count))
        self.head = nn.Linear(WIDTHS[-1], num_classes)
        kaiming_fan_out(self)
        nn.init.normal_(self.head.weight, 0.0, 0.01)
        nn.init.zeros_(self.head.bias)

    @staticmethod
    def stage(c_in: int, c_out: int, count: int) -> nn.Sequential:
        """`count` times convolution and batch norm, with ReLUs between them and none after the last."""
        layers: list[nn.Module] = [nn.Conv2d(c_in, c_out, 3, padding=1), nn.BatchNorm2d(c_out)]
        for _ in range(count - 1):
            layers += [nn.ReLU(), nn.Conv2d(c_out, c_out, 3, padding=1), nn.BatchNorm2d(c_out)]
        return nn.Sequential(*layers)

    def features(self, x: Tensor, preact: bool = False) -> Features:
        before, after = [], []
        for pool, stage in zip(self.pools, self.stages, strict=True):
            before.append(stage(F.max_pool2d(x, pool) if pool > 1 else x))
            x = F.relu(before[-1])
            after.append(x)
        embedding = x.mean((2, 3))
        return Features([after[0], *(before if preact else after)[1:]], embedding, self.head(embedding))
