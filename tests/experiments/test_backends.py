"""Where runs are carried out: workers that die, see other data, share GPUs, or sit on a Dask cluster."""

from __future__ import annotations

import os
import signal
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest

from kdlib.experiments import backends as executors
from kdlib.experiments import worker_pool
from kdlib.experiments.grid import SweepError, points
from kdlib.store.artefacts import Store, key
from tests import tiny_experiment
from tests.experiments.sweeps import TINY, child_sweep, lines, plan, same, tiny


def test_no_scheduler_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setattr(executors, "CONNECT_SECONDS", 1)
    with pytest.raises(ConnectionError, match="no Dask scheduler answers at tcp://127.0.0.1:9"):
        tiny(tmp_path / "s", cluster="tcp://127.0.0.1:9")


def test_a_worker_that_dies_loses_nothing(tmp_path, journal):
    grid = {"mood": ["kills once", "well"], "seed": [0, 1, 2]}
    table = tiny(tmp_path / "s", grid, workers=2, journal=str(journal))
    assert len(table) == 6 and Path(f"{journal}.killed").exists()


def test_a_run_that_kills_every_worker_fails_alone(tmp_path, journal):
    grid = {"mood": ["kills", "well"], "seed": [0]}
    with pytest.raises(SweepError, match=r"died 4 times \(exit code -9"):
        tiny(tmp_path / "s", grid, workers=2, journal=str(journal))
    assert [row["mood"] for row in Store(tmp_path / "s").rows()] == ["well"]


@pytest.mark.parametrize("cluster", [None, "local"])
def test_a_run_that_kills_its_worker_takes_no_other_along(tmp_path, journal, cluster):
    """Side by side with four others: the five go on one by one, and only the one that kills fails."""
    grid = {"seed": [0, 1, 2, 3], "mood": ["beside well"]}
    runs = points(tiny_experiment.Run, grid, {"journal": str(journal)})
    runs.insert(1, points(tiny_experiment.Run, {"mood": ["beside kills"]}, {"seed": 9, "journal": str(journal)})[0])
    jobs = plan(tiny_experiment, dict(enumerate(runs)))
    assert [len(job.places) for job in jobs] == [5]
    work = executors.Work(TINY, str(tmp_path / "s"), 60.0)
    if cluster:
        answers = executors.on_dask(jobs, work, False, cluster, 2)
    else:
        answers = worker_pool.in_processes(jobs, work, False, 2)
    found = {place: outcome for job, all_of in answers for place, outcome in zip(job.places, all_of, strict=True)}
    assert {place: found[place]["status"] for place in found} == {
        0: "done",
        1: "failed",
        2: "done",
        3: "done",
        4: "done",
    }
    assert "died 4 times" in found[1]["error"] or "KilledWorker" in found[1]["error"]
    assert len(Store(tmp_path / "s").rows()) == 4


def test_a_worker_that_sees_other_data_makes_no_row(tmp_path, monkeypatch):
    """Images swapped while the workers start, or another copy of them at the same path on another host.

    A worker that starts before the other one swaps them finds out when its run ends.
    """
    content = tmp_path / "content"
    content.write_text("as the caller sees it")
    reasons = "sees other data or other code|changed while it was trained"
    with pytest.raises(SweepError, match=f"2 of 2 runs failed.*(?s:.)*({reasons})") as caught:
        tiny(tmp_path / "s", {"seed": [0, 1]}, workers=2, mood="swaps", journal=str(content))
    assert len(caught.value.failed) == 2 and Store(tmp_path / "s").ls("rows") == []


def test_a_run_with_another_key_is_refused_before_it_starts(tmp_path, journal):
    runs = [{"seed": seed, "journal": str(journal)} for seed in (0, 1)]
    right = key("rows", tiny_experiment.describe(tiny_experiment.Run(**runs[1])))
    work = executors.Work(TINY, str(tmp_path / "s"), 60.0)
    outcomes = executors.attempt(work, runs, ["0" * 64, right], False)
    assert [outcome["status"] for outcome in outcomes] == ["failed", "done"]
    assert "\n" not in outcomes[0]["error"] and "run 3 0" not in lines(journal)


