"""Feature losses on intermediate maps (B, C, H, W): FitNets, AB, AT, NST, FSP, VID.

The functions take lists of maps and return one value per pair (L,), differentiable in both arguments as in the
code they follow (RepDistiller, except where said); the modules, made for `FEATURE_LOSSES`, pick the maps, detach the
teacher's and sum. With maps = [stem, stage 1, ..., last stage], the modules read

    FitNets       maps[2] (the last where there are fewer)
    AT, NST, VID  all but the stem, paired from the last one
    AB            all but the stem, before their ReLU (`preact`); as many in the student as in the teacher
    FSP           all; as many, with the same channels, in the student as in the teacher
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdlib.losses.common import (
    LearnedLoss,
    Regressor,
    StagedLoss,
    after_stem,
    need_space,
    pair_maps,
    pool_to_smaller,
)
from kdlib.models.features import Features

Maps = Sequence[Tensor]


def attention(students: Maps, teachers: Maps, p: float = 2) -> Tensor:
    """Attention transfer (Zagoruyko & Komodakis 2017, Eq. 2): mean squared difference of attention maps, (L,).

    Attention map: the channel mean of a^p (|a|^p for even p), flattened to (B, H*W) and divided by its L2 norm. The
    larger map is average-pooled first. The paper sums over positions; RepDistiller's mean goes with its weight 1000.
    """

    def attend(maps: Tensor) -> Tensor:
        return F.normalize(maps.pow(p).mean(1).flatten(1))

    pairs = (pool_to_smaller(s, t) for s, t in zip(students, teachers, strict=True))
    return torch.stack([(attend(s) - attend(t)).pow(2).mean() for s, t in pairs])


def neuron_selectivity(students: Maps, teachers: Maps) -> Tensor:
    """NST (Huang & Wang 2017, Eq. 7): squared maximum mean discrepancy with kernel (x.y)^2, per pair (L,).

    x runs over a map's channels, each flattened to H*W positions and normalised; means over batch and channel
    pairs. The teacher-teacher term is a constant. The larger map is average-pooled first.
    """

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.mT).pow(2).mean()

    values = []
    for pair in zip(students, teachers, strict=True):
        s, t = (F.normalize(x.flatten(2), dim=2) for x in pool_to_smaller(*pair))
        values.append(kernel(t, t).detach() + kernel(s, s) - 2 * kernel(s, t))
    return torch.stack(values)


def fsp_matrix(bottom: Tensor, top: Tensor) -> Tensor:
    """Flow between two maps (Yim et al. 2017, Eq. 1): (B, C1, H, W), (B, C2, H, W) -> (B, C2, C1).

    Mean over positions of products of channels; the larger map is average-pooled to the smaller's size.
    """
    bottom, top = (x.flatten(2) for x in pool_to_smaller(bottom, top))
    return top @ bottom.mT / bottom.shape[2]


def flow(students: Maps, teachers: Maps) -> Tensor:
    """FSP (Yim et al. 2017, Eq. 2): mean squared difference of the flow matrices of consecutive maps, (L-1,)."""

    def matrices(maps: Maps) -> list[Tensor]:
        return [fsp_matrix(bottom, top) for bottom, top in zip(maps[:-1], maps[1:], strict=True)]

    both = zip(matrices(students), matrices(teachers), strict=True)
    return torch.stack([(s - t).pow(2).mean() for s, t in both])


def activation_boundary(students: Maps, teachers: Maps, margin: float = 1.0) -> Tensor:
    """AB (Heo et al. 2019, Eq. 5): squared hinge that puts each student unit on the teacher's side of 0, (L,).

    Inputs are pre-activations of equal shapes. A unit active in the teacher is pushed above +margin, an inactive one
    below -margin. Summed over units, mean over the batch; layer i of L weighs 2^(i-L+1), and all 3/1000, as in the
    code. The teacher enters by its sign only, so it gets no gradient.
    """
    values = []
    for s, t in zip(students, teachers, strict=True):
        active = t > 0
        too_low, too_high = F.relu(margin - s), F.relu(margin + s)
        values.append(torch.where(active, too_low, too_high).pow(2).sum() / len(s))
    weights = [2.0 ** (i - len(values) + 1) * 3 / 1000 for i in range(len(values))]
    return torch.stack([w * v for w, v in zip(weights, values, strict=True)])


def hint_error(regressed: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error of two maps of equal shape (B, C, H, W), scalar (Romero et al. 2015, Eq. 3, is half its sum)."""
    return F.mse_loss(regressed, teacher)


