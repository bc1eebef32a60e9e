"""The store: whole or not there, verified when read, made once however many ask, and clear when it cannot write."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from kdlib.store import leases
from kdlib.store import serialisation as entries
from kdlib.store.artefacts import MARKER, Store, StoreError, export_rows, key

ARRAYS = {
    "weight": np.arange(6, dtype=np.float32).reshape(2, 3).T,  # not contiguous
    "half": np.array([[1.5, -2.0]], dtype=np.float16),
    "right": np.array([True, False, True]),
    "ids": np.array([3, 1, 2]),
    "scalar": np.array(3.5),
    "none": np.zeros((0, 4), dtype=np.uint8),
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def never() -> dict[str, np.ndarray]:
    raise AssertionError("made although it is stored")


def equal(left: dict, right: dict) -> bool:
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype and np.array_equal(left[name], right[name]) for name in left
    )


def files(store: Store) -> list[str]:
    return sorted(path.name for path in store.root.rglob("*") if path.is_file() and path.name != MARKER)


# -- keys


def test_key_is_a_function_of_what_a_description_says():
    one = key("teachers", {"a": 1, "b": {"c": [1, 2.5, None, True]}})
    assert one == key("teachers", {"b": {"c": (np.int64(1), np.float64(2.5), None, True)}, "a": 1.0})
    others = [{"a": 1}, {"a": 2, "b": {"c": [1, 2.5, None, True]}}, {"a": 1, "b": {"c": [1, 2.5, None, False]}}]
    keys = {one, key("signals", {"a": 1, "b": {"c": [1, 2.5, None, True]}}), *(key("teachers", d) for d in others)}
    assert len(keys) == 5 and all(len(name) == 64 for name in keys)


def test_key_hangs_on_the_schema_and_not_on_the_release(monkeypatch):
    before = key("teachers", {"a": 1})
    monkeypatch.setattr("kdlib.__version__", "99.0")
    assert key("teachers", {"a": 1}) == before
    monkeypatch.setattr(entries, "SCHEMA", entries.SCHEMA + 1)
    assert key("teachers", {"a": 1}) != before


def test_key_is_pinned():
    """A key that moves throws away what users have trained: only a raised SCHEMA may change this line."""
    expected = "eed97f2e1b50b45842c270fea0116a4dc38c12f26860568cd749b10699ef17ed"
    assert key("teachers", {"model": "mlp", "lr": 0.1, "milestones": (1, 2)}) == expected


@pytest.mark.parametrize("kind", ["../evil", "a/b", "", "Teachers", ".hidden", "leases", "x" * 41])
def test_a_kind_cannot_leave_the_store(store, kind):
    with pytest.raises(ValueError, match="lower-case word"):
        store.arrays(kind, {"a": 1}, lambda: ARRAYS)
    assert not store.root.exists()


@pytest.mark.parametrize("bad", [{"a": {1, 2}}, {"a": object()}, {1: "a"}, {"a": Path("x")}])
def test_descriptions_hold_plain_values_only(store, bad):
    with pytest.raises(TypeError):
        store.row(bad)


# -- arrays


def test_arrays_come_back_bit_for_bit(store):
    made = store.arrays("teachers", {"seed": 0}, lambda: ARRAYS)
    assert equal(made, ARRAYS)
    read = store.arrays("teachers", {"seed": 0}, never)
    assert equal(read, ARRAYS)
    read["weight"][0, 0] = 7  # a reader owns what it gets
    assert equal(store.arrays("teachers", {"seed": 0}, never), ARRAYS)
    assert store.has("teachers", {"seed": 0}) and not store.has("teachers", {"seed": 1})
    assert files(store) == [store.path("teachers", {"seed": 0}).name]  # no lease, no temporary file


def test_the_file_is_plain_safetensors(store):
    from safetensors.numpy import load_file

    store.arrays("teachers", {"seed": 0}, lambda: ARRAYS)
    assert equal(load_file(store.path("teachers", {"seed": 0})), ARRAYS)


def test_what_raises_in_the_making_leaves_nothing(store):
    def interrupted() -> dict[str, np.ndarray]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.arrays("teachers", {}, interrupted)
    assert files(store) == []
    assert equal(store.arrays("teachers", {}, lambda: ARRAYS), ARRAYS)


def _damages(path: Path) -> dict[str, bytes]:
    whole = path.read_bytes()
    rng = random.Random(0)
    damaged = {"empty": b"", "a byte": whole[:1], "half": whole[: len(whole) // 2], "long": whole + b"x"}
    damaged["last byte lost"] = whole[:-1]
    damaged["zeros"] = bytes(len(whole))
    for i in range(60):
        place = rng.randrange(len(whole))
        damaged[f"bit {i}"] = whole[:place] + bytes([whole[place] ^ 1 << rng.randrange(8)]) + whole[place + 1 :]
    return damaged


def test_damaged_arrays_are_set_aside_and_made_again(store, caplog):
    store.arrays("teachers", {}, lambda: ARRAYS)
    path = store.path("teachers", {})
    for number, (name, payload) in enumerate(_damages(path).items(), 1):
        path.write_bytes(payload)
        caplog.clear()
        again = store.arrays("teachers", {}, lambda number=number: {"number": np.array(number)})
        assert again.get("number") == number, f"{name}: used although it is damaged"
        assert len(caplog.messages) == 1 and "is damaged" in caplog.messages[0]
        assert path.with_name(f"{path.name}.damaged-{number}").read_bytes() == payload
    path.unlink()
    assert equal(store.arrays("teachers", {}, lambda: ARRAYS), ARRAYS)  # deleted: made again


def test_damaged_rows_are_set_aside(store):
    row = {"test_acc": 93.1, "name": "ä", "steps": 12}
    store.add_row({"seed": 0}, row)
    path = store.path("rows", {"seed": 0})
    for name, payload in _damages(path).items():
        if name != "last byte lost":  # only the line's end
            path.write_bytes(payload)
            assert store.row({"seed": 0}) is None, name
        store.add_row({"seed": 0}, row)
        assert store.row({"seed": 0}) == row


def test_a_whole_file_is_not_set_aside_by_a_late_reader(store):
    """A reader that met the damaged file while another process was replacing it puts the new one back."""
    store.arrays("teachers", {}, lambda: ARRAYS)
    path = store.path("teachers", {})
    entries.set_aside(path, entries.unpack, entries.Damaged("as it was a moment ago"))
    assert equal(store.arrays("teachers", {}, never), ARRAYS)


# -- rows


def test_rows_are_plain_json(store):
    row = {"acc": np.float32(0.5), "nan": float("nan"), "ids": (1, 2), "none": None, "float": 0.1 + 0.2}
    store.add_row({"seed": 0}, row)
    plain = {"acc": 0.5, "nan": None, "ids": [1, 2], "none": None, "float": 0.1 + 0.2}
    assert store.row({"seed": 0}) == plain and list(plain) == list(row)
    body = json.loads(store.path("rows", {"seed": 0}).read_text(), parse_constant=never)
    assert body["description"] == {"seed": 0} and body["row"] == plain
    assert store.row({"seed": 1}) is None


def test_rows_export(store, tmp_path):
    for seed in range(3):
        store.add_row({"seed": seed}, {"seed": seed})
    export_rows(store.rows(), tmp_path / "deep" / "rows.jsonl")
    assert (tmp_path / "deep" / "rows.jsonl").read_text() == '{"seed": 0}\n{"seed": 1}\n{"seed": 2}\n'


def test_reading_hundreds_of_rows_is_quick(store):
    for seed in range(300):
        store.add_row({"seed": seed, "lr": 0.1}, {f"field_{i}": i / 7 for i in range(40)})
    began = time.perf_counter()
    assert all(store.row({"seed": seed, "lr": 0.1}) for seed in range(300))
    assert (time.perf_counter() - began) / 300 < 0.005


# -- checkpoints


def test_checkpoints(store):
    assert store.load_checkpoint({"seed": 0}) is None
    for epoch in (1, 2):
        store.save_checkpoint({"seed": 0}, {"weight": np.full(3, epoch)}, {"epoch": epoch, "loss": [0.5, None]})
    arrays, state = store.load_checkpoint({"seed": 0})
    assert arrays["weight"].tolist() == [2, 2, 2] and state == {"epoch": 2, "loss": [0.5, None]}
    path = store.path("checkpoints", {"seed": 0})
    path.write_bytes(path.read_bytes()[:-1])
    assert store.load_checkpoint({"seed": 0}) is None  # from the beginning, not from nonsense
    store.clear_checkpoint({"seed": 0})
    store.clear_checkpoint({"seed": 0})


# -- several processes

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


@pytest.fixture
def small_disk(tmp_path: Path):
    """A real file system of 256 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k,nr_inodes=30", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root; the file-size limit below stands in")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


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


