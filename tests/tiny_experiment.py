"""The smallest thing a sweep can sweep over: a least-squares fit whose target comes from a stored "teacher".

It obeys the same rules as `kdlib.experiments.run` (a frozen `Run`, `run`, `describe`), trains in milliseconds without
torch, and writes a line to `journal` for everything it makes, so that a test can count what was made how often.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from kdlib.store.artefacts import Store, key
from kdlib.utils import progress


@dataclass(frozen=True)
class Run:
    width: int = 3
    seed: int = 0
    pause: float = 0.0
    mood: str = "well"
    journal: str = ""
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width is 1 or more, not {self.width}")


def describe(run: Run) -> dict:
    """With mood "swaps", the content of the file `journal` belongs to it, as a dataset's does."""
    content = {"content": Path(run.journal).read_text()} if run.mood == "swaps" else {}
    return {**asdict(run), **content}


def batch_key(run: Run) -> str | None:
    """Runs whose mood begins so are carried out side by side."""
    return "beside" if run.mood.startswith("beside") else None


def train_together(runs: list[Run], store: Store, described: list[dict]) -> list[dict]:
    return [_stored(run, _run(run, store), store, one) for run, one in zip(runs, described, strict=True)]


def _stored(run: Run, row: dict, store: Store, description: dict) -> dict:
    if describe(run) != description:
        raise RuntimeError("its data or the code changed while it was trained")
    return store.add_row(description, row, needed_artefacts(run))


def needed_artefacts(run: Run) -> list[tuple[str, str]]:
    return [("teachers", key("teachers", {"width": run.width}))]


def _note(run: Run, what: str) -> None:
    if run.journal:
        with open(run.journal, "a") as file:
            file.write(what + "\n")


def _teacher(run: Run) -> dict[str, np.ndarray]:
    _note(run, f"teacher {run.width}")
    time.sleep(run.pause)
    return {"theta": np.random.default_rng(run.width).normal(size=run.width)}


def _run(run: Run, store: Store) -> dict:
    theta = store.arrays("teachers", {"width": run.width}, lambda: _teacher(run))["theta"]
    if run.mood == "raises":
        raise ArithmeticError("this run is not well")
    if run.mood == "swaps":
        Path(run.journal).write_text(f"as it is after run {run.seed}")
    if run.mood.endswith("kills") or (run.mood == "kills once" and not Path(run.journal + ".killed").exists()):
        Path(run.journal + ".killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    _note(run, f"run {run.width} {run.seed}")
    with progress.working("silent work"):
        time.sleep(run.pause)
    x = np.random.default_rng(run.seed).normal(size=(20, run.width))
    fit = np.linalg.lstsq(x, x @ theta + 0.1 * np.cos(np.arange(20)), rcond=None)[0]
    sees = {"sees": os.environ.get("CUDA_VISIBLE_DEVICES")} if run.mood == "sees" else {}
    error = float("nan") if run.mood == "diverges" else float(((fit - theta) ** 2).sum())
    return {**asdict(run), "error": error, "status": "diverged" if error != error else "ok", "pid": os.getpid(), **sees}
