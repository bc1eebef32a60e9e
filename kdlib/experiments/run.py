"""One experiment: `Run` names every knob, `run(Run(...))` trains the student and returns its row.

row = run(Run(dataset="digits", scorer="forgetting", fraction=0.1, loss="kd", seed=3))
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import fields
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from kdlib import __version__
from kdlib.experiments.config import PRESETS, SELECTIONS, Preset, Run, names
from kdlib.experiments.fingerprint import (
    DKD_KNOBS,
    SCORE_KNOBS,
    TABLE_KNOBS,
    dataset_of,
    describe,
    needed_artefacts,
    needed_signals,
    needs_teacher,
    recipe,
    released_table,
    score_runs,
    scorer_of,
    signal_extras,
    teacher_runs,
)
from kdlib.utils import seeds

__all__ = [
    "PRESETS", "SELECTIONS", "Preset", "Run", "company_key", "dataset_of", "describe", "names", "needed_artefacts", "run",
    "run_together", "score_runs", "teacher_runs",
]  # fmt: skip

if TYPE_CHECKING:  # importing the knobs must not import torch: the command line's help is to be quick
    import numpy as np
    from torch import Tensor

    from kdlib.data.datasets import Dataset
    from kdlib.selection.infobatch import InfoBatch
    from kdlib.store.artefacts import Store
    from kdlib.training.logit_cache import LogitBank
    from kdlib.training.loop import Member, Trained


def kept_samples(r: Run, store: Store) -> np.ndarray:
    """Sorted ids (n,) of the training samples that the run keeps; the run's seed draws ties and random scores."""
    from kdlib.selection.rules import keep_indices, keep_stratified
    from kdlib.training.reference_runs import signals

    data, rng = dataset_of(r), seeds.stream(r.seed, "subset")
    labels = data.train_y.numpy()
    balanced = r.class_balanced and not data.is_regression
    scorer = scorer_of(r)
    recorded = signals(needed_signals(r), score_runs(r), data, store, r.device, signal_extras(r))
    if "released" in scorer.needs:
        recorded = dataclasses.replace(recorded, released=released_table(r)[0])
    scores = scorer(recorded, labels, rng)
    fraction = 1.0 if r.selection == "infobatch" else r.fraction
    if r.selection == "ccs" and fraction < 1:
        assert recorded.margin is not None
        return keep_stratified(scores, fraction, cut=r.hard_cut, cut_scores=-recorded.margin.mean((0, 1)), rng=rng)
    return keep_indices(scores, fraction, centre=r.centre, labels=labels if balanced else None, rng=rng)


class Objective:
    """The run's loss on logits as training calls it: (B,K), (B,K) or None, (B,) -> nats (B,)."""

    def __init__(self, r: Run, class_std: Tensor | None, epoch: int | None = None) -> None:
        self.run, self.class_std, self.epoch = r, class_std, epoch

    def __call__(self, student: Tensor, teacher: Tensor | None, labels: Tensor) -> Tensor:
        from kdlib.losses import REGRESSION_LOSSES
        from kdlib.losses.reshape import logit_loss

        r = self.run
        if r.loss in REGRESSION_LOSSES:
            return REGRESSION_LOSSES[r.loss](student, teacher, labels, alpha=r.alpha)
        if r.loss == "cross_entropy":
            return logit_loss(student, None, labels, loss="cross_entropy")
        options = {"alpha": r.alpha, "tau": r.tau, "weighting": r.weighting, "epoch": self.epoch}
        if r.loss == "dkd":
            options |= {argument: getattr(r, name) for name, argument in DKD_KNOBS.items()}
        return logit_loss(student, teacher, labels, loss=r.loss, reshape=r.reshape, class_std=self.class_std, **options)

    def at_epoch(self, epoch: int) -> Objective:
        """The same loss in the given epoch (1-based); one that is not warming up stays the same object."""
        warming = self.run.loss == "dkd" and epoch < self.run.dkd_warmup_epochs
        return Objective(self.run, self.class_std, epoch) if warming else self


