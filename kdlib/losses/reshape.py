"""Logit reshaping: rescale the teacher's or the student's logits before a logit loss.

Every entry of `RESHAPES` is called as `reshape(student, teacher, labels, *, class_std=None)`, with logits (B, K)
and labels (B,), and returns `Reshaped`. `logit_loss` chains a reshape and any entry of `LOSSES`:

    none                        nothing changes
    classwise_std               p <- p k_c / std(p), c the sample's class       medium-difficulty paper, Eq. 4-5
    classwise_std_dataset_mean  the same with the mean of k over the classes    medium-difficulty paper, App. A.6
    lskd                        both <- (x - mean(x)) / std(x)                  Sun et al. 2024; there Eq. 9
    normkd                      both <- x / std(x), KD term times std(p)^2      Chi et al. 2023; there Eq. 8
    skd                         z <- z std(p) / std(z), also in CE              Guo et al. 2020; there Eq. 7

p is the teacher's row of logits, z the student's, std always with ddof = 1 (torch's default). For the class-wise
rows ddof cancels. The teacher's std is a constant; gradients flow through the student's.

A constant row has std 0: it is left as it is (scale 1). Nothing is lost, since its softmax is uniform at any
scale; the public codes return NaN (LSKD's, which adds 1e-7 to the std, the same 0 with a gradient 1e7 times as
large). "Constant" means a std of at most 8 machine epsilons of its largest value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from kdlib.losses.logits import LOSSES
from kdlib.utils.calls import accepted, accepts
from kdlib.utils.errors import choose

LSKD_EPS = 1e-7  # added to the std in the authors' code


class Reshaped(NamedTuple):
    """student, teacher: logits (B, K) for the KD term; kd_weight: (B,) factors on it, or None for 1;
    hard: student logits (B, K) for the cross-entropy."""

    student: Tensor
    teacher: Tensor
    kd_weight: Tensor | None
    hard: Tensor


def row_std(logits: Tensor) -> Tensor:
    """Standard deviation of each row with ddof = 1: (B, K) -> (B, 1); its gradient is 0 at a constant row.

    ValueError for fewer than two classes.
    """
    num_classes = logits.shape[-1]
    if num_classes < 2:
        raise ValueError(f"the standard deviation of a row needs at least 2 classes, got {num_classes}")
    centred = logits - logits.mean(-1, keepdim=True)
    return torch.linalg.vector_norm(centred, dim=-1, keepdim=True) / (num_classes - 1) ** 0.5


def class_std(logits: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """k_c, the mean over class c of the teacher's row std (medium-difficulty paper, Eq. 4): (N, K), (N,) -> (C,).

    Give it the FULL training set, before pruning: k is what the pruned data would otherwise forget. ddof = 1;
    a class without samples gets the mean of the other classes. ValueError for an empty set or K < 2.
    """
    if len(logits) == 0 or len(logits) != len(labels):
        raise ValueError(f"class_std needs one label per row, got {len(logits)} rows and {len(labels)} labels")
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(f"class_std: labels must lie in 0..{num_classes - 1}")
    std = row_std(logits.detach()).squeeze(1)
    sums = torch.zeros(num_classes, dtype=std.dtype, device=std.device).index_add(0, labels, std)
    counts = torch.bincount(labels, minlength=num_classes)
    means = sums / counts.clamp_min(1)
    return torch.where(counts > 0, means, means[counts > 0].mean())


def _rescale(logits: Tensor, target: Tensor | float, *, eps: float = 0.0, centre: bool = False) -> Tensor:
    """logits * target / (std + eps) row by row, less the row's mean if `centre`; constant rows get scale 1."""
    std = row_std(logits)
    floor = 8 * torch.finfo(logits.dtype).eps * logits.detach().abs().amax(-1, keepdim=True)
    varies = std.detach() > floor
    safe = torch.where(varies, std, 1.0)  # before the division: a NaN masked after it would stay in the gradient
    if centre:
        logits = logits - logits.mean(-1, keepdim=True)
    return logits * torch.where(varies, target / (safe + eps), 1.0)


def none(student: Tensor, teacher: Tensor, labels: Tensor, *, class_std: Tensor | None = None) -> Reshaped:
    """No reshaping. Shapes as in every entry: logits (B, K), labels (B,)."""
    return Reshaped(student, teacher.detach(), None, student)


def _class_targets(class_std: Tensor | None, teacher: Tensor) -> Tensor:
    if class_std is None:
        raise ValueError("class-wise reshaping needs class_std (C,): kdlib.losses.class_std of the full training set")
    return class_std.to(teacher)


def classwise_std(student: Tensor, teacher: Tensor, labels: Tensor, *, class_std: Tensor | None = None) -> Reshaped:
    """Teacher rows rescaled to their class's mean std: p k_c / std(p) (medium-difficulty paper, Eq. 5).

    class_std: (C,) from `kdlib.losses.class_std`; ValueError without it.
    """
    target = _class_targets(class_std, teacher)[labels][:, None]
    return Reshaped(student, _rescale(teacher.detach(), target), None, student)


