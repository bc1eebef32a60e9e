"""MobileNetV2 for small images (Sandler et al. 2018, arXiv 1801.04381), at half width."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from kdlib.models.features import Features, Network
from kdlib.models.layers import conv_bn, kaiming_fan_out, strides

# Table 2 of the paper: (expansion, channels at width 1, blocks, whether the first block halves the map). The
# second row keeps the map's size here, where the paper halves it: images are 32x32, not 224x224.
ROWS = (
    (1, 16, 1, False),
    (6, 24, 2, False),
    (6, 32, 3, True),
    (6, 64, 4, True),
    (6, 96, 3, False),
    (6, 160, 3, True),
    (6, 320, 1, False),
)
MAP_ROWS = (1, 2, 4, 6)  # the rows whose outputs are maps
LAST_WIDTH = 1280  # not scaled by the width multiplier


class InvertedResidual(nn.Module):
    """1x1 expand, 3x3 per channel, 1x1 project without ReLU (a "linear bottleneck")."""

    def __init__(self, c_in: int, c_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = c_in * expansion
        self.expand = conv_bn(c_in, wide)
        self.depthwise = conv_bn(wide, wide, 3, stride, groups=wide)
        self.project = conv_bn(wide, c_out)
        self.residual = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        out = self.project(F.relu(self.depthwise(F.relu(self.expand(x)))))
        return x + out if self.residual else out


class MobileNetV2(Network):
    """Stem of stride 2, seven rows of inverted residuals, a 1x1 convolution to 1280 channels, linear head.

    The reference variant has plain ReLUs (not ReLU6) and no dropout. Four halvings at 32x32: maps 16 (stem),
    16, 8, 4 and 2 wide. On small images the first halvings are dropped (8x8: 8, 8, 8, 4, 2). The bottlenecks'
    maps pass no ReLU, so `preact` changes nothing. Raises ValueError for an image smaller than 4x4.
    """

    def __init__(self, num_classes: int, in_channels: int, image_size: int, *, width: float = 0.5) -> None:
        super().__init__()
        steps = iter(strides(4, image_size))
        c_in = int(32 * width)
        self.stem = conv_bn(in_channels, c_in, 3, next(steps))
        self.rows = nn.ModuleList()
        for expansion, channels, count, halves in ROWS:
            c_out = int(channels * width)
            first = InvertedResidual(c_in, c_out, next(steps) if halves else 1, expansion)
            later = (InvertedResidual(c_out, c_out, 1, expansion) for _ in range(count - 1))
            self.rows.append(nn.Sequential(first, *later))
            c_in = c_out
        self.last = conv_bn(c_in, LAST_WIDTH)
        self.head = nn.Linear(LAST_WIDTH, num_classes)
        kaiming_fan_out(self)
        nn.init.normal_(self.head.weight, 0.0, 0.01)
        nn.init.zeros_(self.head.bias)

    def features(self, x: Tensor, preact: bool = False) -> Features:
        x = F.relu(self.stem(x))
        maps = [x]
        for i, row in enumerate(self.rows):
            x = row(x)
            if i in MAP_ROWS:
                maps.append(x)
        embedding = F.relu(self.last(x)).mean((2, 3))
        return Features(maps, embedding, self.head(embedding))
