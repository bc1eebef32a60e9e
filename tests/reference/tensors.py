"""From the arrays of a case to tensors that ask for gradients, and back to numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kdlib.models.features import Features
from tests.reference.inputs import probe

Inputs = dict[str, Any]
Case = dict[str, Any]
Leaf = Tensor | list[Tensor]


def leaf(array: np.ndarray | list[Any], grad: bool = True) -> Any:
    """An array, or a list of arrays, as tensors; floating-point ones ask for a gradient."""
    if isinstance(array, list):
        return [leaf(a, grad) for a in array]
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.requires_grad_(grad and tensor.is_floating_point())


def number(tensor: Tensor) -> float:
    return tensor.detach().item()


def summary(tensor: Tensor | None) -> dict[str, Any] | None:
    return None if tensor is None else probe(tensor.detach().numpy())


def gradients(value: Tensor, leaves: dict[str, Leaf]) -> dict[str, Any]:
    """Probes of d value / d leaf by name; the entries of a list are named "x[0]", "x[1]", ..."""
    flat: dict[str, Tensor] = {}
    for name, x in leaves.items():
        flat |= {f"{name}[{i}]": e for i, e in enumerate(x)} if isinstance(x, list) else {name: x}
    found = torch.autograd.grad(value, list(flat.values()), retain_graph=True, allow_unused=True)
    return {name: summary(g) for name, g in zip(flat, found, strict=True)}


def reached(value: Tensor, x: Leaf) -> bool:
    """Whether a gradient path leads from `value` to x."""
    return any(g is not None for g in gradients(value, {"x": x}).values())


def as_features(maps: list[Tensor], embedding: Tensor | None = None, logits: Tensor | None = None) -> Features:
    flat = maps[-1].flatten(1) if embedding is None else embedding
    return Features(maps, flat, flat if logits is None else logits)


def make(cls: Callable[..., nn.Module], student: Features, teacher: Features, **options: Any) -> Any:
    """A learned loss in the inputs' precision."""
    options = {"num_samples": 8, "num_classes": 10, "seed": 0} | options
    return cls(student, teacher, **options).to(student.embedding.dtype)


def load(module: nn.Module, inputs: Inputs, rename: Callable[[str], str]) -> dict[str, Leaf]:
    """Copy the "w:" inputs into the module's parameters; returns those, under the reference's names."""
    own = dict(module.named_parameters())
    given = {name[2:]: array for name, array in inputs.items() if name.startswith("w:")}
    for name, array in given.items():
        own[rename(name)].data.copy_(torch.from_numpy(array))
    return {name: own[rename(name)] for name in given}


def paired(function: Callable[..., Tensor], names: dict[str, str]) -> Callable[[Case, Inputs], dict[str, Any]]:
    """An adapter for a loss on two tensors; `names` maps the case's parameters to the function's."""

    def adapter(case: Case, inputs: Inputs) -> dict[str, Any]:
        s, t = leaf(inputs["f_s"]), leaf(inputs["f_t"])
        value = function(s, t, **{own: case["params"][n] for n, own in names.items() if n in case["params"]})
        return {
            "value": number(value),
            "grad": gradients(value, {"f_s": s}),
            "teacher_receives_grad": reached(value, t),
        }

    return adapter
