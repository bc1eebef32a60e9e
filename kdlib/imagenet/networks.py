"""Networks for ImageNet-size images: torchvision's, and MobileNetV1, the student of the medium-difficulty paper.

To add a network: one entry in NETWORKS.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor, nn

from kdlib.models.layers import kaiming_fan_out
from kdlib.utils import progress
from kdlib.utils.devices import torch_seed
from kdlib.utils.errors import choose
from kdlib.utils.files import write_whole

TORCHVISION = (
    "resnet18",
    "resnet34",
    "resnet50",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "vit_b_16",
)


class MobileNetV1(nn.Module):
    """MobileNet at width 1 (Howard et al. 2017, arXiv 1704.04861, Table 1): images (B, 3, H, W) to logits (B, K).

    A 3x3 convolution of stride 2, then 13 pairs of a 3x3 convolution per channel and a 1x1 convolution, each followed
    by batch normalisation and ReLU, average pooling and a linear classifier; 4.2 million parameters at 1,000 classes.
    """

    WIDTHS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        layers = _conv_bn_relu(3, 32, 3, 2)
        c_in = 32
        for c_out, stride in self.WIDTHS:
            layers += [*_conv_bn_relu(c_in, c_in, 3, stride, groups=c_in), *_conv_bn_relu(c_in, c_out, 1, 1)]
            c_in = c_out
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(c_in, num_classes)
        kaiming_fan_out(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean((2, 3)))


def _conv_bn_relu(c_in: int, c_out: int, kernel: int, stride: int, groups: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(c_out), nn.ReLU(inplace=True)]


def _torchvision(num_classes: int, image_size: int, *, arch: str) -> nn.Module:
    from torchvision.models import get_model  # 4 s: only its networks need it

    options = {"image_size": image_size} if arch.startswith("vit") else {}
    return get_model(arch, weights=None, num_classes=num_classes, **options)


# name -> constructor(num_classes, image_size)
NETWORKS: dict[str, Callable[[int, int], nn.Module]] = {
    **{name: partial(_torchvision, arch=name) for name in TORCHVISION},
    "mobilenet": lambda num_classes, image_size: MobileNetV1(num_classes),
}


def build(name: str, num_classes: int, image_size: int, *, weights: str = "", seed: int = 0) -> nn.Module:
    """The network `name`, its weights drawn from `seed`, by torchvision's name ("IMAGENET1K_V1"), or from a file.

    Raises ValueError for an unknown network or weights name, for weights of another number of classes, and for
    weights that can neither be found on this machine nor downloaded.
    """
    make = choose("network", name, NETWORKS)
    if weights.endswith(".safetensors"):
        found, tensors = read_weights(Path(weights))
        if (found["network"], int(found["classes"])) != (name, num_classes):
            raise ValueError(
                f"{weights} holds {found['network']} for {found['classes']} classes, not {name} for {num_classes}"
            )
        model = make(num_classes, image_size)
        model.load_state_dict(tensors)
        return model
    if weights:
        return _pretrained(name, num_classes, weights)
    with torch_seed(seed):
        return make(num_classes, image_size)


def _pretrained(name: str, num_classes: int, weights: str) -> nn.Module:
    """torchvision's network with torchvision's weights, which are downloaded on first use."""
    from torchvision.models import get_model, get_model_weights  # 4 s: only its networks need it

    if name not in TORCHVISION:
        raise ValueError(f"there are no released weights for {name}; name a .safetensors file that `train` has saved")
    entry: Any = choose(f"weights of {name}", weights, {w.name: w for w in get_model_weights(name)})
    if len(entry.meta["categories"]) != num_classes:
        count = len(entry.meta["categories"])
        raise ValueError(
            f"{name} {weights} knows {count} classes, the folder has {num_classes}; take weights of your own"
        )
    try:
        with progress.working(f"getting the weights of {name}"):
            return get_model(name, weights=entry, progress=False)
    except OSError as problem:
        raise ValueError(
            f"could not download {entry.url} ({problem}); put the file into the folder checkpoints/ of torch's hub "
            "(TORCH_HOME, by default ~/.cache/torch/hub) or name a .safetensors file"
        ) from problem


def read_weights(file: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """What `save_weights` wrote: (network and classes, tensors). ValueError for a file that is missing or another kind."""
    try:
        with safetensors.safe_open(file, "pt") as opened:
            about = opened.metadata() or {}
        tensors = safetensors.torch.load_file(file)
    except (OSError, safetensors.SafetensorError) as problem:
        raise ValueError(f"weights {file} cannot be read: {problem}") from problem
    if not {"network", "classes"} <= about.keys():
        raise ValueError(f"{file} does not say which network it holds; use a file that `imagenet train --save` wrote")
    return about, tensors


def weights_identity(weights: str) -> str:
    """A torchvision name as it is; a file by its content, so that it may lie anywhere. ValueError for a missing file."""
    if not weights.endswith(".safetensors"):
        return weights
    try:
        return "sha256:" + hashlib.sha256(Path(weights).read_bytes()).hexdigest()[:16]
    except OSError as problem:
        raise ValueError(f"weights {weights} cannot be read: {problem.strerror}") from problem


def save_weights(model: nn.Module, name: str, num_classes: int, file: Path) -> None:
    """Write a network's weights and buffers to a .safetensors file that `build` and `read_weights` read."""
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    write_whole(file, safetensors.torch.save(tensors, {"network": name, "classes": str(num_classes)}))


def last_linear(model: nn.Module) -> tuple[str, nn.Linear]:
    """Name and module of the classifier, which in each of these networks is the last linear layer."""
    return [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)][-1]


def replace_classifier(model: nn.Module, num_classes: int, seed: int) -> nn.Linear:
    """Put a newly drawn linear layer for `num_classes` in the classifier's place and return it."""
    name, old = last_linear(model)
    with torch_seed(seed):
        new = nn.Linear(old.in_features, num_classes)
    parent, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(parent), attribute, new)
    return new