class TeacherSide:
    """What a company of runs shares: the frozen teacher, its logit bank and its test accuracy."""

    def __init__(self, r: Run, store: Store) -> None:
        from kdlib.training.logit_cache import LogitBank, bank_folder
        from kdlib.training.reference_runs import full_runs, load_model

        self.run, self.data, runs = r, dataset_of(r), teacher_runs(r)
        self.model = load_model(runs, self.data, store, r.device)
        self.accuracy = float(full_runs(runs, self.data, store, r.device)["test_acc"][0])
        folder = bank_folder(store, runs, self.data, r.augment) if r.bank else None
        self.bank: LogitBank = LogitBank(self.model, self.data, r.augment, folder)

    @cached_property
    def class_std(self) -> Tensor:
        """k_c of the medium-difficulty paper (Eq. 4) over the full training set, clean views."""
        from kdlib.losses.reshape import class_std
        from kdlib.training.evaluate import predict

        logits = predict(self.model, self.data.train_x, self.data)
        return class_std(logits, self.data.train_y.to(logits.device), self.data.num_classes)

    def feature_term(self, r: Run, keep: np.ndarray) -> Any:
        """The module of the run's feature loss, built from the shapes that student and teacher give to one batch."""
        import torch

        from kdlib.data.augment import normalise
        from kdlib.losses import FEATURE_LOSSES
        from kdlib.training.loop import FeatureTerm

        entry = FEATURE_LOSSES[r.feature_loss]
        x = normalise(self.data.train_x[:4].to(self.bank.device), self.data.mean, self.data.std)
        student = build_student(r, self.data).to(self.bank.device).eval()
        with torch.no_grad():
            shapes = student.features(x, entry.preact), self.model.features(x, entry.preact)  # type: ignore[operator]
        seed = seeds.integer(r.seed, "loss") % 2**31
        module = entry.make(*shapes, num_samples=len(keep), num_classes=self.data.num_classes, seed=seed)
        return FeatureTerm(module.to(self.bank.device), self.model, r.beta, entry.preact)


def build_student(r: Run, data: Dataset) -> Any:
    """The student with the initial weights of the run's seed."""
    from kdlib.models import build

    channels, size, _ = data.image_shape
    return build(r.student, data.num_classes, channels, size, seed=seeds.integer(r.seed, "init"))


COMPANY_FREE = (
    "seed", "scorer", "centre", "class_balanced", "selection", "hard_cut", "loss", "alpha", "tau", "reshape", "weighting",
    "augment_seed", *DKD_KNOBS, *SCORE_KNOBS, "score_views", "score_subsets", "score_file", *TABLE_KNOBS,
)  # fmt: skip


COMPANY_SIZE = 30  # runs in one company at most: on a CPU more of them no longer gain


@lru_cache
def _stackable(student: str, image_shape: tuple[int, int, int], device: str) -> bool:
    from kdlib.models import build
    from kdlib.training.batched import worth_stacking
    from kdlib.utils.devices import resolve_device

    return worth_stacking(build(student, 2, *image_shape[:2]), resolve_device(device))


def company_key(r: Run) -> tuple | None:
    """Runs of equal key can train side by side; None: only alone (or one process each, which gives the same rows)."""
    alone = r.feature_loss != "none" or r.selection == "infobatch"
    if alone or not _stackable(r.student, dataset_of(r).image_shape, r.device):
        return None
    return tuple((f.name, getattr(r, f.name)) for f in fields(r) if f.name not in COMPANY_FREE)


def run_together(runs: Sequence[Run], store: Store | None = None) -> list[dict]:
    """Train runs of equal `company_key` side by side: their rows, in order, each equal to `run`'s to float tolerance.

    A company that does not fit into memory is trained as two halves; OutOfMemoryError where a single run does not fit.
    """
    from torch import OutOfMemoryError

    from kdlib.store.artefacts import Store

    store = store or Store()
    try:
        return _company(runs, store)
    except OutOfMemoryError:
        if len(runs) == 1:
            raise
    middle = (len(runs) + 1) // 2  # outside the handler, which keeps what was allocated alive
    return run_together(runs[:middle], store) + run_together(runs[middle:], store)


