"""One experiment: `run(Run(...))` trains the student and returns its row.

row = run(Run(dataset="digits", scorer="forgetting", fraction=0.1, loss="kd", seed=3))
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import OutOfMemoryError, Tensor, nn

from kdlib import __version__
from kdlib.data.augment import normalise
from kdlib.data.core import Dataset
from kdlib.data.tables import read_kept
from kdlib.experiments import teachers
from kdlib.experiments.config import Run, as_run
from kdlib.experiments.fingerprint import (
    centre_of,
    dataset_of,
    describe,
    needed_signals,
    needs_teacher,
    recording,
    released_table,
    rule_of,
    scored_runs,
    scorer_of,
    scorer_options,
    student_recipe,
    teacher_runs,
)
from kdlib.losses import FEATURE_LOSSES, LOSSES, REGRESSION_LOSSES, WEIGHTINGS
from kdlib.losses.reshape import class_std, logit_loss
from kdlib.models import build
from kdlib.selection import class_quotas, kept_count
from kdlib.store.artefacts import Store, key
from kdlib.training.checkpoint import StoredCheckpoint
from kdlib.training.evaluate import predict
from kdlib.training.logit_cache import LogitCache, cache_folder
from kdlib.training.loop import FeatureTerm, Member, Trained, train_batched
from kdlib.training.recipe import precision_used
from kdlib.training.reference_runs import Arrays, Workshop, load_model, model_of, networks, stackable
from kdlib.training.signals import cost_of, record, sources
from kdlib.utils import seeds
from kdlib.utils.calls import accepted, accepts, options_of, split_call
from kdlib.utils.devices import resolve_device

log = logging.getLogger(__name__)
RECORD_BYTES = 9  # a `Recorder`'s for each sample and epoch


# -- which samples


def workshop(r: Run, store: Store) -> Workshop:
    """Where the run's reference runs are trained and kept."""
    return Workshop(
        dataset_of(r),
        store,
        r.device,
        checkpoint=lambda description, extra, entry: StoredCheckpoint(store, description, extra, aims=[entry]),
        released=functools.partial(teachers.shipped, dataset_of(r)),
        keep=lambda samples: kept_samples(r, store, r.teacher_fraction),
    )


def kept_samples(r: Run, store: Store, fraction: float | None = None) -> np.ndarray:
    """Sorted ids (n,) of the training samples that the run keeps, or that its rule keeps at another fraction.

    The run's seed draws ties and random scores. A dynamic rule keeps all samples and chooses among them later.
    """
    data = dataset_of(r)
    if r.kept_file:
        return read_kept(r.kept_file, data)
    if rule_of(r).dynamic:
        return np.arange(len(data.train_y))
    rng = seeds.stream(r.seed, "subset")
    signals = record(needed_signals(r), scored_runs(r), workshop(r, store), recording(r))
    if "released" in scorer_of(r).needed(**_options_for_needs(r)):
        signals = dataclasses.replace(signals, released=released_table(r)[0])
    scores = scorer_of(r)(signals, data.train_y.numpy(), rng, **scorer_options(r))
    _warn_of_ties(r, scores)
    return _apply_rule(r, scores, r.fraction if fraction is None else fraction, signals, rng)


def _options_for_needs(r: Run) -> dict[str, Any]:
    return scorer_options(r) if callable(scorer_of(r).needs) else {}


def _apply_rule(r: Run, scores: np.ndarray, fraction: float, signals: Any, rng: np.random.Generator) -> np.ndarray:
    data, (_, options) = dataset_of(r), r.method("selection")
    balanced = r.class_balanced is not False and not data.is_regression
    supplied = {
        "centre": centre_of(r),
        "labels": data.train_y.numpy() if balanced else None,
        "signals": signals,
        "rng": rng,
    }
    rule = rule_of(r).fn
    return rule(scores, fraction, **accepted(rule, supplied), **options)


def _warn_of_ties(r: Run, scores: np.ndarray) -> None:
    _, counts = np.unique(scores, return_counts=True)
    if counts.max() > len(scores) / 2:
        share = 100 * counts.max() / len(scores)
        log.warning("scorer %s gives one score to %.0f%% of the samples; ties are drawn at random", r.scorer, share)


