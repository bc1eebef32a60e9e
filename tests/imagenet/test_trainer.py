"""The loop against plain PyTorch: gradients, accumulation, unreadable images, stops and divergence."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from kdlib.imagenet.config import Machine, Settings
from kdlib.imagenet.evaluation import evaluate, hits
from kdlib.imagenet.folders import MEAN, STD, Images, read_split
from kdlib.imagenet.loading import StepBatches, UnreadableImage
from kdlib.imagenet.networks import build
from kdlib.imagenet.run import Folders, train, val_loader
from kdlib.imagenet.trainer import Trainer
from kdlib.store.artefacts import Store
from kdlib.utils import seeds
from tests.imagenet.folder import TRAIN, UNREADABLE
from tests.imagenet.jobs import ALONE, QUIET, SMALL


def trained(root: Path, folder: Path, settings: Settings = SMALL, machine: Machine = QUIET) -> tuple[dict, dict]:
    """(row, weights); the store and the weights lie in `folder`."""
    file = folder / "student.safetensors"
    row = train(settings, Folders(str(root)), machine, ALONE, Store(folder / "store"), save=str(file))
    return row, load_file(file)


def difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def plain_pytorch(root: Path, settings: Settings, weights: str) -> tuple[Any, list[float]]:
    """The same training as a conventional loop: (network, mean loss of each epoch)."""
    split = read_split(root / "train")
    images = Images(split, settings.image_size, min_crop=settings.min_crop, seed=settings.seed)
    model = build("tiny", 4, 32, seed=seeds.integer(settings.seed, "init"))
    teacher = build("tiny", 4, 32, weights=weights).eval()
    optimiser = torch.optim.SGD(model.parameters(), lr=settings.lr, momentum=0.9, weight_decay=settings.weight_decay)
    steps = StepBatches(np.arange(TRAIN), settings.recipe(QUIET), settings.seed, ALONE)
    count, losses = settings.epochs * len(steps), []
    mean, std = (torch.tensor(v)[:, None, None] for v in (MEAN, STD))
    for epoch in range(settings.epochs):
        steps.begin(epoch)
        total = 0.0
        for number, keys in enumerate(steps):
            share = (epoch * len(steps) + number + 0.5) / count
            optimiser.param_groups[0]["lr"] = settings.lr * (1 + np.cos(np.pi * share)) / 2
            samples = [images[key] for key in keys if split.name(key[1]) not in UNREADABLE]
            x = torch.stack([(s.image / 255 - mean) / std for s in samples])
            y = torch.tensor([s.label for s in samples])
            logits = model(x)
            soft = F.kl_div(F.log_softmax(logits / 4, 1), F.softmax(teacher(x).detach() / 4, 1), reduction="batchmean")
            loss = 0.5 * F.cross_entropy(logits, y) + 0.9 * 16 * soft
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item() * len(samples)
        losses.append(total / (TRAIN - len(UNREADABLE)))
    return model, losses


def test_a_training_is_that_of_a_plain_loop(root: Path, weights: str, tmp_path: Path) -> None:
    """KD at the weights 0.5 and 0.9 of the medium-difficulty paper, tau^2, cosine; unreadable images count nowhere."""
    settings = dataclasses.replace(SMALL, loss="kd", teacher_weights=weights, weighting="free(ce=0.5, kd=0.9)")
    row, network = trained(root, tmp_path, settings)
    model, losses = plain_pytorch(root, settings, weights)
    assert difference(network, model.state_dict()) < 1e-5
    assert row["train_loss"] == pytest.approx(losses[-1], rel=1e-5)
    found = evaluate(model, val_loader(settings, read_split(root / "val"), QUIET, ALONE), ALONE)
    assert (row["test_acc"], row["test_top5"]) == (pytest.approx(found.top1), pytest.approx(found.top5))
    assert row["skipped"] == len(UNREADABLE) and row["kept"] == TRAIN and row["student_images"] == 2 * TRAIN


@pytest.mark.parametrize("micro_batch", [2, 5])
def test_accumulated_gradients_are_those_of_the_whole_step(root: Path, tmp_path: Path, micro_batch: int) -> None:
    (tmp_path / "whole").mkdir()
    _, whole = trained(root, tmp_path / "whole")
    row, parts = trained(root, tmp_path, machine=dataclasses.replace(QUIET, micro_batch=micro_batch))
    assert difference(whole, parts) < 1e-5 and row["steps"] == 2 * 10


class Stop(Exception):
    """Stands for a power cut."""


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
@pytest.mark.parametrize("stop", [2, 7, 13])
def test_a_stopped_training_goes_on_as_if_nothing_had_been(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimiser: str, stop: int
) -> None:
    """Bit for bit, for a network with batch statistics and dropout, stopped before, in and after the first epoch's end."""
    settings = dataclasses.replace(
        SMALL, student="tiny_norm", optimiser=optimiser, lr=0.01, batch_size=32, epochs=3, fraction=0.9
    )
    machine = dataclasses.replace(QUIET, checkpoint_steps=2)
    (tmp_path / "unbroken").mkdir()
    row, unbroken = trained(root, tmp_path / "unbroken", settings, machine)
    plain = Trainer._step

    def failing(self: Trainer, parts: list, number: int) -> torch.Tensor:
        if self.state.steps == stop:
            raise Stop
        return plain(self, parts, number)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", failing)
        with pytest.raises(Stop):
            trained(root, tmp_path, settings, machine)
    again, network = trained(root, tmp_path, settings, machine)
    assert difference(unbroken, network) == 0
    for name in ("test_acc", "train_loss", "steps", "student_images", "skipped", "test_acc_best"):
        assert again[name] == row[name], name


