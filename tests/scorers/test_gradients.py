"""Gradient norms: against one backward pass a sample, and what cannot be vectorised."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kdlib.models import build
from kdlib.scorers.gradients import grand, grand_last, is_plain, layerwise_norm, vectorised_norm
from tests.scorers.samples import K, rng


def one_by_one(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    norms = []
    for i in range(len(x)):
        gradients = torch.autograd.grad(F.cross_entropy(model(x[i : i + 1]), y[i : i + 1]), list(model.parameters()))
        norms.append(sum(float(g.square().sum()) for g in gradients) ** 0.5)
    return np.array(norms)


@pytest.mark.parametrize("name", ["mlp", "resnet8", "vgg8", "mobilenetv2", "shufflenetv1", "vit"])
def test_grand_is_the_gradient_norm_of_each_sample(name: str) -> None:
    model = build(name, K, 1, 8).double()
    x, y = torch.from_numpy(rng().normal(size=(5, 1, 8, 8))), torch.arange(5)
    model.train()
    for module in model.modules():  # running statistics that are not the initial ones
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5), module.running_var.uniform_(0.5, 2)
    scores = grand(model, x, y, chunk=2)
    assert model.training and all(m.training for m in model.modules())
    model.eval()
    expected = one_by_one(model, x, y)
    assert np.allclose(scores, expected, rtol=1e-8)
    assert np.allclose(vectorised_norm(model)(x, y).numpy(), expected, rtol=1e-8)
    assert all(p.grad is None for p in model.parameters())


class Twice(nn.Module):
    """One linear layer used two times, and a convolution with everything set."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, stride=2, padding=1, dilation=1, groups=2)
        self.fc = nn.Linear(16, 16)
        self.inplace = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.inplace(self.conv(x)).flatten(1)
        return self.fc(self.inplace(self.fc(h)))[:, :K]


def test_grand_of_a_layer_used_twice() -> None:
    torch.manual_seed(0)
    model, x, y = Twice().double(), torch.from_numpy(rng().normal(size=(3, 2, 4, 4))), torch.arange(3)
    assert is_plain(model)
    assert np.allclose(grand(model, x, y), one_by_one(model, x, y), rtol=1e-10)


@pytest.mark.parametrize("windows", [0, 2**16])
def test_both_rules_of_a_convolution_know_its_settings(monkeypatch, windows: int) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr("kdlib.scorers.gradients.WINDOWS", windows)
    conv = nn.Conv2d(2, 4, (3, 2), stride=(1, 2), padding=(2, 1), dilation=(2, 1))
    model = nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.LazyLinear(K))
    x, y = torch.from_numpy(rng().normal(size=(3, 2, 6, 7))), torch.arange(3)
    model(x.float())
    model.double()
    assert np.allclose(grand(model, x, y), one_by_one(model, x, y), rtol=1e-10)


def test_in_place_activations_do_not_disturb_the_layer_rules() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(16, K)).double()
    x, y = torch.from_numpy(rng().normal(size=(3, 2, 4, 4))), torch.arange(3)
    assert np.allclose(layerwise_norm(model)(x, y).numpy(), one_by_one(model, x, y), rtol=1e-10)


def test_grand_does_not_depend_on_the_batch() -> None:
    model = build("resnet8", K, 3, 8).double()
    x, y = torch.from_numpy(rng().normal(size=(7, 3, 8, 8))), torch.arange(7) % K
    for score in (grand, grand_last):
        whole = score(model, x, y, chunk=7)
        assert all(np.allclose(score(model, x, y, chunk=c), whole, rtol=1e-9) for c in (1, 3, 5))
        order = rng(1).permutation(7)
        assert np.allclose(score(model, x[order], y[order], chunk=3), whole[order], rtol=1e-9)


def test_grand_last_is_the_last_layers_share() -> None:
    model = build("resnet8", K, 1, 8).double().eval()
    x, y = torch.from_numpy(rng().normal(size=(4, 1, 8, 8))), torch.arange(4)
    last = [m for m in model.modules() if isinstance(m, nn.Linear)][-1]
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    shares = []
    for i in range(4):
        last.requires_grad_(True)
        gradients = torch.autograd.grad(F.cross_entropy(model(x[i : i + 1]), y[i : i + 1]), [last.weight, last.bias])
        shares.append(sum(float(g.square().sum()) for g in gradients) ** 0.5)
    assert np.allclose(grand_last(model, x, y), shares, rtol=1e-9)
    with pytest.raises(ValueError, match="4 inputs but 3 labels"):
        grand(model, x, y[:3])
    with pytest.raises(ValueError, match="chunk"):
        grand_last(model, x, y, chunk=0)
