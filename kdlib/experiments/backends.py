"""Where the runs of a sweep are carried out: in this process, in local worker processes, on a Dask cluster.

All three do the same thing, `attempt`, and return the same rows. A worker gets the fields of a run and the
folder of the store, trains, stores the row, and answers with it; teachers and signals travel through the
store only. (The local processes are in `kdlib.experiments.worker_pool`.)
"""

from __future__ import annotations

import importlib
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from kdlib.store.artefacts import Store, StoreError
from kdlib.store.serialisation import plain

WORKER_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
"""One torch thread per worker; several spinning threads on shared cores are slower by a factor of three."""

CONNECT_SECONDS = 10
"""How long a Dask scheduler is tried."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """What every worker must know: the module with `Run` and `run`, and the folder of the store."""

    experiment: str
    root: str
    lease_seconds: float


@dataclass(frozen=True)
class Job:
    """Runs that are carried out together: places in the sweep, fields, whether they need a GPU."""

    places: tuple[int, ...]
    runs: tuple[dict, ...]
    gpu: bool = False


Outcome = dict[str, Any]
"""{"status": "done", "row"} or {"status": "busy" | "failed" | "store", "error"}."""


def attempt(work: Work, runs: tuple[dict, ...], wait: bool) -> list[Outcome]:
    """Carry out the runs and store their rows; one that another process is at is waited for or left.

    An exception in a run ends in its outcome "failed"; a store that cannot be used in "store", for all.
    """
    module = importlib.import_module(work.experiment)
    store = Store(work.root, lease_seconds=work.lease_seconds)
    outcomes: dict[int, Outcome] = {}
    with ExitStack() as leases:
        try:
            mine = []
            for place, run in enumerate(module.Run(**fields) for fields in runs):
                described = module.describe(run)
                if not leases.enter_context(store.lease("rows", described, wait=wait)):
                    outcomes[place] = {"status": "busy", "error": "another process has it"}
                elif (row := store.row(described)) is not None:
                    outcomes[place] = {"status": "done", "row": row}
                else:
                    mine.append((place, run, described))
            outcomes.update(_train(module, store, mine))
        except StoreError as problem:
            return [{"status": "store", "error": problem.strerror}] * len(runs)
    return [outcomes[place] for place in range(len(runs))]


def _train(module: Any, store: Store, mine: list[tuple[int, Any, dict]]) -> dict[int, Outcome]:
    """Train together what can be; should that fail, one by one, so that only the guilty run fails."""
    if len(mine) > 1:
        try:
            rows = module.run_together([run for _, run, _ in mine], store=store)
            return {place: _done(store, described, row) for (place, _, described), row in zip(mine, rows, strict=True)}
        except StoreError:
            raise
        except Exception as problem:
            log.warning("a group of %d runs failed (%s): now one by one", len(mine), problem)
    outcomes = {}
    for place, run, described in mine:
        try:
            outcomes[place] = _done(store, described, module.run(run, store=store))
        except StoreError:
            raise
        except Exception as problem:
            log.debug("run failed", exc_info=True)
            outcomes[place] = {"status": "failed", "error": f"{type(problem).__name__}: {problem}"}
    return outcomes


def _done(store: Store, described: dict, row: dict) -> Outcome:
    store.add_row(described, row)
    return {"status": "done", "row": plain(row)}  # as it will be read from now on


def in_process(jobs: list[Job], work: Work, wait: bool) -> Iterator[tuple[Job, list[Outcome]]]:
    """One job after the other, here."""
    for job in jobs:
        yield job, attempt(work, job.runs, wait)


def on_dask(jobs: list[Job], work: Work, wait: bool, cluster: Any, count: int) -> Iterator[tuple[Job, list[Outcome]]]:
    """A Dask cluster; the runs of a worker that dies are carried out by another one."""
    from dask.distributed import as_completed

    with ExitStack() as stack:
        client = stack.enter_context(_client(cluster, count, gpu=any(job.gpu for job in jobs)))
        futures = {
            client.submit(
                attempt,
                work,
                job.runs,
                wait,
                pure=False,
                retries=2,
                resources={"GPU": 1} if job.gpu else None,
            ): job
            for job in jobs
        }
        stack.callback(lambda: client.cancel([future for future in futures if not future.done()]))
        for future in as_completed(futures, loop=client.loop):
            job = futures[future]
            try:
                yield job, future.result()
            except Exception as problem:  # KilledWorker, a lost scheduler
                error = f"{type(problem).__name__}: {problem}"
                yield job, [{"status": "failed", "error": error}] * len(job.runs)


@contextmanager
def _client(cluster: Any, count: int, gpu: bool) -> Iterator[Any]:
    """A client of the cluster; for "local", of one that is started here and ends with the sweep."""
    from dask.distributed import Client

    with ExitStack() as stack:
        if cluster == "local":
            cluster = stack.enter_context(_local_cluster(count, gpu))
        try:
            client = stack.enter_context(Client(cluster, timeout=CONNECT_SECONDS, set_as_default=False))
        except OSError as problem:
            raise ConnectionError(f"no Dask scheduler answers at {cluster}: {problem}") from problem
        if gpu and not any("GPU" in worker["resources"] for worker in _workers(client)):
            log.warning("no worker offers a GPU yet; start them with --resources GPU=1, or set device='cpu'")
        yield client


@contextmanager
def _local_cluster(count: int, gpu: bool) -> Iterator[str]:
    """The address of a LocalCluster in a process of its own, so that a script needs no main guard for it."""
    search = os.pathsep.join(path or os.getcwd() for path in sys.path)
    command = [sys.executable, "-m", "kdlib.experiments.backends", str(count), str(int(gpu))]
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": search},
        text=True,
        start_new_session=True,
    )
    try:
        address = child.stdout.readline().strip()  # type: ignore[union-attr]
        if not address:
            raise RuntimeError("a local Dask cluster cannot be started, see above")
        yield address
    finally:
        child.communicate()  # closes its input: it ends, and so it does if this process is killed


def _serve_local_cluster(count: int, gpu: bool) -> None:
    from dask.distributed import LocalCluster

    with LocalCluster(
        n_workers=count,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address=None,
        memory_limit=0,
        silence_logs=logging.ERROR,
        resources={"GPU": 1} if gpu else None,
        env=WORKER_ENVIRONMENT,
    ) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()


def _workers(client: Any) -> list[dict]:
    return list(client.scheduler_info(n_workers=-1)["workers"].values())


if __name__ == "__main__":
    _serve_local_cluster(int(sys.argv[1]), sys.argv[2] == "1")