def _company(runs: Sequence[Run], store: Store) -> list[dict]:
    from kdlib.training.loop import train_company

    described = [describe(r) for r in runs]  # first: it refuses a score table that does not fit
    first, data = runs[0], dataset_of(runs[0])
    teaching = [r for r in runs if needs_teacher(r)]
    teacher = TeacherSide(teaching[0], store) if teaching else None
    members = _members(runs, data, teacher, store)
    bank = teacher.bank if teacher else None
    resume = None if first.selection == "infobatch" else _resume(described, store)  # its sampler remembers losses
    trained = train_company(members, data, recipe(first), teacher=bank, device=first.device, resume=resume)
    if resume:
        resume.clear()
    return [
        _row(r, m, t, teacher if needs_teacher(r) else None) for r, m, t in zip(runs, members, trained, strict=True)
    ]


LOSS_KNOBS = ("loss", "alpha", "tau", "reshape", "weighting", *DKD_KNOBS)  # all that an `Objective` reads


def _resume(described: list[dict], store: Store) -> Any:
    from kdlib.training.reference_runs import StoredCheckpoint

    return StoredCheckpoint(store, {"company": described})


def _members(runs: Sequence[Run], data: Dataset, teacher: TeacherSide | None, store: Store) -> list[Member]:
    from kdlib.training.loop import Member

    objectives: dict[tuple, Objective] = {}  # equal losses are one object, so that the loop can call them together
    members = []
    for r in runs:
        knobs = tuple(getattr(r, name) for name in LOSS_KNOBS) if needs_teacher(r) else ("cross_entropy",)
        if knobs not in objectives:
            std = teacher.class_std if teacher and r.reshape.startswith("classwise") else None
            objectives[knobs] = Objective(r, std)
        keep = kept_samples(r, store)
        term = teacher.feature_term(r, keep) if teacher and r.feature_loss != "none" else None
        shared = None if r.augment_seed < 0 else r.augment_seed
        sampler = _sampler(r, len(keep)) if r.selection == "infobatch" else None
        members.append(Member(build_student(r, data), keep, r.seed, objectives[knobs], shared, term, sampler))
    return members


def _sampler(r: Run, count: int) -> InfoBatch:
    """InfoBatch over all samples: of those with a loss below the mean, the fraction f stays in each epoch."""
    from kdlib.selection.infobatch import InfoBatch

    rng = seeds.stream(r.seed, "order")
    return InfoBatch(count, recipe(r).plan(count, count)[0], prune_ratio=1 - r.fraction, rng=rng)


def _row(r: Run, member: Member, trained: Trained, teacher: TeacherSide | None) -> dict:
    """The run's knobs and what came out; accuracies in percent, `test_acc` of the last epoch, `test_acc_best` of the best."""
    finite = [a for a in trained.test_acc if math.isfinite(a)]
    measured = {
        "kept": len(member.keep),
        "steps": trained.steps,
        "teacher_acc": teacher.accuracy if teacher else None,
        "test_acc": None if trained.diverged else trained.test_acc[-1],
        "test_acc_best": max(finite, default=None),
        "train_loss": None if trained.diverged else trained.loss[-1],
        "status": "diverged" if trained.diverged else "ok",
        "seconds": round(trained.seconds, 3),
        "device": str(next(member.model.parameters()).device),
        "version": __version__,
    }
    return {**dataclasses.asdict(r), **measured}


def run(r: Run, store: Store | None = None) -> dict:
    """Train the run's student and return its row; teacher, scores and logit bank are fetched or made first.

    The row is the run's knobs and: kept, steps, teacher_acc, test_acc, test_acc_best (percent), train_loss (nats),
    status ("ok" or "diverged"), seconds, device, version. The row itself is not stored here: `sweep` does that.
    """
    return run_together([r], store)[0]
