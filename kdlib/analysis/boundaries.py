"""Decision boundaries: the classes that a network predicts on a plane, and the share of points on which two disagree.

The medium-difficulty paper draws boundaries in a t-SNE map (its Figs. 1, 2, 7 to 9), which distorts distances and depends
on its seed. Here a network is asked on points of the input space itself: on a plane through three samples, for a picture,
and on points between two samples, for a number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.manifold import TSNE
from sklearn.svm import SVC
from torch import Tensor, nn

from kdlib.models.features import Network
from kdlib.utils.devices import forward_batch

Answer = Callable[[Tensor], Tensor]  # points (P, ...) -> logits (P, K)


class Plane(NamedTuple):
    """Points of a plane through three samples, on a square grid.

    points: (side * side, ...) float32, row by row from below; x, y: (side,) coordinates in units of the input's
    distances; corners: (3, 2) coordinates of the three samples, the first at the origin.
    """

    points: Tensor
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    corners: NDArray[np.float64]


def plane_through(first: Tensor, second: Tensor, third: Tensor, *, side: int = 60, margin: float = 0.3) -> Plane:
    """The plane through three samples of equal shape, from `margin` of its extent outside their triangle on each side.

    The x axis points from the first to the second sample, the y axis to the side of the third. Such planes show where
    networks agree in Somepalli et al. 2022, "Can neural nets learn the same model twice?". ValueError for samples of
    different shapes or on one line, and for a side below 2.
    """
    if not first.shape == second.shape == third.shape:
        raise ValueError(f"three samples of one shape, got {[tuple(s.shape) for s in (first, second, third)]}")
    if side < 2:
        raise ValueError(f"side must be at least 2, got {side}")
    origin, *others = (sample.double().flatten() for sample in (first, second, third))
    b, c = (other - origin for other in others)
    right = b / b.norm().clamp_min(1e-30)
    up = c - (c @ right) * right
    if b.norm() == 0 or up.norm() <= 1e-9 * c.norm().clamp_min(1e-30):
        raise ValueError("the three samples lie on one line; choose others")
    up /= up.norm()
    corners = np.array([[0.0, 0.0], [float(b @ right), 0.0], [float(c @ right), float(c @ up)]])
    low, high = corners.min(axis=0), corners.max(axis=0)
    x, y = (np.linspace(a - margin * (z - a), z + margin * (z - a), side) for a, z in zip(low, high, strict=True))
    grid_y, grid_x = (torch.from_numpy(part.ravel()) for part in np.meshgrid(y, x, indexing="ij"))
    points = origin + grid_x[:, None] * right + grid_y[:, None] * up
    return Plane(points.float().unflatten(1, first.shape), x, y, corners)


def regions(answer: Answer, plane: Plane) -> NDArray[np.int64]:
    """The class predicted at each point of the plane, (side, side), the lowest row first."""
    return classes(answer, plane.points).reshape(len(plane.y), len(plane.x))


def classes(answer: Answer, points: Tensor) -> NDArray[np.int64]:
    """The class predicted at each of the points (P, ...), (P,)."""
    with torch.no_grad():
        return answer(points).argmax(dim=1).cpu().numpy()


def points_between(
    x: Tensor, labels: ArrayLike, pairs: int, rng: np.random.Generator, places: Sequence[float] = (0.25, 0.5, 0.75)
) -> Tensor:
    """Points on the straight lines between `pairs` random pairs of samples of different classes.

    x: (N, ...) samples; uint8 images become floats on the scale 0..1. labels: (N,). places: where on the line, 0 the
    first sample, 1 the second. Returns (pairs * len(places), ...) float32, the places of a pair in a row. A network that is
    right at both ends changes its answer somewhere on the line. ValueError where all labels are equal.
    """
    given = np.asarray(labels)
    if len(np.unique(given)) < 2:
        raise ValueError("points between classes need samples of at least two classes")
    ends = np.empty((0, 2), dtype=np.int64)
    while len(ends) < pairs:
        drawn = rng.integers(len(given), size=(2 * pairs, 2))
        ends = np.concatenate([ends, drawn[given[drawn[:, 0]] != given[drawn[:, 1]]]])
    first, second = (unit_scale(x[torch.from_numpy(column.copy())]) for column in ends[:pairs].T)
    at = torch.tensor(places, dtype=torch.float32).reshape(1, -1, *[1] * (x.dim() - 1))
    return (first[:, None] * (1 - at) + second[:, None] * at).flatten(0, 1)


def unit_scale(x: Tensor) -> Tensor:
    """Float32 samples; uint8 images on the scale 0..1, as `kdlib.training.evaluate.predict` reads float images."""
    return x.float() / 255 if x.dtype == torch.uint8 else x.float()


def drift(first: Answer, second: Answer, points: Tensor) -> float:
    """Share of the points, in [0, 1], on which two networks predict different classes."""
    return float(np.mean(classes(first, points) != classes(second, points)))


def last_layer_gradient(model: nn.Module, images: Tensor, loss: Callable[[Tensor], Tensor]) -> float:
    """L2 norm of the gradient of the mean loss in weight and bias of the last layer.

    images: (n, ...) network input on any device; loss: logits (n, K) on the CPU -> (n,). The model is asked in eval mode
    and returned to the mode it came in. Its standard deviation over epochs is the "gradient SD" of the
    medium-difficulty paper (Sec. 4.2).
    ValueError for a network without a last layer named `head`.
    """
    if not isinstance(model, Network):
        raise ValueError("the gradient of the last layer needs a network of kdlib.models")
    was_training, device = model.training, model.head.weight.device
    model.eval()
    with torch.no_grad():
        parts = [model.features(part.to(device)).embedding for part in images.split(forward_batch(images, device))]
    embedding = torch.cat(parts).float().cpu()
    parameters = [p.detach().cpu().requires_grad_() for p in (model.head.weight, model.head.bias)]
    mean = loss(nn.functional.linear(embedding, *parameters)).mean()
    slopes = torch.autograd.grad(mean, parameters)
    model.train(was_training)
    return float(torch.cat([slope.flatten() for slope in slopes]).norm())


def tsne(features: ArrayLike, seed: int = 0, steps: int = 1000) -> NDArray[np.float32]:
    """The t-SNE map (N, 2) of features (N, D), from a random start; ValueError for no more samples than neighbours (30)."""
    return TSNE(init="random", perplexity=30, max_iter=steps, random_state=seed).fit_transform(np.asarray(features))


def classified(xy: ArrayLike, labels: ArrayLike, at: ArrayLike) -> NDArray:
    """The class at each of the points `at` (P, 2), (P,), by a support vector machine trained on samples xy (n, 2)."""
    return SVC().fit(np.asarray(xy), np.asarray(labels)).predict(np.asarray(at))
