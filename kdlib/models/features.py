"""What every network offers: logits for training, and the maps on the way there for feature losses."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn


class Features(NamedTuple):
    """A forward pass laid open.

    maps: stage outputs from the stem to the last stage, each (B, C, H, W); embedding: pooled (B, D), the
    input of the classifier; logits: (B, K), in nats.
    """

    maps: list[Tensor]
    embedding: Tensor
    logits: Tensor


class Network(nn.Module):
    """Base of all networks: a family writes `features`, and `forward` follows from it.

    Every network ends in a linear classifier named `head`, so that logits = head(embedding).
    """

    head: nn.Linear

    def features(self, x: Tensor, preact: bool = False) -> Features:
        """Images (B, C, H, W) to Features; `preact=True` gives the maps before their last ReLU."""
        raise NotImplementedError(f"{type(self).__name__} has no features")

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, K)."""
        return self.features(x).logits


def strides(halvings: int, image_size: int) -> list[int]:
    """Strides (2 or 1) for a network that halves its map `halvings` times at 32x32.

    A map is never halved below 2x2: batch norm then still sees several values per channel, even for one
    image. On a small image the first halvings are dropped, as networks made for 224x224 drop their first
    strides at 32x32: the early maps keep their resolution. Raises ValueError for images smaller than 4x4.
    """
    if image_size < 4:
        raise ValueError(f"image_size {image_size} is too small for a convolutional network; use 4 or more")
    possible = (
        image_size.bit_length() - 2
    )  # floor(log2(image_size)) - 1: how often it halves and stays at 2 or more
    dropped = max(0, halvings - possible)
    return [1] * dropped + [2] * (halvings - dropped)


def kaiming_fan_out(model: nn.Module) -> None:
    """He et al. 2015, Eq. 14, for every convolution: variance 2 / (out_channels * kernel area)."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def parameters_count(model: nn.Module) -> int:
    """Number of learnable values: the capacity that the papers compare teachers and students by."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
