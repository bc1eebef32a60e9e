"""One experiment: `Run` names every knob, `run(Run(...))` trains the student and returns its row.

row = run(Run(dataset="digits", scorer="forgetting", fraction=0.1, loss="kd", seed=3))
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from kdlib import __version__, seeds
from kdlib.knobs import PRESETS, SELECTIONS, Preset, Run, names

__all__ = ["PRESETS", "SELECTIONS", "Preset", "Run", "company_key", "describe", "names", "run", "run_together"]

if TYPE_CHECKING:  # importing the knobs must not import torch: the command line's help is to be quick
    import numpy as np
    from torch import Tensor

    from kdlib.bank import LogitBank
    from kdlib.data import Dataset
    from kdlib.infobatch import InfoBatch
    from kdlib.recipe import Recipe
    from kdlib.store import Store
    from kdlib.teachers import FullRuns
    from kdlib.training import Member, Trained


# -- what a run needs, as descriptions


def recipe(r: Run) -> Recipe:
    """The student's recipe."""
    from kdlib.recipe import Recipe

    return Recipe(**{f.name: getattr(r, f.name) for f in fields(Recipe)})


def teacher_runs(r: Run) -> FullRuns:
    """Which training the teacher comes from: all data (or f_t of it), the student's recipe, always in epochs."""
    from kdlib.teachers import FullRuns

    plan = dataclasses.replace(recipe(r), epochs=r.teacher_epochs or r.epochs, budget="epochs")
    return FullRuns(r.teacher, plan, (r.teacher_seed,), r.teacher_fraction)


def score_runs(r: Run) -> FullRuns:
    """Which trainings the scores come from: all data, seeds 0 to `score_runs` - 1."""
    from kdlib.teachers import FullRuns

    epochs = r.score_epochs or r.teacher_epochs or r.epochs
    plan = dataclasses.replace(recipe(r), epochs=epochs, budget="epochs", augment=r.score_augment)
    return FullRuns(r.score_model or r.teacher, plan, tuple(range(r.score_runs)))


def needs_teacher(r: Run) -> bool:
    """Whether anything of the teacher enters the student's training."""
    return r.loss != "cross_entropy" and not (r.loss == "squared_error" and r.alpha == 0)


def needs_scores(r: Run) -> bool:
    """Whether the kept samples depend on scores: at f = 1, with a random or a per-epoch selection they do not."""
    return r.scorer != "random" and r.fraction < 1 and r.selection != "infobatch"


TEACHER_KNOBS = (
    "teacher",
    "alpha",
    "tau",
    "reshape",
    "weighting",
    "teacher_fraction",
    "teacher_seed",
    "teacher_epochs",
    "bank",
)
SCORE_KNOBS = ("scorer", "score_model", "score_runs", "score_epochs", "score_augment")


def dataset_of(r: Run) -> Dataset:
    """The run's data: loaded, and with the validation split and label noise that it asks for."""
    return _dataset(r.dataset, r.validation, r.label_noise)


@lru_cache(maxsize=4)
def _dataset(name: str, validation: bool, label_noise: float) -> Dataset:
    from kdlib import data

    loaded = data.load(name)
    if validation:
        loaded = data.with_validation(loaded)
    return data.with_label_noise(loaded, label_noise, 0) if label_noise else loaded


def describe(r: Run) -> dict:
    """What identifies the run's row in a store: the data's content and every knob that can change the outcome."""
    knobs = dataclasses.asdict(r)
    for name in ("dataset", "validation", "label_noise", "device"):
        del knobs[name]
    if not needs_teacher(r):
        knobs |= dict.fromkeys(TEACHER_KNOBS)
    if not needs_scores(r):
        knobs |= dict.fromkeys(SCORE_KNOBS)
    if r.selection != "ccs":
        knobs["hard_cut"] = None
    return {"data": dataset_of(r).content_hash, **knobs}


def needed_artefacts(r: Run) -> list[tuple[str, dict]]:
    """(kind, description) of the stored arrays that the run reads: shared ones are best made first, and once."""
    found = []
    if needs_teacher(r):
        teacher = teacher_runs(r).describe(dataset_of(r))
        found += [("full_runs", teacher), ("banks", {**teacher, "views": r.augment})]
    if needs_scores(r):
        found += [(kind, score_runs(r).describe(dataset_of(r))) for kind in ("full_runs", "gradients", "subsets")]
    return found


# -- the run itself


