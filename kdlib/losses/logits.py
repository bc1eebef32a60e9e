"""Losses on logits: cross-entropy, distillation (KD) and decoupled distillation (DKD).

Every entry of `LOSSES` maps student logits (B, K), teacher logits (B, K) or None and labels (B,) to nats per
sample (B,). No entry couples the samples of a batch, so runs stacked as (R, B, K) are flattened by the caller.

The papers weigh the two terms in different ways. With CE the cross-entropy and KD the distillation term
(tau^2 included), the argument `weighting` names the convention:

    "convex"        (1 - alpha) CE + alpha KD     Distilling the Knowledge in Data Pruning, Eq. 2; our default
    "alpha_on_ce"   alpha CE + (1 - alpha) KD     medium-difficulty paper, Eq. 2: alpha means the opposite
    "additive"      CE + alpha KD                 Distilling the Knowledge in Data Pruning, Sec. 4.4
    (gamma, delta)  gamma CE + delta KD           two free weights, RepDistiller's form; alpha is not read

The last paper section adds beta times a feature loss (`FEATURE_LOSSES`), which the caller sums. Neither paper
prints tau^2; the code both build on multiplies by it, and so do we, at every alpha and every tau.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from kdlib.utils.errors import choose

Weight = float | Tensor
Weighting = str | tuple[float, float]


def convex(alpha: Weight) -> tuple[Weight, Weight]:
    """(1 - alpha) CE + alpha KD."""
    return 1 - alpha, alpha


def alpha_on_ce(alpha: Weight) -> tuple[Weight, Weight]:
    """alpha CE + (1 - alpha) KD."""
    return alpha, 1 - alpha


def additive(alpha: Weight) -> tuple[Weight, Weight]:
    """CE + alpha KD."""
    return 1.0, alpha


def free(alpha: Weight, *, ce: float = 1.0, kd: float = 1.0) -> tuple[Weight, Weight]:
    """ce CE + kd KD; alpha is not read."""
    return ce, kd


# name -> (alpha, **options) -> (weight of CE, weight of KD)
WEIGHTINGS: dict[str, Callable[..., tuple[Weight, Weight]]] = {
    "convex": convex,
    "alpha_on_ce": alpha_on_ce,
    "additive": additive,
    "free": free,
}


def term_weights(alpha: Weight, weighting: Weighting) -> tuple[Weight, Weight]:
    """(weight of CE, weight of KD); `alpha` is a number or a (B,) tensor, one value per sample.

    ValueError for an unknown name, a negative weight, or alpha outside [0, 1] where the two weights sum to 1.
    """
    if not isinstance(weighting, str):
        ce_weight, kd_weight = weighting
        if min(ce_weight, kd_weight) < 0:
            raise ValueError(f"weights must not be negative, got {tuple(weighting)}")
        return ce_weight, kd_weight
    rule = choose("weighting", weighting, WEIGHTINGS)
    if not isinstance(alpha, Tensor):
        upper = float("inf") if weighting == "additive" else 1.0
        if not 0 <= alpha <= upper:
            raise ValueError(f"alpha must lie in [0, {upper:g}] for weighting {weighting!r}, got {alpha}")
    return rule(alpha)


def _absent(weight: Weight) -> bool:
    """A term whose weight is the number 0 is left out: exact, and its inputs may be missing."""
    return not isinstance(weight, Tensor) and weight == 0


def _check_tau(tau: float) -> None:
    if not tau > 0:
        raise ValueError(f"the temperature tau must be positive, got {tau}")


def _need_teacher(teacher: Tensor | None, student: Tensor, name: str) -> Tensor:
    """The teacher's logits without their gradient: a teacher is never trained through a loss."""
    if teacher is None:
        raise ValueError(f"loss {name!r} needs the teacher's logits, got None; 'cross_entropy' needs none")
    if teacher.shape != student.shape:
        raise ValueError(
            f"student logits {tuple(student.shape)} and teacher logits {tuple(teacher.shape)} differ in shape"
        )
    return teacher.detach()


