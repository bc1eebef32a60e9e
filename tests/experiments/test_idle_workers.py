"""Worker processes that serve one sweep after another."""

from __future__ import annotations

import importlib
import os
import signal
import time
from pathlib import Path

import pytest

from kdlib.experiments import idle_workers
from kdlib.experiments.grid import SweepError, sweep_of
from kdlib.experiments.idle_workers import IDLE
from tests.experiments.sweeps import same, tiny

SEEDS = {"seed": [0, 1, 2, 3]}


@pytest.fixture(autouse=True)
def none_left():
    IDLE.clear()
    yield
    IDLE.clear()


def workers_of(table) -> set[int]:
    return set(table.pid)


def waiting() -> set[int]:
    return {child.pid for child in IDLE._waiting}


def test_the_next_sweep_has_the_same_workers_and_the_same_rows(tmp_path):
    first = tiny(tmp_path / "s", SEEDS, workers=2, pause=0.05)
    assert workers_of(first) <= waiting() and len(waiting()) == 2
    started = waiting()
    second = tiny(tmp_path / "s", SEEDS, workers=2, pause=0.06)
    assert workers_of(second) <= started == waiting()
    same(second.drop(columns="pause"), tiny(tmp_path / "t", SEEDS, pause=0.06).drop(columns="pause"))


def test_another_store_or_environment_has_workers_of_its_own(tmp_path, monkeypatch):
    first = workers_of(tiny(tmp_path / "s", SEEDS, workers=2, pause=0.05))
    assert not first & workers_of(tiny(tmp_path / "t", SEEDS, workers=2, pause=0.05))
    monkeypatch.setenv("KDLIB_OF_A_TEST", "1")
    assert not first & workers_of(tiny(tmp_path / "s", SEEDS, workers=2, pause=0.06))


def test_a_worker_that_died_while_it_waited_costs_nothing(tmp_path):
    tiny(tmp_path / "s", SEEDS, workers=2, pause=0.05)
    dead = waiting()
    for pid in dead:
        os.kill(pid, signal.SIGKILL)
    table = tiny(tmp_path / "s", SEEDS, workers=2, pause=0.06)
    assert len(table) == 4 and not workers_of(table) & dead


EXPERIMENT = """
import os
from dataclasses import asdict
from tests.tiny_experiment import Run, batch_key, needed_artefacts

VERSION = {version}

def describe(run):
    return {{**asdict(run), "version": VERSION}}

def train_together(runs, store, described):
    rows = [{{**one, "pid": os.getpid()}} for one in described]
    return [store.add_row(one, row, []) for one, row in zip(described, rows)]
"""


def test_a_worker_that_knows_other_code_gives_way_to_a_new_one(tmp_path, monkeypatch):
    """As after an edit of a user's own module, which this process has loaded again and the waiting worker has not."""
    monkeypatch.syspath_prepend(str(tmp_path))
    file, tables = tmp_path / "own_experiment.py", []
    for version in (1, 22):  # of another length, by which Python tells that the file has changed
        file.write_text(EXPERIMENT.format(version=version))
        importlib.invalidate_caches()
        importlib.reload(importlib.import_module("own_experiment"))
        tables.append(sweep_of("own_experiment", SEEDS, 2, None, tmp_path / "s", False, {}))
    assert [set(table.version) for table in tables] == [{1}, {22}]
    assert not workers_of(tables[0]) & workers_of(tables[1]) and workers_of(tables[1]) <= waiting()


def test_a_run_that_fails_does_not_end_its_worker(tmp_path):
    with pytest.raises(SweepError, match="not well"):
        tiny(tmp_path / "s", {"seed": [0, 1]}, workers=2, mood="raises")
    assert len(waiting()) == 2


def test_workers_leave_when_nobody_needs_them(tmp_path, monkeypatch):
    monkeypatch.setattr(idle_workers, "IDLE_SECONDS", 0.2)
    tiny(tmp_path / "s", SEEDS, workers=2, pause=0.05)
    pids, deadline = waiting(), time.monotonic() + 20
    while (left := [pid for pid in pids if Path(f"/proc/{pid}").exists()]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == [] and not waiting()


def test_a_sweep_that_is_interrupted_leaves_no_worker(tmp_path):
    def stop(*_) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 3.0)
        with pytest.raises(KeyboardInterrupt):
            tiny(tmp_path / "s", {"seed": list(range(40))}, workers=2, pause=0.5)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    assert not waiting()
