"""What is written down of every sample while a network is trained."""

from __future__ import annotations

import torch
from torch import Tensor


class Recorder:
    """Writes down, while training, whether and by how much each sample was predicted right, at each presentation.

    `correct` (R, E, N) bool, `margin` (R, E, N) float32: label's logit minus the largest other one, `error` (R, E, N)
    float32: length of softmax minus one-hot. The logits are those of the training forward, so that costs no forward pass.
    """

    FIELDS = ("correct", "margin", "error")

    def __init__(self, runs: int, epochs: int, total: int, device: torch.device) -> None:
        self.correct = torch.zeros(runs, epochs, total, dtype=torch.bool, device=device)
        self.margin = torch.full((runs, epochs, total), float("nan"), device=device)
        self.error = torch.full_like(self.margin, float("nan"))

    def __call__(self, epoch: int, ids: Tensor, logits: Tensor, labels: Tensor) -> None:
        """`ids`, `labels` (R, B), `logits` (R, B, K)."""
        own = logits.gather(2, labels[..., None])[..., 0]
        other = logits.scatter(2, labels[..., None], -torch.inf).amax(2)
        run = torch.arange(len(ids), device=ids.device)[:, None]
        self.margin[run, epoch, ids] = (own - other).float()
        self.correct[run, epoch, ids] = own > other
        probs = logits.float().softmax(2)
        miss = probs.scatter_add(2, labels[..., None], torch.full_like(probs[..., :1], -1))
        self.error[run, epoch, ids] = miss.norm(dim=2)
