"""The command `store`: it asks nothing of a network, and removes what nobody needs, after asking."""

import os
import re
import shutil
import time

import numpy as np
import pytest
from PIL import Image

from kdlib.__main__ import main
from kdlib.store.artefacts import Store

TINY = ["--epochs", "1", "--fraction", "0.05"]


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLIB_STORE", str(tmp_path / "store"))
    return Store(tmp_path / "store")


def long_ago(store: Store) -> None:
    then = time.time() - 2 * 86400
    for entry in store.ls():
        for path in [entry.path, *(entry.path.iterdir() if entry.path.is_dir() else [])]:
            os.utime(path, (then, then))


def test_ls_verify_and_gc(own_store, capsys):
    assert main(["run", *TINY]) == 0
    made = {entry.path for entry in own_store.ls()}
    assert {"rows", "caches"} < {entry.kind for entry in own_store.ls()}
    capsys.readouterr()
    assert main(["store", "ls"]) == 0
    assert re.search(r"^rows +1 ", capsys.readouterr().out, re.M)
    assert main(["store", "verify"]) == 0
    own_store.arrays("teachers", {"of": "nobody"}, lambda: {"w": np.zeros(1000)})
    assert main(["store", "gc", "--yes"]) == 0 and own_store.ls("teachers"), "it was used today"
    long_ago(own_store)
    capsys.readouterr()
    assert main(["store", "gc"]) == 2, "no terminal, no --yes: nothing is removed"
    assert len(own_store.ls("teachers")) == 1
    assert main(["store", "gc", "--yes"]) == 0
    assert {entry.path for entry in own_store.ls()} == made, "the row, its teacher and its logits stay"
    path = own_store.ls("rows")[0].path
    path.write_bytes(path.read_bytes()[:-20])
    capsys.readouterr()
    assert main(["store", "verify"]) == 1
    assert "damaged" in capsys.readouterr().out


def test_gc_loads_no_dataset(own_store, tmp_path, monkeypatch, capsys):
    """Neither does it miss a folder of images that has gone, nor does it download what a row was trained on."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 6), ("test", 2)):
        for kind in ("cats", "dogs"):
            (tmp_path / "images" / part / kind).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(256, size=(8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "images" / part / kind / f"{i}.png")
    assert main(["run", "--dataset", f"folder:{tmp_path / 'images'}", "--epochs", "1", "--batch-size", "4"]) == 0
    long_ago(own_store)
    shutil.rmtree(tmp_path / "images")
    monkeypatch.setattr("kdlib.data.datasets.load", lambda *args, **options: pytest.fail("a dataset was loaded"))
    made = {entry.path for entry in own_store.ls()}
    assert main(["store", "gc", "--yes"]) == 0
    assert "nothing to remove" in capsys.readouterr().err
    assert {entry.path for entry in own_store.ls()} == made and len(made) > 2


@pytest.mark.parametrize("action", ["gc", "verify"])
def test_a_folder_that_is_no_store_is_refused(tmp_path, capsys, action):
    (tmp_path / "banks" / ("ab" * 32)).mkdir(parents=True)
    assert main(["store", action, "--yes", "--root", str(tmp_path)]) == 2
    assert "may not be a store" in capsys.readouterr().err
    assert (tmp_path / "banks" / ("ab" * 32)).is_dir()
