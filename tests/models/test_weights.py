"""Weights in: names, wrappers and shapes of other projects. Weights out: the same accuracy without this package."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models as torchvision_models

from kdlib.data.augment import normalise
from kdlib.data.datasets import load
from kdlib.models import Network, build
from kdlib.models.weights import export_network, load_exported, load_foreign


class TheirBlock(nn.Module):
    """A residual block under the names of the public codes; `shortcut` or `downsample`, basic or bottleneck."""

    def __init__(self, c_in: int, planes: int, stride: int, bottleneck: bool, shortcut: str) -> None:
        super().__init__()
        c_out = planes * (4 if bottleneck else 1)
        sizes = (
            [(c_in, planes, 1), (planes, planes, 3), (planes, c_out, 1)]
            if bottleneck
            else [(c_in, planes, 3), (planes, planes, 3)]
        )
        strided = 1 if bottleneck else 0
        for i, (a, b, kernel) in enumerate(sizes):
            conv = nn.Conv2d(a, b, kernel, stride if i == strided else 1, kernel // 2, bias=False)
            self.add_module(f"conv{i + 1}", conv)
            self.add_module(f"bn{i + 1}", nn.BatchNorm2d(b))
        self.depth, self.side = len(sizes), shortcut
        if stride != 1 or c_in != c_out:
            projection = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))
            self.add_module(shortcut, projection)

    def forward(self, x: Tensor) -> Tensor:
        out = x
        for i in range(1, self.depth + 1):
            out = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(out))
            out = F.relu(out) if i < self.depth else out
        return F.relu(out + (getattr(self, self.side)(x) if hasattr(self, self.side) else x))


class TheirResNet(nn.Module):
    """The CIFAR ResNets of RepDistiller and mdistiller (same names in both), written anew: resnet.py and resnetv2.py."""

    def __init__(
        self, blocks: list[int], widths: list[int], classes: int, bottleneck: bool, head: str, shortcut: str
    ) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0])
        c_in, self.stages, self.last = widths[0], len(blocks), head
        for i, (count, planes) in enumerate(zip(blocks, widths[1:], strict=True)):
            layer = []
            for j in range(count):
                layer.append(TheirBlock(c_in, planes, 2 if i and not j else 1, bottleneck, shortcut))
                c_in = planes * (4 if bottleneck else 1)
            self.add_module(f"layer{i + 1}", nn.Sequential(*layer))
        self.add_module(head, nn.Linear(c_in, classes))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        for i in range(self.stages):
            x = getattr(self, f"layer{i + 1}")(x)
        return getattr(self, self.last)(x.mean((2, 3)))


def shaken(model: nn.Module, seed: int = 0) -> nn.Module:
    """Weights and running statistics that are all different, so that a swapped name shows."""
    g = torch.Generator().manual_seed(seed)
    for value in model.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=g) * 0.2 + 0.02)
    return model.eval()


THEIRS = {
    "resnet20": (([3, 3, 3], [16, 16, 32, 64]), False, "fc", "downsample"),
    "resnet8x4": (([1, 1, 1], [32, 64, 128, 256]), False, "fc", "downsample"),
    "resnet18": (([2, 2, 2, 2], [64, 64, 128, 256, 512]), False, "linear", "shortcut"),
    "resnet50": (([3, 4, 6, 3], [64, 64, 128, 256, 512]), True, "linear", "shortcut"),
}


def theirs(name: str, classes: int = 10) -> nn.Module:
    (blocks, widths), bottleneck, head, shortcut = THEIRS[name]
    return shaken(TheirResNet(blocks, widths, classes, bottleneck, head, shortcut))


def images(size: int, channels: int = 3) -> Tensor:
    return torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def assert_same(ours: nn.Module, other: nn.Module, size: int) -> None:
    x = images(size)
    torch.testing.assert_close(ours.eval()(x), other(x), rtol=1e-4, atol=1e-5 * float(other(x).abs().max()))


@pytest.mark.parametrize("name", THEIRS)
def test_resnets_of_the_public_codes(name: str, tmp_path: Path) -> None:
    other, ours = theirs(name), build(name, 10, 3, 32)
    torch.save({"opt": argparse.Namespace(lr=0.05), "model": other.state_dict(), "best_acc": 71.0}, tmp_path / "a.pth")
    load_foreign(ours, tmp_path / "a.pth")
    assert_same(ours, other, 32)


@pytest.mark.parametrize("arch", ["resnet18", "resnet50"])
def test_torchvisions_resnets(arch: str, tmp_path: Path) -> None:
    other, ours = (
        shaken(torchvision_models.get_model(arch, weights=None, num_classes=7)),
        build(f"imagenet_{arch}", 7, 3, 64),
    )
    save_file(other.state_dict(), tmp_path / "a.safetensors")
    load_foreign(ours, tmp_path / "a.safetensors")
    assert_same(ours, other, 64)


@pytest.mark.parametrize("wrap", ["plain", "module", "compiled", "state_dict", "nested", "half", "old", "ours"])
def test_wrappers_and_prefixes(wrap: str, tmp_path: Path) -> None:
    other, ours = theirs("resnet20"), build("resnet20", 10, 3, 32)
    state = OrderedDict(other.state_dict())
    saved = {
        "plain": state,
        "module": {f"module.{k}": v for k, v in state.items()},
        "compiled": {"net": {f"_orig_mod.module.{k}": v for k, v in state.items()}},
        "state_dict": {"state_dict": {f"model.{k}": v for k, v in state.items()}, "epoch": 3},
        "nested": {"model": {"state_dict": state}},
        "half": {k: v.half() if v.is_floating_point() else v for k, v in state.items()},
        "old": {k: v for k, v in state.items() if "num_batches" not in k},  # before PyTorch counted batches
        "ours": None,
    }[wrap]
    if saved is None:
        load_foreign(ours, save_theirs(state, tmp_path))
        saved, ours = ours.state_dict(), build("resnet20", 10, 3, 32)
    torch.save(saved, tmp_path / "a.pt")
    load_foreign(ours, tmp_path / "a.pt")
    assert {v.dtype for v in ours.state_dict().values()} == {torch.float32, torch.int64}
    if wrap == "half":
        other.load_state_dict({k: v.half() for k, v in state.items()})
    assert_same(ours, other, 32)


def save_theirs(state: dict, folder: Path) -> Path:
    torch.save(dict(state), folder / "theirs.pth")
    return folder / "theirs.pth"


def test_a_file_that_does_not_fit_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    ours = build("resnet20", 10, 3, 32)
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    with pytest.raises(ValueError, match=r"other shapes, head.weight is \(100, 64\) there and \(10, 64\) here"):
        load_foreign(ours, save_theirs(theirs("resnet20", 100).state_dict(), tmp_path))
    assert all(torch.equal(before[name], value) for name, value in ours.state_dict().items())


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple:
            return Path.touch, (tmp_path / "ran",)

    torch.save({"model": Bomb()}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"holds more than weights .* save torch.save\(model.state_dict\(\), FILE\)"):
        load_foreign(build("resnet20", 10, 3, 32), tmp_path / "a.pth")
    assert not (tmp_path / "ran").exists()


# -- networks of other libraries


def test_a_torchvision_classifier_by_name(tmp_path: Path) -> None:
    other = shaken(torchvision_models.resnet18(num_classes=5))
    torch.save(other.state_dict(), tmp_path / "a.pth")
    ours = build("torchvision:resnet18", 5, 3, 64)
    load_foreign(ours, tmp_path / "a.pth")
    assert_same(ours, other, 64)
    with torch.no_grad():
        features = ours.features(images(64))
        torch.testing.assert_close(other.fc(features.embedding), features.logits)
    for read in (lambda: features.maps[0], lambda: list(features.maps), features.in_float32):
        with pytest.raises(
            ValueError, match="gives logits only, and a feature loss needs maps; choose feature_loss none"
        ):
            read()


def test_a_timm_classifier_by_name(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm", reason="the optional package timm is not installed")
    other = shaken(timm.create_model("resnet18", pretrained=False, num_classes=5, in_chans=1))
    torch.save(other.state_dict(), tmp_path / "a.pth")
    ours = build("timm:resnet18", 5, 1, 32)
    load_foreign(ours, tmp_path / "a.pth")
    x = images(32, 1)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(x), other(x))
        assert ours.features(x).embedding.shape == (2, 512)
    assert build("timm:vit_tiny_patch16_224", 5, 1, 32).features(x).logits.shape == (2, 5)
    with pytest.raises(ValueError, match="unknown timm model 'resnet_18'; the nearest of .*resnet18"):
        build("timm:resnet_18", 5, 1, 32)


def test_without_timm_the_message_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match="needs the package timm; install it with: pip install timm$"):
        build("timm:resnet18", 5, 1, 32)


def test_a_seed_names_the_weights_of_an_external_network() -> None:
    first, again, other = (build("torchvision:mobilenet_v3_small", 5, 1, 32, seed=s).state_dict() for s in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


# -- images that are not square


@pytest.mark.parametrize("name", ["resnet20", "wrn_16_1", "vgg8", "mobilenetv2", "torchvision:resnet18"])
def test_images_that_are_not_square(name: str) -> None:
    net = build(name, 5, 3, (32, 48)).eval()
    with torch.no_grad():
        assert net(torch.randn(2, 3, 32, 48)).shape == (2, 5)


@pytest.mark.parametrize("name", ["mlp", "vit"])
def test_networks_for_square_images_say_so(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} takes square images and these are 32x48; choose folder:PATH@32 or"):
        build(name, 5, 3, (32, 48))


# -- out


def trained(name: str) -> Network:
    """A network that has learnt something of the digits, so that its accuracy says something."""
    digits, net = load("digits"), build(name, 10, 1, 8, seed=1)
    x, y = normalise(digits.train_x, digits.mean, digits.std), digits.train_y
    optimiser = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9)
    for step in range(40):
        rows = torch.arange(step * 64, step * 64 + 64) % len(y)
        optimiser.zero_grad()
        F.cross_entropy(net(x[rows]), y[rows]).backward()
        optimiser.step()
    return net.eval()


PLAIN = """
import json, sys
sys.modules["kdlib"] = None  # any import of the package fails
import numpy as np, torch
card = json.load(open(sys.argv[1] + ".json"))
data = np.load(sys.argv[2])
mean, std = (torch.tensor(card[k])[:, None, None] for k in ("mean", "std"))
x = (torch.from_numpy(data["x"]).float() / 255 - mean) / std
model = torch.export.load(sys.argv[1] + ".pt2").module()
with torch.no_grad():
    logits = model(x)
