"""What cannot work with a dataset, networks or this machine is refused before anything is trained."""

from __future__ import annotations

import functools
import logging
import os

import numpy as np
import torch

from kdlib.data.core import Dataset
from kdlib.data.tables import read_kept
from kdlib.experiments.config import Run
from kdlib.experiments.fingerprint import (
    data_fields,
    dataset_of,
    describe,
    file_digest,
    loaded_dataset,
    needed_signals,
    needs_teacher,
    rule_of,
    scored_runs,
)
from kdlib.losses import FEATURE_LOSSES, LOSSES, REGRESSION_LOSSES
from kdlib.models import build
from kdlib.models.weights import load_foreign
from kdlib.selection import class_quotas, kept_count, selection
from kdlib.utils.calls import split_call
from kdlib.utils.devices import processor_has_bfloat16, resolve_device

log = logging.getLogger(__name__)

RECORD_BYTES = 9  # a `Recorder`'s for each sample and epoch


def check(r: Run) -> None:
    """ValueError for what cannot work with this dataset, these networks or this machine, before anything is trained."""
    data = dataset_of(r)
    _check_loss(r, data)
    _check_device(r.device)
    _check_memory(r, data)
    if r.precision == "bfloat16" and resolve_device(r.device).type == "cpu":
        _warn_of_slow_arithmetic()
    for name in {
        r.student,
        *([r.teacher] if needs_teacher(r) else []),
        *([scored_runs(r).model] if needed_signals(r) else []),
    }:
        _check_network(name, data.num_classes, data.image_shape)
    if r.kept_file or r.teacher_file or r.method("scorer")[0] == "released":
        describe(r)  # reads these files
    if r.teacher_file and needs_teacher(r):
        _check_weights(r.teacher_file, file_digest(r.teacher_file), r.teacher, data.num_classes, data.image_shape)
    if r.kept_file:
        read_kept(r.kept_file, data)
    else:
        balanced = "labels" in rule_of(r).arguments and r.class_balanced is not False
        _check_fraction(data_fields(r), r.fraction, balanced and not data.is_regression)
    if rule_of(r).by_class and not r.kept_file:
        _check_shares(data_fields(r), r.fraction, r.selection)
    if r.feature_loss != "none":
        _check_feature_loss(r.feature_loss, r.student, r.teacher, data.num_classes, data.image_shape)


def _check_loss(r: Run, data: Dataset) -> None:
    if data.is_regression == (r.method("loss")[0] in REGRESSION_LOSSES):
        return
    fitting = ", ".join(REGRESSION_LOSSES if data.is_regression else LOSSES)
    kind = "has a continuous target" if data.is_regression else "has classes"
    raise ValueError(f"loss {r.loss} does not fit dataset {r.dataset}, which {kind}; choose one of: {fitting}")


@functools.lru_cache(maxsize=4096)
def _check_fraction(asked: tuple[str, bool, float, float, int], fraction: float, balanced: bool) -> None:
    """Once for each share of each dataset, however many runs of a sweep have it."""
    labels = loaded_dataset(*asked).train_y.numpy()
    if balanced:
        class_quotas(labels, fraction)
    else:
        kept_count(len(labels), fraction)


@functools.lru_cache(maxsize=256)
def _check_shares(asked: tuple[str, bool, float, float, int], fraction: float, name: str) -> None:
    """A selection that shares the samples out to classes is tried with equal scores: whether it can does not hang on them."""
    labels, (rule, options) = loaded_dataset(*asked).train_y.numpy(), split_call(name)
    keep, rng = selection(rule).fn, np.random.default_rng(0)
    keep(np.zeros(len(labels)), fraction, centre=1.0, labels=labels, rng=rng, **options)


def _check_device(device: str) -> None:
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device {device}: no GPU can be used here; choose cpu or auto")
    number = int(device.partition(":")[2] or 0)
    if device.startswith("cuda") and number >= torch.cuda.device_count():
        raise ValueError(f"device {device}: there are {torch.cuda.device_count()} GPUs here, counted from cuda:0")


@functools.lru_cache(maxsize=256)
def _check_network(name: str, num_classes: int, image_shape: tuple[int, int, int]) -> None:
    network = build(name, num_classes, image_shape[0], image_shape[1:]).eval()
    _, height, width = image_shape
    if height == width:
        return
    try:  # not every network that needs square images says so when it is built
        with torch.no_grad():
            network(torch.zeros(1, *image_shape))
    except RuntimeError:
        raise ValueError(
            f"{name} takes square images and these are {height}x{width}; choose folder:PATH@{height} or another network"
        ) from None


@functools.lru_cache(maxsize=64)
def _check_weights(file: str, content: str, name: str, num_classes: int, image_shape: tuple[int, int, int]) -> None:
    """Once for each content of the file, however many runs of a sweep have it."""
    load_foreign(build(name, num_classes, image_shape[0], image_shape[1:]), file)


@functools.cache
def _warn_of_slow_arithmetic() -> None:
    if not processor_has_bfloat16():
        log.warning(
            "this processor imitates bfloat16, ten times slower than float32: precision=fast takes what it is good at"
        )


def _check_memory(r: Run, data: Dataset) -> None:
    """What a training records is one row a sample and epoch; refuse what cannot fit into memory."""
    if not hasattr(os, "sysconf") or not needed_signals(r):
        return
    runs = scored_runs(r)
    wanted = len(runs.seeds) * runs.recipe.epochs * len(data.train_y) * RECORD_BYTES
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if wanted > there:
        raise ValueError(
            f"recording {len(runs.seeds)} trainings of {runs.recipe.epochs} epochs takes {wanted / 1e9:.0f} GB, and there "
            f"are {there / 1e9:.0f}; take fewer by score_runs or score_recipe"
        )


@functools.lru_cache(maxsize=64)
def _check_feature_loss(
    loss: str, student: str, teacher: str, num_classes: int, image_shape: tuple[int, int, int]
) -> None:
    name, options = split_call(loss)
    x, entry = torch.zeros(2, *image_shape), FEATURE_LOSSES[name]
    networks = [build(one, num_classes, image_shape[0], image_shape[1:]).eval() for one in (student, teacher)]
    with torch.no_grad():
        shapes = [network.features(x, entry.preact) for network in networks]
    entry.make(*shapes, num_samples=num_classes * 2, num_classes=num_classes, seed=0, **options)
