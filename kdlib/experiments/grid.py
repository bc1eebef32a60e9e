"""Grids of runs: every point once, none twice, and all of them in the order of the grid.

    sweep({"fraction": [0.1, 0.3], "seed": [0, 1, 2]}, dataset="digits", scorer="forgetting", workers=2)

The whole grid is validated before anything is trained. Stored runs are read, the others are carried out by
one of three executors (see `kdlib.experiments.backends`) and stored one by one as they come, so a sweep that was stopped
in any way goes on where it was when the same call is made again.
"""

from __future__ import annotations

import importlib
import itertools
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd

from kdlib.experiments import backends as executors
from kdlib.experiments import worker_pool as processes
from kdlib.experiments.backends import Job, RunOutcome, Work
from kdlib.experiments.rows import check_output, export_rows, load_rows, outcome_of, table_of
from kdlib.experiments.sweep_report import Report, failures
from kdlib.store.artefacts import Store, StoreError, key
from kdlib.utils import progress as lines
from kdlib.utils.errors import choose

__all__ = ["SweepError", "check_output", "export_rows", "load_rows", "points", "sweep", "sweep_runs"]

EXPERIMENT = "kdlib.experiments.run"
"""The module that says what a run is; tests sweep over another one."""


SIDE_BY_SIDE = 24
"""Runs that train side by side, at most: on a CPU, 20 perceptrons take two thirds of the time for each that 8 take."""
WORTH_PARTING = 8
"""More runs than this become two jobs at least where there are few groups."""
FEW_GROUPS = 4
"""Fewer groups of runs that can train side by side than this leave a second worker without work."""


class SweepError(RuntimeError):
    """Some runs failed, all others are stored. `failed`: list of {"run", "error"}; `rows`: what there is."""

    def __init__(self, message: str, failed: list[dict], rows: pd.DataFrame) -> None:
        super().__init__(message)
        self.failed = failed
        self.rows = rows


def sweep(
    grid: Mapping[str, Sequence],
    *,
    workers: int = 1,
    cluster: Any = None,
    store: Store | str | Path | None = None,
    progress: bool = True,
    **fixed: Any,
) -> pd.DataFrame:
    """One row for each point of the grid, in the order of `itertools.product(*grid.values())`; what varied comes first.

    grid:     field of `Run` -> list of its values; `fixed`: fields that are equal in all runs.
    workers:  1 is this process; N > 1 starts N local worker processes of one torch thread each.
    cluster:  Dask instead: "tcp://host:8786", "local" (`workers` workers here), or a cluster object such as
              `dask_jobqueue.SLURMCluster`; its workers must see the same store folder.
    store:    a `Store` or its folder; default `paths.store()`.
    progress: whether to say how far the sweep is (see `kdlib.utils.progress`).

    ValueError before anything is trained if a field or value is not valid. A run whose loss becomes NaN is a
    row with status "diverged". SweepError at the end if runs failed. Ctrl-C keeps all that is finished.
    """
    return sweep_of(EXPERIMENT, grid, workers, cluster, store, progress, fixed)


def sweep_of(
    experiment: str,
    grid: Mapping[str, Sequence],
    workers: int,
    cluster: Any,
    store: Store | str | Path | None,
    progress: bool,
    fixed: Mapping[str, Any],
) -> pd.DataFrame:
    """`sweep` over the runs of any module that has `Run`, `train_together` and `describe`."""
    _check_executor(workers, cluster)
    module = importlib.import_module(experiment)
    runs = points(module.Run, grid, fixed)
    check_all(module, runs)
    return _carried_out(module, runs, list(grid), workers, cluster, store, progress)


def sweep_runs(
    runs: Sequence[Any],
    *,
    names: Sequence[str] = (),
    workers: int = 1,
    cluster: Any = None,
    store: Store | str | Path | None = None,
    progress: bool = True,
    checked: bool = False,
    on_row: Callable[[Any, dict], object] = lambda run, row: None,
) -> pd.DataFrame:
    """`sweep` over a list of runs; `names` are the fields that progress shows, `on_row(run, row)` hears of each new row.

    `checked`: the caller has asked `checks.check` about each run.
    """
    _check_executor(workers, cluster)
    module = importlib.import_module(EXPERIMENT)
    if not checked:
        check_all(module, runs)
    return _carried_out(module, list(runs), list(names), workers, cluster, store, progress, on_row)


def check_all(module: Any, runs: Iterable[Any]) -> None:
    """ValueError for the first run that cannot work here, before anything is trained; a module need not say."""
    for run in runs:
        getattr(module, "check", lambda run: None)(run)


