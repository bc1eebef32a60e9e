"""What the tests let two processes do, and how they are started: forked from one server that has imported torch."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # which the first optimiser of a process imports; here the server that is forked does it once
from torch import Tensor, nn

from kdlib.imagenet import networks
from kdlib.imagenet.config import Machine, Settings
from kdlib.imagenet.distributed import LostRank, World, world
from kdlib.imagenet.evaluation import evaluate
from kdlib.imagenet.folders import read_split
from kdlib.imagenet.run import Folders, train, val_loader
from kdlib.imagenet.scoring import score
from kdlib.imagenet.trainer import Trainer
from kdlib.store.artefacts import Store

ALONE = World(0, 1, 0, 1, torch.device("cpu"))


class Tiny(nn.Module):
    """A small network; without `statistics` its result does not depend on how a batch is shared out."""

    def __init__(self, num_classes: int, statistics: bool = False) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 5, stride=4)
        self.norm = nn.BatchNorm2d(8) if statistics else nn.Identity()
        self.second = nn.Conv2d(8, 16, 3)
        self.drop = nn.Dropout(0.2 if statistics else 0.0)
        self.head = nn.Linear(16, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        maps = torch.relu(self.second(torch.relu(self.norm(self.first(x)))))
        return self.head(self.drop(maps.mean((2, 3))))


networks.NETWORKS["tiny"] = lambda num_classes, image_size: Tiny(num_classes)
networks.NETWORKS["tiny_norm"] = lambda num_classes, image_size: Tiny(num_classes, statistics=True)

SMALL = Settings(
    dataset="generated", student="tiny", teacher="tiny", teacher_weights="", loss="cross_entropy", epochs=2, batch_size=16,
    lr=0.1, weight_decay=1e-4, image_size=32, min_crop=0.25,
)  # fmt: skip
QUIET = Machine(device="cpu", log_seconds=1e9)


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@dataclass
class Ended:
    """How the processes ended: exit codes by rank, what they said, and the seconds from the first end to the last."""

    codes: list[int | None]
    said: list[str]
    seconds: float


def run_processes(
    job: Callable[..., None], *args: Any, folder: Path, size: int = 2, patience: float = 100, waits: Any = all
) -> Ended:
    """`job(*args)` in `size` processes with the variables of `torchrun`, until `waits` (all, any) of them have ended.

    Then, and after `patience` seconds, the others are killed.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.imagenet.jobs"])
    port = free_port()
    logs = [folder / f"rank{rank}.txt" for rank in range(size)]
    processes = [context.Process(target=_process, args=(logs[r], r, size, port, job, args)) for r in range(size)]
    for process in processes:
        process.start()
    began = time.monotonic()
    first_end: float | None = None
    while not waits(not p.is_alive() for p in processes) and time.monotonic() - began < patience:
        time.sleep(0.02)
        if first_end is None and not all(p.is_alive() for p in processes):
            first_end = time.monotonic()
    ended = time.monotonic()
    codes = [p.exitcode for p in processes]
    for process in processes:
        if process.is_alive():
            process.kill()
        process.join()
    return Ended(codes, [log.read_text() for log in logs], ended - (first_end or ended))


def _process(log: Path, rank: int, size: int, port: int, job: Callable[..., None], args: tuple) -> None:
    places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in places.items()} | {"MASTER_ADDR": "127.0.0.1"}
    torch.set_num_threads(1)
    with open(log, "w", buffering=1) as out, contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            job(*args)
        except LostRank as problem:
            print(problem)
            os._exit(3)


# -- jobs


def score_and_evaluate(root: Path, weights: str, out: Path) -> None:
    """Scores of the training images and accuracy on the validation images: `out`/scores.csv, `out`/accuracy.pt."""
    with world("cpu") as place:
        model = networks.build("tiny", 4, 32, weights=weights)
        rows = score(model, read_split(root / "train"), SMALL, QUIET, place)
        found = evaluate(model, val_loader(SMALL, read_split(root / "val"), QUIET, place), place)
        own = sorted(
            i for batch in val_loader(SMALL, read_split(root / "val"), QUIET, place) for i in batch.id.tolist()
        )
        shares = place.gather(own)
        if place.first:
            rows.to_csv(out / "scores.csv", index=False)
            torch.save({"accuracy": tuple(found), "attrs": rows.attrs, "shares": shares}, out / "found.pt")


def train_to(root: Path, store: Path, save: Path, settings: Settings, machine: Machine) -> None:
    """A training whose row goes into `store` and whose network to `save`."""
    with world("cpu", machine.lost_after) as place:
        train(settings, Folders(str(root)), machine, place, Store(store), save=str(save))


def train_until(root: Path, store: Path, settings: Settings, machine: Machine, step: int, sent: int) -> None:
    """A training in which process 1 sends itself the signal `sent` before its step number `step`."""
    plain = Trainer._step

    def failing(self: Trainer, parts: list, number: int) -> Tensor:
        if self.place.rank == 1 and self.state.steps == step:
            print(f"signal {signal.Signals(sent).name} in epoch {self.state.epoch + 1}, step {number}", flush=True)
            os.kill(os.getpid(), sent)
        return plain(self, parts, number)

    Trainer._step = failing  # type: ignore[method-assign]
    train_to(root, store, store / "never.safetensors", settings, machine)
