"""What the store and the sweep cost: on 100 digits runs that are trained, and on the same 100 when they are stored.

    python benchmarks/store_overhead.py

Trained: the time outside of `run_together` (planning, leases, rows) and the time inside it that is spent in the
store (reading a teacher, verifying its checksum), as a share of the rest. Targets: 3%, and 10 ms a stored run.

RESULT
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from typing import Any

from kdlib import experiment
from kdlib.store import Store
from kdlib.sweep import sweep

GRID = {"fraction": [0.1, 0.2, 0.3, 0.4, 0.5], "scorer": ["random", "forgetting"], "seed": list(range(10))}


class Clock:
    """Seconds spent in calls of the functions it wraps; nested calls (`make` in `arrays`) are taken out."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, function: Callable, sign: float = 1.0) -> Callable:
        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += sign * (time.perf_counter() - began)

        return timed


class TimedStore(Store):
    """A store that knows how long its users have waited for it, the making of artefacts left out."""

    clock = Clock()

    def arrays(self, kind: str, description: dict, make: Callable) -> dict:
        made_without = self.clock.around(make, sign=-1.0)
        return self.clock.around(super().arrays)(kind, description, made_without)


def main() -> None:
    training = Clock()
    from kdlib import executors

    executors.Store = TimedStore  # type: ignore[misc]
    experiment.run_together = training.around(experiment.run_together)
    with tempfile.TemporaryDirectory() as folder:
        warm = {"seed": [0], "fraction": [0.1]}
        sweep(warm, store=folder + "/warm", epochs=1, progress=False)  # imports and first-call costs
        training.seconds = TimedStore.clock.seconds = 0.0
        began = time.perf_counter()
        count = len(sweep(GRID, store=folder + "/store", epochs=60))
        total = time.perf_counter() - began
        inside = TimedStore.clock.seconds
        overhead = (total - training.seconds + inside) / (training.seconds - inside)
        print(f"{count} trained runs: {total:.1f} s, of it store and sweep {100 * overhead:.2f}%")
        began = time.perf_counter()
        sweep(GRID, store=folder + "/store", epochs=60)
        cached = time.perf_counter() - began
        print(f"{count} stored runs: {1000 * cached / count:.2f} ms a run")


if __name__ == "__main__":
    main()
