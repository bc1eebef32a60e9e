"""GraNd: the norm of each sample's loss gradient. Independent of the batch a sample is scored in.

Public code takes the gradient of a batch-mean loss, which divides every score by the batch size and inflates those of
a smaller last batch; here each sample's own loss is differentiated. Paul et al. 2021, "Deep learning on a data diet",
Definition 2.1: E ||grad_w loss(x, y)||_2 over independently initialised networks; `grand` gives one network's part.

Two ways lead to the same number. `vmap(grad)` differentiates any network, one copy of the parameters per sample. For
networks made of convolutions, linear layers and batch norms alone, one backward pass of the summed loss brings every
layer's output gradient for all samples at once, and each layer's own rule turns that into squared norms. The second
way is faster on a CPU; `grand` takes it where it can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from kdlib.utils.devices import keep_freed_memory

Norm = Callable[[Tensor, Tensor], Tensor]  # images (B, ...), labels (B,) -> (B,)


def grand(model: nn.Module, x: Tensor, labels: Tensor, chunk: int = 32) -> NDArray[np.float64]:
    """||d CE / d (all parameters)||_2 of every sample, (N,).

    x: (N, ...) network input; labels: (N,) int64; chunk: samples at a time, of which the vectorised way holds
    as many copies of all parameters. The model is scored in eval mode (BatchNorm by its running statistics, so that
    samples do not see each other) and returned to the mode it came in.
    Raises ValueError when x and labels differ in length.
    """
    keep_freed_memory()
    with _eval(model):
        if is_plain(model):
            return _in_chunks(layerwise_norm(model), _channels_last(x), labels, chunk)
        return _in_chunks(vectorised_norm(model), x, labels, chunk)


def grand_last(model: nn.Module, x: Tensor, labels: Tensor, chunk: int = 64) -> NDArray[np.float64]:
    """||d CE / d (weight and bias of the last linear layer)||_2 of every sample, (N,), in closed form.

    model: any kdlib network (`features(x)` gives embedding (B, D) and logits (B, K)); the rest as in `grand`.
    """

    @torch.inference_mode()
    def norm(images: Tensor, targets: Tensor) -> Tensor:
        features: Any = model.features(images)  # type: ignore[operator]
        return last_layer_norm(features.embedding, features.logits, targets)

    with _eval(model):
        return _in_chunks(norm, _channels_last(x), labels, chunk)


def last_layer_norm(embedding: Tensor, logits: Tensor, labels: Tensor, bias: bool = True) -> Tensor:
    """||p - onehot(y)||_2 sqrt(||h||^2 + 1), (B,): the gradient of CE in W is (p - onehot(y)) h^T, in b p - onehot(y).

    embedding h: (B, D); logits: (B, K); bias: False leaves the + 1 out. Float64.
    """
    error = logits.double().softmax(dim=1) - F.one_hot(labels, logits.shape[1])
    return error.norm(dim=1) * (embedding.double().square().sum(dim=1) + float(bias)).sqrt()


# -- any network


def vectorised_norm(model: nn.Module) -> Norm:
    """GraNd of a batch by `vmap(grad)`: one gradient of all parameters per sample."""
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    buffers = {name: b.detach() for name, b in model.named_buffers()}

    def loss(weights: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        logits = functional_call(model, (weights, buffers), (image[None],))
        return F.cross_entropy(logits, label[None])

    per_sample = vmap(grad(loss), in_dims=(None, 0, 0))

    def norm(images: Tensor, targets: Tensor) -> Tensor:
        return sum(map(_square_norm, per_sample(parameters, images, targets).values()), torch.zeros(())).sqrt()

    return norm


# -- convolutions, linear layers and batch norms: squared norms (B,) from a layer's input and output gradient


WINDOWS = 2**16  # up to so many numbers the windows of a sample stay in the cache, and a product of them is faster


def _convolution(layer: nn.Conv2d, x: Tensor, g: Tensor) -> Tensor:
    small = layer.weight[0].numel() * g[0, 0].numel() <= WINDOWS
    weight = _by_windows(layer, x, g) if small and layer.groups == 1 else _by_groups(layer, x, g)
    squares = _square_norm(weight)
    return squares if layer.bias is None else squares + _square_norm(g.sum(dim=(2, 3)))


def _by_windows(layer: nn.Conv2d, x: Tensor, g: Tensor) -> Tensor:
    """Weight gradients (B, area * C, K): one matrix product a sample, of all that the kernel saw with the gradient there."""
    top, left = (int(side) for side in layer.padding)
    (down, right), (apart, aside) = layer.stride, layer.dilation
    x = F.pad(x.permute(0, 2, 3, 1), (0, 0, left, left, top, top)).contiguous()
    image, row, column, channel = x.stride()
    shape = (len(x), *g.shape[2:], *layer.kernel_size, x.shape[3])
    seen = x.as_strided(shape, (image, row * down, column * right, row * apart, column * aside, channel))
    return torch.bmm(seen.reshape(len(x), g[0, 0].numel(), -1).transpose(1, 2), g.permute(0, 2, 3, 1).flatten(1, 2))


def _by_groups(layer: nn.Conv2d, x: Tensor, g: Tensor) -> Tensor:
    """Samples side by side as groups of one wide convolution, whose weight gradient (B, ...) is then one per sample."""
    wide = layer.weight.new_empty(len(x) * len(layer.weight), *layer.weight.shape[1:])  # read for its shape only
    groups = len(x) * layer.groups
    settings = (layer.stride, layer.padding, layer.dilation, False, [0, 0], groups, [False, True, False])
    weight = torch.ops.aten.convolution_backward(_side_by_side(g), _side_by_side(x), wide, None, *settings)[1]
    return weight.view(len(x), -1)


def _linear(layer: nn.Linear, x: Tensor, g: Tensor) -> Tensor:
    """The gradient g h^T of a rank-1 layer has norm ||g|| ||h||."""
    return _square_norm(g) * (_square_norm(x) + float(layer.bias is not None))


def _batch_norm(layer: nn.BatchNorm2d, x: Tensor, g: Tensor) -> Tensor:
    """In eval mode y = weight (x - mean) / sqrt(var + eps) + bias, so the gradients are sums over the image."""
    assert layer.running_mean is not None and layer.running_var is not None
    bias = g.sum(dim=(2, 3))
    weight = (g * x).sum(dim=(2, 3)) - bias * layer.running_mean
    return _square_norm(weight * (layer.running_var + layer.eps).rsqrt()) + _square_norm(bias)


LAYERS: dict[type[nn.Module], Callable[[Any, Tensor, Tensor], Tensor]] = {
    nn.Conv2d: _convolution,
    nn.Linear: _linear,
    nn.BatchNorm2d: _batch_norm,
}


def is_plain(model: nn.Module) -> bool:
    """Whether every parameter belongs to a layer of `LAYERS` in its ordinary form, and to one layer only."""
    owners = _owners(model)
    held = [p for m in owners for p in m.parameters(recurse=False)]
    ordinary = all(
        type(m) in LAYERS
        and (not isinstance(m, nn.Conv2d) or (m.padding_mode == "zeros" and not isinstance(m.padding, str)))
        and (not isinstance(m, nn.BatchNorm2d) or (m.affine and m.track_running_stats))
        for m in owners
    )
    return ordinary and len(held) == len({id(p) for p in held})


def layerwise_norm(model: nn.Module) -> Norm:
    """GraNd of a batch by one backward pass, for a model with `is_plain(model)`.

    A layer that is called twice, or on inputs of other shapes than its rule knows, sends the batch to
    `vectorised_norm`: its gradient is a sum, whose norm the parts do not tell.
    """
    owners, otherwise = _owners(model), vectorised_norm(model)

    def norm(images: Tensor, targets: Tensor) -> Tensor:
        squares: dict[nn.Module, Tensor] = {}
        calls: list[bool] = []

        def watch(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            x = inputs[0].detach()
            calls.append(x.ndim == (2 if isinstance(layer, nn.Linear) else 4))
            output.register_hook(lambda g: squares.__setitem__(layer, LAYERS[type(layer)](layer, x, g).double()))

        handles = [layer.register_forward_hook(watch) for layer in owners]
        try:
            with torch.enable_grad():
                reached = images.detach().clone().requires_grad_()  # so that the pass goes down to the first layer
                loss = F.cross_entropy(model(reached), targets, reduction="sum")
        finally:
            for handle in handles:
                handle.remove()
        if len(calls) != len(owners) or not all(calls):
            return otherwise(images, targets)
        torch.autograd.grad(loss, reached)
        return sum(squares.values(), torch.zeros(())).sqrt()

    return norm


def _owners(model: nn.Module) -> list[nn.Module]:
    return [m for m in model.modules() if next(m.parameters(recurse=False), None) is not None]


def _channels_last(x: Tensor) -> Tensor:
    """The same images in the layout in which convolutions are fastest; other inputs as they are."""
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def _side_by_side(x: Tensor) -> Tensor:
    return x.reshape(1, -1, *x.shape[2:])


def _square_norm(gradient: Tensor) -> Tensor:
    return torch.linalg.vector_norm(gradient.flatten(1), dim=1).square()


@contextmanager
def _eval(model: nn.Module) -> Iterator[None]:
    """Eval mode inside, each module's own mode back afterwards."""
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _in_chunks(norm: Norm, x: Tensor, labels: Tensor, chunk: int) -> NDArray[np.float64]:
    if len(x) != len(labels):
        raise ValueError(f"{len(x)} inputs but {len(labels)} labels")
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1, not {chunk}")
    parts = [norm(a, b) for a, b in zip(x.split(chunk), labels.split(chunk), strict=True)]
    return torch.cat(parts).double().cpu().numpy() if len(x) else np.zeros(0)
