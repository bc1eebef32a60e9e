"""Several networks of one shape as one network, so that many small runs cost little more than one.

R convolutions side by side are one grouped convolution, R batch norms one over R * C channels, and R linear layers one
batched matrix product. Each member's numbers are those it would have alone, to float tolerance (another summation order).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kdlib.models import MLP
from kdlib.models.resnet import ResNet

STACKABLE = (MLP, ResNet)  # families whose layers act on every channel group alone (no shuffle, no attention)


class StackedLinear(nn.Module):
    """R linear layers: (B, R*D) -> (B, R*K), by one batched product."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack([layer.weight.detach().t() for layer in layers]))  # (R, D, K)
        self.bias = nn.Parameter(torch.stack([layer.bias.detach()[None] for layer in layers]))  # (R, 1, K)

    def forward(self, x: Tensor) -> Tensor:
        members = x.unflatten(1, (len(self.weight), -1)).transpose(0, 1)
        return torch.baddbmm(self.bias, members, self.weight).transpose(0, 1).flatten(1)

    def unstack(self, layers: Sequence[nn.Linear]) -> None:
        for layer, weight, bias in zip(layers, self.weight, self.bias, strict=True):
            layer.weight.copy_(weight.t())
            layer.bias.copy_(bias[0])


def _stacked_layer(layers: Sequence[nn.Module]) -> nn.Module | None:
    """The one layer that does what all `layers` do side by side; None where the layer has no weights of its own."""
    first, count = layers[0], len(layers)
    if isinstance(first, nn.Linear):
        return StackedLinear(layers)  # type: ignore[arg-type]
    wide: nn.Module
    if isinstance(first, nn.Conv2d):
        wide = copy.deepcopy(first)
        wide.in_channels, wide.out_channels = count * first.in_channels, count * first.out_channels
        wide.groups = count * first.groups
    elif isinstance(first, nn.BatchNorm2d):
        wide = nn.BatchNorm2d(count * first.num_features, first.eps, first.momentum)
    else:
        return None
    for kind in (wide._parameters, wide._buffers):
        for name, value in kind.items():
            if value is not None and value.ndim:
                joined = torch.cat([getattr(layer, name).detach() for layer in layers])
                kind[name] = nn.Parameter(joined) if kind is wide._parameters else joined  # type: ignore[assignment]
    return wide


class Stack(nn.Module):
    """R networks as one: (R, B, C, H, W) -> logits (R, B, K). A single network is used as it is."""

    def __init__(self, models: Sequence[nn.Module]) -> None:
        super().__init__()
        self.count = len(models)
        self.network = models[0] if self.count == 1 else copy.deepcopy(models[0])
        for name, _ in list(self.network.named_modules()) if self.count > 1 else []:
            wide = _stacked_layer([model.get_submodule(name) for model in models])
            if wide is not None:
                self.network.set_submodule(name, wide)

    def forward(self, x: Tensor) -> Tensor:
        if self.count == 1:
            return self.network(x[0])[None]
        layout = torch.channels_last if x.shape[2] * self.count > 1 else torch.contiguous_format
        side_by_side = x.transpose(0, 1).flatten(1, 2).contiguous(memory_format=layout)
        return self.network(side_by_side).unflatten(1, (self.count, -1)).transpose(0, 1)

    @torch.no_grad()
    def unstack(self, models: Sequence[nn.Module]) -> None:
        """Copy every member's weights and statistics back into `models` (nothing to do for a single one)."""
        if self.count == 1:
            return
        for name, layer in self.network.named_modules():
            parts = [model.get_submodule(name) for model in models if not isinstance(layer, nn.ModuleList)]
            if isinstance(layer, StackedLinear):
                layer.unstack(parts)  # type: ignore[arg-type]
            elif isinstance(layer, nn.Conv2d | nn.BatchNorm2d):
                for key, value in {**layer._parameters, **layer._buffers}.items():
                    if value is not None:
                        chunks = value.chunk(self.count) if value.ndim else [value] * self.count
                        for part, chunk in zip(parts, chunks, strict=True):
                            getattr(part, key).copy_(chunk)


def worth_stacking(model: nn.Module, device: torch.device) -> bool:
    """Whether runs of this network gain by being stacked: multilayer perceptrons always, CNNs on a GPU.

    On two CPU cores ResNet-8 gains at most 1.2 times on 8x8 images and nothing on 32x32, while one process for each run
    gives the same rows bit for bit; a GPU is far from full with one small network.
    """
    return isinstance(model, MLP) or (isinstance(model, STACKABLE) and device.type == "cuda")