# -- the loss


class Objective:
    """The run's loss on logits as training calls it: (B,K), (B,K) or None, (B,) -> nats (B,)."""

    def __init__(self, r: Run, class_std: Tensor | None, epoch: float | None = None) -> None:
        self.run, self.class_std, self.epoch = r, class_std, epoch
        self.name, self.options = r.method("loss")
        self.reshape, self.reshape_options = r.method("reshape")
        rule, options = r.method("weighting")
        self.weights = WEIGHTINGS[rule](r.alpha, **options)

    def __call__(self, student: Tensor, teacher: Tensor | None, labels: Tensor) -> Tensor:
        if self.name in REGRESSION_LOSSES:
            function = REGRESSION_LOSSES[self.name]
            return function(student, teacher, labels, **accepted(function, {"alpha": self.run.alpha}), **self.options)
        if self.name == "cross_entropy":
            return logit_loss(student, None, labels, loss="cross_entropy")
        supplied = {"alpha": self.run.alpha, "tau": self.run.tau, "weighting": self.weights, "epoch": self.epoch}
        names = {"loss": self.name, "reshape": self.reshape, "class_std": self.class_std}
        return logit_loss(student, teacher, labels, **names, **supplied, **self.options)  # type: ignore[arg-type]

    def at_epoch(self, epoch: float) -> Objective:
        """The same loss in the given epoch (1-based); one that does not warm up, or has done so, is the same object."""
        function = LOSSES.get(self.name)
        if function is None or not accepts(function, "warmup_epochs"):
            return self
        last = self.options.get("warmup_epochs", options_of(function)["warmup_epochs"])
        return Objective(self.run, self.class_std, epoch) if epoch < last else self


# -- the teacher


class TeacherSide:
    """What runs that train side by side share: the frozen teacher, its cached logits, its test accuracy and its cost."""

    def __init__(self, r: Run, store: Store) -> None:
        shop, runs = workshop(r, store), teacher_runs(r)
        self.run, self.data = r, shop.data
        trained = networks(runs, shop)
        self.model = model_of(runs.model, trained, shop.data, shop.torch_device)
        self.accuracy, self.seconds = float(trained["test_acc"][0]), float(trained["seconds"][0])
        self.images = int(trained["images"][0])
        folder = cache_folder(store, self.model, self.data, r.augment) if r.cache_logits else None
        self.logits = LogitCache(self.model, self.data, r.augment, folder)

    @cached_property
    def class_std(self) -> Tensor:
        """k_c of the medium-difficulty paper (Eq. 4) over the full training set, clean views."""
        logits = predict(self.model, self.data.train_x, self.data)
        return class_std(logits, self.data.train_y.to(logits.device), self.data.num_classes)

    def feature_term(self, r: Run, count: int) -> FeatureTerm:
        """The module of the run's feature loss for `count` kept samples."""
        return feature_term(r, self.model, count).to(self.logits.device)


def feature_term(r: Run, teacher: nn.Module, count: int) -> FeatureTerm:
    """The run's feature loss, built from the shapes that student and teacher give to one batch; ValueError if it cannot be."""
    name, options = r.method("feature_loss")
    entry, data = FEATURE_LOSSES[name], dataset_of(r)
    x = normalise(data.train_x[:4], data.mean, data.std).to(next(teacher.parameters()).device)
    student = build_student(r, data).to(x.device).eval()
    with torch.no_grad():
        shapes = student.features(x, entry.preact), teacher.features(x, entry.preact)  # type: ignore[operator]
    seed = seeds.integer(r.seed, "loss") % 2**31
    module = entry.make(*shapes, num_samples=count, num_classes=data.num_classes, seed=seed, **options)
    return FeatureTerm(module, teacher, r.beta, entry.preact)


def build_student(r: Run, data: Dataset) -> Any:
    """The student with the initial weights of the run's seed."""
    channels = data.image_shape[0]
    return build(r.student, data.num_classes, channels, data.image_shape[1:], seed=seeds.integer(r.seed, "init"))


# -- runs side by side

