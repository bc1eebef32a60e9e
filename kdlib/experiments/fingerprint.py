"""What a run needs and what identifies it, as descriptions: its trainings, its signals, its row in a store."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdlib.experiments.config import Run

if TYPE_CHECKING:  # importing the knobs must not import torch: the command line's help is to be quick
    import numpy as np

    from kdlib.data.datasets import Dataset
    from kdlib.scorers import Scorer
    from kdlib.training.recipe import Recipe
    from kdlib.training.reference_runs import Extras, FullRuns


def recipe(r: Run) -> Recipe:
    """The student's recipe."""
    from kdlib.training.recipe import Recipe

    return Recipe(**{f.name: getattr(r, f.name) for f in fields(Recipe) if hasattr(r, f.name)})


def teacher_runs(r: Run) -> FullRuns:
    """Which training the teacher comes from: all data (or f_t of it), the student's recipe, always in epochs."""
    from kdlib.training.reference_runs import FullRuns

    plan = dataclasses.replace(recipe(r), epochs=r.teacher_epochs or r.epochs, budget="epochs")
    return FullRuns(r.teacher, plan, (r.teacher_seed,), r.teacher_fraction)


def score_runs(r: Run) -> FullRuns:
    """Which trainings the scores come from: all data, seeds 0 to `score_runs` - 1."""
    from kdlib.training.reference_runs import FullRuns

    epochs = r.score_epochs or r.teacher_epochs or r.epochs
    plan = dataclasses.replace(recipe(r), epochs=epochs, budget="epochs", augment=r.score_augment)
    return FullRuns(r.score_model or r.teacher, plan, tuple(range(r.score_runs)), role="scored")


def needs_teacher(r: Run) -> bool:
    """Whether anything of the teacher enters the student's training."""
    return r.loss != "cross_entropy" and not (r.loss == "squared_error" and r.alpha == 0)


def needs_scores(r: Run) -> bool:
    """Whether the kept samples depend on scores: at f = 1, with a random or a per-epoch selection they do not."""
    return r.scorer != "random" and r.fraction < 1 and r.selection != "infobatch"


def scorer_of(r: Run) -> Scorer:
    """The scorer that ranks the run's samples."""
    from kdlib.scorers import SCORERS, VIEW_SCORERS

    return (VIEW_SCORERS if r.score_views else SCORERS)[r.scorer] if needs_scores(r) else SCORERS["random"]


def needed_signals(r: Run) -> tuple[str, ...]:
    """The fields of `Signals` that the choice of samples reads and that trainings leave behind: all but a table's scores."""
    stratified = r.selection == "ccs" and r.fraction < 1  # its cut is by AUM, whatever the scorer
    return (*(need for need in scorer_of(r).needs if need != "released"), *(("margin",) if stratified else ()))


def signal_extras(r: Run) -> Extras:
    """What the run's signals take besides trainings."""
    from kdlib.training.reference_runs import Extras

    return Extras(r.score_subsets, r.score_views, r.augment)


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
SCORE_KNOBS = ("score_model", "score_runs", "score_epochs", "score_augment")
TABLE_KNOBS = ("score_image", "score_column", "score_high", "score_parts", "score_extra")  # of `score_file`
DKD_KNOBS = {f"dkd_{name}": name for name in ("target_weight", "non_target_weight", "warmup_epochs")}
# Knobs younger than the first stored rows, with the values that those were trained with: a description leaves them out
# at these values and where they have no effect, so that no row has to be trained again.
YOUNGER = {
    "score_views": 0,
    "score_subsets": 10,
    "dkd_target_weight": 1,
    "dkd_non_target_weight": 8,
    "dkd_warmup_epochs": 20,
}


def dataset_of(r: Run) -> Dataset:
    """The run's data: loaded, and with the validation split and label noise that it asks for."""
    return _dataset(r.dataset, r.validation, r.label_noise)


@lru_cache(maxsize=4)
def _dataset(name: str, validation: bool, label_noise: float) -> Dataset:
    from kdlib.data import datasets as data

    loaded = data.load(name)
    if validation:
        loaded = data.with_validation(loaded)
    return data.with_label_noise(loaded, label_noise, 0) if label_noise else loaded


def describe(r: Run) -> dict:
    """What identifies the run's row in a store: the data's content and every knob that can change the outcome."""
    knobs = dataclasses.asdict(r)
    for name in ("dataset", "validation", "label_noise", "device", "compile"):
        del knobs[name]
    if not needs_teacher(r):
        knobs |= dict.fromkeys(TEACHER_KNOBS)
    if not needs_scores(r):
        knobs["scorer"] = None
    if not needed_signals(r):
        knobs |= dict.fromkeys(SCORE_KNOBS)
    if r.selection != "ccs":
        knobs["hard_cut"] = None
    for name in {*_idle(r), *(name for name, value in YOUNGER.items() if knobs[name] == value)}:
        del knobs[name]
    table = {"score_table": released_table(r)[1]} if "released" in scorer_of(r).needs else {}
    return {"data": dataset_of(r).content_hash, **knobs, **table}


def _idle(r: Run) -> set[str]:
    """The younger knobs without effect on the run, and those of a published table: its content stands for them."""
    idle = {"score_file", *TABLE_KNOBS}
    if r.loss != "dkd":
        idle |= set(DKD_KNOBS)
    if "trained" not in needed_signals(r):
        idle.add("score_subsets")
    if "view_difficulty" not in needed_signals(r):
        idle.add("score_views")
    return idle


def released_table(r: Run) -> tuple[np.ndarray, str]:
    """The published scores (N,) of the training samples, and the SHA-256 of these numbers.

    ValueError for a dataset without file names, and for a table that is missing or does not fit the samples.
    """
    file = Path(r.score_file).expanduser()
    try:
        content = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as problem:
        raise ValueError(f"score_file {file} cannot be read: {problem.strerror}") from problem
    version = content + _dataset(r.dataset, r.validation, 0.0).content_hash
    return _released_table(version, file, r.dataset, r.validation, *(getattr(r, name) for name in TABLE_KNOBS))


@lru_cache(maxsize=8)
def _released_table(version: str, file: Path, dataset: str, validation: bool, *options: Any) -> tuple[np.ndarray, str]:
    """`version`, of the table's and the data's content, tells the cache when to read again."""
    from kdlib.scorers.released import released_scores

    data = _dataset(dataset, validation, 0.0)  # label noise moves no file
    if not data.train_files:
        raise ValueError(
            f"scorer released needs the images' file names, and {dataset} has none; "
            "choose folder:PATH, or put cifar10, cifar100 or svhn as class folders into data/raw/NAME"
        )
    try:
        scores = released_scores(
            file, data.train_files, others=data.other_files, **dict(zip(TABLE_KNOBS, options, strict=True))
        )
    except ValueError as problem:
        raise ValueError(f"score_file {file}: {problem}") from problem
    return scores, hashlib.sha256(scores.tobytes()).hexdigest()


def needed_artefacts(r: Run) -> list[tuple[str, dict]]:
    """(kind, description) of the stored arrays that the run reads: shared ones are best made first, and once."""
    found = []
    if needs_teacher(r):
        teacher = teacher_runs(r).describe(dataset_of(r))
        found += [("full_runs", teacher), ("banks", {**teacher, "views": r.augment})]
    if needs := needed_signals(r):
        from kdlib.training.reference_runs import sources

        found += sources(needs, score_runs(r), dataset_of(r), signal_extras(r)).items()
    return found
