"""Wide residual networks (Zagoruyko & Komodakis 2016, arXiv 1605.07146): WRN-16-1, 16-2, 40-1, 40-2."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from kdlib.models.features import Features, Network
from kdlib.models.layers import conv3x3, kaiming_fan_out, strides


class PreactBlock(nn.Module):
    """Batch norm and ReLU before each 3x3 convolution; a widening block has a 1x1 convolution as shortcut."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(c_in)
        self.conv1 = conv3x3(c_in, c_out, stride)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.conv2 = conv3x3(c_out, c_out)
        # The map's size changes only where the width does too.
        self.shortcut = nn.Conv2d(c_in, c_out, 1, stride, bias=False) if c_in != c_out else None

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x))
        out = self.conv2(F.relu(self.bn2(self.conv1(active))))
        return out + (x if self.shortcut is None else self.shortcut(active))


class WideResNet(Network):
    """WRN-depth-width: three stages of (depth - 4) / 6 blocks, 16, 32 and 64 times `width` channels.

    Maps are the stem's convolution and each stage's sum: none has passed a ReLU, so they may be negative.
    `preact=True` gives each stage's map after the batch norm that follows it. In training mode that runs
    these batch norms a second time and so updates their running statistics twice, as the reference code does.
    Strides are dropped from the front where an 8x8 or smaller image leaves no room (see `strides`). Raises
    ValueError when depth is not 6n + 4 or the image is smaller than 4x4.
    """

    def __init__(self, num_classes: int, in_channels: int, image_size: int, *, depth: int, width: int) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(f"depth {depth} is not of the form 6n + 4; choose e.g. 10, 16, 22, 28, 40")
        widths = [16, 16 * width, 32 * width, 64 * width]
        self.conv = conv3x3(in_channels, widths[0])
        self.stages = nn.ModuleList()
        for (c_in, c_out), stride in zip(pairwise(widths), [1, *strides(2, image_size)], strict=True):
            later = (PreactBlock(c_out, c_out, 1) for _ in range((depth - 4) // 6 - 1))
            self.stages.append(nn.Sequential(PreactBlock(c_in, c_out, stride), *later))
        self.bn = nn.BatchNorm2d(widths[-1])
        self.head = nn.Linear(widths[-1], num_classes)
        nn.init.zeros_(self.head.bias)
        kaiming_fan_out(self)

    def next_norms(self) -> list[nn.BatchNorm2d]:
        """The batch norm that reads each stage's output: the next stage's first, and the final one."""
        firsts = [cast(PreactBlock, cast(nn.Sequential, stage)[0]) for stage in self.stages[1:]]
        return [*(block.bn1 for block in firsts), self.bn]

    def features(self, x: Tensor, preact: bool = False) -> Features:
        maps = [self.conv(x)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        embedding = F.relu(self.bn(maps[-1])).mean((2, 3))
        if preact:
            maps[1:] = [norm(m) for norm, m in zip(self.next_norms(), maps[1:], strict=True)]
        return Features(maps, embedding, self.head(embedding))