def classwise_std_dataset_mean(
    student: Tensor, teacher: Tensor, labels: Tensor, *, class_std: Tensor | None = None
) -> Reshaped:
    """As `classwise_std` with one target for all: the mean of class_std over classes (the paper's App. A.6)."""
    target = _class_targets(class_std, teacher).mean()
    return Reshaped(student, _rescale(teacher.detach(), target), None, student)


def lskd(student: Tensor, teacher: Tensor, labels: Tensor, *, class_std: Tensor | None = None) -> Reshaped:
    """Both rows standardised, (x - mean) / (std + 1e-7) (Sun et al. 2024); CE reads the raw student logits.

    The authors' weights are CE 0.1 and KD 9 at tau 2 (`REFERENCE_SETTINGS`). The medium-difficulty paper compares
    all reshapes at one tau and alpha instead, a much smaller KD weight than theirs.
    """

    def standardise(logits: Tensor) -> Tensor:
        return _rescale(logits, 1.0, eps=LSKD_EPS, centre=True)

    return Reshaped(standardise(student), standardise(teacher.detach()), None, student)


def normkd(student: Tensor, teacher: Tensor, labels: Tensor, *, class_std: Tensor | None = None) -> Reshaped:
    """Both rows divided by their own std, so that tau std(x) is a temperature per sample (Chi et al. 2023).

    The authors' code also multiplies each sample's KL by (tau std(p))^2, which the medium-difficulty paper's Eq. 8
    does not show: `kdlib.losses.kd` brings tau^2, `kd_weight` = std(p)^2 (0 for a constant teacher row).
    """
    teacher = teacher.detach()
    weight = row_std(teacher).squeeze(-1) ** 2
    return Reshaped(_rescale(student, 1.0), _rescale(teacher, 1.0), weight, student)


def skd(student: Tensor, teacher: Tensor, labels: Tensor, *, class_std: Tensor | None = None) -> Reshaped:
    """Student rows rescaled to the teacher's std, uncentred (Guo et al. 2020); CE reads the rescaled logits too.

    This is the authors' training script; their README describes another rule (layer norm on both sides).
    """
    teacher = teacher.detach()
    scaled = _rescale(student, row_std(teacher))
    return Reshaped(scaled, teacher, None, scaled)


RESHAPES: dict[str, Callable[..., Reshaped]] = {
    "none": none,
    "classwise_std": classwise_std,
    "classwise_std_dataset_mean": classwise_std_dataset_mean,
    "lskd": lskd,
    "normkd": normkd,
    "skd": skd,
}

# What the authors' own codes train with, as arguments of `logit_loss`.
REFERENCE_SETTINGS: dict[str, dict[str, Any]] = {
    "kd": {"loss": "kd", "tau": 4.0, "weighting": (0.1, 0.9)},
    "dkd": {"loss": "dkd", "tau": 4.0, "weighting": (1.0, 1.0)},
    "lskd": {"loss": "kd", "reshape": "lskd", "tau": 2.0, "weighting": (0.1, 9.0)},
    "normkd": {"loss": "kd", "reshape": "normkd", "tau": 2.0, "weighting": (0.1, 0.9)},
    "skd": {"loss": "kd", "reshape": "skd", "tau": 4.0, "weighting": (0.1, 0.9)},
}


def logit_loss(
    student: Tensor,
    teacher: Tensor | None,
    labels: Tensor,
    *,
    loss: str = "kd",
    reshape: str = "none",
    class_std: Tensor | None = None,
    reshape_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> Tensor:
    """`LOSSES[loss]` after `RESHAPES[reshape]`: logits (B, K), labels (B,) -> nats per sample (B,).

    `reshape_options` go to the reshape, `options` to the loss (alpha, tau, weighting, epoch, ...). Without a teacher only
    reshape "none" is possible. ValueError for an unknown name, and whatever the two raise.
    """
    function, rule = choose("loss", loss, LOSSES), choose("reshape", reshape, RESHAPES)
    if teacher is None:
        if rule is not none:
            raise ValueError(f"reshape {reshape!r} needs the teacher's logits, got None; use reshape 'none'")
        return function(student, None, labels, **accepted(function, options))
    r = rule(student, teacher, labels, class_std=class_std, **(reshape_options or {}))
    filled = {"hard": r.hard, "kd_weight": r.kd_weight}
    missing = [name for name in filled if not accepts(function, name)]
    if rule is not none and missing:
        raise ValueError(f"loss {loss!r} takes no {' and no '.join(missing)}, which reshape {reshape!r} fills")
    return function(r.student, r.teacher, labels, **accepted(function, {**filled, **options}))
