"""One experiment from folders to its row: train with a teacher, or train a new classifier on frozen features."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from kdlib import __version__
from kdlib.imagenet import networks
from kdlib.imagenet.config import Machine, Settings
from kdlib.imagenet.distributed import World
from kdlib.imagenet.evaluation import Accuracy, evaluate
from kdlib.imagenet.folders import Images, Split, read_splits
from kdlib.imagenet.loading import StepBatches, loader, shard
from kdlib.imagenet.scoring import score, write_scores
from kdlib.imagenet.subsets import class_std, kept_ids
from kdlib.imagenet.trainer import Checkpoints, EpochLoss, State, Trainer, frozen
from kdlib.losses import cross_entropy, logit_loss
from kdlib.training.recipe import precision_used
from kdlib.utils import progress, seeds

NO_TEACHER = {"teacher_acc": None, "teacher_top5": None}
EVALUATION_BATCH = 128  # images of a forward pass; no accuracy depends on it but for rounding


class RowStore(Checkpoints, Protocol):
    """Where rows and checkpoints are kept; `kdlib.store.artefacts.Store` is one."""

    def row(self, description: dict) -> dict | None: ...
    def add_row(self, description: dict, row: dict) -> None: ...


@dataclasses.dataclass(frozen=True)
class Folders:
    """Where the images lie: `ROOT/TRAIN/CLASS/FILE` and `ROOT/VAL/CLASS/FILE`."""

    root: str = ""
    train: str = "train"
    val: str = "val"

    def read(self) -> tuple[Split, Split]:
        """Both splits; ValueError where they do not fit together."""
        with progress.working(f"reading the folders of {self.root}"):
            return read_splits(Path(self.root).expanduser(), self.train, self.val)


def train(
    settings: Settings,
    folders: Folders,
    machine: Machine,
    place: World,
    store: RowStore,
    *,
    save: str = "",
    rules: str = "",
) -> dict[str, Any]:
    """Train the student on the kept images and return its row, which is stored; a stored row is returned at once.

    Called by every process. `save`: a .safetensors file for the trained student. `rules`: digest of the code, part of
    the row's identity. ValueError before any training for what does not fit together.
    """
    train_split, val_split = folders.read()
    keep = kept_ids(settings, train_split)
    std = class_std(settings, train_split)
    description = describe(settings, train_split, val_split, keep, place, rules)
    if (row := known_row(store, description, place, save)) is not None:
        return row
    classes = len(train_split.classes)
    student = networks.build(
        settings.student, classes, settings.image_size,
        weights=settings.student_weights, seed=seeds.integer(settings.seed, "init"),
    )  # fmt: skip
    teacher, measured = _teacher(settings, classes, val_split, machine, place)
    trainer = _trainer(
        settings, (train_split, val_split), keep, student, _loss(settings, std), machine, place, store, description,
        teacher=teacher,
    )  # fmt: skip
    return _finish(settings, trainer, trainer.fit(), {"task": "train", **measured}, store, description, save)


def transfer(
    settings: Settings,
    folders: Folders,
    machine: Machine,
    place: World,
    store: RowStore,
    *,
    save: str = "",
    rules: str = "",
) -> dict[str, Any]:
    """Freeze the student of `student_weights`, train a new classifier on another folder; its row, as `train` gives.

    Medium-difficulty paper, App. A.8, which reports top-5. Batch statistics stay the student's. The row's `loss` is
    the cross-entropy, and `student_weights` names the frozen network by its checksum.
    """
    student, network = _body(settings)
    settings = dataclasses.replace(settings, student=network, loss="cross_entropy", reshape="none")
    train_split, val_split = folders.read()
    keep = kept_ids(settings, train_split)
    description = {**describe(settings, train_split, val_split, keep, place, rules), "task": "transfer"}
    if (row := known_row(store, description, place, save)) is not None:
        return row
    head = networks.replace_classifier(student, len(train_split.classes), seeds.integer(settings.seed, "init"))
    student.requires_grad_(False)
    head.requires_grad_(True)
    trainer = _trainer(
        settings, (train_split, val_split), keep, student, _loss(settings, None), machine, place, store, description,
        frozen_body=True,
    )  # fmt: skip
    measured: dict[str, Any] = {"task": "transfer", **NO_TEACHER}
    return _finish(settings, trainer, trainer.fit(), measured, store, description, save)


def _body(settings: Settings) -> tuple[nn.Module, str]:
    """The student that is frozen, with as many classes as its weights know, and its name."""
    weights = settings.student_weights
    if not weights:
        raise ValueError(
            "transfer needs student_weights: a file that `imagenet train --save` wrote, or a torchvision name"
        )
    name, classes = settings.student, 1000
    if weights.endswith(".safetensors"):
        about, _ = networks.read_weights(Path(weights))
        name, classes = about["network"], int(about["classes"])
    return networks.build(name, classes, settings.image_size, weights=weights), name


def describe(
    settings: Settings, train_split: Split, val_split: Split, keep: np.ndarray, place: World, rules: str = ""
) -> dict[str, Any]:
    """What identifies a row: the files' names and sizes, the kept ids, weights by their content, every setting that acts."""
    values = dataclasses.asdict(settings)
    for name in ("kept_file", "scores", "score_high", "score_parts", "score_extra"):
        del values[name]  # the kept ids stand for them
    values["student_weights"] = networks.weights_identity(settings.student_weights)
    values["teacher_weights"] = networks.weights_identity(settings.teacher_weights)
    values["precision"] = precision_used(settings.precision, place.device)
    if settings.method("weighting")[0] == "free":
        values["alpha"] = None
    if not settings.needs_teacher:
        unused = ("teacher", "teacher_weights", "alpha", "tau", "reshape", "weighting")
        values |= dict.fromkeys(unused)
    if settings.reshape.startswith("classwise"):
        values["class_std"] = hashlib.sha256(Path(settings.scores).read_bytes()).hexdigest()
    kept = hashlib.sha256(np.ascontiguousarray(keep).data).hexdigest()
    data = {"train": train_split.listing, "val": val_split.listing}
    return {"engine": "imagenet", "data": data, "kept": kept, **values, "rules": rules}


