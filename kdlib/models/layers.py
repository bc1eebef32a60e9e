"""Building blocks that several families share."""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn


def strides(halvings: int, image_size: int) -> list[int]:
    """Strides (2 or 1) for a network that halves its map `halvings` times at full size.

    A map is never halved below 2x2: batch norm then still sees several values per channel, even for one
    image. On a small image the first halvings are dropped, as networks made for 224x224 drop their first
    strides at 32x32: the early maps keep their resolution. Raises ValueError for images smaller than 4x4.
    """
    if image_size < 4:
        raise ValueError(f"image_size {image_size} is too small for a convolutional network; use 4 or more")
    possible = image_size.bit_length() - 2  # floor(log2(image_size)) - 1
    dropped = max(0, halvings - possible)
    return [1] * dropped + [2] * (halvings - dropped)


def conv3x3(c_in: int, c_out: int, stride: int = 1) -> nn.Conv2d:
    """3x3 convolution that keeps the map's size (or halves it), without bias: a batch norm follows."""
    return nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)


def conv_bn(c_in: int, c_out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution without bias, then batch norm; the padding keeps the size of the map at stride 1."""
    conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out))


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """Interleave the channels of `groups` groups, so that the next grouped convolution mixes them.

    (B, g*c, H, W) seen as (B, g, c, H, W), its two channel axes exchanged, and flattened again (ShuffleNet,
    arXiv 1707.01083, Fig. 1).
    """
    return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


def run_stages(x: Tensor, stages: nn.ModuleList) -> tuple[list[Tensor], list[Tensor]]:
    """Run stages of blocks that end before their ReLU: each stage's last output (before, after) that ReLU."""
    before, after = [], []
    for stage in stages:
        for block in cast(nn.ModuleList, stage):
            out = block(x)
            x = F.relu(out)
        before.append(out)
        after.append(x)
    return before, after


def kaiming_fan_out(model: nn.Module) -> None:
    """Every convolution's weight from N(0, 2 / (out_channels * kernel area)), its bias 0.

    He et al. 2015 (arXiv 1502.01852), Eq. 14: the variance that keeps gradients' scale through ReLUs.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
            nn.init.normal_(module.weight, 0.0, (2.0 / fan_out) ** 0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
