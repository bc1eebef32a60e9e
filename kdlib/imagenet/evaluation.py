"""Top-1 and top-5 accuracy over all processes, every readable image counted exactly once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from kdlib.imagenet.distributed import World
from kdlib.imagenet.loading import pixels, readable
from kdlib.utils import progress


class Accuracy(NamedTuple):
    """In percent of the `images` that could be read; `skipped` could not."""

    top1: float
    top5: float
    images: int
    skipped: int


def hits(logits: Tensor, labels: Tensor, k: int) -> Tensor:
    """Whether the label is among the k largest logits: (B, K), (B,) -> bool (B,). With K < k all are asked for."""
    best = logits.topk(min(k, logits.shape[-1]), dim=-1).indices
    return (best == labels[:, None]).any(-1)


@torch.no_grad()
def evaluate(model: nn.Module, batches: DataLoader, place: World, *, bfloat16: bool = False) -> Accuracy:
    """The accuracy of `model` on the shards that `batches` gives to the processes; the model is left in its mode."""
    counts = torch.zeros(4, dtype=torch.float64, device=place.device)
    was_training = model.training
    model.eval()
    place.align_buffers(model)
    seen, total = 0, len(batches.dataset)  # type: ignore[arg-type]
    with progress.line() as line:
        left = progress.TimeLeft(total)
        for batch in readable(batches):
            with torch.autocast(place.device.type, dtype=torch.bfloat16, enabled=bfloat16):
                logits = model(pixels(batch, place)).float()
            labels, weight = batch.label.to(place.device), batch.weight.to(place.device)
            found = [(weight * hits(logits, labels, k)).sum() for k in (1, 5)]
            counts += torch.stack([*found, weight.sum(), (1 - weight).sum()]).double()
            seen = min(seen + len(batch.id) * place.size, total)
            if line.due():
                line.say(f"evaluating: {seen:,} of {total:,} images{left.after(seen)}")
    model.train(was_training)
    top1, top5, images, skipped = place.sum(counts).tolist()
    if not images:
        raise ValueError("no image of the validation folder can be read")
    return Accuracy(100 * top1 / images, 100 * top5 / images, int(images), int(skipped))