def known_row(store: RowStore, description: dict, place: World, save: str) -> dict | None:
    """The stored row on every process, or None; always None where the trained network is asked for."""
    return place.share(None if save or not place.first else store.row(description))


def _loss(settings: Settings, std: Tensor | None) -> EpochLoss:
    (name, options), (reshape, _) = settings.method("loss"), settings.method("reshape")
    supplied: dict[str, Any] = {"alpha": settings.alpha, "tau": settings.tau, "weighting": settings.weights, **options}

    def loss(student: Tensor, teacher: Tensor | None, labels: Tensor, epoch: float) -> Tensor:
        if not settings.needs_teacher:
            return cross_entropy(student, None, labels)
        return logit_loss(student, teacher, labels, loss=name, reshape=reshape, class_std=std, epoch=epoch, **supplied)

    return loss


def _teacher(
    settings: Settings, classes: int, val_split: Split, machine: Machine, place: World
) -> tuple[nn.Module | None, dict[str, Any]]:
    """The frozen teacher and its accuracies on the validation images; (None, NO_TEACHER) if the loss needs none."""
    if not settings.needs_teacher:
        return None, NO_TEACHER
    if not settings.teacher_weights:
        raise ValueError(f"loss {settings.loss} needs teacher_weights: a torchvision name or a .safetensors file")
    model = networks.build(settings.teacher, classes, settings.image_size, weights=settings.teacher_weights)
    model = frozen(model, place)
    low = precision_used(settings.precision, place.device) == "bfloat16"
    found: Accuracy = evaluate(model, val_loader(settings, val_split, machine, place), place, bfloat16=low)
    return model, {"teacher_acc": found.top1, "teacher_top5": found.top5}


def val_loader(settings: Settings, split: Split, machine: Machine, place: World) -> Any:
    """This process's shard of the central squares of a split."""
    skip = settings.unreadable == "skip"
    images = Images(split, settings.image_size, decode=settings.decode, skip_unreadable=skip)
    return loader(images, shard(len(split), place, EVALUATION_BATCH), machine, place)