# Fields in which runs that train side by side may differ.
FREE = {
    "seed", "scorer", "centre", "class_balanced", "selection", "loss", "alpha", "tau", "reshape", "weighting",
    "augment_seed", "score_model", "score_runs", "score_recipe", "keep_student",
}  # fmt: skip


def batch_key(r: Run) -> tuple | None:
    """Runs of equal key can train side by side; None: only alone (or one process each, which gives the same rows)."""
    alone = r.feature_loss != "none" or rule_of(r).dynamic or r.kept_file
    if alone or not stackable(r.student, dataset_of(r), resolve_device(r.device)):
        return None
    own_data = r.label_noise > 0 or r.imbalance > 1 or r.teacher_fraction < 1  # drawn from the run's seed
    free = FREE - {"seed"} if own_data else FREE
    return tuple((f.name, getattr(r, f.name)) for f in fields(r) if f.name not in free)


def train_together(runs: Sequence[Run], store: Store) -> list[dict]:
    """Train runs of equal `batch_key` side by side: their rows, in order, each equal to `run`'s to float tolerance.

    Runs that do not fit into memory together are trained in two halves; OutOfMemoryError where a single one does not fit.
    """
    try:
        return _train(runs, store)
    except OutOfMemoryError:
        if len(runs) == 1:
            raise
    middle = (len(runs) + 1) // 2  # outside the handler, which keeps what was allocated alive
    return train_together(runs[:middle], store) + train_together(runs[middle:], store)


def _train(runs: Sequence[Run], store: Store) -> list[dict]:
    described = [describe(r) for r in runs]
    first, data = runs[0], dataset_of(runs[0])
    teaching = [r for r in runs if needs_teacher(r)]
    teacher = TeacherSide(teaching[0], store) if teaching else None
    members = _members(runs, data, teacher, store)
    resume = StoredCheckpoint(store, {"runs": described}, aims=[("rows", one) for one in described])
    logits = teacher.logits if teacher else None
    trained = train_batched(members, data, student_recipe(first), teacher=logits, device=first.device, resume=resume)
    rows = []
    for r, member, result, description in zip(runs, members, trained, described, strict=True):
        if r.keep_student:
            store.arrays("students", description, functools.partial(student_arrays, result))
        side = teacher if needs_teacher(r) else None
        row = _row(r, member, result, side, store, description["rules"])
        rows.append(store.add_row(description, row, store.used | {(k, key(k, d)) for k, d in needed_artefacts(r)}))
    resume.clear()  # only now that the rows are stored
    return rows


def student_arrays(trained: Trained) -> Arrays:
    """A trained student as arrays: weights `w/NAME` (1, ...) and curves `curve/NAME` (1, E)."""
    found = {f"w/{name}": value.cpu().numpy()[None] for name, value in trained.model.state_dict().items()}
    return found | {f"curve/{name}": np.array([getattr(trained, name)]) for name in ("loss", "test_acc", "rate")}


def _members(runs: Sequence[Run], data: Dataset, teacher: TeacherSide | None, store: Store) -> list[Member]:
    objectives: dict[tuple, Objective] = {}  # equal losses are one object, so that the loop can call them together
    members = []
    for r in runs:
        names = ("loss", "alpha", "tau", "reshape", "weighting")
        read = tuple(getattr(r, name) for name in names) if needs_teacher(r) else ("cross_entropy",)
        if read not in objectives:
            std = teacher.class_std if teacher and r.reshape.startswith("classwise") else None
            objectives[read] = Objective(r, std)
        keep = kept_samples(r, store)
        term = teacher.feature_term(r, len(keep)) if teacher and r.feature_loss != "none" else None
        shared = None if r.augment_seed < 0 else r.augment_seed
        members.append(Member(build_student(r, data), keep, r.seed, objectives[read], shared, term, _sampler(r, keep)))
    return members


def _sampler(r: Run, keep: np.ndarray) -> Any:
    """The sampler of a dynamic selection, or None."""
    if not rule_of(r).dynamic:
        return None
    epochs = student_recipe(r).plan(len(keep), len(keep))[0]
    supplied = {"epochs": epochs, "rng": seeds.stream(r.seed, "order")}
    return rule_of(r).fn(len(keep), r.fraction, **supplied, **r.method("selection")[1])


