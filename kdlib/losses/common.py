"""What the feature losses share: the registry's entry, map pairing, pooling, regressors between map shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from kdlib.models.features import Features
from kdlib.utils.devices import torch_seed


@dataclass(frozen=True)
class FeatureLoss:
    """An entry of `FEATURE_LOSSES`.

    make(student, teacher, *, num_samples, num_classes, seed) -> nn.Module: `student` and `teacher` are example
    Features, read for their shapes only; `num_samples` is the number of KEPT samples; `seed` draws the learned
    parameters without touching the global generators. ValueError where the method cannot serve the pair.

    The module is called as module(student, teacher, labels (B,), index (B,)) -> scalar, the mean over the batch;
    `index` counts the kept samples, 0..num_samples-1. It detaches the teacher; its parameters join the student's
    optimiser. The objective is CE + alpha KD + beta * module (Distilling the Knowledge in Data Pruning, Sec. 4.4):
    `paper_beta` is that paper's weight (Table 1), `tuned_beta` RepDistiller's (for PEFD its authors').
    `preact`: the method is defined on maps before their ReLU (`features(x, preact=True)`).
    """

    make: Callable[..., nn.Module]
    tuned_beta: float
    paper_beta: float = 1.0
    preact: bool = False

    @property
    def signature_of(self) -> Callable[..., Any]:
        """The function whose keyword-only arguments are the method's options."""
        return self.make.setup if isinstance(self.make, type) and issubclass(self.make, LearnedLoss) else self.make


class LearnedLoss(nn.Module):
    """Base of the losses built for a pair: the constructor of `FeatureLoss.make`, seeded; `options` go to `setup`.

    A method writes `setup(student, teacher, *, <its options>)`, which checks the pair and draws the parameters, and
    `forward`. TypeError for an option that the method does not have, ValueError as `setup` says.

    initial_epochs: epochs of a stage before the training, in which only `initial` is minimised (RepDistiller trains AB,
    FSP and the paraphraser of FT so for 30 epochs); 0, and the method acts throughout. A method with such a stage takes
    `initial_epochs` as an option of `setup`, and `main_stage` says what changes when the stage is over.
    """

    initial_epochs: int = 0

    def __init__(
        self, student: Features, teacher: Features, *, num_samples: int, num_classes: int, seed: int, **options: Any
    ) -> None:
        super().__init__()
        self.num_samples, self.num_classes, self.seed = num_samples, num_classes, seed
        with torch_seed(seed):
            self.setup(student, teacher, **options)

    def setup(self, *args: Any, **options: Any) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no setup")

    def initial(self, student: Features, teacher: Features, labels: Tensor, index: Tensor) -> Tensor:
        """The loss of the initial stage, a scalar: that of the training, unless a method says otherwise."""
        return self(student, teacher, labels, index)

    def main_stage(self) -> None:
        """Called when the initial stage is over."""


class StagedLoss(LearnedLoss):
    """A method that may have an initial stage; `stage_over` is set when it is over (AB and FSP then add nothing)."""

    stage_over = False

    def main_stage(self) -> None:
        self.stage_over = True

    def check_initial(self, initial_epochs: int) -> None:
        """Set the length of the stage; ValueError for a negative one."""
        if initial_epochs < 0:
            raise ValueError(f"initial_epochs must be at least 0, got {initial_epochs}")
        self.initial_epochs = initial_epochs


def after_stem(features: Features) -> list[Tensor]:
    """All maps but the stem's (all, where there is only one): RepDistiller's feat[1:-1]."""
    return features.maps[1:] or features.maps


def pair_maps(student: list[Tensor], teacher: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Pairs of maps counted from the last one, as many as the shorter list has.

    Equal numbers pair one to one. RepDistiller pairs from the first map, so that the deepest, most semantic map of
    the longer network has no partner: we count from the other end. ValueError where a list is empty.
    """
    count = min(len(student), len(teacher))
    if count == 0:
        raise ValueError("a feature loss needs at least one map of the student and of the teacher")
    return list(zip(student[-count:], teacher[-count:], strict=True))


def pool_to_smaller(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Average-pool the spatially larger of two maps (B, C, H, W) to the size of the smaller, in each direction."""
    size = (min(a.shape[2], b.shape[2]), min(a.shape[3], b.shape[3]))
    pooled = [x if x.shape[2:] == size else F.adaptive_avg_pool2d(x, size) for x in (a, b)]
    return pooled[0], pooled[1]


def need_space(pairs: list[tuple[Tensor, Tensor]], name: str) -> None:
    """ValueError if every pair of maps pools down to one position: a loss on normalised positions is then 0."""
    if all(pool_to_smaller(s, t)[0][0, 0].numel() == 1 for s, t in pairs):
        raise ValueError(
            f"{name} compares positions within a map, but every pair here is 1x1 after pooling (an MLP has no "
            "spatial maps): the loss would be constant. Use two convolutional networks, or a loss on embeddings "
            "such as rkd, pkt, crd"
        )


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation that survives a last batch of one 1x1 map, where the batch variance does not exist:
    there it uses its running statistics."""

    def forward(self, input: Tensor) -> Tensor:
        if self.training and input.shape[0] * input.shape[2] * input.shape[3] == 1:
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        return super().forward(input)


class Regressor(nn.Module):
    """Convolution + BatchNorm from a student map (B, C, H, W) to the shape of a teacher map, ReLU if `relu`.

    Student twice as large: 3x3, stride 2. Half as large: transposed 4x4, stride 2. Otherwise at least as large: an
    unpadded kernel of 1 + H_student - H_teacher (1x1 at equal sizes). These are RepDistiller's rules, which end
    here; where the student's map is smaller still, the teacher's is first average-pooled to fit (`match`).
    """

    def __init__(self, student: Tensor, teacher: Tensor, *, relu: bool) -> None:
        super().__init__()
        (c_in, h_in, w_in), (c_out, h, w) = student.shape[1:], teacher.shape[1:]
        self.conv: nn.Conv2d | nn.ConvTranspose2d
        self.size = (h, w)
        if (h_in, w_in) == (2 * h, 2 * w):
            self.conv = nn.Conv2d(c_in, c_out, 3, stride=2, padding=1)
        elif (2 * h_in, 2 * w_in) == (h, w):
            self.conv = nn.ConvTranspose2d(c_in, c_out, 4, stride=2, padding=1)
        else:
            self.size = (min(h, h_in), min(w, w_in))
            self.conv = nn.Conv2d(c_in, c_out, (1 + h_in - self.size[0], 1 + w_in - self.size[1]))
        self.bn = BatchNorm(c_out)
        self.relu = relu

    def forward(self, student: Tensor) -> Tensor:
        out = self.bn(self.conv(student))
        return F.relu(out) if self.relu else out

    def match(self, teacher: Tensor) -> Tensor:
        """The teacher's map at the size this regressor produces."""
        return teacher if teacher.shape[2:] == self.size else F.adaptive_avg_pool2d(teacher, self.size)