def soft_kl(student: Tensor, teacher: Tensor, tau: float = 4.0) -> Tensor:
    """KL(q || p) of q = softmax(teacher / tau), p = softmax(student / tau): (B, K), (B, K) -> nats (B,).

    Hinton et al. 2015, without the factor tau^2. The teacher is not detached here. Works on log-probabilities,
    so saturated float32 logits stay finite. ValueError for tau <= 0.
    """
    _check_tau(tau)
    log_p, log_q = F.log_softmax(student / tau, dim=-1), F.log_softmax(teacher / tau, dim=-1)
    return F.kl_div(log_p, log_q, reduction="none", log_target=True).sum(-1)


def decoupled_kl(
    student: Tensor, teacher: Tensor, labels: Tensor, *, tau: float, target_weight: float, non_target_weight: float
) -> tuple[Tensor, Tensor]:
    """DKD's two weighted parts without tau^2 (Zhao et al. 2022, Eq. 7): logits (B, K), labels (B,) -> 2 x nats (B,).

    Target part: KL between the teacher's and the student's Bernoulli (p_label, 1 - p_label).
    Non-target part: KL between their softmaxes over the other K - 1 classes.

    The reference code masks the label's logit by -1000 and takes logarithms of probabilities, which overflows
    in float32 at logit gaps of about 100. Here the label's column is removed and everything stays in log space; the
    non-target softmax starts from the logits, since log-probabilities near -1e4 have no digits left for small gaps.
    """
    _check_tau(tau)
    num_classes = student.shape[-1]
    if num_classes < 3:
        raise ValueError(
            f"DKD needs at least 3 classes, got {num_classes}: with 2 there is one non-target class, whose "
            "distribution is the constant 1; use 'kd'"
        )
    columns = torch.arange(num_classes - 1, device=student.device)
    others = columns + (columns >= labels[:, None])  # (B, K-1): every class but the label's

    def parts(logits: Tensor) -> tuple[Tensor, Tensor]:
        log_probs = F.log_softmax(logits / tau, dim=-1)
        log_others = log_probs.gather(1, others).logsumexp(1, keepdim=True)
        binary = torch.cat([log_probs.gather(1, labels[:, None]), log_others], dim=1)  # log(p_label, 1 - p_label)
        return binary, F.log_softmax(logits.gather(1, others) / tau, dim=-1)

    def kl(log_p: Tensor, log_q: Tensor) -> Tensor:
        return F.kl_div(log_p, log_q, reduction="none", log_target=True).sum(-1)

    (student_binary, student_rest), (teacher_binary, teacher_rest) = parts(student), parts(teacher)
    return target_weight * kl(student_binary, teacher_binary), non_target_weight * kl(student_rest, teacher_rest)


def warm_up(epoch: float | None, warmup_epochs: float) -> float:
    """min(epoch / warmup_epochs, 1), epochs counted from 1; 1 where either is None or 0 (no warm-up)."""
    if epoch is None or not warmup_epochs:
        return 1.0
    return min(epoch / warmup_epochs, 1.0)


def cross_entropy(
    student: Tensor,
    teacher: Tensor | None,
    labels: Tensor,
    *,
    alpha: Weight = 0.5,
    tau: float = 4.0,
    epoch: float | None = None,
    hard: Tensor | None = None,
    kd_weight: Tensor | None = None,
    weighting: Weighting = "convex",
) -> Tensor:
    """-log softmax(student)_label at temperature 1: logits (B, K), labels (B,) -> nats (B,).

    Training without distillation: `teacher`, `alpha`, `tau`, `epoch`, `kd_weight` and `weighting` are taken so
    that every loss is called alike, and not used. `hard` (B, K), if given, is read instead of `student`.
    """
    return F.cross_entropy(student if hard is None else hard, labels, reduction="none")