# -- entries in the wrong place, late owners


def test_a_whole_file_in_the_wrong_place_is_not_used(store, caplog):
    """Two rows swapped, one teacher copied over another: every checksum is right, and every answer would be wrong."""
    for seed in (0, 1):
        store.add_row({"seed": seed}, {"seed": seed})
        store.arrays("teachers", {"seed": seed}, lambda seed=seed: {"seed": np.array(seed)})
    first, second = (store.path("rows", {"seed": seed}) for seed in (0, 1))
    first_bytes, second_bytes = first.read_bytes(), second.read_bytes()
    first.write_bytes(second_bytes)
    second.write_bytes(first_bytes)
    shutil.copy(store.path("teachers", {"seed": 1}), store.path("teachers", {"seed": 0}))
    assert len(store.verify()) == 3 and "another entry" in caplog.text
    assert store.row({"seed": 0}) is None and store.row({"seed": 1}) is None
    assert store.arrays("teachers", {"seed": 0}, lambda: {"seed": np.array(7)})["seed"] == 7
    assert store.arrays("teachers", {"seed": 1}, never)["seed"] == 1


def test_an_owner_that_wakes_after_its_lease_takes_what_its_successor_made(store):
    """Its own row may differ in the last digits, and whoever has read the first one must not find another later."""

    def slow() -> dict[str, np.ndarray]:
        Store(store.root)._publish(store.path("teachers", {}), entries.pack({"made by": np.array(2)}, {}))
        return {"made by": np.array(1)}

    assert store.arrays("teachers", {}, slow)["made by"] == 2
    assert store.arrays("teachers", {}, never)["made by"] == 2
    assert store.add_row({}, {"loss": 1.0}) == {"loss": 1.0}
    assert store.add_row({}, {"loss": 2.0}) == {"loss": 1.0} == store.row({})
    assert files(store) == sorted([store.path("teachers", {}).name, store.path("rows", {}).name])


