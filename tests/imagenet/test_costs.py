"""The arithmetic of costs against numbers worked out by hand, and what is measured."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from kdlib.imagenet.costs import (
    IMAGES,
    VAL_IMAGES,
    Cluster,
    Measured,
    Plan,
    activation_bytes,
    arithmetic,
    assumed,
    image_rates,
    measure,
    predict,
    rate,
    table,
)
from kdlib.models.operations import operations

DEVICE = Measured("a device", 224, 1000.0, 3000.0, 2500.0, 100.0, 25_000_000, 20_000_000, 50e6)
FAST = dataclasses.replace(DEVICE, decode_rate=1e9)
IDEAL = Cluster(1, cores=8, link=1e15, read=1e15)
PLAN = Plan(1.0, 90, 256)


def test_one_device_that_waits_for_nothing() -> None:
    """1.28 million images, 90 times, at 1 / (1/1000 + 1/3000) = 750 images a second, and 50,000 at 2,500."""
    cost = predict(FAST, PLAN, IDEAL)
    assert cost.hours == pytest.approx((90 * IMAGES / 750 + 90 * VAL_IMAGES / 2500) / 3600)
    assert cost.gpu_hours == cost.hours and cost.bound == "compute"
    assert cost.scoring_gpu_hours == pytest.approx(IMAGES / 3000 / 3600)
    assert cost.read == pytest.approx(90 * (IMAGES + VAL_IMAGES) * PLAN.bytes_per_image)
    assert cost.memory == 12 * 25e6 + 4 * 20e6 + 256 * 50e6


def test_without_a_teacher_a_step_is_shorter() -> None:
    alone = dataclasses.replace(PLAN, with_teacher=False)
    assert image_rates(FAST, alone, IDEAL)["compute"] == 1000
    assert predict(FAST, PLAN, IDEAL).memory - predict(FAST, alone, IDEAL).memory == 4 * 20e6


@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_training_shrinks_with_the_fraction_and_evaluation_does_not(fraction: float) -> None:
    part, whole = (predict(FAST, dataclasses.replace(PLAN, fraction=f), IDEAL) for f in (fraction, 1.0))
    evaluation = 90 * VAL_IMAGES / 2500 / 3600
    assert part.hours - evaluation == pytest.approx(fraction * (whole.hours - evaluation), rel=1e-4)


def test_the_slowest_part_decides() -> None:
    slow = Cluster(8, cores=5, link=1e15, read=1e15)
    assert predict(DEVICE, PLAN, slow).bound == "decoding"
    rates = image_rates(DEVICE, PLAN, slow)
    assert rates == {
        "compute": 8 * 750,
        "decoding": 8 * 5 * 100,
        "reading": 1e15 / 110e3,
        "gradients": pytest.approx(rates["gradients"]),
    }
    disk = Cluster(16, per_host=8, cores=8, link=1e15, read=110e3 * 1000)
    assert image_rates(FAST, PLAN, disk)["reading"] == 2 * 1000 and predict(FAST, PLAN, disk).bound == "reading"
    thin = Cluster(64, link=1e6, read=1e15)
    cost = predict(FAST, PLAN, thin)
    assert cost.bound == "gradients" and cost.hours > 100 * predict(FAST, PLAN, IDEAL).hours / 64
    assert image_rates(FAST, PLAN, thin)["gradients"] == pytest.approx(256 / (2 * 63 / 64 * 4 * 25e6 / 1e6))


def test_loading_waits_for_compute_and_gradients_together() -> None:
    """They take turns: 1 / (1/6000 + 1/7000) = 3231 images a second, which decoding at 4000 does not hold up."""
    ring = 2 * 7 / 8 * 4 * DEVICE.student_values
    machine = Cluster(8, cores=5, link=7000 * ring / 256, read=1e15)
    rates = image_rates(DEVICE, PLAN, machine)
    assert rates["decoding"] == 4000 and rates["compute"] == 6000 and rates["gradients"] == pytest.approx(7000)
    assert predict(DEVICE, PLAN, machine).bound == "compute"


def test_more_devices_take_less_time_and_memory_but_no_fewer_hours_in_all() -> None:
    costs = [predict(FAST, PLAN, Cluster(gpus, cores=64, read=1e15)) for gpus in (1, 8, 64)]
    hours, in_all, memory = ([getattr(c, name) for c in costs] for name in ("hours", "gpu_hours", "memory"))
    assert hours == sorted(hours, reverse=True) and in_all == sorted(in_all) and memory == sorted(memory, reverse=True)


def test_a_table_says_what_is_extrapolated() -> None:
    rows = table(DEVICE, [Plan(f, 90, 256) for f in (0.1, 1.0)], [Cluster(g) for g in (1, 8, 64)])
    assert [(r["fraction"], r["gpus"]) for r in rows] == [(f, g) for f in (0.1, 1.0) for g in (1, 8, 64)]
    assert {r["kind"] for r in rows} == {"extrapolated"} and {r["device"] for r in rows} == {"a device"}


def test_kept_activations_are_counted_once() -> None:
    """A convolution keeps its input, a ReLU its output, which is the next one's input; no parameter counts."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3, padding=1))
    x = torch.rand(2, 3, 16, 16)
    assert activation_bytes(net, x) == 4 * 2 * 16 * 16 * (3 + 8)