def _combine(
    hard: Tensor,
    labels: Tensor | None,
    soft: Callable[[], Tensor],
    shares: tuple[Weight, Weight],
    factors: Tensor | None,
) -> Tensor:
    """share of CE * CE + share of KD * factors * KD per sample; a term of share 0 is not computed."""
    ce_share, kd_share = shares
    terms = []
    if not _absent(ce_share) or _absent(kd_share):
        terms.append(ce_share * F.cross_entropy(hard, _need_labels(labels), reduction="none"))
    if not _absent(kd_share):
        terms.append(kd_share * (soft() if factors is None else factors * soft()))
    return terms[0] if len(terms) == 1 else terms[0] + terms[1]


def _need_labels(labels: Tensor | None) -> Tensor:
    if labels is None:
        raise ValueError("labels are needed unless the cross-entropy has weight 0 (alpha = 1)")
    return labels


def kd(
    student: Tensor,
    teacher: Tensor | None,
    labels: Tensor | None,
    *,
    alpha: Weight = 0.5,
    tau: float = 4.0,
    epoch: float | None = None,
    hard: Tensor | None = None,
    kd_weight: Tensor | None = None,
    weighting: Weighting = "convex",
) -> Tensor:
    """(1 - alpha) CE + alpha tau^2 KL(teacher_tau || student_tau): logits (B, K), labels (B,) -> nats (B,).

    Hinton et al. 2015; Distilling the Knowledge in Data Pruning, Eq. 2, with the tau^2 of the code it builds
    on. CE is at temperature 1. At alpha = 0 it is `cross_entropy`, bit for bit, and the teacher may be None; at
    alpha = 1 the labels may be None. Other weightings: see the module's head.

    hard: logits (B, K) that CE reads, default `student`; kd_weight: (B,) factors on the KD term. A reshape fills
    both (`kdlib.losses.reshape`). `epoch` is not used. ValueError for tau <= 0, bad weights, a missing teacher
    or logits of unequal shape.
    """

    def soft() -> Tensor:
        return tau**2 * soft_kl(student, _need_teacher(teacher, student, "kd"), tau)

    _check_tau(tau)
    return _combine(student if hard is None else hard, labels, soft, term_weights(alpha, weighting), kd_weight)


def dkd(
    student: Tensor,
    teacher: Tensor | None,
    labels: Tensor,
    *,
    alpha: Weight = 0.5,
    tau: float = 4.0,
    target_weight: float = 1.0,
    non_target_weight: float = 8.0,
    warmup_epochs: float = 20.0,
    epoch: float | None = None,
    hard: Tensor | None = None,
    kd_weight: Tensor | None = None,
    weighting: Weighting = "convex",
) -> Tensor:
    """(1 - alpha) CE + alpha w tau^2 (target_weight TCKD + non_target_weight NCKD), nats per sample (B,).

    Zhao et al. 2022, Eq. 7; its objective has both outer weights 1: `weighting=(1, 1)`. The defaults (target_weight
    1, non_target_weight 8, tau 4, warmup_epochs 20) are those of the authors' code, which tunes non_target_weight
    per pair of networks (2, 6 or 8 on CIFAR-100, 0.5 or 2 with tau 1 on ImageNet). Warm-up
    w = min(epoch / warmup_epochs, 1) counts epochs from 1; epoch None means no warm-up. Under fewer epochs
    scale `warmup_epochs` with them. `hard`, `kd_weight`: as in `kd`.

    ValueError for fewer than 3 classes, tau <= 0, bad weights, a missing teacher or unequal shapes.
    """

    def soft() -> Tensor:
        p = _need_teacher(teacher, student, "dkd")
        weights = {"target_weight": target_weight, "non_target_weight": non_target_weight}
        target, rest = decoupled_kl(student, p, labels, tau=tau, **weights)
        return warm_up(epoch, warmup_epochs) * tau**2 * (target + rest)

    _check_tau(tau)
    return _combine(student if hard is None else hard, labels, soft, term_weights(alpha, weighting), kd_weight)


LOSSES: dict[str, Callable[..., Tensor]] = {"cross_entropy": cross_entropy, "kd": kd, "dkd": dkd}