def _carried_out(
    module: Any,
    runs: list[Any],
    names: list[str],
    workers: int,
    cluster: Any,
    store: Store | str | Path | None,
    progress: bool,
    on_row: Callable[[Any, dict], object] = lambda run, row: None,
) -> pd.DataFrame:
    store = store if isinstance(store, Store) else Store(store)
    plan = _Plan(module, runs, names, store, progress, on_row)
    return plan.carry_out(Work(module.__name__, str(store.root), store.lease_seconds), workers, cluster)


class _Plan:
    """The runs of a sweep: described once, the stored ones read, the others carried out."""

    def __init__(
        self,
        module: Any,
        runs: list[Any],
        names: list[str],
        store: Store,
        progress: bool,
        on_row: Callable[[Any, dict], object],
    ) -> None:
        self.module, self.runs, self.names, self.store, self.on_row = module, runs, names, store, on_row
        self.failed: list[dict] = []
        self.progress = progress
        self.rows: dict[int, dict] = {}
        self.described: dict[int, dict] = {}
        with self._line() as line:
            line.say(f"looking for {len(runs):,} runs in the store")
            self._read_what_is_stored()
        self.missing = {place: runs[place] for place in self.described}

    def _line(self) -> AbstractContextManager[lines.Line]:
        return lines.line() if self.progress else lines.shown_by(lambda text, milestone: None)

    def _note(self, text: str) -> None:
        if self.progress:
            print(text, file=sys.stderr, flush=True)

    def _read_what_is_stored(self) -> None:
        """One run after the other: of 100,000 rows, only what a table needs stays in memory."""
        there, count = self.store.listing("rows"), 0
        for place, run in enumerate(self.runs):
            described = self.module.describe(run)
            name = key("rows", described)
            row = self.store.row(described, name) if there.holds(name) else None
            if row is not None:
                self.rows[place] = outcome_of(row, run)
            else:
                self.described[place] = described
                count += there.holds_outdated(name)
        if count:
            self._note(f"{count} stored row{'s were' if count > 1 else ' was'} made by other code and set aside")

    def carry_out(self, work: Work, workers: int, cluster: Any) -> pd.DataFrame:
        """The table of all rows; SweepError at the end if runs failed."""
        try:
            with self._line() as line, self.store.sweep(_needs(self.module, self.missing.values())):
                report = Report(line, len(self.runs), list(self.missing.values()), self.names, workers)
                for place, outcome in _carry_out(
                    self.module, self.missing, self.described, self.store, work, workers, cluster
                ):
                    self._take(place, outcome)
                    report.finished(outcome, self.runs[place])
                if self.failed:
                    message = failures(self.failed, len(self.rows), self.names)
                    raise SweepError(message, self.failed, table_of(self.rows, self.runs, self.names))
        except KeyboardInterrupt:
            done = f"{len(self.rows)} of {len(self.runs)} runs are stored"
            self._note(f"stopped: {done}; the same call goes on from there")
            raise
        return table_of(self.rows, self.runs, self.names)

    def _take(self, place: int, outcome: RunOutcome) -> None:
        run, described = self.runs[place], self.described[place]
        if outcome["status"] == "done":
            row = outcome["row"]
            if not self.store.has("rows", described):  # the worker has a store folder of its own
                row = self.store.add_row(described, row)
            self.rows[place] = outcome_of(row, run)
            self.on_row(run, row)
        else:
            self.failed.append({"run": run, "error": outcome["error"]})


