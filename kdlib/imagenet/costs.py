"""What an ImageNet experiment costs: measured on this machine at a small size, then worked out for the whole.

`measure` times what it can time here: training steps, the teacher's forward pass, decoding. `predict` is arithmetic
on these numbers and on stated assumptions, and a table of it says of each number which of the three it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdlib.imagenet import networks
from kdlib.imagenet.decoding import decode_rate
from kdlib.losses import cross_entropy
from kdlib.models import parameters_count
from kdlib.models.operations import operations
from kdlib.training.recipe import precision_used
from kdlib.utils.devices import resolve_device

IMAGES = 1_281_167
"""Training images of ImageNet-1k."""
VAL_IMAGES = 50_000
BYTES_PER_IMAGE = 110e3
"""Mean size of an ImageNet JPEG: 138 GiB over its training images, rounded up."""


@dataclass(frozen=True)
class Measured:
    """What one device of this machine does, all at the same image size; rates in images per second.

    train_rate:       training steps (forward, backward, update), without a teacher
    teacher_rate:     the teacher's forward pass
    eval_rate:        the student's forward pass
    decode_rate:      one core reading, decoding and resizing
    student_values:   learnable values of the student
    teacher_values:   of the teacher
    activation_bytes: what the student's forward pass keeps for its backward pass, for each image
    """

    device: str
    image_size: int
    train_rate: float
    teacher_rate: float
    eval_rate: float
    decode_rate: float
    student_values: int
    teacher_values: int
    activation_bytes: float


@dataclass(frozen=True)
class Cluster:
    """Assumptions about the machine that is predicted for: none of them is measured.

    gpus:        devices like the measured one, `per_host` of them on each host
    cores:       processor cores for each device, that decode
    link:        bytes per second between two devices, through which gradients are summed
    read:        bytes per second that one host reads images with
    """

    gpus: int
    per_host: int = 8
    cores: int = 8
    link: float = 10e9
    read: float = 1e9


@dataclass(frozen=True)
class Plan:
    """What is trained: fraction, passes, images in a step over all devices, whether a teacher is asked."""

    fraction: float
    epochs: int
    batch_size: int
    with_teacher: bool = True
    images: int = IMAGES
    bytes_per_image: float = BYTES_PER_IMAGE


@dataclass(frozen=True)
class Cost:
    """hours: from start to end; gpu_hours: hours times devices; memory: bytes on one device; read: bytes of images.

    bound: what the devices wait for: "compute", "decoding", "reading" or "gradients".
    """

    hours: float
    gpu_hours: float
    scoring_gpu_hours: float
    memory: float
    read: float
    bound: str


def predict(measured: Measured, plan: Plan, cluster: Cluster) -> Cost:
    """The cost of a training and of the scoring before it.

    Loading overlaps with computing, so that a step takes as long as the slower of the two. Summing gradients is taken
    not to overlap with the backward pass (a ring moves 2 (W - 1) / W times the gradient through each link), which is the
    worst case. Scoring is one forward pass of the teacher over all images, needed if a teacher ranks them.
    """
    rates = image_rates(measured, plan, cluster)
    trained = round(plan.fraction * plan.images) * plan.epochs
    evaluated = VAL_IMAGES * plan.epochs
    forward = min(measured.eval_rate * cluster.gpus, rates["decoding"], rates["reading"])
    hours = (trained / _combined(rates) + evaluated / forward) / 3600
    scoring = plan.images / min(measured.teacher_rate * cluster.gpus, rates["decoding"], rates["reading"]) / 3600
    return Cost(
        hours=hours,
        gpu_hours=hours * cluster.gpus,
        scoring_gpu_hours=scoring * cluster.gpus,
        memory=memory(measured, plan, cluster),
        read=(trained + evaluated) * plan.bytes_per_image,
        bound=_slowest(rates),
    )


def image_rates(measured: Measured, plan: Plan, cluster: Cluster) -> dict[str, float]:
    """Images per second of the whole cluster that each part could keep up with, if it were the only one."""
    seconds = 1 / measured.train_rate + (1 / measured.teacher_rate if plan.with_teacher else 0)
    hosts = -(-cluster.gpus // cluster.per_host)
    ring = 2 * (cluster.gpus - 1) / cluster.gpus * 4 * measured.student_values / cluster.link
    return {
        "compute": cluster.gpus / seconds,
        "decoding": measured.decode_rate * cluster.cores * cluster.gpus,
        "reading": hosts * cluster.read / plan.bytes_per_image,
        "gradients": plan.batch_size / ring if ring else float("inf"),
    }


def _combined(rates: dict[str, float]) -> float:
    """Compute and gradients take turns; loading goes on beside them."""
    stepping = 1 / (1 / rates["compute"] + 1 / rates["gradients"])
    return min(stepping, rates["decoding"], rates["reading"])


def _slowest(rates: dict[str, float]) -> str:
    """What the devices wait for: decoding, reading, or the slower of the two that take turns."""
    loading = min(("decoding", "reading"), key=rates.__getitem__)
    return loading if rates[loading] <= _combined(rates) else min(("compute", "gradients"), key=rates.__getitem__)


def memory(measured: Measured, plan: Plan, cluster: Cluster) -> float:
    """Bytes on one device: weights, gradients and momenta in float32, the teacher's weights, the batch's activations."""
    teacher = 4 * measured.teacher_values if plan.with_teacher else 0
    share = -(-plan.batch_size // cluster.gpus)
    return 12 * measured.student_values + teacher + share * measured.activation_bytes


def table(measured: Measured, plans: Iterable[Plan], clusters: Iterable[Cluster]) -> list[dict[str, Any]]:
    """One row for each plan and cluster; `kind` says that all of it is extrapolated from what was measured on `device`."""
    clusters = list(clusters)
    return [
        {"fraction": plan.fraction, "gpus": cluster.gpus, "kd": plan.with_teacher, **vars(predict(measured, plan, cluster)),
         "device": measured.device, "kind": "extrapolated"}
        for plan in plans
        for cluster in clusters
    ]  # fmt: skip


def arithmetic(network: str, image_size: int = 224, classes: int = 1000) -> tuple[float, float]:
    """FLOPs for one image: (forward, forward and backward); a multiply-add counts two."""
    return operations(networks.build(network, classes, image_size), torch.zeros(2, 3, image_size, image_size))


def assumed(measured: Measured, student: str, teacher: str, tflops: float) -> Measured:
    """The same with the compute rates of a device that is assumed to sustain so many TFLOP/s in every network.

    The arithmetic of the networks is counted. Decoding, sizes and activations stay as measured.
    """
    forward, both = arithmetic(student, measured.image_size)
    asked, _ = arithmetic(teacher, measured.image_size)
    work = 1e12 * tflops
    return replace(
        measured,
        device=f"a device that is assumed to sustain {tflops:g} TFLOP/s",
        train_rate=work / both,
        teacher_rate=work / asked,
        eval_rate=work / forward,
    )


# -- measuring


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, threads: {torch.get_num_threads()}"


def measure(
    student: str,
    teacher: str,
    *,
    image_size: int = 224,
    classes: int = 1000,
    batch: int = 8,
    seconds: float = 2.0,
    files: Iterable[Path] = (),
    decode: str = "full",
    device: str = "auto",
    clock: Callable[[], float] = time.perf_counter,
) -> Measured:
    """Time the parts of a training on `device` with random images, each for about `seconds`; decoding with `files`.

    Without files decoding counts as free (its rate is infinite). Networks are randomly initialised: weights cost no time.
    `clock`: `time.process_time` counts the processor's work only, which a busy machine disturbs less (one thread, CPU).
    """
    where = resolve_device(device)
    nets = [networks.build(name, classes, image_size).to(where, memory_format=torch.channels_last)  # type: ignore[call-overload]
            for name in (student, teacher)]  # fmt: skip
    x = torch.randn(batch, 3, image_size, image_size, device=where).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(batch, device=where) % classes
    step = training_step(nets[0], x, labels)
    rates = [batch * rate(step, seconds, where, clock)]
    for net in nets[::-1]:
        net.eval()
        rates.append(batch * rate(torch.no_grad()(lambda net=net: net(x)), seconds, where, clock))
    files = list(files)
    return Measured(
        device=_device_name(where),
        image_size=image_size,
        train_rate=rates[0],
        teacher_rate=rates[1],
        eval_rate=rates[2],
        decode_rate=decode_rate(files, decode, image_size, clock) if files else float("inf"),
        student_values=parameters_count(nets[0]),
        teacher_values=parameters_count(nets[1]),
        activation_bytes=activation_bytes(nets[0].train(), x) / batch,
    )


def training_step(net: nn.Module, x: Tensor, labels: Tensor) -> Callable[[], object]:
    """A function that takes one SGD step of `net` on the batch, in bfloat16 on a GPU."""
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    low = precision_used("auto", x.device) == "bfloat16"
    net.train()

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=low):
            logits = net(x)
        cross_entropy(logits.float(), None, labels).mean().backward()
        optimiser.step()

    return step


def rate(
    job: Callable[[], object], seconds: float, device: torch.device, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Calls per second, after one that is not counted; at least two calls are."""
    job()
    count, began = 0, _now(device, clock)
    while count < 2 or clock() - began < seconds:
        job()
        count += 1
    return count / (_now(device, clock) - began)


def _now(device: torch.device, clock: Callable[[], float]) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock()


def activation_bytes(net: nn.Module, x: Tensor) -> float:
    """Bytes that a forward pass of `net` on the batch keeps for its backward pass, parameters not counted."""
    own = {p.untyped_storage().data_ptr() for p in net.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    low = precision_used("auto", x.device) == "bfloat16"
    with (
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
        torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=low),
    ):
        output = net(x)
    del output
    return float(sum(kept.values()))