def kept_samples(r: Run, store: Store) -> np.ndarray:
    """Sorted ids (n,) of the training samples that the run keeps; the run's seed draws ties and random scores."""
    from kdlib.scorers import SCORERS, Signals
    from kdlib.selection import keep_indices, keep_stratified
    from kdlib.teachers import signals

    data, rng = dataset_of(r), seeds.stream(r.seed, "subset")
    labels = data.train_y.numpy()
    balanced = r.class_balanced and not data.is_regression
    scorer = SCORERS[r.scorer if needs_scores(r) else "random"]
    needs = (*scorer.needs, *(("margin",) if r.selection == "ccs" and r.fraction < 1 else ()))
    recorded = signals(needs, score_runs(r), data, store, r.device) if needs else Signals()
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
        return logit_loss(student, teacher, labels, loss=r.loss, reshape=r.reshape, class_std=self.class_std, **options)

    def at_epoch(self, epoch: int) -> Objective:
        """The same loss in the given epoch (1-based); one that does not warm up stays the same object."""
        return Objective(self.run, self.class_std, epoch) if self.run.loss == "dkd" else self


class TeacherSide:
    """What a company of runs shares: the frozen teacher, its logit bank and its test accuracy."""

    def __init__(self, r: Run, store: Store) -> None:
        from kdlib.bank import LogitBank, bank_folder
        from kdlib.teachers import full_runs, load_model

        self.run, self.data, runs = r, dataset_of(r), teacher_runs(r)
        self.model = load_model(runs, self.data, store, r.device)
        self.accuracy = float(full_runs(runs, self.data, store, r.device)["test_acc"][0])
        folder = bank_folder(store, runs, self.data, r.augment) if r.bank else None
        self.bank: LogitBank = LogitBank(self.model, self.data, r.augment, folder)

    def class_std(self) -> Tensor:
        """k_c of the medium-difficulty paper (Eq. 4) over the full training set, clean views."""
        from kdlib.losses.reshape import class_std
        from kdlib.training import predict

        logits = predict(self.model, self.data.train_x, self.data)
        return class_std(logits, self.data.train_y.to(logits.device), self.data.num_classes)

    def feature_term(self, r: Run, keep: np.ndarray) -> Any:
        """The module of the run's feature loss, built from the shapes that student and teacher give to one batch."""
        import torch

        from kdlib.losses import FEATURE_LOSSES
        from kdlib.training import FeatureTerm
        from kdlib.views import normalise

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
    "score_model", "score_runs", "score_epochs", "score_augment", "augment_seed",
)  # fmt: skip


COMPANY_SIZE = 30  # runs in one company at most: on a CPU more of them no longer gain


@lru_cache
def _stackable(student: str, image_shape: tuple[int, int, int], device: str) -> bool:
    from kdlib.devices import resolve_device
    from kdlib.models import build
    from kdlib.stacked import worth_stacking

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

    from kdlib.store import Store

    store = store or Store()
    try:
        return _company(runs, store)
    except OutOfMemoryError:
        if len(runs) == 1:
            raise
    middle = (len(runs) + 1) // 2  # outside the handler, which keeps what was allocated alive
    return run_together(runs[:middle], store) + run_together(runs[middle:], store)


def _company(runs: Sequence[Run], store: Store) -> list[dict]:
    from kdlib.training import train_company

    first, data = runs[0], dataset_of(runs[0])
    teaching = [r for r in runs if needs_teacher(r)]
    teacher = TeacherSide(teaching[0], store) if teaching else None
    members = _members(runs, data, teacher, store)
    bank = teacher.bank if teacher else None
    resume = None if first.selection == "infobatch" else _resume(runs, store)  # its sampler remembers losses
    trained = train_company(members, data, recipe(first), teacher=bank, device=first.device, resume=resume)
    if resume:
        resume.clear()
    return [
        _row(r, m, t, teacher if needs_teacher(r) else None) for r, m, t in zip(runs, members, trained, strict=True)
    ]


def _resume(runs: Sequence[Run], store: Store) -> Any:
    from kdlib.teachers import StoredCheckpoint

    return StoredCheckpoint(store, {"company": [describe(r) for r in runs]})


def _members(runs: Sequence[Run], data: Dataset, teacher: TeacherSide | None, store: Store) -> list[Member]:
    from kdlib.training import Member

    objectives: dict[tuple, Objective] = {}  # equal losses are one object, so that the loop can call them together
    members = []
    for r in runs:
        knobs = (r.loss, r.alpha, r.tau, r.reshape, r.weighting) if needs_teacher(r) else ("cross_entropy",)
        if knobs not in objectives:
            std = teacher.class_std() if teacher and r.reshape.startswith("classwise") else None
            objectives[knobs] = Objective(r, std)
        keep = kept_samples(r, store)
        term = teacher.feature_term(r, keep) if teacher and r.feature_loss != "none" else None
        shared = None if r.augment_seed < 0 else r.augment_seed
        sampler = _sampler(r, len(keep)) if r.selection == "infobatch" else None
        members.append(Member(build_student(r, data), keep, r.seed, objectives[knobs], shared, term, sampler))
    return members


def _sampler(r: Run, count: int) -> InfoBatch:
    """InfoBatch over all samples: of those with a loss below the mean, the fraction f stays in each epoch."""
    from kdlib.infobatch import InfoBatch

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