# -- rows


def _row(r: Run, member: Member, t: Trained, teacher: TeacherSide | None, store: Store, rules: str) -> dict:
    """The run's fields and what came out; accuracies in percent, `test_acc` of the last epoch, `test_acc_best` of the best."""
    finite = [a for a in t.test_acc if math.isfinite(a)]
    device = next(member.model.parameters()).device
    measured = {
        "precision": precision_used(r.precision, device),
        "kept": len(member.keep),
        "used_share": round(t.used_share, 6),
        "steps": t.steps,
        "teacher_acc": teacher.accuracy if teacher else None,
        "test_acc": None if t.diverged else t.test_acc[-1],
        "test_acc_best": max(finite, default=None),
        "train_loss": None if t.diverged else t.loss[-1],
        "status": "diverged" if t.diverged else "ok",
        **_costs(r, t, teacher, store),
        "device": str(device),
        "version": __version__,
        "rules": rules,
    }
    return {**dataclasses.asdict(r), **measured}


def _costs(r: Run, t: Trained, teacher: TeacherSide | None, store: Store) -> dict[str, float]:
    """Wall time (s) and image steps of the student, of its teacher's training, of scoring, and of new cached logits.

    What other runs share (teacher, scores) is stated in full in each row; only the cache's cost is that of this call.
    """
    own_teacher = teacher is not None and scorer_of(r).of == "teacher"  # its cost stands in the teacher's columns
    needs = () if own_teacher else needed_signals(r)
    scoring = cost_of(needs, scored_runs(r), workshop(r, store), recording(r))
    cached = (teacher.logits.seconds, teacher.logits.images) if teacher else (0.0, 0)
    return {
        "seconds": round(t.seconds, 3),
        "student_seconds": round(max(t.seconds - cached[0], 0.0), 3),
        "student_images": t.images,
        "teacher_seconds": round(teacher.seconds, 3) if teacher else 0.0,
        "teacher_images": teacher.images if teacher else 0,
        "score_seconds": round(scoring[0], 3),
        "score_images": scoring[1],
        "cache_seconds": round(cached[0], 3),
        "cache_images": cached[1],
    }


def run(r: Run | Mapping[str, Any], store: Store | str | None = None) -> dict:
    """The row of a run: read if it is stored, else trained and stored; teacher, scores and cached logits as well.

    r:     a `Run`, or a dict of its fields
    store: a `Store` or its folder; default `paths.store()`
    The row is the run's fields and: kept, used_share, steps, teacher_acc, test_acc (last epoch), test_acc_best (percent),
    train_loss (nats), status ("ok" or "diverged"), costs (seconds and image steps), device, version, rules.
    """
    r = as_run(r)
    store = store if isinstance(store, Store) else Store(store)
    described = describe(r)
    found = store.row(described)
    if found is not None and (not r.keep_student or store.has("students", described)):
        return found
    with store.lease("rows", described):
        return train_together([r], store)[0]


def load_student(r: Run | Mapping[str, Any], store: Store | str | None = None) -> nn.Module:
    """The trained student of the run, in eval mode; it is trained first where it is not stored."""
    r = dataclasses.replace(as_run(r), keep_student=True)
    arrays = student_of(r, store)
    return model_of(r.student, arrays, dataset_of(r), resolve_device(r.device))


def student_of(r: Run | Mapping[str, Any], store: Store | str | None = None) -> Arrays:
    """Weights and curves of the run's student as arrays, see `student_arrays`."""
    r = dataclasses.replace(as_run(r), keep_student=True)
    store = store if isinstance(store, Store) else Store(store)
    run(r, store)
    return store.arrays("students", describe(r), _gone)


def _gone() -> Arrays:
    raise RuntimeError("the student was removed from the store while it was read; call again")


def load_teacher(r: Run | Mapping[str, Any], store: Store | str | None = None) -> nn.Module:
    """The teacher of the run, frozen and in eval mode; it is trained first where it is neither shipped nor stored."""
    r = as_run(r)
    store = store if isinstance(store, Store) else Store(store)
    return load_model(teacher_runs(r), workshop(r, store))


