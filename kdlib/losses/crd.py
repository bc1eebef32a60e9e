"""Contrastive representation distillation (CRD, Tian et al. 2020) with a memory of the kept samples."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdlib.losses.common import LearnedLoss
from kdlib.models.features import Features

EPS = 1e-7  # keeps the noise-contrastive ratios away from 0


def contrast(scores: Tensor, num_samples: int) -> Tensor:
    """Noise-contrastive estimation (Tian et al. 2020, Eq. 18, in the code's form): scores (B, 1+M) -> scalar.

    Column 0 is the positive, the others M negatives drawn with probability 1/num_samples each:
    mean_b of -log(s_0 / (s_0 + M/n)) - sum_m log((M/n) / (s_m + M/n)).
    """
    noise = (scores.shape[1] - 1) / num_samples
    positive, negatives = scores[:, :1], scores[:, 1:]
    log_positive = torch.log(positive / (positive + noise + EPS))
    log_negative = torch.log(noise / (negatives + noise + EPS))
    return -(log_positive.sum() + log_negative.sum()) / len(scores)


class CRD(LearnedLoss):
    """CRD: tell a sample's own teacher embedding from those of samples of other classes, and the reverse.

    Both embeddings are linear + L2 norm (trained, the teacher's too). Two memories (num_samples, dim) hold a
    running mean of every kept sample's embedding; a batch is compared with its own rows and with `negatives`
    rows of other classes, exp(v . m / temperature) / Z. Z is fixed by the first batch. The memory is read, then
    updated.

    num_samples is the number of KEPT samples and `index` (B,) counts them, 0..num_samples-1. A pruned set makes
    the memory small and often imbalanced. Negatives are drawn with replacement, uniformly over the rows whose
    class differs. Classes are learned as the rows pass by; a row not seen yet holds noise and is a negative for
    all. Where no other class is left, rows are drawn from the whole memory. `negatives` is 16384, or num_samples
    where that is less (RepDistiller then draws 16384 all the same, many of them twice). The other
    defaults are RepDistiller's: `dim` 128, `temperature` 0.07, `momentum` 0.5 (the share of a row that an update keeps).

    Everything that changes is in the state dict: the buffers, and the state of `generator`, a torch.Generator of its own.
    ValueError for fewer than 2 samples, or an index outside the memory.
    """

    memory_student: Tensor
    memory_teacher: Tensor
    normaliser: Tensor
    classes: Tensor

    def setup(
        self,
        student: Features,
        teacher: Features,
        *,
        dim: int = 128,
        negatives: int | None = None,
        temperature: float = 0.07,
        momentum: float = 0.5,
    ) -> None:
        num_samples = self.num_samples
        if num_samples < 2:
            raise ValueError(f"CRD contrasts samples with each other and needs at least 2, got {num_samples}")
        self.embed_student = nn.Linear(student.embedding.shape[1], dim)
        self.embed_teacher = nn.Linear(teacher.embedding.shape[1], dim)
        bound = (3 / dim) ** 0.5  # rows of norm about 1
        for name in ("memory_student", "memory_teacher"):
            self.register_buffer(name, torch.empty(num_samples, dim).uniform_(-bound, bound))
        self.register_buffer("normaliser", torch.full((2,), -1.0))  # Z of the student's and the teacher's scores
        self.register_buffer("classes", torch.full((num_samples,), -1))  # -1: not seen yet
        self.negatives = min(16384, num_samples) if negatives is None else negatives
        self.temperature, self.momentum = temperature, momentum
        self.generator = torch.Generator().manual_seed(self.seed)

    def get_extra_state(self) -> Tensor:
        """The generator's state, so that a training that was stopped goes on with the same negatives."""
        return self.generator.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        self.generator.set_state(state.cpu())

    def forward(self, student: Features, teacher: Features, labels: Tensor, index: Tensor) -> Tensor:
        negatives = self.draw(labels, index)
        return self.contrast_with(student.embedding, teacher.embedding.detach(), index, negatives)

    def contrast_with(self, student: Tensor, teacher: Tensor, index: Tensor, negatives: Tensor) -> Tensor:
        """The loss for given negatives: embeddings (B, D), index (B,), negatives (B, M) -> scalar."""
        student, teacher = F.normalize(self.embed_student(student)), F.normalize(self.embed_teacher(teacher))
        rows = torch.cat([index[:, None], negatives], dim=1)  # (B, 1+M), the positive first
        loss = student.new_zeros(())
        sides = ((student, self.memory_teacher), (teacher, self.memory_student))
        for side, (value, memory) in enumerate(sides):
            # One product with the whole memory, then a look-up: far smaller than gathering (B, 1+M, dim) rows.
            # The copy keeps what autograd saved apart from the update below.
            scores = torch.exp((value @ memory.clone().mT).gather(1, rows) / self.temperature)
            mean = scores.detach().mean() * self.num_samples
            z = torch.where(self.normaliser[side] < 0, mean.to(self.normaliser), self.normaliser[side])
            self.normaliser[side] = z
            loss = loss + contrast(scores / z, self.num_samples)
        self._remember(student.detach(), teacher.detach(), index)
        return loss

    @torch.no_grad()
    def _remember(self, student: Tensor, teacher: Tensor, index: Tensor) -> None:
        for memory, value in ((self.memory_student, student), (self.memory_teacher, teacher)):
            mixed = self.momentum * memory[index] + (1 - self.momentum) * value.to(memory)
            memory.index_copy_(0, index, F.normalize(mixed))

    @torch.no_grad()
    def draw(self, labels: Tensor, index: Tensor) -> Tensor:
        """Negatives for a batch: labels (B,), index (B,) -> rows (B, M) of the memory, of other classes."""
        num_samples = self.num_samples
        if index.min() < 0 or index.max() >= num_samples:
            raise ValueError(f"CRD's memory has {num_samples} rows: index must lie in 0..{num_samples - 1}")
        self.classes[index] = labels
        order = torch.argsort(self.classes, stable=True)  # rows by class
        counts = torch.bincount(self.classes + 1, minlength=self.num_classes + 1)
        start = (counts.cumsum(0) - counts)[labels + 1]
        own = counts[labels + 1]
        own = torch.where(own < num_samples, own, 0)  # one class only: nothing to leave out
        uniform = torch.rand(len(index), self.negatives, generator=self.generator, dtype=torch.float64)
        position = (uniform.to(labels.device) * (num_samples - own)[:, None]).long()
        skip = torch.where(position >= start[:, None], own[:, None], 0)  # jump over the sample's own class
        return order[position + skip]
