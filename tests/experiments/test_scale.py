"""What a stored run costs a sweep, in numbers that do not hang on the clock: a hundred thousand of them must stay bearable."""

from __future__ import annotations

import os
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from kdlib import Run, Store, sweep
from kdlib.experiments import grid
from kdlib.experiments import run as experiment
from kdlib.experiments.grid import points
from kdlib.experiments.run import describe

GRID = {"alpha": [i / 100 for i in range(1, 31)], "scorer": ["random", "forgetting"], "seed": [0, 1, 2, 3, 4]}
COUNT = 300
CALLS, BYTES = 1_500, 6_000
"""Of each stored run; about 1,000 calls and 3,500 bytes when this was written."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """With a made-up row for each run."""
    found = Store(tmp_path_factory.mktemp("store"))
    for r in points(Run, GRID, {}):
        found.add_row(
            describe(r), {**vars(r), "test_acc": 90.0 + r.alpha, "kept": 1347, "status": "ok", "device": "cpu"}
        )
    return found


def calls(work: Any) -> int:
    """How many functions were called."""
    count = 0

    def event(frame: object, what: str, argument: object) -> None:
        nonlocal count
        count += what in ("call", "c_call")

    sys.setprofile(event)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_a_stored_run_takes_few_calls(store: Store) -> None:
    assert len(sweep(GRID, store=store, progress=False)) == COUNT  # what is done once is done
    assert calls(lambda: sweep(GRID, store=store, progress=False)) / COUNT < CALLS


def test_a_stored_run_takes_little_memory(store: Store) -> None:
    sweep(GRID, store=store, progress=False)
    tracemalloc.start()
    try:
        sweep(GRID, store=store, progress=False)
        assert tracemalloc.get_traced_memory()[1] / COUNT < BYTES
    finally:
        tracemalloc.stop()


def test_planning_a_run_takes_few_calls(tmp_path: Path) -> None:
    def work() -> None:
        planned = grid._Plan(
            experiment, points(Run, GRID, {}), list(GRID), Store(tmp_path), False, lambda run, row: None
        )
        jobs = grid.plan(experiment, planned.missing, planned.described)
        assert sum(len(job.runs) for job in jobs) == COUNT

    work()
    assert calls(work) / COUNT < CALLS


def test_a_folder_of_rows_is_listed_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[str] = []
    real = os.listdir
    monkeypatch.setattr("kdlib.store.housekeeping.os.listdir", lambda place: listed.append(str(place)) or real(place))
    sweep(GRID, store=store, progress=False)
    assert 0 < len(listed) == len(set(listed)) <= 256
