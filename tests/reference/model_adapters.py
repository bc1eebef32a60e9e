"""Networks against the reference numbers: parameters filled by role and shape, then three forwards.

The reference names a network as its own code does ("ShuffleV1", "ResNet50", "wrn_16_2"). Each case gives the
logits in eval mode, in one training-mode forward, and in eval mode after it, all in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kdlib.models import Network, build, parameters_count
from tests.reference.inputs import model_fill, probe

NAMES = {"shufflev1": "shufflenetv1", "shufflev2": "shufflenetv2"}  # others differ only in capitals


def build_like(case: dict[str, Any], num_classes: int, image: np.ndarray) -> Network:
    """The case's network in float64, for images of the given (B, C, H, W) shape."""
    name = case["name"].split("/")[1].lower()
    return build(NAMES.get(name, name), num_classes, image.shape[1], image.shape[2]).double()


def set_to(tensor: Tensor | None, role: str, gain: float = 1.0) -> None:
    if tensor is not None:
        tensor.data.copy_(torch.from_numpy(model_fill(role, tuple(tensor.shape), gain)))


def fill(model: Network, params: dict[str, Any]) -> Network:
    """Overwrite every convolution, linear layer and batch norm by role and shape; fresh batch counters."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            set_to(module.weight, "conv" if isinstance(module, nn.Conv2d) else "linear")
            set_to(module.bias, "bias")
        elif isinstance(module, nn.BatchNorm2d):
            set_to(module.weight, "bn_weight", params.get("bn_gain", 1.0))
            set_to(module.bias, "bn_bias")
            set_to(module.running_mean, "bn_mean")
            set_to(module.running_var, "bn_var")
            module.eps, module.momentum = params.get("bn_eps", 1e-5), params.get("bn_momentum", 0.1)
    return model


def batch_norm_updates(model: Network, x: Tensor) -> int:
    """How often the busiest batch norm updates its statistics in one training forward with preact maps."""
    model.train().features(x, preact=True)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    return max(int(m.num_batches_tracked) for m in norms if m.num_batches_tracked is not None)


def rows(logits: Tensor) -> list[dict[str, Any]]:
    return [probe(row.numpy()) for row in logits]


def all_maps(model: Network, x: Tensor, preact: bool = False) -> list[Tensor]:
    """The reference's list of features: the maps and then the pooled embedding."""
    found = model.eval().features(x, preact=preact)
    return [*found.maps, found.embedding]


@torch.no_grad()
def model(case: dict[str, Any], inputs: dict[str, np.ndarray]) -> dict[str, Any]:
    """RepDistiller's networks: sizes, maps before and after the last ReLU, and the three forward passes."""
    x, params = torch.from_numpy(inputs["x"]).double(), case["params"]
    num_classes = params["num_classes"]
    net = fill(build_like(case, num_classes, inputs["x"]), params)
    plain, preact = all_maps(net, x), all_maps(net, x, preact=True)
    differs = [not torch.equal(p, q) for p, q in zip(plain, preact, strict=True)]
    counts = {f"n_params_{k}": parameters_count(build_like(case, k, inputs["x"])) for k in (num_classes, 100, 10)}
    logits_eval = net.eval()(x)
    return {
        **counts,
        "n_conv": sum(isinstance(m, nn.Conv2d) for m in net.modules()),
        "n_bn": sum(isinstance(m, nn.BatchNorm2d) for m in net.modules()),
        "logits_shape": list(logits_eval.shape),
        "feat_shapes": [list(m.shape) for m in plain],
        "feats_nonnegative": [bool((m >= 0).all()) for m in plain],
        "preact_differs": differs,
        "logits_eval": rows(logits_eval),
        "feats_eval": [probe(m.numpy()) for m in plain],
        "preact_feats_eval": [probe(m.numpy()) if d else None for m, d in zip(preact, differs, strict=True)],
        "logits_train": rows(net.train()(x)),
        "logits_eval_after_one_train_forward": rows(net.eval()(x)),
        "bn_updates_by_the_preact_train_forward": batch_norm_updates(
            fill(build_like(case, num_classes, inputs["x"]), params), x
        ),
    }


@torch.no_grad()
def model_md(case: dict[str, Any], inputs: dict[str, np.ndarray]) -> dict[str, Any]:
    """mdistiller's networks compute the preact maps in every forward, so training does too."""
    x, params = torch.from_numpy(inputs["x"]).double(), case["params"]
    net = fill(build_like(case, params["num_classes"], inputs["x"]), params)
    before = rows(net.eval()(x))
    updates = batch_norm_updates(net, x)
    return {
        "logits_eval": before,
        "logits_eval_after_one_train_forward": rows(net.eval()(x)),
        "bn_updates_per_train_forward": updates,
    }


ADAPTERS = {"model": model, "model_md": model_md}
