"""A feature loss as a term of the training: its module, its weight and the teacher that it reads."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class FeatureTerm(nn.Module):
    """`weight * module(student features, teacher features, labels, positions)`, the teacher frozen and in eval mode.

    `preact`: the loss reads maps before their last ReLU (AB).
    """

    def __init__(self, module: nn.Module, teacher: nn.Module, weight: float, preact: bool = False) -> None:
        super().__init__()
        self.module, self.weight, self.preact = module, weight, preact
        self.__dict__["teacher"] = teacher.eval()  # kept out of .parameters(): it is not trained

    def forward(self, x: Tensor, student: Any, labels: Tensor, positions: Tensor) -> Tensor:
        with torch.no_grad():
            teacher = self.__dict__["teacher"].features(x, self.preact)
        return self.weight * self.module(student, teacher, labels, positions)

    @property
    def initial_epochs(self) -> int:
        """Epochs of a stage before the training in which only the module's `initial` is minimised."""
        return getattr(self.module, "initial_epochs", 0)

    def initial(self, x: Tensor, student: Any, labels: Tensor, positions: Tensor) -> Tensor:
        """The loss of that stage, unweighted."""
        with torch.no_grad():
            teacher = self.__dict__["teacher"].features(x, self.preact)
        return self.module.initial(student, teacher, labels, positions)  # type: ignore[operator]
