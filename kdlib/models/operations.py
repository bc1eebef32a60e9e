"""What a network computes for one image, in floating-point operations: torch counts them, and groups are heeded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count


def operations(net: nn.Module, images: Tensor) -> tuple[float, float]:
    """FLOPs for one image of the batch (B, C, H, W): (forward, forward and backward); a multiply-add counts two.

    Only matrix products and convolutions count; the rest is small beside them. The network is in training mode afterwards.
    """
    own: dict[Any, Any] = {torch.ops.aten.convolution_backward: _backward}
    with FlopCounterMode(display=False, custom_mapping=own) as counter:
        output = net.train()(images)
        forward = counter.get_total_flops()
        output.sum().backward()
    return forward / len(images), counter.get_total_flops() / len(images)


def _backward(gradient: Sequence[int], x: Sequence[int], weight: Sequence[int], *rest: Any, **more: Any) -> int:
    """Each gradient of a convolution, of its input and of its weight, takes as many operations as the forward pass.

    torch's own formula ignores the groups in the gradient of the weight.
    """
    transposed, mask = rest[4], rest[7]
    return sum(mask[:2]) * conv_flop_count(list(x), list(weight), list(gradient), transposed=transposed)
