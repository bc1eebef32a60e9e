"""Losses on embeddings (B, D) and on relations between the samples of a batch: SP, PKT, RKD, CC, PEFD.

All but PEFD couple the samples of a batch. The functions are differentiable in both arguments as in RepDistiller
(RKD's in the student only); the modules for `FEATURE_LOSSES` detach the teacher. SP reads the last map, the others the
embedding. A batch of one sample has no relations: SP, PKT, RKD and CC are then 0, with a zero gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp, factorial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdlib.losses.common import LearnedLoss
from kdlib.models.features import Features


def similarity(students: Sequence[Tensor], teachers: Sequence[Tensor]) -> Tensor:
    """SP (Tung & Mori 2019, Eq. 4): squared difference of row-normalised B x B Gram matrices over B^2, (L,).

    Each input is a map or an embedding (B, ...), flattened to one row a sample; sizes may differ.
    """

    def gram(x: Tensor) -> Tensor:
        rows = x.flatten(1)
        return F.normalize(rows @ rows.mT)

    pairs = zip(students, teachers, strict=True)
    return torch.stack([(gram(s) - gram(t)).pow(2).sum() / len(s) ** 2 for s, t in pairs])


def probability_transfer(student: Tensor, teacher: Tensor, eps: float = 1e-7) -> Tensor:
    """PKT (Passalis & Tefas 2018): divergence between batch neighbourhoods, (B, D), (B, D') -> scalar.

    Neighbourhood: (1 + cosine) / 2 to every sample of the batch, rows summing to 1. The value is the mean of
    q log((q + eps) / (p + eps)) over all B^2 entries, as in RepDistiller (the paper sums; hence the weight 30000).
    """

    def neighbours(x: Tensor) -> Tensor:
        x = x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + eps)
        kernel = (x @ x.mT + 1) / 2
        return kernel / kernel.sum(1, keepdim=True)

    p, q = neighbours(student), neighbours(teacher)
    return (q * torch.log((q + eps) / (p + eps))).mean()


def _distances(x: Tensor, eps: float) -> Tensor:
    """Euclidean distances (B, B) divided by the mean of the positive ones; the squares are clamped at eps."""
    squares = x.pow(2).sum(1)
    distance = (squares[:, None] + squares[None] - 2 * x @ x.mT).clamp_min(eps).sqrt()
    distance = distance.masked_fill(torch.eye(len(x), dtype=torch.bool, device=x.device), 0.0)
    mean = distance.sum() / (distance > 0).sum().clamp_min(1)
    return distance / torch.where(mean > 0, mean, 1.0)  # one sample: no positive distance, hence no mean


def _angles(x: Tensor) -> Tensor:
    """Cosines (B, B, B) of the angle at sample i between samples j and k."""
    directions = F.normalize(x[None] - x[:, None], dim=2)
    return directions @ directions.mT


def relational(
    student: Tensor, teacher: Tensor, *, distance_weight: float = 25.0, angle_weight: float = 50.0, eps: float = 1e-12
) -> Tensor:
    """RKD (Park et al. 2019, Sec. 3.2): smooth-L1 between distances and between angles, scalar.

    student (B, ...), teacher (B, ...), flattened to rows; the teacher gets no gradient. Means run over all B^2 and B^3
    entries, the diagonal and degenerate ones included, as in RepDistiller. Memory is B^3 + B^2 D numbers.
    """
    s, t = student.flatten(1), teacher.detach().flatten(1)
    loss = s.sum() * 0.0
    if distance_weight:
        loss = loss + distance_weight * F.smooth_l1_loss(_distances(s, eps), _distances(t, eps))
    if angle_weight:
        loss = loss + angle_weight * F.smooth_l1_loss(_angles(s), _angles(t))
    return loss


def correlation(student: Tensor, teacher: Tensor) -> Tensor:
    """ "CC" as in RepDistiller: mean over b of sum_d |e_bd| |e_(b+1)d| with e = student - teacher (B, D), scalar.

    Not the loss of the paper that gave it its name (see `correlation_congruence`): it looks at neighbours in the batch
    only, so its value depends on the order of the samples. It is what Table 1's weight and numbers belong to.
    """
    error = (student - teacher).abs()
    return (error[:-1] * error[1:]).sum() / max(len(error) - 1, 1)


def correlation_congruence(student: Tensor, teacher: Tensor, *, gamma: float = 0.4, order: int = 2) -> Tensor:
    """CC as in its paper (Peng et al. 2019, Eq. 3, 8): squared difference of kernel matrices over B^2, scalar.

    Gaussian kernel exp(-gamma |a - b|^2) of L2-normalised rows (B, D), by its Taylor series up to `order`.
    """

    def kernel(x: Tensor) -> Tensor:
        x = F.normalize(x)
        cosine = x @ x.mT
        terms = [(2 * gamma * cosine) ** p / factorial(p) for p in range(order + 1)]
        return exp(-2 * gamma) * torch.stack(terms).sum(0)

    return (kernel(student) - kernel(teacher)).pow(2).mean()


def cosine_distance(projected: Tensor, teacher: Tensor) -> Tensor:
    """Mean over the batch of 1 - cos, (B, D), (B, D) -> scalar; = |a/|a| - b/|b||^2 / 2 (medium-difficulty paper,
    Eq. 6). A zero row counts as cosine 0, where the authors' code returns NaN."""
    return (1 - (F.normalize(projected) * F.normalize(teacher)).sum(1)).mean()


class RelationLoss(nn.Module):
    """A function of two tensors without parameters, as a module for `FEATURE_LOSSES`; `read` picks the tensor."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], read: Callable[[Features], Tensor]) -> None:
        super().__init__()
        self.function, self.read = function, read

    def forward(self, student: Features, teacher: Features, labels: Tensor, index: Tensor) -> Tensor:
        return self.function(self.read(student), self.read(teacher).detach())


def _embedding(features: Features) -> Tensor:
    return features.embedding


def _last_map(features: Features) -> Tensor:
    return features.maps[-1]


def _one_similarity(student: Tensor, teacher: Tensor) -> Tensor:
    return similarity([student], [teacher]).sum()


def make_similarity(
    student: Features, teacher: Features, *, num_samples: int, num_classes: int, seed: int
) -> nn.Module:
    """SP on the last map."""
    return RelationLoss(_one_similarity, _last_map)


def make_probability_transfer(
    student: Features, teacher: Features, *, num_samples: int, num_classes: int, seed: int
) -> nn.Module:
    """PKT on the embedding."""
    return RelationLoss(probability_transfer, _embedding)


def make_relational(
    student: Features, teacher: Features, *, num_samples: int, num_classes: int, seed: int
) -> nn.Module:
    """RKD on the embedding, distance weight 25, angle weight 50."""
    return RelationLoss(relational, _embedding)


class CC(LearnedLoss):
    """CC on linear embeddings of both networks, to `dim` features; the teacher's embedding is trained too.

    dim: 128, RepDistiller's. kernel=False (default): `correlation`, RepDistiller's loss; both embeddings can shrink
    towards 0, which lowers it. kernel=True: `correlation_congruence`, the paper's.
    """

    def setup(self, student: Features, teacher: Features, *, dim: int = 128, kernel: bool = False) -> None:
        self.embed_student = nn.Linear(student.embedding.shape[1], dim)
        self.embed_teacher = nn.Linear(teacher.embedding.shape[1], dim)
        self.function = correlation_congruence if kernel else correlation

    def forward(self, student: Features, teacher: Features, labels: Tensor, index: Tensor) -> Tensor:
        target = self.embed_teacher(teacher.embedding.detach())
        return self.function(self.embed_student(student.embedding), target)


def make_kernel_correlation(
    student: Features, teacher: Features, *, num_samples: int, num_classes: int, seed: int
) -> nn.Module:
    """CC with the paper's kernel."""
    return CC(student, teacher, num_samples=num_samples, num_classes=num_classes, seed=seed, kernel=True)


class PEFD(LearnedLoss):
    """PEFD (Chen et al. 2022): `cosine_distance` between the mean of several projections and the teacher's embedding.

    A projector is Linear + ReLU from the student's to the teacher's width; the outputs are averaged before they are
    normalised. Three projectors, differing by their initial weights only; all are trained.
    """

    def setup(self, student: Features, teacher: Features, *, num_projectors: int = 3) -> None:
        widths = student.embedding.shape[1], teacher.embedding.shape[1]
        self.projectors = nn.ModuleList(nn.Linear(*widths) for _ in range(num_projectors))

    def forward(self, student: Features, teacher: Features, labels: Tensor, index: Tensor) -> Tensor:
        projected = [F.relu(projector(student.embedding)) for projector in self.projectors]
        return cosine_distance(torch.stack(projected).mean(0), teacher.embedding.detach())