def test_a_stored_row_is_not_trained_again(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, folders = Store(tmp_path), Folders(str(root))
    row = train(SMALL, folders, QUIET, ALONE, store)
    monkeypatch.setattr(Trainer, "fit", lambda self: pytest.fail("trained again"))
    assert train(SMALL, folders, dataclasses.replace(QUIET, micro_batch=4), ALONE, store) == row
    with pytest.raises(pytest.fail.Exception):
        train(dataclasses.replace(SMALL, lr=0.2), folders, QUIET, ALONE, store)


def test_a_training_that_diverges_is_a_row(root: Path, tmp_path: Path) -> None:
    row, _ = trained(root, tmp_path, dataclasses.replace(SMALL, lr=1e30))
    assert row["status"] == "diverged" and row["test_acc"] is None and row["steps"] == 10


def test_an_unreadable_image_can_end_a_training(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match="cannot read the image (ant/broken|bee/no_image).jpg"):
        trained(root, tmp_path, dataclasses.replace(SMALL, unreadable="fatal"))


def test_the_callers_generator_stays_as_it_is(root: Path, tmp_path: Path) -> None:
    state = torch.get_rng_state()
    trained(root, tmp_path, dataclasses.replace(SMALL, epochs=1))
    assert torch.equal(torch.get_rng_state(), state)


def test_loader_processes_change_nothing(root: Path, tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    _, alone = trained(root, tmp_path / "alone")
    _, network = trained(root, tmp_path, machine=dataclasses.replace(QUIET, loader_workers=1))
    assert difference(alone, network) == 0


def test_bfloat16_is_used_where_it_is_asked_for(root: Path, tmp_path: Path) -> None:
    row, low = trained(root, tmp_path, dataclasses.replace(SMALL, precision="bfloat16"))
    (tmp_path / "full").mkdir()
    full, high = trained(root, tmp_path / "full")
    assert (row["precision"], full["precision"]) == ("bfloat16", "float32")
    assert 0 < difference(low, high) < 0.1 and all(v.dtype == torch.float32 for v in low.values())


def test_hits_count_the_label_among_the_largest() -> None:
    logits = torch.tensor([[0.1, 0.5, 0.2, 0.0, -1.0, -2.0, 0.3], [7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]])
    assert hits(logits, torch.tensor([1, 0]), 1).tolist() == [True, True]
    assert hits(logits, torch.tensor([4, 5]), 5).tolist() == [False, False]
    assert hits(logits, torch.tensor([3, 4]), 5).tolist() == [True, True]
    assert hits(logits[:, :3], torch.tensor([0, 2]), 5).tolist() == [True, True], "fewer classes than five"


def test_options_of_a_loss_reach_it(root: Path, weights: str, tmp_path: Path) -> None:
    settings = dataclasses.replace(SMALL, loss="dkd(warmup_epochs=0)", teacher_weights=weights)
    row, plain = trained(root, tmp_path, settings)
    assert row["loss"] == "dkd(warmup_epochs=0)"
    (tmp_path / "weighted").mkdir()
    other = dataclasses.replace(settings, loss="dkd(non_target_weight=1, warmup_epochs=0)")
    assert difference(plain, trained(root, tmp_path / "weighted", other)[1]) > 1e-4
