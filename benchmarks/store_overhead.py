"""What the store and the sweep cost: on 100 digits runs that are trained, and on the same 100 when they are stored.

    python benchmarks/store_overhead.py

Trained: the time outside of `train_together` (planning, leases, rows) and the time inside it that is spent in the
store (reading a teacher, verifying its checksum), as a share of the rest. Targets: 3%, and 10 ms a stored run.

Result (2 Cascade Lake cores at a load of 12, one torch thread): 100 trained runs 31.6 s of CPU; store and sweep
2.2% of the time, 1.6% of the CPU time; 100 stored runs 3.3 ms a run.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from kdlib.experiments import backends as executors
from kdlib.experiments import run as experiment
from kdlib.experiments.grid import sweep
from kdlib.store.artefacts import Store

GRID = {"fraction": [0.1, 0.2, 0.3, 0.4, 0.5], "scorer": ["random", "forgetting"], "seed": list(range(10))}


Seconds = np.ndarray
"""(2,): by the clock on the wall, and of this process's own CPU time (which neighbours do not disturb)."""


def now() -> Seconds:
    return np.array([time.perf_counter(), time.process_time()])


class Clock:
    """Seconds spent in calls of the functions it wraps; with `sign=-1` they are taken out (`make` in `arrays`)."""

    def __init__(self) -> None:
        self.seconds = np.zeros(2)

    def around(self, function: Callable, sign: float = 1.0) -> Callable:
        def timed(*args: Any, **kwargs: Any) -> Any:
            began = now()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += sign * (now() - began)

        return timed


class TimedStore(Store):
    """A store that knows how long its users have waited for it, the making of artefacts left out."""

    clock = Clock()

    def arrays(self, kind: str, description: dict, make: Callable) -> dict:
        made_without = self.clock.around(make, sign=-1.0)
        return self.clock.around(super().arrays)(kind, description, made_without)


def main() -> None:
    training = Clock()
    executors.Store = TimedStore  # type: ignore[misc]
    experiment.train_together = training.around(experiment.train_together)
    with tempfile.TemporaryDirectory() as folder:
        warm = {"seed": [0], "fraction": [0.1]}
        sweep(warm, store=folder + "/warm", epochs=1, progress=False)  # imports and first-call costs
        training.seconds, TimedStore.clock.seconds = np.zeros(2), np.zeros(2)
        began = now()
        count = len(sweep(GRID, store=folder + "/store", epochs=60))
        total, inside = now() - began, TimedStore.clock.seconds
        share = 100 * (total - training.seconds + inside) / (training.seconds - inside)
        print(f"{count} trained runs: {total[0]:.1f} s, {total[1]:.1f} s of CPU")
        print(f"store and sweep: {share[0]:.2f}% of the time, {share[1]:.2f}% of the CPU time")
        began = now()
        sweep(GRID, store=folder + "/store", epochs=60)
        print(f"{count} stored runs: {1000 * (now() - began)[0] / count:.2f} ms a run")


if __name__ == "__main__":
    main()
