"""GraNd: the norm of each sample's loss gradient. Independent of the batch a sample is scored in.

Public code takes the gradient of a batch-mean loss, which divides every score by the batch size and inflates
those of a smaller last batch; here each sample's own loss is differentiated. Paul et al. 2021, "Deep learning
on a data diet", Definition 2.1: E ||grad_w loss(x, y)||_2 over independently initialised networks; `grand`
gives one network's part.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F


def grand(model: nn.Module, x: Tensor, labels: Tensor, chunk: int = 32) -> NDArray[np.float64]:
    """||d CE / d (all parameters)||_2 of every sample, (N,).

    x: (N, ...) network input; labels: (N,) int64; chunk: samples per vectorised call (memory: chunk times the
    parameters). The model is scored in eval mode (BatchNorm by its running statistics, so that samples do not
    see each other) and returned to the mode it came in. Raises ValueError when x and labels differ in length.
    """
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    buffers = {name: b.detach() for name, b in model.named_buffers()}

    def loss(weights: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        logits = functional_call(model, (weights, buffers), (image[None],))
        return F.cross_entropy(logits, label[None])

    def norm(image: Tensor, label: Tensor) -> Tensor:
        gradients = grad(loss)(parameters, image, label)
        return torch.stack([g.square().sum() for g in gradients.values()]).sum().sqrt()

    with _Eval(model):
        return _in_chunks(vmap(norm), x, labels, chunk)


def grand_last(model: nn.Module, x: Tensor, labels: Tensor, chunk: int = 256) -> NDArray[np.float64]:
    """||d CE / d (weight and bias of the last linear layer)||_2 of every sample, (N,), in closed form.

    model: any kdlib network (`features(x)` gives embedding (B, D) and logits (B, K)); the rest as in `grand`.
    """

    @torch.no_grad()
    def norm(images: Tensor, targets: Tensor) -> Tensor:
        features = model.features(images)  # type: ignore[operator]
        return last_layer_norm(features.embedding, features.logits, targets)

    with _Eval(model):
        return _in_chunks(norm, x, labels, chunk)


def last_layer_norm(embedding: Tensor, logits: Tensor, labels: Tensor, bias: bool = True) -> Tensor:
    """||p - onehot(y)||_2 sqrt(||h||^2 + 1), (B,): the gradient of CE in W is (p - onehot(y)) h^T, in b p -
    onehot(y).

    embedding h: (B, D); logits: (B, K); bias: False leaves the + 1 out. Float64.
    """
    error = logits.double().softmax(dim=1) - F.one_hot(labels, logits.shape[1])
    return error.norm(dim=1) * (embedding.double().square().sum(dim=1) + float(bias)).sqrt()


class _Eval:
    """`with _Eval(model):` eval mode inside, and each module's own mode back afterwards."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.modes = [(m, m.training) for m in model.modules()]

    def __enter__(self) -> None:
        self.model.eval()

    def __exit__(self, *failure: object) -> None:
        for module, mode in self.modes:
            module.training = mode


def _in_chunks(norm: Callable[[Tensor, Tensor], Tensor], x: Tensor, labels: Tensor, chunk: int) -> NDArray[np.float64]:
    if len(x) != len(labels):
        raise ValueError(f"{len(x)} inputs but {len(labels)} labels")
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1, not {chunk}")
    parts = [norm(a, b) for a, b in zip(x.split(chunk), labels.split(chunk), strict=True)]
    return torch.cat(parts).double().cpu().numpy()
