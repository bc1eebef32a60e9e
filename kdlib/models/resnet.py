"""CIFAR ResNets: ResNet-8 ... ResNet-110 and the four times wider 8x4 and 32x4.

He et al. 2016, Sec. 4.2 (arXiv 1512.03385), in the shape that the distillation literature trains: projection
(1x1 convolution) shortcuts where the shape changes, so ResNet-20 has 272,474 parameters for 10 classes, not
269,722.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from kdlib.models.features import Features, Network, kaiming_fan_out, strides


def conv3x3(c_in: int, c_out: int, stride: int = 1) -> nn.Conv2d:
    """3x3 convolution that keeps the map's size (or halves it), without bias: a batch norm follows."""
    return nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut; returns the sum before its ReLU."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(c_in, c_out, stride)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = conv3x3(c_out, c_out)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or c_in != c_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        return self.bn2(self.conv2(out)) + self.shortcut(x)


def run_stages(x: Tensor, stages: nn.ModuleList) -> tuple[list[Tensor], list[Tensor]]:
    """Each stage's last sum before and after its ReLU: (sums, maps)."""
    sums, maps = [], []
    for stage in stages:
        assert isinstance(stage, nn.ModuleList)
        for block in stage:
            before = block(x)
            x = F.relu(before)
        sums.append(before)
        maps.append(x)
    return sums, maps


class ResNet(Network):
    """Stem and three stages of (depth - 2) / 6 basic blocks; widths = (stem, stage 1, stage 2, stage 3).

    Maps at 32x32: stem 32x32, then 32x32, 16x16, 8x8, all after ReLU. Small images: 8x8 gives 8, 8, 4, 2;
    below that the first strides are dropped (see `strides`). The last pooling is a mean over whatever map is
    left. Raises ValueError when depth is not 6n + 2 or the image is smaller than 4x4.
    """

    def __init__(
        self, num_classes: int, in_channels: int, image_size: int, *, depth: int, widths: Sequence[int]
    ) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(
                f"depth {depth} is not of the form 6n + 2; choose e.g. 8, 14, 20, 32, 44, 56, 110"
            )
        blocks = (depth - 2) // 6
        self.conv = conv3x3(in_channels, widths[0])
        self.bn = nn.BatchNorm2d(widths[0])
        self.stages = nn.ModuleList()
        for (c_in, c_out), stride in zip(pairwise(widths), [1, *strides(2, image_size)], strict=True):
            first = BasicBlock(c_in, c_out, stride)
            self.stages.append(
                nn.ModuleList([first, *(BasicBlock(c_out, c_out, 1) for _ in range(blocks - 1))])
            )
        self.head = nn.Linear(widths[-1], num_classes)
        kaiming_fan_out(self)

    def features(self, x: Tensor, preact: bool = False) -> Features:
        stem = F.relu(self.bn(self.conv(x)))
        sums, maps = run_stages(stem, self.stages)
        embedding = maps[-1].mean((2, 3))
        return Features([stem, *(sums if preact else maps)], embedding, self.head(embedding))