class MapLoss(nn.Module):
    """A function of maps without parameters, as a module for `FEATURE_LOSSES`."""

    def __init__(self, function: Callable[[Maps, Maps], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, student: Features, teacher: Features, labels: Tensor, index: Tensor) -> Tensor:
        pairs = pair_maps(after_stem(student), [m.detach() for m in after_stem(teacher)])
        return self.function([s for s, _ in pairs], [t for _, t in pairs]).sum()


def make_attention(student: Features, teacher: Features, *, num_samples: int, num_classes: int, seed: int) -> nn.Module:
    """AT on all maps but the stem. ValueError where all pairs are 1x1: their attention is constant."""
    need_space(pair_maps(after_stem(student), after_stem(teacher)), "attention transfer")
    return MapLoss(attention)


def make_neuron_selectivity(
    student: Features, teacher: Features, *, num_samples: int, num_classes: int, seed: int
) -> nn.Module:
    """NST on all maps but the stem. ValueError where all pairs are 1x1: a normalised channel is then constant."""
    need_space(pair_maps(after_stem(student), after_stem(teacher)), "neuron selectivity transfer")
    return MapLoss(neuron_selectivity)


class FSP(StagedLoss):
    """FSP on all maps (see `flow`), a term of the loss; with `initial_epochs` (30 in RepDistiller) a first stage instead.

    ValueError unless student and teacher have the same number (at least 2) of maps with the same channels.
    """

    def setup(self, student: Features, teacher: Features, *, initial_epochs: int = 0) -> None:
        self.check_initial(initial_epochs)
        channels = [[m.shape[1] for m in features.maps] for features in (student, teacher)]
        if channels[0] != channels[1] or len(channels[0]) < 2:
            raise ValueError(
                "FSP compares products of channels, so student and teacher need at least 2 maps with equal "
                f"channels; got {channels[0]} and {channels[1]}"
            )

    def forward(self, student: Features, teacher: Features, labels: Tensor, index: Tensor) -> Tensor:
        if self.stage_over:
            return student.logits.new_zeros(())
        return flow(student.maps, [m.detach() for m in teacher.maps]).sum()


class FitNets(LearnedLoss):
    """FitNets hint (Romero et al. 2015, Eq. 3): mean squared error of the regressed student map, ReLU included.

    Map `hint_layer` (2, or the last) of each network; the regressor is conv + BatchNorm + ReLU (`Regressor`). The paper
    trains in two stages with half the squared norm; RepDistiller, followed here, in one, with the mean.
    """

    def setup(self, student: Features, teacher: Features, *, hint_layer: int = 2) -> None:
        self.hint_layer = hint_layer
        self.regressor = Regressor(self.hint(student), self.hint(teacher), relu=True)

    def hint(self, features: Features) -> Tensor:
        """The map that the hint reads."""
        return features.maps[min(self.hint_layer, len(features.maps) - 1)]

    def forward(self, student: Features, teacher: Features, labels: Tensor, index: Tensor) -> Tensor:
        target = self.regressor.match(self.hint(teacher).detach())
        return hint_error(self.regressor(self.hint(student)), target)


class AB(StagedLoss):
    """AB (see `activation_boundary`) with a connector per layer: identity where shapes agree, else conv + BatchNorm.

    Made for maps before their ReLU. After a ReLU the teacher's sign is the same, but a dead student unit behind an
    identity connector gets no gradient. AB is a term of the loss; with `initial_epochs` (30 in RepDistiller) a first
    stage instead.

    ValueError unless student and teacher have equally many maps.
    """

    def setup(self, student: Features, teacher: Features, *, initial_epochs: int = 0) -> None:
        self.check_initial(initial_epochs)
        counts = len(after_stem(student)), len(after_stem(teacher))
        if counts[0] != counts[1]:
            raise ValueError(
                f"AB needs equally many maps, got {counts[0]} of the student and {counts[1]} of the teacher"
            )
        pairs = pair_maps(after_stem(student), after_stem(teacher))
        self.connectors = nn.ModuleList(
            nn.Identity() if s.shape[1:] == t.shape[1:] else Regressor(s, t, relu=False) for s, t in pairs
        )

    def per_layer(self, students: Maps, teachers: Maps, margin: float = 1.0) -> Tensor:
        """`activation_boundary` after the connectors, one value per layer (L,)."""
        triples = list(zip(self.connectors, students, teachers, strict=True))
        targets = [c.match(t) if isinstance(c, Regressor) else t for c, _, t in triples]
        return activation_boundary([c(s) for c, s, _ in triples], targets, margin)

    def forward(self, student: Features, teacher: Features, labels: Tensor, index: Tensor) -> Tensor:
        if self.stage_over:
            return student.logits.new_zeros(())
        return self.per_layer(after_stem(student), [m.detach() for m in after_stem(teacher)]).sum()


class VIDLayer(nn.Module):
    """VID for one pair of maps (Ahn et al. 2019, Eq. 6): Gaussian negative log-likelihood, mean over elements.

    The mean is predicted from the student by three 1x1 convolutions without bias (teacher's width, ReLU between).
    The variance, one per teacher channel, is softplus(log_scale) + eps: trained, starting at `initial_variance`.
    The larger map is average-pooled first. The constant log(2 pi) / 2 is left out.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, initial_variance: float = 5.0, eps: float = 1e-5
    ) -> None:
        super().__init__()
        widths = [in_channels, out_channels, out_channels, out_channels]
        first, second, third = (nn.Conv2d(a, b, 1, bias=False) for a, b in zip(widths[:-1], widths[1:], strict=True))
        self.regressor = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third)
        self.log_scale = nn.Parameter(torch.full((out_channels,), math.log(math.expm1(initial_variance - eps))))
        self.eps = eps

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        student, teacher = pool_to_smaller(student, teacher)
        variance = (F.softplus(self.log_scale) + self.eps)[:, None, None]
        return 0.5 * ((self.regressor(student) - teacher) ** 2 / variance + variance.log()).mean()


class VID(LearnedLoss):
    """VID (see `VIDLayer`) on all maps but the stem, summed over pairs; may be negative."""

    def setup(self, student: Features, teacher: Features) -> None:
        pairs = pair_maps(after_stem(student), after_stem(teacher))
        self.layers = nn.ModuleList(VIDLayer(s.shape[1], t.shape[1]) for s, t in pairs)

    def forward(self, student: Features, teacher: Features, labels: Tensor, index: Tensor) -> Tensor:
        pairs = pair_maps(after_stem(student), [m.detach() for m in after_stem(teacher)])
        values = [layer(s, t) for layer, (s, t) in zip(self.layers, pairs, strict=True)]
        return torch.stack(values).sum()
