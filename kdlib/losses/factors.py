"""Factor transfer (FT, Kim et al. 2018): a paraphraser compresses the teacher's map, a translator the student's."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from kdlib.losses.common import BatchNorm, StagedLoss, need_space, pool_to_smaller
from kdlib.models.features import Features


def factor_transfer(student: Tensor, teacher: Tensor, p1: float = 2, p2: float = 1) -> Tensor:
    """Mean of |f(student) - f(teacher)|^p2 for factors (B, C, H, W), a scalar; f as in RepDistiller.

    f: channel mean of x^p1, flattened to H*W and divided by its L2 norm. The paper (Eq. 3) normalises the flattened
    factor itself and sums. The larger factor is average-pooled to the smaller's size first. An odd p2 other than 1
    keeps the sign of the difference, as in the code.
    """

    def flat(factor: Tensor) -> Tensor:
        return F.normalize(factor.pow(p1).mean(1).flatten(1))

    student, teacher = pool_to_smaller(student, teacher)
    difference = flat(student) - flat(teacher)
    return (difference.abs() if p2 == 1 else difference.pow(p2)).mean()


def _conv(c_in: int, c_out: int) -> nn.Module:
    return nn.Conv2d(c_in, c_out, 3, padding=1)


def _transposed(c_in: int, c_out: int) -> nn.Module:
    return nn.ConvTranspose2d(c_in, c_out, 3, padding=1)


class Paraphraser(nn.Module):
    """Autoencoder of the teacher's map: C -> k C channels and back, 3x3 layers with leaky ReLU 0.1, no BatchNorm."""

    def __init__(self, channels: int, rate: float = 0.5) -> None:
        super().__init__()
        factors = int(channels * rate)
        widths = [channels, channels, factors, factors]
        encoder: list[nn.Module] = []
        decoder: list[nn.Module] = []
        for i in range(3):
            encoder += [_conv(widths[i], widths[i + 1]), nn.LeakyReLU(0.1)]
            decoder += [_transposed(widths[3 - i], widths[2 - i]), nn.LeakyReLU(0.1)]
        self.encoder, self.decoder = nn.Sequential(*encoder), nn.Sequential(*decoder)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, C, H, W) to (factor (B, k C, H, W), reconstruction (B, C, H, W))."""
        factor = self.encoder(x)
        return factor, self.decoder(factor)


class Translator(nn.Module):
    """Student's map to `factors` channels: three 3x3 convolutions, each with BatchNorm and leaky ReLU 0.1."""

    def __init__(self, channels: int, factors: int) -> None:
        super().__init__()
        widths = [channels, channels, factors, factors]
        layers: list[nn.Module] = []
        for i in range(3):
            layers += [_conv(widths[i], widths[i + 1]), BatchNorm(widths[i + 1]), nn.LeakyReLU(0.1)]
        self.encoder = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(x)


class FT(StagedLoss):
    """Factor transfer on the last map, plus `reconstruction_weight` times the paraphraser's reconstruction error.

    The paper first trains the paraphraser for 30 epochs, then freezes it: `initial_epochs=30`. Without such a stage both
    learn together: the paraphraser by its mean squared reconstruction error alone, the translator by the factor loss
    alone. The factor has `rate` = 0.5 of
    the teacher's channels. The default weight 1/200 times the tuned beta of 200 gives the reconstruction a weight of 1.

    ValueError where the maps are 1x1 (the factor loss is then constant) or the teacher has fewer than 1/rate channels.
    """

    def setup(
        self,
        student: Features,
        teacher: Features,
        *,
        rate: float = 0.5,
        reconstruction_weight: float = 1 / 200,
        initial_epochs: int = 0,
    ) -> None:
        self.check_initial(initial_epochs)
        s, t = student.maps[-1], teacher.maps[-1]
        need_space([(s, t)], "factor transfer")
        factors = int(t.shape[1] * rate)
        if factors < 1:
            raise ValueError(f"rate {rate} of {t.shape[1]} teacher channels leaves no factor; raise the rate")
        self.paraphraser = Paraphraser(t.shape[1], rate)
        self.translator = Translator(s.shape[1], factors)
        self.reconstruction_weight = reconstruction_weight

    def initial(self, student: Features, teacher: Features, labels: Tensor, index: Tensor) -> Tensor:
        """The paraphraser's mean squared reconstruction error."""
        target = teacher.maps[-1].detach()
        return F.mse_loss(self.paraphraser(target)[1], target)

    def main_stage(self) -> None:
        """The paraphraser is frozen from now on."""
        super().main_stage()
        self.paraphraser.requires_grad_(False)

    def forward(self, student: Features, teacher: Features, labels: Tensor, index: Tensor) -> Tensor:
        target = teacher.maps[-1].detach()
        factor, reconstruction = self.paraphraser(target)
        transfer = factor_transfer(self.translator(student.maps[-1]), factor.detach())
        if self.stage_over:
            return transfer
        return transfer + self.reconstruction_weight * F.mse_loss(reconstruction, target)