np.save(sys.argv[2] + ".logits.npy", logits.numpy())
print((logits.argmax(1).numpy() == data["y"]).mean(), card["classes"][logits[0].argmax()])
"""


@pytest.mark.parametrize("name", ["resnet8", "mlp"])
def test_plain_pytorch_gives_the_same_accuracy(name: str, tmp_path: Path) -> None:
    digits, net = load("digits"), trained(name)
    files = export_network(net, tmp_path / "new" / "student.v2", name, digits)
    assert [f.name for f in files] == ["student.v2.safetensors", "student.v2.json", "student.v2.pt2"]
    np.savez(tmp_path / "test.npz", x=digits.test_x.numpy(), y=digits.test_y.numpy())
    command = [sys.executable, "-c", PLAIN, str(tmp_path / "new" / "student.v2"), str(tmp_path / "test.npz")]
    said = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    with torch.no_grad():
        logits = net(normalise(digits.test_x, digits.mean, digits.std))
    ours = float((logits.argmax(1) == digits.test_y).double().mean())
    accuracy, first = said.stdout.split()
    assert float(accuracy) == ours > 0.6 and first == digits.classes[int(logits[0].argmax())]
    theirs_logits = torch.from_numpy(np.load(tmp_path / "test.npz.logits.npy"))
    torch.testing.assert_close(theirs_logits, logits, rtol=1e-4, atol=1e-4)


def test_an_exported_network_comes_back(tmp_path: Path) -> None:
    digits, net = load("digits"), trained("resnet8")
    net.train()
    files = export_network(net, tmp_path / "student", "resnet8", digits, program=False)
    assert len(files) == 2 and net.training and not (tmp_path / "student.pt2").exists()
    back, card = load_exported(files[0])
    assert not back.training
    assert all(torch.equal(value, back.state_dict()[name]) for name, value in net.state_dict().items())
    assert (
        card["classes"] == list(digits.classes) and card["mean"] == list(digits.mean) and card["image_size"] == [8, 8]
    )
    files[1].write_text(json.dumps({k: v for k, v in card.items() if k != "in_channels"}))
    with pytest.raises(ValueError, match="is no card of an exported network .* export the network again"):
        load_exported(files[0])
    files[1].unlink()
    with pytest.raises(ValueError, match=r"student.json cannot be read \(No such file or directory\); keep it beside"):
        load_exported(files[0])
