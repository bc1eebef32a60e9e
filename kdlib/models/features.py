"""What every network offers: logits for training, and the maps on the way there for feature losses."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn


class Features(NamedTuple):
    """A forward pass laid open.

    maps: stage outputs from the stem to the last stage, each (B, C, H, W); embedding: pooled (B, D), the
    input of the classifier; logits: (B, K).
    """

    maps: list[Tensor]
    embedding: Tensor
    logits: Tensor

    def in_float32(self) -> Features:
        """The same in float32: what comes from a forward pass in bfloat16 meets float32 weights in the losses."""
        return Features([m.float() for m in self.maps], self.embedding.float(), self.logits.float())


class Network(nn.Module):
    """Base of all networks: a family writes `features`, and `forward` follows from it.

    Every network ends in a linear classifier named `head`, so that logits = head(embedding).
    """

    head: nn.Linear

    def features(self, x: Tensor, preact: bool = False) -> Features:
        """Images (B, C, H, W) to Features.

        `preact=True` gives the stages' maps as they were before their last ReLU (the stem's stays after it),
        which the activation-boundary loss needs. It changes nothing in a family without ReLU at a stage's
        end.
        """
        raise NotImplementedError(f"{type(self).__name__} has no features")

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, K)."""
        return self.features(x).logits


def parameters_count(model: nn.Module) -> int:
    """Number of learnable values, frozen ones too: the capacity that the papers compare teachers and students by."""
    return sum(p.numel() for p in model.parameters())
