"""Where the runs of a sweep are carried out: in this process, in local worker processes, on a Dask cluster.

All three do the same thing, `carry_out`, and return the same rows. A worker process gets the fields of a run and the
folder of the store, trains, stores the row, and answers with it; teachers and signals travel through the
store only. (The local processes are in `kdlib.experiments.worker_pool`.)
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from kdlib.store.artefacts import Store, StoreError, key
from kdlib.store.serialisation import plain

WORKER_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
"""One torch thread per worker; several spinning threads on shared cores are slower by a factor of three."""

CONNECT_SECONDS = 10
"""How long a Dask scheduler is tried."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """What every worker must know: the module with `Run`, `describe` and `train_together`, and the folder of the store."""

    experiment: str
    root: str
    lease_seconds: float


@dataclass(frozen=True)
class Job:
    """Runs that are carried out together: places in the sweep, the runs, their descriptions, whether they need a GPU."""

    places: tuple[int, ...]
    runs: tuple[Any, ...]
    described: tuple[dict, ...]
    gpu: bool = False

    @property
    def sent(self) -> tuple[list[dict], list[str]]:
        """What another process gets: the fields of the runs, and the keys of their rows."""
        return [plain(vars(run)) for run in self.runs], [key("rows", one) for one in self.described]

    def alone(self) -> list[Job]:
        """The same runs one by one."""
        parts = zip(self.places, self.runs, self.described, strict=True)
        return [Job((place,), (run,), (one,), self.gpu) for place, run, one in parts]

    def failed(self, error: str) -> list[RunOutcome]:
        """The outcome "failed" for each of its runs."""
        return [{"status": "failed", "error": error} for _ in self.runs]


RunOutcome = dict[str, Any]
"""{"status": "done", "row"} or {"status": "busy" | "failed" | "store", "error"}."""

OTHER_KEY = (
    "this worker sees other data or other code than the sweep that sent the run, whose row would be wrong; "
    "give all workers the same files, or run the sweep again"
)


def attempt(work: Work, sent: Sequence[dict], keys: Sequence[str], wait: bool) -> list[RunOutcome]:
    """What a worker process does with a job: `carry_out` the runs of these fields.

    `keys`: of the rows, as the caller computed them; a run whose key is another one here is refused.
    """
    module = importlib.import_module(work.experiment)
    runs = [module.Run(**fields) for fields in sent]
    described = [module.describe(run) for run in runs]
    strange = [key("rows", one) != name for one, name in zip(described, keys, strict=True)]
    return carry_out(work, runs, described, wait, strange)


def carry_out(
    work: Work, runs: Sequence[Any], described: Sequence[dict], wait: bool, strange: Sequence[bool] = ()
) -> list[RunOutcome]:
    """Train the runs, which stores their rows; one that another process is at is waited for or left.

    `strange`: which runs are refused. An exception in a run ends in its outcome "failed"; a store that cannot be used in
    "store", for all.
    """
    store = Store(work.root, lease_seconds=work.lease_seconds)
    outcomes: dict[int, RunOutcome] = {}
    with ExitStack() as leases:
        try:
            mine = []
            for place, (run, one) in enumerate(zip(runs, described, strict=True)):
                if strange and strange[place]:
                    outcomes[place] = {"status": "failed", "error": OTHER_KEY}
                elif not leases.enter_context(store.lease("rows", one, wait=wait)):
                    outcomes[place] = {"status": "busy", "error": "another process has it"}
                elif (row := store.row(one)) is not None:
                    outcomes[place] = {"status": "done", "row": row}
                else:
                    mine.append((place, run, one))
            outcomes.update(_train(importlib.import_module(work.experiment), store, mine))
        except StoreError as problem:
            return [{"status": "store", "error": problem.strerror}] * len(runs)
    return [outcomes[place] for place in range(len(runs))]


def _train(module: Any, store: Store, mine: list[tuple[int, Any, dict]]) -> dict[int, RunOutcome]:
    """Train together what can be; should that fail, one by one, so that only the guilty run fails."""
    if len(mine) > 1:
        try:
            return _together(module, store, mine)
        except StoreError:
            raise
        except Exception as problem:
            log.warning("a group of %d runs failed (%s): now one by one", len(mine), problem)
    outcomes: dict[int, RunOutcome] = {}
    for one in mine:
        try:
            outcomes |= _together(module, store, [one])
        except StoreError:
            raise
        except Exception as problem:
            log.debug("run failed", exc_info=True)
            outcomes[one[0]] = {"status": "failed", "error": f"{type(problem).__name__}: {problem}"}
    return outcomes


def _together(module: Any, store: Store, mine: list[tuple[int, Any, dict]]) -> dict[int, RunOutcome]:
    places, runs, described = zip(*mine, strict=True)
    rows = module.train_together(runs, store, described)
    return {place: {"status": "done", "row": row} for place, row in zip(places, rows, strict=True)}


def in_process(jobs: list[Job], work: Work, wait: bool) -> Iterator[tuple[Job, list[RunOutcome]]]:
    """One job after the other, here."""
    for job in jobs:
        yield job, carry_out(work, job.runs, job.described, wait)


def on_dask(
    jobs: list[Job], work: Work, wait: bool, cluster: Any, count: int
) -> Iterator[tuple[Job, list[RunOutcome]]]:
    """A Dask cluster; the runs of a worker that dies are carried out by another one.

    Runs side by side that have killed their workers go on one by one in the end, when no other run is on the cluster
    that the guilty one could take along.
    """
    from dask.distributed import as_completed  # an extra: kdlib[cluster]

    with ExitStack() as stack:
        client = stack.enter_context(_client(cluster, count, jobs))

        def submit(job: Job) -> Any:
            resources = {"GPU": 1} if job.gpu else None
            return client.submit(attempt, work, *job.sent, wait, pure=False, retries=2, resources=resources)

        job_of = {submit(job): job for job in jobs}
        stack.callback(lambda: client.cancel([future for future in job_of if not future.done()]))
        suspects: list[Job] = []
        for future in as_completed(job_of, loop=client.loop):
            job = job_of[future]
            if len(job.runs) > 1 and type(future.exception()).__name__ == "KilledWorker":
                log.warning("%d runs side by side have killed their workers: later one by one", len(job.runs))
                suspects += job.alone()
            else:
                yield job, _answer(future, job)
        for job in suspects:
            yield job, _answer(submit(job), job)


def _answer(future: Any, job: Job) -> list[RunOutcome]:
    """What the job's worker says, or why there is none."""
    try:
        return future.result()
    except Exception as problem:  # KilledWorker, a lost scheduler
        return job.failed(f"{type(problem).__name__}: {problem}")


