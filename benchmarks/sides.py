"""The two sides of the comparison, engine and conventional loop, as tasks for warm worker processes.

Each side runs in processes of its own, because the environment of a process decides a good part of its speed: the
engine's have one thread, `OMP_WAIT_POLICY=PASSIVE` and keep freed memory, as the command line, lessons and sweeps set
them; the conventional loop's are left as Python and torch set them.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.conventional import Conventional, loaders
from benchmarks.machine import cpu_seconds, environment
from kdlib.data import datasets
from kdlib.data.datasets import Dataset, make_dataset
from kdlib.losses import kd
from kdlib.models import build
from kdlib.training.logit_cache import LogitCache
from kdlib.training.loop import Member, train_company
from kdlib.training.recipe import Recipe
from kdlib.utils import paths

BATCH, LR, CLASSES = 64, 0.05, 100


@dataclasses.dataclass(frozen=True)
class Task:
    """KD training of one student on all of the images in `file` with an equal network as its teacher.

    `bank`: folder of the logit bank, "" for a teacher forward in every step; `workers`: of the DataLoader; `precision` and
    `compile`: of the engine.
    """

    model: str
    file: str
    epochs: int = 1
    seed: int = 0
    bank: str = ""
    workers: int = 0
    precision: str = "float32"
    compile: bool = False


def save_images(count: int, file: Path) -> str:
    """Write a subset for `images`: `count` CIFAR-100 images, or random ones of that shape; returns which."""
    if (paths.data() / "raw" / "cifar100").is_dir():
        full = datasets.load("cifar100")
        rows = np.linspace(0, len(full.train_y) - 1, count).astype(int)  # spread over all classes
        x, y, kind = full.train_x[rows].numpy(), full.train_y[rows].numpy(), "CIFAR-100 images"
    else:
        rng = np.random.default_rng(0)
        x = rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
        y, kind = np.arange(count) % CLASSES, "random images (CIFAR-100 is not in data/raw)"
    np.savez(file, x=x, y=y)
    return kind


@functools.lru_cache(maxsize=2)
def images(file: str) -> Dataset:
    """The subset in `file`; its test part is one batch of it, since the rows measure training."""
    arrays = np.load(file)
    x, y = arrays["x"], arrays["y"]
    present = np.arange(CLASSES)
    x, y = np.concatenate([x, x[:1].repeat(CLASSES, 0)]), np.concatenate([y, present])  # no class is empty
    data = make_dataset("subset", (x, y), (x[:BATCH], y[:BATCH]), [str(c) for c in present])
    return dataclasses.replace(data, train_x=data.train_x[:-CLASSES], train_y=data.train_y[:-CLASSES])


@functools.lru_cache(maxsize=4)
def teacher(model: str) -> nn.Module:
    """An untrained network: a forward costs the same."""
    return build(model, CLASSES, 3, 32, seed=99).requires_grad_(False).eval()


def engine(task: Task) -> None:
    """The task by `kdlib.training.loop`; views are shared by all seeds, as in the laptop and paper presets."""
    data = images(task.file)
    shared = {"schedule": "constant", "augment": "crop_flip", "eval_every": 10**6}
    recipe = Recipe(task.epochs, BATCH, LR, precision=task.precision, compile=task.compile, **shared)
    guide = teacher(task.model).to(memory_format=torch.channels_last)
    bank = LogitCache(guide, data, "crop_flip", Path(task.bank) if task.bank else None)
    student = build(task.model, CLASSES, 3, 32, seed=task.seed)
    member = Member(student, np.arange(len(data.train_y)), task.seed, kd, augment_seed=0)
    train_company([member], data, recipe, teacher=bank, device="cpu")


def conventional(task: Task) -> None:
    """The task by `benchmarks.conventional`."""
    torch.manual_seed(task.seed)
    training, test = loaders(images(task.file), BATCH, True, task.workers)
    student = build(task.model, CLASSES, 3, 32, seed=task.seed)
    loop = Conventional(student, teacher(task.model), lr=LR)
    loop.fit(training, task.epochs)
    loop.accuracy(test)


SIDES = {"engine": engine, "conventional": conventional}


def measured(side: str, task: Task) -> tuple[float, float]:
    """CPU seconds (DataLoader workers included) and wall seconds of one task, in this process."""
    cpu, wall = cpu_seconds(), time.perf_counter()
    SIDES[side](task)
    return cpu_seconds() - cpu, time.perf_counter() - wall


def _warm_up(side: str, task: Task, meeting: str, count: int) -> None:
    """One task, and then a wait for all other processes, so that each of them has done one."""
    SIDES[side](dataclasses.replace(task, bank=tempfile.mkdtemp(dir=meeting)))
    Path(meeting, f"{os.getpid()}.here").touch()
    while len(list(Path(meeting).glob("*.here"))) < count:
        time.sleep(0.01)


@contextmanager
def workers(side: str, count: int, threads: int, warm_up: Task) -> Iterator[ProcessPoolExecutor]:
    """`count` processes of a side with `threads` threads each, all of which have carried out `warm_up`."""
    policy = "PASSIVE" if side == "engine" else None
    with (
        environment(OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads), OMP_WAIT_POLICY=policy),
        tempfile.TemporaryDirectory() as meeting,
        ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool,
    ):
        for waiting in [pool.submit(_warm_up, side, warm_up, meeting, count) for _ in range(count)]:
            waiting.result()
        yield pool
