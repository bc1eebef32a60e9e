"""Networks by name: `build("resnet20", num_classes=10, in_channels=3, image_size=32)`.

To add a network: write a `Network` with `features` in a file of its family and add one entry to MODELS.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from kdlib.models.external import constructor, external
from kdlib.models.features import Features, Network, parameters_count
from kdlib.models.imagenet import TorchvisionMobileNetV2, TorchvisionResNet
from kdlib.models.mlp import MLP
from kdlib.models.mobilenet import MobileNetV2
from kdlib.models.resnet import Bottleneck, ResNet
from kdlib.models.shufflenet import ShuffleNetV1, ShuffleNetV2
from kdlib.models.vgg import VGG
from kdlib.models.vit import ViT
from kdlib.models.wrn import WideResNet
from kdlib.utils.devices import torch_seed
from kdlib.utils.errors import choose

__all__ = ["MODELS", "Features", "Network", "build", "check_name", "parameters_count"]

# Channels of the stem and of each stage.
THIN = (16, 16, 32, 64)
TIMES4 = (32, 64, 128, 256)
BASIC = (64, 64, 128, 256, 512)
BOTTLENECK = (64, 256, 512, 1024, 2048)

# name -> constructor(num_classes, in_channels, image_size)
MODELS: dict[str, Callable[[int, int, int], Network]] = {
    "mlp": MLP,
    "mlp_8": partial(MLP, width=8),
    "mlp_32": partial(MLP, width=32),
    "mlp_512": partial(MLP, width=512),
    "resnet8": partial(ResNet, blocks=(1, 1, 1), widths=THIN),
    "resnet14": partial(ResNet, blocks=(2, 2, 2), widths=THIN),
    "resnet20": partial(ResNet, blocks=(3, 3, 3), widths=THIN),
    "resnet32": partial(ResNet, blocks=(5, 5, 5), widths=THIN),
    "resnet44": partial(ResNet, blocks=(7, 7, 7), widths=THIN),
    "resnet56": partial(ResNet, blocks=(9, 9, 9), widths=THIN),
    "resnet110": partial(ResNet, blocks=(18, 18, 18), widths=THIN),
    "resnet8x4": partial(ResNet, blocks=(1, 1, 1), widths=TIMES4),
    "resnet32x4": partial(ResNet, blocks=(5, 5, 5), widths=TIMES4),
    "resnet18": partial(ResNet, blocks=(2, 2, 2, 2), widths=BASIC),
    "resnet34": partial(ResNet, blocks=(3, 4, 6, 3), widths=BASIC),
    "resnet50": partial(ResNet, blocks=(3, 4, 6, 3), widths=BOTTLENECK, block=Bottleneck),
    "wrn_16_1": partial(WideResNet, depth=16, width=1),
    "wrn_16_2": partial(WideResNet, depth=16, width=2),
    "wrn_40_1": partial(WideResNet, depth=40, width=1),
    "wrn_40_2": partial(WideResNet, depth=40, width=2),
    "vgg8": partial(VGG, convs=(1, 1, 1, 1, 1)),
    "vgg11": partial(VGG, convs=(1, 1, 2, 2, 2)),
    "vgg13": partial(VGG, convs=(2, 2, 2, 2, 2)),
    "vgg16": partial(VGG, convs=(2, 2, 3, 3, 3)),
    "vgg19": partial(VGG, convs=(2, 2, 4, 4, 4)),
    "mobilenetv2": MobileNetV2,
    "shufflenetv1": ShuffleNetV1,
    "shufflenetv2": ShuffleNetV2,
    "vit": ViT,
    "vit_tiny": partial(ViT, dim=48, heads=3, blocks=1),  # for the digits, on a CPU
    "imagenet_resnet18": partial(TorchvisionResNet, arch="resnet18"),
    "imagenet_resnet34": partial(TorchvisionResNet, arch="resnet34"),
    "imagenet_resnet50": partial(TorchvisionResNet, arch="resnet50"),
    "imagenet_mobilenetv2": TorchvisionMobileNetV2,
}
SQUARE = ("mlp", "vit", "vit_tiny")  # networks whose weights depend on where a pixel is


def build(name: str, num_classes: int, in_channels: int, image_size: int | tuple[int, int], seed: int = 0) -> Network:
    """The network `name` for images (in_channels, H, W), its weights drawn from `seed`; `image_size` is H = W or (H, W).

    `name` is an entry of MODELS, or `timm:NAME` or `torchvision:NAME` for a classifier of these libraries, without
    pretrained weights. The same seed gives the same weights, and torch's global generator is left as it was. Raises
    ValueError for an unknown name (naming the nearest), a class or channel count below 1, or images that the network
    cannot take.
    """
    check_name(name)
    for what, count in (("num_classes", num_classes), ("in_channels", in_channels)):
        if count < 1:
            raise ValueError(f"{what} is {count}; it must be 1 or more")
    height, width = image_size if isinstance(image_size, tuple) else (image_size, image_size)
    with torch_seed(seed):
        if name not in MODELS:
            return external(name, num_classes, in_channels, (height, width))
        if height != width and name in SQUARE:
            raise ValueError(
                f"{name} takes square images and these are {height}x{width}; choose folder:PATH@{height} or another network"
            )
        return MODELS[name](num_classes, in_channels, min(height, width))


def check_name(name: str, kind: str = "model") -> None:
    """ValueError unless `build` knows `name`; the message says what `kind` of name it is and has the nearest match."""
    if ":" in name:
        constructor(name)
    else:
        choose(kind, name, MODELS)
