"""Classifiers of timm and torchvision by name, `timm:NAME` and `torchvision:NAME`: never with downloaded weights.

They give logits and the input of their last linear layer, which is what a teacher and the scorers need. Feature losses
need the maps of every stage, which only the networks of this package lay open; they get an error that says so.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from kdlib.models.features import Features, Network
from kdlib.models.imagenet import first_convolution

Size = tuple[int, int]  # height, width


class NoMaps(list):
    """In the place of a network's maps: ValueError as soon as a loss reads them."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def _refuse(self, *args: object) -> NoReturn:
        raise ValueError(
            f"{self.name} gives logits only, and a feature loss needs maps; choose feature_loss none, "
            "or one of kdlib's own networks"
        )

    __getitem__ = __iter__ = __len__ = _refuse


class External(Network):
    """A network from another library. Its classifier is the last `nn.Linear` it holds, if that is what it ends in."""

    def __init__(self, net: nn.Module, name: str) -> None:
        super().__init__()
        self.net, self.name = net, name

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, K)."""
        out: Any = self.net(x)
        return out[0] if isinstance(out, tuple | list) else out  # auxiliary outputs of some networks in training

    def features(self, x: Tensor, preact: bool = False) -> Features:
        """Embedding (the classifier's input) and logits; ValueError when the maps are read or there is no classifier."""
        linear = [module for module in self.net.modules() if isinstance(module, nn.Linear)]
        seen: list[Tensor] = []
        handle = linear[-1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])) if linear else None
        try:
            logits = self(x)
        finally:
            if handle is not None:
                handle.remove()
        if not seen or seen[-1].ndim != 2 or linear[-1].out_features != logits.shape[1]:
            raise ValueError(f"{self.name} does not end in a linear classifier; choose a scorer that needs no features")
        return Features(NoMaps(self.name), seen[-1], logits)


def external(name: str, num_classes: int, in_channels: int, size: Size) -> External:
    """The network of `timm:NAME` or `torchvision:NAME` for images (C, H, W), weights from torch's global generator.

    Raises ValueError for an unknown source or name (naming the nearest), a library that is not installed, and images
    that the network cannot take.
    """
    make = constructor(name)
    try:
        net = External(make(num_classes, in_channels, size), name).eval()
        with torch.no_grad():
            net(torch.zeros(2, in_channels, *size))
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"{name} cannot take {size[0]}x{size[1]} images with {in_channels} channels ({reason}); choose larger images, "
            "such as folder:PATH@224, or another network"
        ) from error
    return net.train()


def constructor(name: str) -> Callable[[int, int, Size], nn.Module]:
    """What builds the network called `name`; ValueError for an unknown one. Nothing is built yet."""
    source, _, architecture = name.partition(":")
    if source not in SOURCES:
        raise ValueError(f"unknown source {source!r} of the model {name!r}; choose timm:NAME or torchvision:NAME")
    return SOURCES[source](architecture)


def _timm(architecture: str) -> Callable[[int, int, Size], nn.Module]:
    try:
        import timm
    except ImportError as error:
        raise ValueError(f"timm:{architecture} needs the package timm; install it with: pip install timm") from error
    _check("timm", architecture, timm.list_models())

    def make(num_classes: int, in_channels: int, size: Size) -> nn.Module:
        options: dict[str, Any] = {"pretrained": False, "num_classes": num_classes, "in_chans": in_channels}
        try:
            return timm.create_model(architecture, img_size=size, **options)
        except TypeError:  # convolutional networks take any size and know no such option
            return timm.create_model(architecture, **options)

    return make


def _torchvision(architecture: str) -> Callable[[int, int, Size], nn.Module]:
    from torchvision import models  # 4 s: only its networks need it

    _check("torchvision", architecture, models.list_models(module=models))

    def make(num_classes: int, in_channels: int, size: Size) -> nn.Module:
        net = models.get_model(architecture, weights=None, num_classes=num_classes)
        place, first = next((n, m) for n, m in net.named_modules() if isinstance(m, nn.Conv2d))
        net.set_submodule(place, first_convolution(first, in_channels))
        return net

    return make


def _check(source: str, architecture: str, known: Sequence[str]) -> None:
    if architecture not in known:
        near = ", ".join(difflib.get_close_matches(architecture, known, n=3)) or "resnet18"
        raise ValueError(f"unknown {source} model {architecture!r}; the nearest of {len(known)}: {near}")


SOURCES: dict[str, Callable[[str], Callable[[int, int, Size], nn.Module]]] = {
    "timm": _timm,
    "torchvision": _torchvision,
}
