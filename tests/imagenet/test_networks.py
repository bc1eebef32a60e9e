"""Networks by name, their weights on disk, and the errors in between."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from kdlib.imagenet import networks
from kdlib.imagenet.networks import MobileNetV1, build, last_linear, read_weights, replace_classifier, save_weights
from kdlib.models import parameters_count


@pytest.mark.parametrize("name", [*networks.TORCHVISION, "mobilenet"])
def test_every_network_gives_logits_and_gradients(name: str) -> None:
    model = build(name, 7, 32, seed=1)
    logits = model(torch.rand(2, 3, 32, 32))
    assert logits.shape == (2, 7)
    logits.sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert last_linear(model)[1].out_features == 7


def test_mobilenet_v1_has_the_papers_size() -> None:
    """4.2 million parameters (Table 8 of the paper); counted layer by layer."""
    count, c_in = 3 * 32 * 9 + 2 * 32, 32
    for c_out, _ in MobileNetV1.WIDTHS:
        count += 9 * c_in + 2 * c_in + c_in * c_out + 2 * c_out
        c_in = c_out
    assert parameters_count(MobileNetV1(1000)) == count + 1024 * 1000 + 1000 == 4_231_976
    maps = MobileNetV1(10).features(torch.rand(1, 3, 224, 224))
    assert maps.shape == (1, 1024, 7, 7)


def test_weights_are_drawn_from_the_seed() -> None:
    one, same, other = (build("mobilenet", 3, 32, seed=s).head.weight for s in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_saved_weights_come_back(tmp_path: Path) -> None:
    model = build("resnet18", 5, 32, seed=3).eval()
    model.bn1.running_mean.fill_(0.25)
    file = tmp_path / "folder" / "student.safetensors"
    save_weights(model.to(memory_format=torch.channels_last), "resnet18", 5, file)
    again = build("resnet18", 5, 32, weights=str(file)).eval()
    x = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(again(x), model(x), rtol=1e-6, atol=1e-6)
    assert read_weights(file)[0] == {"network": "resnet18", "classes": "5"}
    assert networks.weights_identity(str(file)).startswith("sha256:")
    with pytest.raises(ValueError, match="holds resnet18 for 5 classes, not resnet34 for 5"):
        build("resnet34", 5, 32, weights=str(file))
    with pytest.raises(ValueError, match="holds resnet18 for 5 classes, not resnet18 for 6"):
        build("resnet18", 6, 32, weights=str(file))


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    file = tmp_path / "a.safetensors"
    with pytest.raises(ValueError, match="cannot be read"):
        build("resnet18", 5, 32, weights=str(file))
    file.write_text("no tensors")
    with pytest.raises(ValueError, match="cannot be read"):
        build("resnet18", 5, 32, weights=str(file))
    save_file({"x": torch.zeros(1)}, file)
    with pytest.raises(ValueError, match="does not say which network it holds"):
        build("resnet18", 5, 32, weights=str(file))


def test_released_weights_are_checked_before_anything_is_downloaded() -> None:
    with pytest.raises(ValueError, match="did you mean 'IMAGENET1K_V.'[?] choose one of: IMAGENET1K_V1, IMAGENET1K_V2"):
        build("resnet50", 1000, 224, weights="IMAGENET1K_V")
    with pytest.raises(ValueError, match="knows 1000 classes, the folder has 4"):
        build("resnet18", 4, 224, weights="IMAGENET1K_V1")
    with pytest.raises(ValueError, match="no released weights for mobilenet"):
        build("mobilenet", 1000, 224, weights="IMAGENET1K_V1")
    with pytest.raises(ValueError, match="unknown network 'resnet5'; did you mean 'resnet50'"):
        build("resnet5", 1000, 224)


def test_without_a_network_the_message_says_where_to_put_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(ValueError, match=r"could not download .*resnet18.*TORCH_HOME"):
        build("resnet18", 1000, 224, weights="IMAGENET1K_V1")


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "mobilenet"])
def test_a_new_classifier_takes_the_old_ones_place(name: str) -> None:
    model = build(name, 7, 32)
    new = replace_classifier(model, 3, seed=1)
    assert isinstance(new, nn.Linear) and last_linear(model)[1] is new
    assert model.eval()(torch.rand(2, 3, 32, 32)).shape == (2, 3)
