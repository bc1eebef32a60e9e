"""Entries in the wrong place, late owners, and what nobody needs any more."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from kdlib.store import leases
from kdlib.store import serialisation as entries
from kdlib.store.artefacts import Store, StoreError, export_rows, key
from tests.store.samples import ARRAYS, equal, files, never


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
    there = store.listing("rows")
    assert there.holds(f"{name}-aaaaaaaaaaaa") and not there.holds(f"{name}-cccccccccccc")
    assert there.holds_outdated(f"{name}-cccccccccccc") and not there.holds_outdated(key("rows", {"seed": 2}))


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
    needed = ("teachers", {"seed": 0})
    needs = [("teachers", key(*needed))]
    store.arrays(*needed, lambda: ARRAYS)
    age(store.path(*needed))
    with pytest.raises(KeyboardInterrupt), store.sweep(needs):
        assert store.unneeded() == []
        raise KeyboardInterrupt
    assert store.unneeded() == []
    with store.sweep(needs):
        pass
    assert [entry.path for entry in store.unneeded()] == [store.path(*needed)]
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