# -- what a sweep asks


def check(r: Run) -> None:
    """ValueError for what cannot work with this dataset, these networks or this machine, before anything is trained."""
    data = dataset_of(r)
    _check_loss(r, data)
    _check_device(r.device)
    _check_memory(r, data)
    for name in {
        r.student,
        *([r.teacher] if needs_teacher(r) else []),
        *([scored_runs(r).model] if needed_signals(r) else []),
    }:
        _check_network(name, data.num_classes, data.image_shape)
    describe(r)  # reads a score table and a list of kept samples
    if r.kept_file:
        read_kept(r.kept_file, data)
    elif "labels" in rule_of(r).arguments and r.class_balanced is not False and not data.is_regression:
        class_quotas(data.train_y.numpy(), r.fraction)
    else:
        kept_count(len(data.train_y), r.fraction)
    if r.feature_loss != "none":
        _check_feature_loss(r.feature_loss, r.student, r.teacher, data.num_classes, data.image_shape)


def _check_loss(r: Run, data: Dataset) -> None:
    if data.is_regression == (r.method("loss")[0] in REGRESSION_LOSSES):
        return
    fitting = ", ".join(REGRESSION_LOSSES if data.is_regression else LOSSES)
    kind = "has a continuous target" if data.is_regression else "has classes"
    raise ValueError(f"loss {r.loss} does not fit dataset {r.dataset}, which {kind}; choose one of: {fitting}")


def _check_device(device: str) -> None:
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device {device}: no GPU can be used here; choose cpu or auto")
    number = int(device.partition(":")[2] or 0)
    if device.startswith("cuda") and number >= torch.cuda.device_count():
        raise ValueError(f"device {device}: there are {torch.cuda.device_count()} GPUs here, counted from cuda:0")


@functools.lru_cache(maxsize=256)
def _check_network(name: str, num_classes: int, image_shape: tuple[int, int, int]) -> None:
    build(name, num_classes, image_shape[0], image_shape[1:])


def _check_memory(r: Run, data: Dataset) -> None:
    """What a training records is one row a sample and epoch; refuse what cannot fit into memory."""
    if not hasattr(os, "sysconf") or not needed_signals(r):
        return
    runs = scored_runs(r)
    wanted = len(runs.seeds) * runs.recipe.epochs * len(data.train_y) * RECORD_BYTES
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if wanted > there:
        raise ValueError(
            f"recording {len(runs.seeds)} trainings of {runs.recipe.epochs} epochs takes {wanted / 1e9:.0f} GB, and there "
            f"are {there / 1e9:.0f}; take fewer by score_runs or score_recipe"
        )


@functools.lru_cache(maxsize=64)
def _check_feature_loss(
    loss: str, student: str, teacher: str, num_classes: int, image_shape: tuple[int, int, int]
) -> None:
    name, options = split_call(loss)
    x, entry = torch.zeros(2, *image_shape), FEATURE_LOSSES[name]
    networks = [build(one, num_classes, image_shape[0], image_shape[1:]).eval() for one in (student, teacher)]
    with torch.no_grad():
        shapes = [network.features(x, entry.preact) for network in networks]
    entry.make(*shapes, num_samples=num_classes * 2, num_classes=num_classes, seed=0, **options)


def needed_artefacts(r: Run) -> list[tuple[str, dict]]:
    """(kind, description) of the stored arrays that the run reads: shared ones are best made first, and once."""
    data, device = dataset_of(r), resolve_device(r.device)
    shop = Workshop(data, Nowhere(), r.device)
    found = (
        [("networks", part.describe(data, device)) for part in teacher_runs(r).parts(data, device)]
        if needs_teacher(r)
        else []
    )
    return found + sources(needed_signals(r), scored_runs(r), shop, recording(r))


class Nowhere:
    """A store for those who ask only what would be stored."""

    def arrays(self, kind: str, description: dict, make: Any) -> Arrays:
        raise RuntimeError(f"nothing is stored here, {kind} neither")