def _needs(module: Any, runs: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """(kind, key) of the stored arrays that the runs need; a module need not say."""
    needs = getattr(module, "needed_artefacts", lambda run: ())
    return (need for run in runs for need in needs(run))


def points(make: Any, grid: Mapping[str, Sequence], fixed: Mapping[str, Any]) -> list[Any]:
    """The validated runs of a grid; ValueError for an unknown field, values that are no list, a bad value."""
    known = {field.name: field for field in fields(make)}
    if not isinstance(grid, Mapping):
        raise ValueError(f"the grid is a dict of fields and lists of values, such as {{'seed': [0, 1]}}, not {grid!r}")
    for name in [*grid, *fixed]:
        choose("field of Run", name, known)
    if both := set(grid) & set(fixed):
        raise ValueError(f"{both.pop()!r} is both in the grid and fixed")
    for name, values in grid.items():
        if isinstance(values, str | bytes) or not isinstance(values, Iterable):
            raise ValueError(f"the grid needs a list of values for {name!r}, not {values!r}")
    combinations = itertools.product(*(list(values) for values in grid.values()))
    return [make(**{**fixed, **dict(zip(grid, values, strict=True))}) for values in combinations]


def _check_executor(workers: int, cluster: Any) -> None:
    if not isinstance(workers, int) or workers < 1:
        raise ValueError(f"workers is a whole number from 1 on, not {workers!r}")
    if isinstance(cluster, str) and cluster != "local" and "://" not in cluster:
        raise ValueError(f"cluster is 'local', an address like 'tcp://host:8786' or an object, not {cluster!r}")
    if cluster is not None:
        try:
            importlib.import_module("dask.distributed")
        except ImportError as problem:
            if (problem.name or "").split(".")[0] in ("dask", "distributed"):
                raise ValueError("cluster=... needs Dask: pip install 'kdlib[cluster]'") from problem
            raise ValueError(f"Dask is there and cannot be loaded ({problem}); install it again") from problem


def _carry_out(
    module: Any,
    missing: dict[int, Any],
    described: Mapping[int, dict],
    store: Store,
    work: Work,
    workers: int,
    cluster: Any,
) -> Iterator[tuple[int, RunOutcome]]:
    """The outcomes of all runs as they come; runs another sweep is busy with come last."""
    keys = {place: key("rows", described[place]) for place in missing}
    first_of: dict[str, int] = {}
    twins: dict[int, list[int]] = {}  # points of one grid that describe the same row are one run
    for place in missing:
        twins.setdefault(first_of.setdefault(keys[place], place), []).append(place)
    left = {place: missing[place] for place in twins}
    for wait in (False, True):
        if not left:
            return
        interrupted = [] if wait else store.interrupted([keys[place] for place in left])
        jobs = plan(module, left, described, together=not wait, interrupted=interrupted)
        for job, outcomes in _execute(jobs, work, wait, workers, cluster):
            for place, outcome in zip(job.places, outcomes, strict=True):
                if outcome["status"] == "store":
                    raise StoreError(outcome["error"])
                if outcome["status"] != "busy":
                    del left[place]
                    yield from ((twin, outcome) for twin in twins[place])


def _execute(jobs: list[Job], work: Work, wait: bool, workers: int, cluster: Any) -> Iterator:
    if cluster is not None:
        return executors.on_dask(jobs, work, wait, cluster, workers)
    if workers > 1 and len(jobs) > 1:
        return processes.in_processes(jobs, work, wait, workers)
    return executors.in_process(jobs, work, wait)


def plan(
    module: Any,
    runs: dict[int, Any],
    described: Mapping[int, dict] | Sequence[dict],
    together: bool = True,
    interrupted: Sequence[Sequence[str]] = (),
) -> list[Job]:
    """Jobs for the executors: first the runs that need a teacher or signals nobody has met yet, then those that need
    nothing (they keep the other workers busy meanwhile), then the rest.

    Runs that can train side by side (equal `module.batch_key`) become one job of `SIDE_BY_SIDE` at most, or two jobs where
    there are few such groups. The number of workers plays no part in it, so that every executor has the same groups, and
    rows. Groups in `interrupted` (keys of rows) stay together as they were: so they can go on from their checkpoint.
    """
    place_of = {key("rows", described[place]): place for place in runs}
    resumed = [[place_of[name] for name in group] for group in interrupted]
    grouped = {place for group in resumed for place in group}
    met: set[tuple[str, str]] = set()
    first: list[int] = []
    later: list[int] = []
    free: set[int] = set()
    for place, run in runs.items():
        needed = set(_needs(module, [run]))
        (first if needed - met else later).append(place)
        met |= needed
        if not needed:
            free.add(place)
    shape_of = getattr(module, "batch_key", lambda run: None) if together else lambda run: None
    groups: dict[Any, list[int]] = {}
    for place in (place for place in first + later if place not in grouped):
        shape = shape_of(runs[place])
        groups.setdefault(("alone", place) if shape is None else shape, []).append(place)
    jobs = [_job(group, runs, described) for group in resumed]
    least = 2 if len(groups) < FEW_GROUPS else 1
    for group in groups.values():
        parts = max(math.ceil(len(group) / SIDE_BY_SIDE), min(least, math.ceil(len(group) / WORTH_PARTING)))
        size = math.ceil(len(group) / parts)  # of nearly equal size
        jobs += [_job(group[start : start + size], runs, described) for start in range(0, len(group), size)]
    makers = set(first)
    return sorted(jobs, key=lambda job: 0 if makers & set(job.places) else 1 if free >= set(job.places) else 2)


def _job(places: list[int], runs: dict[int, Any], described: Mapping[int, dict] | Sequence[dict]) -> Job:
    gpu = any(str(getattr(runs[place], "device", "")).startswith("cuda") for place in places)
    return Job(tuple(places), tuple(runs[place] for place in places), tuple(described[place] for place in places), gpu)