@contextmanager
def _client(cluster: Any, count: int, jobs: Sequence[Job] = ()) -> Iterator[Any]:
    """A client of the cluster; for "local", of one that is started here and ends with the sweep."""
    from dask.distributed import Client  # an extra: kdlib[cluster]

    with ExitStack() as stack:
        security = None
        if cluster == "local":
            cluster, security = stack.enter_context(_local_cluster(count, jobs))
        try:
            client = stack.enter_context(
                Client(cluster, timeout=CONNECT_SECONDS, set_as_default=False, security=security)
            )
        except OSError as problem:
            raise ConnectionError(f"no Dask scheduler answers at {cluster}: {problem}") from problem
        if any(job.gpu for job in jobs) and not any("GPU" in worker["resources"] for worker in _workers(client)):
            log.warning("no worker offers a GPU yet; start them with --resources GPU=1, or set device='cpu'")
        yield client


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        import torch  # here, since a sweep over something light should not wait for it

        return [str(number) for number in range(torch.cuda.device_count())]
    return [part.strip() for part in named.partition("-1")[0].split(",") if part.strip()]


def deal_gpus(count: int, gpus: Sequence[str], jobs: Iterable[Job] = ()) -> list[dict[str, str]]:
    """What each of `count` workers finds in its environment: GPUs in turn, each worker sees one of them only.

    Nothing is dealt where there is at most one GPU, or where a run names its own ("cuda:1"): workers then see all.
    """
    named = any(":" in str(getattr(run, "device", "")) for job in jobs for run in job.runs)
    if len(gpus) < 2 or named:
        return [{} for _ in range(count)]
    return [{"CUDA_VISIBLE_DEVICES": gpus[worker % len(gpus)]} for worker in range(count)]


@contextmanager
def _local_cluster(count: int, jobs: Sequence[Job]) -> Iterator[tuple[str, Any]]:
    """Address and keys of a local cluster in a process of its own, so that a script needs no main guard for it.

    Only who has the keys, made anew for each cluster, can talk to it: a Dask worker executes whatever it is sent.
    """
    from dask.distributed import Security  # an extra: kdlib[cluster]

    security = Security.temporary()
    gpu = any(job.gpu for job in jobs)
    order = {
        "security": {name: getattr(security, name) for name in KEYS},
        "environments": deal_gpus(count, visible_gpus() if gpu else [], jobs),
        "resources": {"GPU": 1} if gpu else None,
    }
    search = os.pathsep.join(path or os.getcwd() for path in sys.path)
    child = subprocess.Popen(
        [sys.executable, "-m", "kdlib.experiments.backends"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": search},
        text=True,
        start_new_session=True,
    )
    try:
        child.stdin.write(json.dumps(order) + "\n")  # type: ignore[union-attr]
        child.stdin.flush()  # type: ignore[union-attr]
        address = child.stdout.readline().strip()  # type: ignore[union-attr]
        if not address:
            raise RuntimeError("a local Dask cluster cannot be started, see above")
        yield address, security
    finally:
        child.communicate()  # closes its input: it ends, and so it does if this process is killed


KEYS = (
    "tls_ca_file",
    *(f"tls_{role}_{part}" for role in ("client", "scheduler", "worker") for part in ("key", "cert")),
)


def _serve_local_cluster(order: dict) -> None:
    """A scheduler and workers that listen on this host only, with TLS, and answer nothing over HTTP."""
    import dask  # an extra: kdlib[cluster]
    from dask.distributed import Nanny, Scheduler, Security, SpecCluster

    common = {
        "host": "127.0.0.1",
        "protocol": "tls://",
        "security": Security(require_encryption=True, **order["security"]),
        "dashboard": False,
    }
    per_worker = {
        **common,
        "nthreads": 1,
        "memory_limit": 0,
        "resources": order["resources"],
        "silence_logs": logging.ERROR,
    }
    workers = {
        number: {"cls": Nanny, "options": {**per_worker, "env": {**WORKER_ENVIRONMENT, **environment}}}
        for number, environment in enumerate(order["environments"])
    }
    scheduler = {"cls": Scheduler, "options": {**common, "dashboard_address": "127.0.0.1:0"}}  # else 8787
    settings = {
        "distributed.scheduler.http.routes": [],
        "distributed.worker.http.routes": [],
        "distributed.deploy.lost-worker-timeout": "365 days",  # else a worker away for 15 s is not started again
    }
    with (
        dask.config.set(settings),
        SpecCluster(workers, scheduler, security=common["security"], silence_logs=logging.ERROR) as cluster,
    ):
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()


def _workers(client: Any) -> list[dict]:
    return list(client.scheduler_info(n_workers=-1)["workers"].values())


if __name__ == "__main__":
    _serve_local_cluster(json.loads(sys.stdin.readline()))