def _trainer(
    settings: Settings,
    splits: tuple[Split, Split],
    keep: np.ndarray,
    student: nn.Module,
    loss: EpochLoss,
    machine: Machine,
    place: World,
    store: RowStore,
    description: dict,
    *,
    teacher: nn.Module | None = None,
    frozen_body: bool = False,
) -> Trainer:
    recipe = settings.recipe(machine)
    steps = StepBatches(keep, recipe, settings.seed, place, machine.micro_batch)
    images = Images(
        splits[0], settings.image_size, min_crop=settings.min_crop, seed=settings.seed, decode=settings.decode,
        skip_unreadable=settings.unreadable == "skip",
    )  # fmt: skip
    epochs, _ = recipe.plan(len(keep), len(splits[0]))
    return Trainer(
        student, loss, steps, loader(images, steps, machine, place), val_loader(settings, splits[1], machine, place),
        recipe, epochs, machine, place, settings.seed, store, description, teacher=teacher, frozen_body=frozen_body,
    )  # fmt: skip


def _finish(
    settings: Settings, trainer: Trainer, state: State, measured: dict, store: RowStore, description: dict, save: str
) -> dict[str, Any]:
    """The row, stored by the first process; the checkpoint goes after it."""
    place = trainer.place
    row = place.share(_row(settings, trainer, state, measured))
    if place.first:
        if save:
            classes = networks.last_linear(trainer.student)[1].out_features
            networks.save_weights(trainer.student, settings.student, classes, Path(save))
        store.add_row(description, row)
        store.clear_checkpoint(trainer.key)
    return row


def _row(settings: Settings, trainer: Trainer, state: State, measured: dict) -> dict[str, Any]:
    """The settings and what came out; accuracies in percent, `test_acc` and `test_top5` of the last epoch."""
    values = {**dataclasses.asdict(settings), "milestones": list(settings.milestones)}
    for name in ("scores", "kept_file"):  # where files lie is nobody else's business
        values[name] = Path(values[name]).name
    for name in ("student_weights", "teacher_weights"):
        values[name] = networks.weights_identity(values[name])
    evaluated = [top1 for top1 in state.top1 if top1 is not None]
    return {
        **values,
        "kept": len(trainer.steps.keep),
        "steps": state.steps,
        **measured,
        "test_acc": None if state.diverged else state.top1[-1],
        "test_acc_best": max(evaluated, default=None),
        "test_top5": None if state.diverged else state.top5[-1],
        "train_loss": state.losses[-1] if math.isfinite(state.losses[-1]) else None,
        "status": "diverged" if state.diverged else "ok",
        "skipped": state.skipped,
        "val_images": state.val_images,
        "val_skipped": state.val_skipped,
        "used_share": 1.0,
        "student_seconds": round(state.seconds, 3),
        "student_images": state.images,
        "seconds": round(state.seconds, 3),
        "devices": trainer.place.size,
        "device": str(trainer.place.device.type),
        "precision": precision_used(settings.precision, trainer.place.device),
        "torch": torch.__version__,
        "version": __version__,
        "rules": trainer.description["rules"],
    }


def score_folder(settings: Settings, folders: Folders, machine: Machine, place: World, out: Path) -> dict[str, Any]:
    """Score the training images with the teacher and write the table and its card; returns the card, with `scored`."""
    split, _ = folders.read()
    teacher = networks.build(
        settings.teacher, len(split.classes), settings.image_size, weights=settings.teacher_weights
    )
    rows = score(frozen(teacher, place), split, settings, machine, place)
    about = {
        "dataset": settings.dataset,
        "teacher": settings.teacher,
        "teacher_weights": networks.weights_identity(settings.teacher_weights),
        "image_size": settings.image_size,
        "decode": settings.decode,
        "listing": split.listing,
        "scored": len(rows),
        "device": place.device.type,
        "devices": place.size,
        "version": __version__,
    }
    if place.first:
        write_scores(rows, out, about)
    return {**about, **rows.attrs}