def test_a_publication_where_there_are_no_hard_links(store, monkeypatch):
    def refuse(*paths: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "no hard links here")

    monkeypatch.setattr("os.link", refuse)
    assert store.add_row({}, {"loss": 1.0}) == {"loss": 1.0}
    assert store.add_row({}, {"loss": 2.0}) == {"loss": 1.0}


def test_a_row_file_that_cannot_be_read_is_set_aside(store, caplog):
    for seed in (0, 1):
        store.add_row({"seed": seed}, {"seed": seed})
    path = store.path("rows", {"seed": 0})
    path.unlink()
    path.mkdir()  # for a user who is not root: chmod 000
    assert [row["seed"] for row in store.rows()] == [1] and "set aside" in caplog.text
    assert store.row({"seed": 0}) is None and store.add_row({"seed": 0}, {"seed": 0}) == {"seed": 0}
    path.unlink()
    path.mkdir()
    assert [entry.path for entry in store.verify()] == [path]


def test_a_full_disk_under_a_dead_owners_lease_fails_with_the_reason(small_disk, monkeypatch):
    """filelock swallows the error of a takeover and would wait for ever."""
    monkeypatch.setattr(leases, "PATIENCE", 0.3)
    store = Store(small_disk)
    owner = (
        "import sys; from kdlib.store.artefacts import Store\n"
        "with Store(sys.argv[1]).lease('rows', {}): print('held', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen([sys.executable, "-c", owner, str(small_disk)], stdin=-1, stdout=-1, text=True)
    assert child.stdout.readline() == "held\n"
    child.kill()
    child.communicate()
    with suppress(OSError), open(small_disk / "filler", "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    with pytest.raises(StoreError, match="No space left on device; free some space"), store.lease("rows", {}):
        raise AssertionError("no lease could be written")


def test_entries_of_other_rules_lie_beside_each_other(store):
    for rules in ("aaaaaaaaaaaa", "bbbbbbbbbbbb"):
        store.add_row({"seed": 0, "rules": rules}, {"by": rules})
        store.add_row({"seed": 1, "rules": rules}, {"by": rules})
    name = key("rows", {"seed": 0})
    assert store.path("rows", {"seed": 0, "rules": "aaaaaaaaaaaa"}).name == f"{name}-aaaaaaaaaaaa.json"
    assert store.row({"seed": 0, "rules": "bbbbbbbbbbbb"}) == {"by": "bbbbbbbbbbbb"}
    assert store.row({"seed": 0, "rules": "cccccccccccc"}) is None and store.verify() == []
    asked = {"seed": 0, "rules": "aaaaaaaaaaaa"}
    assert store.outdated("rows", asked) == [f"{name}-bbbbbbbbbbbb"]


# -- housekeeping


def age(path: Path, days: float = 2) -> None:
    then = time.time() - days * 86400
    os.utime(path, (then, then))


def test_ls_and_verify(store, caplog):
    for seed in range(3):
        store.arrays("teachers", {"seed": seed}, lambda: ARRAYS)
        store.add_row({"seed": seed}, {"seed": seed})
    cache = store.folder("caches", {"seed": 0})
    cache.mkdir(parents=True)
    with open(cache / "logits", "wb") as file:
        file.truncate(2**30)  # sparse: a gigabyte that takes no room
    listed = store.ls()
    assert sorted(entry.kind for entry in listed) == ["caches"] + ["rows"] * 3 + ["teachers"] * 3
    assert all(0 <= entry.age < 60 for entry in listed) and sum(entry.size for entry in listed) < 2**16
    assert [entry.kind for entry in store.ls("teachers")] == ["teachers"] * 3
    assert store.verify() == []

    damaged = store.path("teachers", {"seed": 1})
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    assert [entry.path for entry in store.verify()] == [damaged]
    assert [path.name for path in store.litter(older_than=0)] == [f"{damaged.name}.damaged-1"]


def test_what_rows_were_made_from_stays(store):
    """Nothing is loaded to know it: the row's file names it."""
    for seed in range(2):
        age_of = store.arrays("teachers", {"seed": seed}, lambda: ARRAYS)
        assert age_of
        (store.folder("caches", {"seed": seed})).mkdir(parents=True)
    reader = Store(store.root)
    reader.arrays("teachers", {"seed": 0}, never)
    reader.folder("caches", {"seed": 0})
    reader.add_row({"seed": 0}, {"acc": 1.0}, reader.used)
    for entry in store.ls():
        age(entry.path)
    unneeded = store.unneeded()
    doomed = {store.path("teachers", {"seed": 1}), store.path("caches", {"seed": 1})}
    assert {entry.path for entry in unneeded} == doomed
    assert store.remove(unneeded) > 0 and not any(path.exists() for path in doomed)
    assert store.rows() == [{"acc": 1.0}] and equal(store.arrays("teachers", {"seed": 0}, never), ARRAYS)


def test_what_was_used_today_stays_and_is_not_removed_a_moment_later(store):
    for seed in range(2):
        store.arrays("teachers", {"seed": seed}, lambda: ARRAYS)
    assert store.unneeded() == []
    for entry in store.ls():
        age(entry.path)
    unneeded = store.unneeded()
    assert len(unneeded) == 2
    store.arrays("teachers", {"seed": 0}, never)  # somebody comes for it while gc asks whether to go on
    store.remove(unneeded)
    assert store.has("teachers", {"seed": 0}) and not store.has("teachers", {"seed": 1})


def test_what_a_sweep_needs_stays_while_it_runs_and_after_it_was_stopped(store):
    needs = [("teachers", {"seed": 0})]
    store.arrays(*needs[0], lambda: ARRAYS)
    age(store.path(*needs[0]))
    with pytest.raises(KeyboardInterrupt), store.sweep(needs):
        assert store.unneeded() == []
        raise KeyboardInterrupt
    assert store.unneeded() == []
    with store.sweep(needs):
        pass
    assert [entry.path for entry in store.unneeded()] == [store.path(*needs[0])]
    with pytest.raises(KeyboardInterrupt), store.sweep(needs):
        raise KeyboardInterrupt
    for path in store.root.glob("sweeps/*.json"):
        age(path, days=31)
    assert len(store.unneeded()) == 1, "nobody came back for a month"


def test_what_is_being_made_stays(store):
    store.arrays("teachers", {}, lambda: ARRAYS)
    age(store.path("teachers", {}))
    with store.lease("teachers", {}):
        assert store.unneeded() == []
    assert len(store.unneeded()) == 1


def test_checkpoints_stay_until_what_they_work_towards_is_there(store):
    store.save_checkpoint({"run": 1}, ARRAYS, {}, aims=[("rows", {"seed": 0}), ("rows", {"seed": 1})])
    store.save_checkpoint({"run": 2}, ARRAYS, {})  # of a training that says nothing of its aim
    paths = [store.path("checkpoints", {"run": run}) for run in (1, 2)]
    for path in paths:
        age(path)
    store.add_row({"seed": 0}, {})
    assert store.unneeded() == []
    store.add_row({"seed": 1}, {})
    assert [entry.path for entry in store.unneeded()] == paths[:1]
    age(paths[1], days=31)
    assert {entry.path for entry in store.unneeded()} == set(paths)


def test_interrupted_groups_are_named_if_all_their_runs_are_left(store):
    for group in ((0, 1), (2, 3), (3, 4)):
        aims = [("rows", {"seed": seed}) for seed in group]
        store.save_checkpoint({"group": group}, ARRAYS, {}, aims=aims)
        age(store.path("checkpoints", {"group": group}), days=1 / (1 + group[0]))
    store.save_checkpoint({"teacher": 0}, ARRAYS, {}, aims=[("teachers", {"seed": 0})])
    name = [key("rows", {"seed": seed}) for seed in range(5)]
    assert store.interrupted(name) == [[name[3], name[4]], [name[0], name[1]]]
    assert store.interrupted(name[1:4]) == [[name[2], name[3]]]


def test_a_folder_that_is_no_store_is_left_alone(tmp_path):
    bystander = tmp_path / "banks" / ("ab" * 32)
    bystander.mkdir(parents=True)
    (tmp_path / "rows" / "ab").mkdir(parents=True)
    row = tmp_path / "rows" / "ab" / f"{'ab' * 32}.json"
    row.write_text("mine")
    for work in (Store(tmp_path).unneeded, Store(tmp_path).verify, lambda: Store(tmp_path).remove([bystander])):
        with pytest.raises(ValueError, match="may not be a store"):
            work()
    assert bystander.is_dir() and row.read_text() == "mine"


def test_strangers_files_in_a_store_are_no_entries(store):
    store.arrays("teachers", {}, lambda: ARRAYS)
    for stranger in ("teachers/ab/notes.safetensors", "rows/ab/rows.json", "leases/notes.txt", "banks/mine/x"):
        path = store.root / stranger
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
        age(path)
    assert [entry.kind for entry in store.ls()] == ["teachers"]
    assert store.unneeded() == store.verify() == store.litter() == []


def test_remove_stays_inside(store, tmp_path):
    store.add_row({}, {})
    (tmp_path / "precious").write_text("x")
    with pytest.raises(ValueError, match="not in the store"):
        store.remove([tmp_path / "precious"])


@pytest.mark.parametrize("target", ["link", "device", "folder", "below a file"])
def test_rows_are_not_exported_over_anything_but_files(tmp_path, target):
    below = tmp_path / "file" / "rows"
    path = {"link": tmp_path / "link", "device": Path("/dev/null"), "folder": tmp_path, "below a file": below}
    (tmp_path / "file").write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with pytest.raises(ValueError, match="symbolic link|device or pipe|folder"):
        export_rows([{"a": 1}], path[target])
    assert (tmp_path / "file").read_text() == "kept" and (tmp_path / "link").is_symlink()


def test_default_folder_is_cheap(monkeypatch, tmp_path):
    monkeypatch.setenv("KDLIB_STORE", str(tmp_path / "from environment"))
    store = Store()
    assert store.root == tmp_path / "from environment" and not store.root.exists()
    assert store.rows() == [] and store.ls() == [] and not store.root.exists()


def test_an_empty_variable_names_no_folder(monkeypatch, tmp_path):
    """As a path it would be the working folder."""
    monkeypatch.setenv("KDLIB_STORE", "")
    monkeypatch.setenv("KDLIB_ROOT", str(tmp_path))
    assert Store().root == tmp_path / "data" / "store"