def test_measuring_gives_rates_of_this_machine(root: Path) -> None:
    files = sorted((root / "val").rglob("*.jpg"))[:5]
    found = measure("tiny", "tiny", image_size=32, classes=4, batch=4, seconds=0.02, files=files, device="cpu")
    assert min(found.train_rate, found.teacher_rate, found.eval_rate, found.decode_rate) > 0
    assert found.student_values == found.teacher_values == sum(p.numel() for p in torch_tiny().parameters())
    assert found.activation_bytes > 4 * 3 * 32 * 32 and found.device.startswith("CPU")
    assert measure("tiny", "tiny", image_size=32, classes=4, seconds=0.0, device="cpu").decode_rate == float("inf")


def torch_tiny() -> nn.Module:
    from tests.imagenet.jobs import Tiny

    return Tiny(4)


def test_rates_leave_the_first_call_out() -> None:
    calls = []
    rate(lambda: calls.append(1), 0.0, torch.device("cpu"))
    assert len(calls) == 3


def test_the_clock_may_count_work_instead_of_time() -> None:
    ticks = iter(range(100))
    assert rate(lambda: None, 5.0, torch.device("cpu"), lambda: float(next(ticks))) == 1.0  # calls over ticks


def test_arithmetic_is_that_of_the_layers() -> None:
    forward, both = arithmetic("tiny", 32, 4)
    first, second, head = 7 * 7 * 8 * 3 * 25, 5 * 5 * 16 * 8 * 9, 16 * 4  # sides 32, 7, 5
    assert forward == 2 * (first + second + head)
    assert both == 3 * forward - 2 * first  # the images need no gradient


def test_a_grouped_convolution_costs_its_share_forward_and_backward() -> None:
    """Depthwise: each channel has its own 3 x 3 filter. The gradients of input and weight cost as much as the output."""
    first, depthwise = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=8)
    forward, both = operations(nn.Sequential(first, depthwise), torch.zeros(2, 3, 6, 6))
    assert forward == 2 * 6 * 6 * (3 * 8 + 8 * 9)
    assert both == 3 * forward - 2 * 6 * 6 * 3 * 8


def test_an_assumed_device_keeps_what_is_not_compute() -> None:
    measured = dataclasses.replace(DEVICE, image_size=32)
    found = assumed(measured, "tiny", "tiny", 2.0)
    forward, both = arithmetic("tiny", 32)
    assert (found.train_rate, found.teacher_rate, found.eval_rate) == (2e12 / both, 2e12 / forward, 2e12 / forward)
    assert (found.decode_rate, found.activation_bytes) == (DEVICE.decode_rate, DEVICE.activation_bytes)
    assert "assumed to sustain 2 TFLOP/s" in found.device