def test_data_that_change_during_a_run_make_no_row(tmp_path):
    content = tmp_path / "content"
    content.write_text("as the caller sees it")
    with pytest.raises(SweepError, match="changed while it was trained"):
        tiny(tmp_path / "s", {"seed": [0]}, mood="swaps", journal=str(content))
    assert Store(tmp_path / "s").ls("rows") == []


def test_gpus_are_dealt_out_in_turn(monkeypatch):
    dealt = executors.deal_gpus(5, ["0", "1"])
    assert [env["CUDA_VISIBLE_DEVICES"] for env in dealt] == ["0", "1", "0", "1", "0"]
    assert executors.deal_gpus(2, ["GPU-a", "GPU-b", "GPU-c"])[1] == {"CUDA_VISIBLE_DEVICES": "GPU-b"}
    assert executors.deal_gpus(3, ["0"]) == executors.deal_gpus(3, []) == [{}, {}, {}]
    own = executors.Job((0,), (SimpleNamespace(device="cuda:1"),), ({},), True)
    assert executors.deal_gpus(2, ["0", "1"], [own]) == [{}, {}], "the run names its GPU itself"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 1,-1,2")
    assert executors.visible_gpus() == ["3", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert executors.visible_gpus() == []


def test_workers_see_their_share_of_the_gpus(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    work = executors.Work(TINY, str(tmp_path / "s"), 60.0)
    runs = points(tiny_experiment.Run, {"seed": list(range(8))}, {"pause": 0.1, "mood": "sees", "device": "cuda"})
    jobs = plan(tiny_experiment, dict(enumerate(runs)))
    assert all(job.gpu for job in jobs)
    rows = [outcome["row"] for _, (outcome,) in worker_pool.in_processes(jobs, work, False, 2)]
    assert {row["sees"] for row in rows} == {"4", "7"} and len({row["pid"] for row in rows}) == 2


def test_a_local_cluster_talks_to_nobody_without_its_keys(tmp_path):
    """A Dask worker executes what it is sent: neither other users of this host nor the network may send it anything."""
    distributed = pytest.importorskip("dask.distributed")
    with executors._local_cluster(1, []) as (address, security):
        assert address.startswith("tls://127.0.0.1:")
        with distributed.Client(address, security=security, set_as_default=False) as client:
            assert client.submit(sum, [1, 2]).result() == 3
            services = [info["services"] for info in client.scheduler_info()["workers"].values()]
            assert services
            port = client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.http_server.port)
        with pytest.raises(urllib.error.URLError) as refused:  # no page, or nobody who listens
            urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=5)
        assert getattr(refused.value, "code", 404) == 404
        assert port != 8787
        with pytest.raises((OSError, TimeoutError)):
            distributed.Client(address.replace("tls", "tcp"), timeout=1, set_as_default=False)
        with pytest.raises((OSError, TimeoutError)):
            stranger = distributed.Security.temporary()
            distributed.Client(address, security=stranger, timeout=1, set_as_default=False)


def test_workers_leave_with_their_parent(tmp_path, journal):
    child = child_sweep(tmp_path, journal, 2)
    deadline = time.monotonic() + 60
    while len(pids := {row["pid"] for row in Store(tmp_path / "s").rows()}) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    child.kill()
    child.communicate()
    deadline = time.monotonic() + 10
    while (left := [pid for pid in pids if Path(f"/proc/{pid}").exists()]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(pids) == 2 and left == []


def test_a_dask_worker_that_dies(tmp_path, journal):
    distributed = pytest.importorskip("dask.distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, memory_limit=0
    ) as cluster:
        pids = [worker.pid for worker in cluster.workers.values()]

        def kill_one() -> None:
            store = Store(tmp_path / "s")
            while len(store.rows()) < 4:
                time.sleep(0.02)
            os.kill(next(row["pid"] for row in store.rows()), signal.SIGKILL)

        killer = threading.Thread(target=kill_one, daemon=True)
        killer.start()
        table = tiny(tmp_path / "s", {"seed": list(range(30))}, cluster=cluster, pause=0.1, journal=str(journal))
        killer.join(1)
        assert not killer.is_alive() and pids
    same(table, tiny(tmp_path / "t", {"seed": list(range(30))}, pause=0.1, journal=str(journal)))
