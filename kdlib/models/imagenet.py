"""ImageNet-size networks: torchvision's own architectures, without weights, opened up for feature losses.

torchvision is imported only when one of them is built. From 64x64 up they are exactly torchvision's; on
smaller images the first of their five halvings keep the map's size instead (see `strides`), so that they also
run at 8x8.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from kdlib.models.features import Features, Network
from kdlib.models.layers import kaiming_fan_out, strides


def fit_to_image(halving: Sequence[nn.Module], image_size: int) -> None:
    """Set the strides inside the first of these five modules to 1 where the image is too small to halve."""
    for module, stride in zip(halving, strides(len(halving), image_size), strict=True):
        if stride == 1:
            for part in module.modules():
                if isinstance(part, nn.Conv2d):
                    part.stride = (1, 1)
                elif isinstance(part, nn.MaxPool2d):
                    part.stride = 1


def first_convolution(like: Any, in_channels: int) -> nn.Conv2d:
    """`like`, a network's first convolution, or one of its shape for another number of input channels."""
    if like.in_channels == in_channels:
        return like
    made = nn.Conv2d(in_channels, like.out_channels, like.kernel_size, like.stride, like.padding, bias=False)
    kaiming_fan_out(made)
    return made


class TorchvisionResNet(Network):
    """torchvision's ResNet `arch` ("resnet18", "resnet34", "resnet50", ...), randomly initialised.

    Maps: the stem after its pooling and the four stages, after ReLU (`preact` changes nothing: torchvision
    applies the ReLU in place). At 224x224 they are 56, 56, 28, 14, 7 wide. Raises ValueError below 4x4
    pixels.
    """

    def __init__(self, num_classes: int, in_channels: int, image_size: int, *, arch: str) -> None:
        super().__init__()
        from torchvision.models import get_model  # 4 s: only its networks need it

        net: Any = get_model(arch, weights=None, num_classes=num_classes)
        conv = first_convolution(net.conv1, in_channels)
        self.stem = nn.Sequential(conv, net.bn1, net.relu, net.maxpool)
        self.stages = nn.ModuleList([net.layer1, net.layer2, net.layer3, net.layer4])
        self.head = net.fc
        fit_to_image([conv, net.maxpool, *self.stages[1:]], image_size)

    def features(self, x: Tensor, preact: bool = False) -> Features:
        maps = [self.stem(x)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        embedding = maps[-1].mean((2, 3))
        return Features(maps, embedding, self.head(embedding))


class TorchvisionMobileNetV2(Network):
    """torchvision's MobileNetV2 at width 1, randomly initialised, without its dropout.

    Maps: the last block at each of the five resolutions, linear bottlenecks, so `preact` changes nothing. At
    224x224 they are 112, 56, 28, 14, 7 wide. Raises ValueError below 4x4 pixels.
    """

    def __init__(self, num_classes: int, in_channels: int, image_size: int) -> None:
        super().__init__()
        from torchvision.models import get_model  # 4 s: only its networks need it

        net: Any = get_model("mobilenet_v2", weights=None, num_classes=num_classes, dropout=0.0)
        blocks = net.features
        blocks[0][0] = first_convolution(blocks[0][0], in_channels)
        fit_to_image([blocks[i] for i in (0, 2, 4, 7, 14)], image_size)  # the blocks that halve the map
        self.stages = nn.ModuleList([blocks[:2], blocks[2:4], blocks[4:7], blocks[7:14], blocks[14:18]])
        self.last = blocks[18]
        self.head = net.classifier[1]

    def features(self, x: Tensor, preact: bool = False) -> Features:
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        embedding = self.last(x).mean((2, 3))
        return Features(maps, embedding, self.head(embedding))
