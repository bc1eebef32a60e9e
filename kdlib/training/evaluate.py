"""What a trained network says of images, and how often it is right."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from kdlib.data.augment import normalise
from kdlib.data.datasets import Dataset
from kdlib.utils import progress
from kdlib.utils.devices import forward_batch


@torch.no_grad()
def predict(
    model: nn.Module,
    x: Tensor,
    data: Dataset,
    *,
    device: torch.device | None = None,
    batch: int | None = None,
    members: int = 1,
) -> Tensor:
    """Logits float32 (N, K) of uint8 images (N,C,H,W), un-augmented, the model in eval mode (left in its mode before).

    `members` > 1: `model` is a `Stack`, the logits are (R, N, K). `batch`: images at once; None chooses by their size.
    """
    device = device or next(model.parameters()).device
    was_training = model.training
    model.eval()
    parts: list[Tensor] = []
    with progress.line() as line:
        for part in x.split(batch or forward_batch(x, device)):
            line.say(f"evaluating, {len(parts)} batches done")
            images = normalise(part.to(device), data.mean, data.std)
            if members > 1:
                images = images[None].expand(members, *images.shape)
            parts.append(model(images).float())
    model.train(was_training)
    return torch.cat(parts, dim=-2)


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Top-1 accuracy in percent, over the second-to-last axis of logits (..., N, K).

    For float targets (regression, K = 1) it is the variance explained, 100 R^2.
    """
    if labels.is_floating_point():
        y = labels.to(logits.device)
        return 100 * (1 - (logits[..., 0] - y).square().mean(-1) / y.var(correction=0))
    return (logits.argmax(-1) == labels.to(logits.device)).float().mean(-1) * 100


@torch.no_grad()
def embeddings(model: nn.Module, data: Dataset) -> np.ndarray:
    """Penultimate features float32 (N, D) of the clean training images, in eval mode."""
    device = next(model.parameters()).device
    model.eval()
    parts = [
        model.features(normalise(x.to(device), data.mean, data.std)).embedding.float().cpu()  # type: ignore[operator]
        for x in data.train_x.split(forward_batch(data.train_x, device))
    ]
    return torch.cat(parts).numpy()
