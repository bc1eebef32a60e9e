"""Several processes at one store, and a store that cannot be written to."""

from __future__ import annotations

import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from kdlib.store import leases
from kdlib.store.artefacts import Store, StoreError, key
from tests.store.samples import ARRAYS, equal, files, never

MAKER = """
import os, sys, time
import numpy as np
from kdlib.store.artefacts import Store
store, journal, seconds = Store(sys.argv[1], lease_seconds=float(sys.argv[4])), sys.argv[2], float(sys.argv[3])
def make():
    with open(journal, "a") as file:
        file.write(f"{os.getpid()}\\n")
    time.sleep(seconds)
    return {"x": np.arange(5)}
print("ready", flush=True)
sys.stdin.readline()
print(store.arrays("teachers", {"seed": 0}, make)["x"].sum(), flush=True)
"""


def maker(store: Store, journal: Path, seconds: float, lease_seconds: float = 60.0) -> subprocess.Popen:
    command = [sys.executable, "-c", MAKER, str(store.root), str(journal), str(seconds), str(lease_seconds)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    return child


def start(child: subprocess.Popen) -> None:
    child.stdin.write("go\n")
    child.stdin.flush()


def made_by(journal: Path) -> list[str]:
    return journal.read_text().split() if journal.exists() else []


def until(condition, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_processes_that_race_for_one_artefact_make_it_once(store, tmp_path):
    children = [maker(store, tmp_path / "journal", 0.5) for _ in range(3)]
    for child in children:
        start(child)
    assert [child.communicate(timeout=30)[0].strip() for child in children] == ["10"] * 3
    assert len(made_by(tmp_path / "journal")) == 1


def test_a_killed_owner_of_this_host_is_replaced_at_once(store, tmp_path):
    first = maker(store, tmp_path / "journal", 60)
    start(first)
    until(lambda: made_by(tmp_path / "journal"))
    second = maker(store, tmp_path / "journal", 0)
    start(second)
    time.sleep(0.3)
    assert second.poll() is None and len(made_by(tmp_path / "journal")) == 1  # it waits
    first.kill()
    first.wait()
    began = time.monotonic()
    assert second.communicate(timeout=30)[0].strip() == "10"
    assert time.monotonic() - began < 5


def test_a_lease_without_a_heartbeat_passes_on_after_the_stated_time(store, tmp_path):
    """A stopped process is alive but silent, as one on a host that has gone: its pid cannot help."""
    first = maker(store, tmp_path / "journal", 60, lease_seconds=2)
    start(first)
    until(lambda: made_by(tmp_path / "journal"))
    time.sleep(3)  # longer than the lease: heartbeats keep it
    second = maker(store, tmp_path / "journal", 0, lease_seconds=2)
    start(second)
    time.sleep(3)
    assert len(made_by(tmp_path / "journal")) == 1
    first.send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert second.communicate(timeout=30)[0].strip() == "10"
        assert time.monotonic() - began < 6
    finally:
        first.kill()
        first.communicate()


def test_a_lease_that_was_never_signed_passes_on(store, monkeypatch):
    """Its owner was killed between creating the file and writing its name into it."""
    monkeypatch.setattr(leases, "PATIENCE", 0.3)
    lease = store.root / "leases" / f"teachers-{key('teachers', {})}.lease"
    lease.parent.mkdir(parents=True)
    lease.touch()
    with store.lease("teachers", {}, wait=False) as mine:
        assert not mine  # it may be signed in the next microsecond
    assert equal(store.arrays("teachers", {}, lambda: ARRAYS), ARRAYS)
    assert files(store) == [store.path("teachers", {}).name]


def test_a_busy_lease_need_not_be_waited_for(store):
    with store.lease("rows", {"seed": 0}) as mine, store.lease("rows", {"seed": 0}, wait=False) as other:
        assert mine and not other
    with store.lease("rows", {"seed": 0}, wait=False) as mine:
        assert mine
    assert files(store) == []


def test_a_writer_killed_at_any_moment_leaves_the_old_or_the_new(store, tmp_path):
    code = (
        "import sys, numpy as np; from kdlib.store.artefacts import Store\n"
        "store = Store(sys.argv[1])\n"
        "for i in range(10**9): store.save_checkpoint({}, {'x': np.full(200_000, i)}, {'i': i})"
    )
    rng, last = random.Random(1), -1
    for _ in range(6):
        child = subprocess.Popen([sys.executable, "-c", code, str(store.root)])
        until(lambda child=child: store.has("checkpoints", {}))
        time.sleep(rng.uniform(0.3, 0.6))
        child.kill()
        child.wait()
        arrays, state = store.load_checkpoint({})
        assert (arrays["x"] == state["i"]).all()
        last = max(last, state["i"])
    assert last > 0 and not list(store.root.rglob("*.damaged*"))
    store.remove(store.litter(older_than=0))
    assert files(store) == [store.path("checkpoints", {}).name]


# -- a store that cannot be written to


def test_full_disk(small_disk):
    store = Store(small_disk)
    store.arrays("teachers", {"seed": 0}, lambda: ARRAYS)
    with pytest.raises(StoreError) as caught:
        store.arrays("teachers", {"seed": 1}, lambda: {"x": np.zeros(2**18)})
    message = str(caught.value)
    assert f"cannot use the store {small_disk}: No space left on device; free some space" in message
    assert "KDLIB_STORE" in message and "\n" not in message
    assert files(store) == [store.path("teachers", {"seed": 0}).name]  # the partial file is gone
    assert equal(store.arrays("teachers", {"seed": 0}, never), ARRAYS)
    small = store.arrays("teachers", {"seed": 2}, lambda: {"x": np.zeros(8)})
    assert small["x"].sum() == 0


def test_a_disk_without_room_for_a_lease_is_met_before_the_training(small_disk):
    store = Store(small_disk)
    (small_disk / "leases").mkdir()
    count = 0
    while True:  # use up the inodes
        try:
            (small_disk / f"filler-{count}").touch()
            count += 1
        except OSError:
            break
    with pytest.raises(StoreError, match="No space left on device"):
        store.arrays("teachers", {}, never)


def test_read_only_disk(small_disk):
    store = Store(small_disk)
    store.arrays("teachers", {"seed": 0}, lambda: ARRAYS)
    store.add_row({"seed": 0}, {"acc": 1.0})
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert equal(store.arrays("teachers", {"seed": 0}, never), ARRAYS)  # what is there can be used
    assert store.row({"seed": 0}) == {"acc": 1.0}
    with pytest.raises(StoreError, match="Read-only file system; make it writable"):
        store.arrays("teachers", {"seed": 1}, never)
    with pytest.raises(StoreError, match="Read-only file system; make it writable"):
        store.add_row({"seed": 1}, {})


def test_file_size_limit(store):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(StoreError, match="File too large"):
            store.arrays("teachers", {}, lambda: {"x": np.zeros(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files(store) == []


def test_a_root_that_is_a_file(tmp_path):
    (tmp_path / "store").write_text("not a folder")
    with pytest.raises(StoreError, match="cannot use the store"):
        Store(tmp_path / "store").arrays("teachers", {}, never)
