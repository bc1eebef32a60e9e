"""ShuffleNetV1 (Zhang et al. 2018, arXiv 1707.01083) and V2 (Ma et al. 2018, arXiv 1807.11164), small images.

Both start with a 1x1 convolution of stride 1 in place of the ImageNet stem. Three stages, each halving the
map: at 32x32 the maps are 32 (stem), 16, 8 and 4 wide. On small images the first halvings are dropped (8x8:
8, 8, 4, 2).
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdlib.models.features import Features, Network
from kdlib.models.layers import channel_shuffle, conv_bn, run_stages, strides

STEM = 24


class UnitV1(nn.Module):
    """Grouped 1x1, channel shuffle, 3x3 per channel, grouped 1x1, shortcut; returns before its ReLU.

    A stage's first unit (`down`) appends an average pooling of its input instead of adding the input (Fig.
    2c).
    """

    def __init__(self, c_in: int, c_out: int, stride: int, groups: int, down: bool) -> None:
        super().__init__()
        c_new = c_out - c_in if down else c_out
        mid = c_new // 4
        self.groups = 1 if c_in == STEM else groups  # 24 channels are too few to divide (Sec. 3.2)
        self.reduce = conv_bn(c_in, mid, groups=self.groups)
        self.depthwise = conv_bn(mid, mid, 3, stride, groups=mid)
        self.expand = conv_bn(mid, c_new, groups=groups)
        self.pool = nn.AvgPool2d(3, stride, 1) if down else None

    def forward(self, x: Tensor) -> Tensor:
        out = channel_shuffle(F.relu(self.reduce(x)), self.groups)
        out = self.expand(F.relu(self.depthwise(out)))
        return out + x if self.pool is None else torch.cat([out, self.pool(x)], 1)


class ShuffleNetV1(Network):
    """ShuffleNet 1x with 3 groups: stages of 4, 8, 4 units and 240, 480, 960 channels (Table 1).

    Maps are after ReLU; `preact=True` gives the stages' before it. Raises ValueError below 4x4 pixels.
    """

    def __init__(self, num_classes: int, in_channels: int, image_size: int, *, groups: int = 3) -> None:
        super().__init__()
        widths, units = (STEM, 240, 480, 960), (4, 8, 4)
        self.stem = conv_bn(in_channels, STEM)
        self.stages = nn.ModuleList()
        for (c_in, c_out), count, stride in zip(pairwise(widths), units, strides(3, image_size), strict=True):
            later = (UnitV1(c_out, c_out, 1, groups, False) for _ in range(count - 1))
            self.stages.append(nn.ModuleList([UnitV1(c_in, c_out, stride, groups, True), *later]))
        self.head = nn.Linear(widths[-1], num_classes)

    def features(self, x: Tensor, preact: bool = False) -> Features:
        stem = F.relu(self.stem(x))
        before, after = run_stages(stem, self.stages)
        embedding = after[-1].mean((2, 3))
        return Features([stem, *(before if preact else after)], embedding, self.head(embedding))


class UnitV2(nn.Module):
    """Half of the channels pass untouched, half go through 1x1, 3x3 per channel, 1x1 (Fig. 3c).

    Returns (output after ReLU and shuffle, the same before both).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.reduce = conv_bn(half, half)
        self.depthwise = conv_bn(half, half, 3, groups=half)
        self.expand = conv_bn(half, half)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        kept, out = x.chunk(2, 1)
        out = self.expand(self.depthwise(F.relu(self.reduce(out))))
        shuffled = channel_shuffle(torch.cat([kept, F.relu(out)], 1), 2)
        return shuffled, torch.cat([kept, out], 1)


class DownUnitV2(nn.Module):
    """First unit of a stage: two branches that both halve the map, concatenated and shuffled (Fig. 3d)."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        half = c_out // 2
        self.left = nn.Sequential(conv_bn(c_in, c_in, 3, stride, groups=c_in), conv_bn(c_in, half), nn.ReLU())
        self.reduce = conv_bn(c_in, half)
        self.depthwise = conv_bn(half, half, 3, stride, groups=half)
        self.expand = conv_bn(half, half)

    def forward(self, x: Tensor) -> Tensor:
        right = F.relu(self.expand(self.depthwise(F.relu(self.reduce(x)))))
        return channel_shuffle(torch.cat([self.left(x), right], 1), 2)


class ShuffleNetV2(Network):
    """ShuffleNetV2 1x: stages of 116, 232, 464 channels (Table 5), a 1x1 convolution to 1024, linear head.

    Maps are each stage's shuffled output; `preact=True` gives the last unit's output before its ReLU, which
    is also before its shuffle, as in the reference code. Raises ValueError below 4x4 pixels.
    """

    def __init__(self, num_classes: int, in_channels: int, image_size: int) -> None:
        super().__init__()
        widths, units = (STEM, 116, 232, 464), (3, 7, 3)
        self.stem = conv_bn(in_channels, STEM)
        self.downs, self.stages = nn.ModuleList(), nn.ModuleList()
        for (c_in, c_out), count, stride in zip(pairwise(widths), units, strides(3, image_size), strict=True):
            self.downs.append(DownUnitV2(c_in, c_out, stride))
            self.stages.append(nn.ModuleList([UnitV2(c_out) for _ in range(count)]))
        self.last = conv_bn(widths[-1], 1024)
        self.head = nn.Linear(1024, num_classes)

    def features(self, x: Tensor, preact: bool = False) -> Features:
        x = F.relu(self.stem(x))
        maps = [x]
        for down, units in zip(self.downs, self.stages, strict=True):
            x = down(x)
            for unit in units:  # type: ignore[attr-defined]
                x, before = unit(x)
            maps.append(before if preact else x)
        embedding = F.relu(self.last(x)).mean((2, 3))
        return Features(maps, embedding, self.head(embedding))
