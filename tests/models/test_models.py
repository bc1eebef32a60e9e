"""Every network of the registry: shapes, features, seeds, gradients, sizes and errors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, grad, vmap

from kdlib.models import MODELS, Features, build, parameters_count
from kdlib.models.layers import channel_shuffle, strides

SIZES = [(3, 32), (1, 8)]  # (channels, side): CIFAR and digits

# (name, classes, side) -> parameters with 3 channels: the literature's numbers for these variants, and torchvision's
PARAMETERS = {
    ("resnet8", 10, 32): 78_042,
    ("resnet20", 10, 32): 272_474,
    ("resnet110", 100, 32): 1_736_564,
    ("resnet8x4", 100, 32): 1_233_540,
    ("resnet32x4", 100, 32): 7_433_860,
    ("resnet50", 100, 32): 23_705_252,
    ("wrn_16_2", 100, 32): 703_284,
    ("wrn_40_2", 100, 32): 2_255_156,
    ("vgg8", 100, 32): 3_965_028,
    ("vgg11", 100, 32): 9_277_284,
    ("vgg13", 100, 32): 9_462_180,
    ("vgg19", 100, 32): 20_086_692,
    ("mobilenetv2", 100, 32): 812_836,
    ("mlp", 10, 8): 3 * 64 * 128 + 128 + 128 * 128 + 128 + 128 * 10 + 10,
    ("imagenet_resnet18", 1000, 224): 11_689_512,
    ("imagenet_resnet50", 1000, 224): 25_557_032,
    ("imagenet_mobilenetv2", 1000, 224): 3_504_872,
}


def images(count: int, channels: int, side: int) -> Tensor:
    return torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("channels", "side"), SIZES)
def test_features_have_the_shapes_that_losses_need(name: str, channels: int, side: int) -> None:
    net, x = build(name, 7, channels, side).eval(), images(3, channels, side)
    with torch.no_grad():
        found, logits = net.features(x), net(x)
    assert isinstance(found, Features)
    assert len(found.maps) >= 2
    assert all(m.ndim == 4 and m.shape[0] == 3 and m.shape[2] == m.shape[3] for m in found.maps)
    widths = [m.shape[2] for m in found.maps]
    assert widths == sorted(widths, reverse=True)
    assert found.embedding.shape == (3, net.head.in_features)
    assert found.logits.shape == (3, 7)
    assert torch.equal(found.logits, logits)
    assert torch.allclose(logits, net.head(found.embedding))
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", MODELS)
def test_in_eval_mode_an_image_does_not_depend_on_its_batch(name: str) -> None:
    net, x = build(name, 10, 1, 8).eval(), images(4, 1, 8)
    with torch.no_grad():
        together, alone = net(x), torch.cat([net(x[:1]), net(x[1:])])
    assert torch.allclose(together, alone, rtol=1e-4, atol=1e-4 * float(together.abs().max()))


@pytest.mark.parametrize("name", MODELS)
def test_a_seed_names_the_weights_and_leaves_the_global_generator(name: str) -> None:
    torch.manual_seed(123)
    before = torch.get_rng_state()
    first = build(name, 10, 1, 8, seed=5).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)  # another global state must not matter
    again, other = build(name, 10, 1, 8, seed=5).state_dict(), build(name, 10, 1, 8, seed=6).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


@pytest.mark.parametrize("name", MODELS)
def test_gradients_reach_every_parameter(name: str) -> None:
    net = build(name, 10, 1, 8).train()
    F.cross_entropy(net(images(4, 1, 8)), torch.tensor([0, 1, 2, 3])).backward()
    for key, value in net.named_parameters():
        assert value.grad is not None, key
        assert torch.isfinite(value.grad).all(), key
        if value.ndim > 1:  # a bias before a batch norm has gradient 0 by construction
            assert value.grad.abs().max() > 0, key


@pytest.mark.parametrize("case", PARAMETERS, ids=lambda case: case[0])
def test_parameter_counts_of_known_networks(case: tuple[str, int, int]) -> None:
    name, classes, side = case
    network = build(name, classes, 3, side)
    assert parameters_count(network) == PARAMETERS[case]
    assert parameters_count(network.requires_grad_(False)) == PARAMETERS[case], "an exported network is frozen"


@pytest.mark.parametrize(
    ("name", "widths"),
    [
        ("resnet20", [32, 32, 16, 8]),
        ("wrn_16_2", [32, 32, 16, 8]),
        ("vgg8", [32, 16, 8, 4, 4]),
        ("resnet18", [32, 32, 16, 8, 4]),
        ("mobilenetv2", [16, 16, 8, 4, 2]),
        ("shufflenetv1", [32, 16, 8, 4]),
        ("shufflenetv2", [32, 16, 8, 4]),
        ("vit", [8, 8, 8, 8]),
    ],
)
def test_maps_at_cifar_size(name: str, widths: list[int]) -> None:
    with torch.no_grad():
        maps = build(name, 10, 3, 32).eval().features(images(1, 3, 32)).maps
    assert [m.shape[3] for m in maps] == widths


@pytest.mark.parametrize("name", ["resnet8", "resnet18", "vgg8", "shufflenetv1", "mlp"])
def test_a_relu_separates_preact_maps_from_maps(name: str) -> None:
    net, x = build(name, 10, 1, 8).eval(), images(3, 1, 8)
    with torch.no_grad():
        maps, before = net.features(x).maps, net.features(x, preact=True).maps
    assert any(bool((b < 0).any()) for b in before)
    assert all(torch.equal(F.relu(b), m) for b, m in zip(before, maps, strict=True))


def test_preact_maps_of_a_wide_resnet_are_what_the_next_relu_reads() -> None:
    net, x = build("wrn_16_1", 10, 1, 8).eval(), images(3, 1, 8)
    with torch.no_grad():
        found = net.features(x, preact=True)
    assert torch.allclose(F.relu(found.maps[-1]).mean((2, 3)), found.embedding)


def test_per_sample_gradients_equal_a_loop_of_backward_passes() -> None:
    net = build("resnet8", 10, 1, 8).eval()
    x, y = images(3, 1, 8), torch.tensor([4, 0, 9])
    weights = {key: value.detach() for key, value in net.named_parameters()}

    def loss(weights: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(net, weights, (image[None],)), label[None])

    together = vmap(grad(loss), (None, 0, 0))(weights, x, y)
    for i in range(3):
        net.zero_grad()
        F.cross_entropy(net(x[i : i + 1]), y[i : i + 1]).backward()
        for key, value in net.named_parameters():
            assert value.grad is not None
            torch.testing.assert_close(together[key][i], value.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet8", "wrn_16_1", "vgg8", "shufflenetv2"])
def test_channels_last_changes_the_layout_only(name: str) -> None:
    net, x = build(name, 10, 3, 32).eval(), images(2, 3, 32)
    with torch.no_grad():
        plain = net(x)
        net = net.to(memory_format=torch.channels_last)
        fast = net(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(plain, fast, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "arch"), [("imagenet_resnet18", "resnet18"), ("imagenet_mobilenetv2", "mobilenet_v2")]
)
def test_from_64_pixels_up_an_imagenet_network_is_torchvisions(name: str, arch: str) -> None:
    from torchvision import models

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(3)
        theirs = models.get_model(arch, weights=None, num_classes=10).eval()
        x = images(2, 3, 64)
        torch.testing.assert_close(build(name, 10, 3, 64, seed=3).eval()(x), theirs(x))


def test_strides_drop_the_first_halvings_of_a_small_image() -> None:
    assert strides(4, 32) == [2, 2, 2, 2]
    assert strides(4, 16) == [1, 2, 2, 2]
    assert strides(4, 8) == [1, 1, 2, 2]
    assert strides(2, 4) == [1, 2]


def test_channel_shuffle_interleaves_the_groups() -> None:
    x = torch.arange(6.0).view(1, 6, 1, 1)
    assert channel_shuffle(x, 2).flatten().tolist() == [0, 3, 1, 4, 2, 5]


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown model 'resnet21'; did you mean 'resnet2?\d+'\?.*wrn_40_2"):
        build("resnet21", 10, 3, 32)


@pytest.mark.parametrize(
    ("name", "classes", "channels", "side", "message"),
    [
        ("resnet20", 10, 3, 3, "image_size 3 is too small"),
        ("imagenet_resnet18", 10, 3, 2, "image_size 2 is too small"),
        ("vit", 10, 3, 30, "image_size 30 is not a multiple of the patch side 4; use e.g. 32"),
        ("vit", 10, 3, 2, "use e.g. 4"),
        ("mlp", 10, 3, 0, "image_size 0 is too small"),
        ("mlp", 0, 3, 8, "num_classes is 0"),
        ("mlp", 10, 0, 8, "in_channels is 0"),
    ],
)
def test_impossible_sizes_are_refused(name: str, classes: int, channels: int, side: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(name, classes, channels, side)


def test_threads_that_build_at_once_draw_the_weights_they_draw_alone() -> None:
    """torch's initialisers share one generator: without a lock, threads drew each other's weights."""
    alone = [build("resnet8", 10, 3, 32, seed=seed).state_dict() for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            together = list(pool.map(lambda seed: build("resnet8", 10, 3, 32, seed=seed).state_dict(), range(8)))
            assert all(torch.equal(a[k], b[k]) for a, b in zip(alone, together, strict=True) for k in a)
