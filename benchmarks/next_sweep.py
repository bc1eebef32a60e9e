"""What it saves that worker processes wait for the next sweep: ten small runs by waiting workers and by new ones, in turn.

    python -m benchmarks.next_sweep [--repeats 5]

Both sweeps train ten networks on digits with two workers; the teacher is there already. The ratio is that of the wall clocks.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from typing import Any

from benchmarks import machine
from kdlib.experiments.grid import sweep
from kdlib.experiments.idle_workers import IDLE

RUNS: dict[str, Any] = {"dataset": "digits", "fraction": 0.05, "epochs": 60, "workers": 2, "progress": False}


def seconds(store: str, tau: float) -> float:
    """Wall clock of a sweep whose runs are not stored yet, since no other has this temperature."""
    start = time.perf_counter()
    sweep({"seed": list(range(10))}, tau=tau, store=store, **RUNS)
    return time.perf_counter() - start


def pairs(repeats: int, store: str) -> list[tuple[float, float]]:
    """(waiting workers, new workers) in seconds."""
    seconds(store, 1.0)  # the teacher, and the first workers
    found = []
    for repeat in range(repeats):
        waiting = seconds(store, 2.0 + repeat)
        IDLE.clear()
        found.append((waiting, seconds(store, 100.0 + repeat)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="sweeps of each kind")
    repeats = parser.parse_args().repeats
    for name, value in machine.describe().items():
        print(f"{name}: {value}")
    with tempfile.TemporaryDirectory() as store:
        found = pairs(repeats, store)
    ratios = [new / waiting for waiting, new in found]
    waiting, new = (statistics.median(times) for times in zip(*found, strict=True))
    print(f"ten runs on digits: {waiting:.2f} s with waiting workers, {new:.2f} s with new ones")
    print(f"new / waiting: {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f}, {repeats} pairs)")


if __name__ == "__main__":
    main()
