"""Two processes against one: scores, accuracy, training; the loss of one of them, and going on afterwards."""

from __future__ import annotations

import dataclasses
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from kdlib.imagenet import networks
from kdlib.imagenet.distributed import world
from kdlib.imagenet.evaluation import evaluate
from kdlib.imagenet.folders import read_split
from kdlib.imagenet.run import Folders, train, val_loader
from kdlib.imagenet.scoring import COLUMNS, score
from kdlib.store.artefacts import Store
from tests.imagenet.folder import CLASSES, NO_IMAGE, TRAIN, TRUNCATED, VAL
from tests.imagenet.jobs import ALONE, QUIET, SMALL, run_processes, score_and_evaluate, train_to, train_until

OFTEN = dataclasses.replace(QUIET, checkpoint_steps=3)
LONGER = dataclasses.replace(SMALL, epochs=3)
PER_EPOCH = 10  # steps of an epoch over 160 images in batches of 16


def test_the_folder_is_what_the_tests_say(root: Path) -> None:
    files = [p for part in ("train", "val") for p in (root / part).rglob("*.jpg")]
    assert len(files) == TRAIN + VAL >= 200
    assert len(read_split(root / "train")) == TRAIN and read_split(root / "val").classes == CLASSES


def test_scores_and_accuracy_are_those_of_one_process(root: Path, weights: str, tmp_path: Path) -> None:
    ended = run_processes(score_and_evaluate, root, weights, tmp_path, folder=tmp_path)
    assert ended.codes == [0, 0], ended.said
    model = networks.build("tiny", 4, 32, weights=weights)
    split = read_split(root / "train")
    alone = score(model, split, SMALL, QUIET, ALONE)
    together = pd.read_csv(tmp_path / "scores.csv")
    readable = [split.name(i) for i in range(TRAIN) if split.name(i) not in (TRUNCATED, NO_IMAGE)]
    assert together["file"].tolist() == readable, "every readable image once, in the folder's order"
    for column in COLUMNS:
        np.testing.assert_allclose(together[column], alone[column], rtol=1e-5, atol=1e-6)
    found = torch.load(tmp_path / "found.pt")
    assert set(found["attrs"]["skipped"]) == {TRUNCATED, NO_IMAGE}
    assert found["attrs"]["content"] == alone.attrs["content"]
    assert sorted(sum(found["shares"], [])) == list(range(VAL)) and len(found["shares"][0]) == 26
    accuracy = evaluate(model, val_loader(SMALL, read_split(root / "val"), QUIET, ALONE), ALONE)
    assert found["accuracy"] == tuple(accuracy) and accuracy.images == VAL


def one_process(root: Path, folder: Path, settings=SMALL, machine=QUIET) -> tuple[dict, dict]:
    """(row, weights) of a training in this process."""
    with world("cpu") as place:
        row = train(
            settings, Folders(str(root)), machine, place, Store(folder / "one"), save=str(folder / "one.safetensors")
        )
    return row, load_file(folder / "one.safetensors")


def assert_equal_networks(one: dict, other: dict, tolerance: float) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(
            value, other[name], rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_a_training_is_that_of_one_process(root: Path, weights: str, tmp_path: Path) -> None:
    """KD from a teacher on 150 kept images: global batches of 15 are shared out as 8 and 7."""
    settings = dataclasses.replace(SMALL, loss="kd", teacher_weights=weights, fraction=150 / TRAIN)
    parts = dataclasses.replace(QUIET, micro_batch=3)
    ended = run_processes(
        train_to, root, tmp_path / "two", tmp_path / "two.safetensors", settings, parts, folder=tmp_path
    )
    assert ended.codes == [0, 0], ended.said
    (row,) = Store(tmp_path / "two").rows()
    alone, network = one_process(root, tmp_path, settings)
    assert_equal_networks(network, load_file(tmp_path / "two.safetensors"), 1e-5)
    assert row["devices"] == 2 and alone["devices"] == 1 and row["kept"] == 150
    for name in ("train_loss", "test_acc", "test_top5", "teacher_acc", "steps", "student_images", "skipped"):
        assert row[name] == pytest.approx(alone[name], rel=1e-5), name
    assert sum(said.count(f"skipped {TRUNCATED}") for said in ended.said) <= 1, "one process, once"


def test_a_killed_process_ends_the_other_and_the_training_goes_on(root: Path, tmp_path: Path) -> None:
    unbroken, network = one_process(root, tmp_path, LONGER, OFTEN)
    store = tmp_path / "two"
    step = PER_EPOCH + 5
    ended = run_processes(train_until, root, store, LONGER, OFTEN, step, signal.SIGKILL, folder=tmp_path)
    assert ended.codes == [3, -signal.SIGKILL], ended.said
    assert "another one is gone or does not answer (" in ended.said[0] and "/gloo/" not in ended.said[0]
    assert "goes on from the last checkpoint" in ended.said[0]
    assert ended.seconds < 60
    assert Store(store).ls("checkpoints") and not Store(store).rows()
    ended = run_processes(train_to, root, store, tmp_path / "two.safetensors", LONGER, OFTEN, folder=tmp_path)
    assert ended.codes == [0, 0] and "going on from step 3 of epoch 2" in ended.said[0], ended.said
    (row,) = Store(store).rows()
    assert_equal_networks(network, load_file(tmp_path / "two.safetensors"), 1e-5)
    for name in ("train_loss", "test_acc", "test_acc_best", "steps", "student_images"):
        assert row[name] == pytest.approx(unbroken[name], rel=1e-5), name
    assert not Store(store).ls("checkpoints"), "a finished training leaves none"


def test_a_process_that_hangs_ends_the_other(root: Path, tmp_path: Path) -> None:
    """A stopped process closes no connection: the other finds out by the time limit."""
    machine = dataclasses.replace(OFTEN, lost_after=3)
    ended = run_processes(
        train_until, root, tmp_path / "two", LONGER, machine, 5, signal.SIGSTOP, folder=tmp_path, patience=60, waits=any
    )
    assert ended.codes[0] == 3, ended.said
    assert "does not answer" in ended.said[0]
