"""The store: whole or not there, verified when read, made once however many ask, and clear when it cannot write."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import numpy as np
import pytest

from kdlib.store import serialisation as entries
from kdlib.store.artefacts import export_rows, key
from tests.store.samples import ARRAYS, equal, files, never

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
    began = time.process_time()
    assert all(store.row({"seed": seed, "lr": 0.1}) for seed in range(300))
    assert (time.process_time() - began) / 300 < 0.005


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
