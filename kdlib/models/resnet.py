"""ResNets for small images: ResNet-8 ... ResNet-110, the wider 8x4 and 32x4, and ResNet-18/34/50.

He et al. 2016 (arXiv 1512.03385): three thin stages (Sec. 4.2) or four wide ones with a 3x3 stem in place of
the ImageNet stem. As in the distillation literature, shortcuts that change shape are projections (1x1
convolutions): ResNet-20 has 272,474 parameters for 10 classes, against 269,722 with zero-padded shortcuts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from kdlib.models.features import Features, Network
from kdlib.models.layers import conv3x3, conv_bn, kaiming_fan_out, run_stages, strides


def projection(c_in: int, c_out: int, stride: int) -> nn.Module:
    """Shortcut of a residual block: the identity, or a 1x1 convolution where the shape changes."""
    return nn.Identity() if stride == 1 and c_in == c_out else conv_bn(c_in, c_out, stride=stride)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut; returns the sum before its ReLU."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(c_in, c_out, stride)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = conv3x3(c_out, c_out)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.shortcut = projection(c_in, c_out, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        return self.bn2(self.conv2(out)) + self.shortcut(x)


class Bottleneck(nn.Module):
    """1x1 reduce to c_out / 4, 3x3, 1x1 expand, around a shortcut; returns the sum before its ReLU."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.reduce = conv_bn(c_in, c_out // 4)
        self.conv = conv_bn(c_out // 4, c_out // 4, 3, stride)
        self.expand = conv_bn(c_out // 4, c_out)
        self.shortcut = projection(c_in, c_out, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.conv(F.relu(self.reduce(x))))
        return self.expand(out) + self.shortcut(x)


class ResNet(Network):
    """A 3x3 stem and len(blocks) stages; blocks = residual blocks per stage, widths = (stem, stage 1, ...).

    ResNet-d of Sec. 4.2 has n = (d - 2) / 6 blocks in each of three stages. Maps are the stem and each stage,
    after their ReLU; with three stages at 32x32: 32, 32, 16, 8 pixels wide. At 8x8 they are 8, 8, 4, 2, and
    further strides are dropped from the front (see `strides`); the last pooling is a mean over whatever map
    is left. Raises ValueError for an image smaller than 4x4.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        image_size: int,
        *,
        blocks: Sequence[int],
        widths: Sequence[int],
        block: Callable[[int, int, int], nn.Module] = BasicBlock,
    ) -> None:
        super().__init__()
        self.conv = conv3x3(in_channels, widths[0])
        self.bn = nn.BatchNorm2d(widths[0])
        self.stages = nn.ModuleList()
        steps = [1, *strides(len(blocks) - 1, image_size)]
        for (c_in, c_out), count, stride in zip(pairwise(widths), blocks, steps, strict=True):
            later = (block(c_out, c_out, 1) for _ in range(count - 1))
            self.stages.append(nn.ModuleList([block(c_in, c_out, stride), *later]))
        self.head = nn.Linear(widths[-1], num_classes)
        kaiming_fan_out(self)

    def features(self, x: Tensor, preact: bool = False) -> Features:
        stem = F.relu(self.bn(self.conv(x)))
        before, after = run_stages(stem, self.stages)
        embedding = after[-1].mean((2, 3))
        return Features([stem, *(before if preact else after)], embedding, self.head(embedding))
