"""What identifies a run: the data's content, the fields that are active and not at their default, and the code.

A description is a dict. A store names an entry by the description without `rules`, the digest of the code, so that it can
tell how many rows it holds that other code made.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from kdlib import losses
from kdlib.data import datasets
from kdlib.data.augment import AUGMENTATIONS
from kdlib.data.core import Dataset
from kdlib.data.tables import read_scores
from kdlib.experiments.config import METHODS, Run, recording_of
from kdlib.experiments.rules import digest
from kdlib.models import MODELS
from kdlib.scorers import SCORERS, Scorer
from kdlib.scorers.released import released_scores
from kdlib.selection import SELECTIONS, Selection
from kdlib.training.logit_cache import LogitCache
from kdlib.training.loop import train_batched
from kdlib.training.recipe import OPTIMISERS, SCHEDULES, Recipe, precision_used
from kdlib.training.reference_runs import ReferenceRuns
from kdlib.training.signals import MAKERS, Recording
from kdlib.utils.calls import split_options
from kdlib.utils.devices import resolve_device


def dataset_of(r: Run) -> Dataset:
    """The run's data: loaded, with the validation split, the imbalance and the label noise that it asks for.

    Imbalance and noise are drawn from the run's seed.
    """
    return loaded_dataset(*data_fields(r))


def data_fields(r: Run) -> tuple[str, bool, float, float, int]:
    """What the run's data depend on: the arguments of `loaded_dataset`."""
    seed = r.seed if r.label_noise or r.imbalance > 1 else 0
    return r.dataset, r.validation, r.imbalance, r.label_noise, seed


@functools.lru_cache(maxsize=8)
def loaded_dataset(name: str, validation: bool, imbalance: float, label_noise: float, seed: int) -> Dataset:
    """`dataset_of` any run of these `data_fields`."""
    loaded = datasets.load(name)
    if validation:
        loaded = datasets.with_validation(loaded)
    if imbalance > 1:
        loaded = datasets.with_imbalance(loaded, datasets.imbalance_rates(loaded.num_classes, imbalance), seed)
    return datasets.with_label_noise(loaded, label_noise, seed) if label_noise else loaded


# -- what a run needs


def student_recipe(r: Run) -> Recipe:
    """How the student is trained."""
    return r.recipe()


@functools.lru_cache(maxsize=1024)
def _reference_recipe(student: Recipe, changes: str) -> Recipe:
    """The student's recipe with the changes, always counted in epochs."""
    changed: dict[str, Any] = {"budget": "epochs", **split_options(changes)}
    if "milestones" in changed:
        changed["milestones"] = tuple(changed["milestones"])
    return dataclasses.replace(student, **changed)


def teacher_runs(r: Run) -> ReferenceRuns:
    """Which training the teacher comes from.

    At f_t < 1 it is trained on what the run's own rule keeps at f_t, so that its samples contain the student's. A teacher
    from a file has no training of ours; the content of the file stands in its place.
    """
    if r.teacher_file:
        return ReferenceRuns(r.teacher, Recipe(), samples=json.dumps({"weights": file_digest(r.teacher_file)}))
    recipe = _reference_recipe(student_recipe(r), r.teacher_recipe)
    samples = ""
    if r.teacher_fraction < 1:
        samples = json.dumps({**_selection_fields(r), "fraction": r.teacher_fraction, "seed": r.seed}, sort_keys=True)
    return ReferenceRuns(
        r.teacher, recipe, (r.teacher_seed,), samples=samples, rules=_reference_rules(r.teacher, recipe)
    )


def scored_runs(r: Run) -> ReferenceRuns:
    """Which trainings the scores come from: the run's teacher, or networks that are trained to be scored."""
    if scorer_of(r).of == "teacher":
        found = teacher_runs(r)
        return found if r.teacher_file else dataclasses.replace(found, samples="")
    name, recipe = r.score_model or r.teacher, _reference_recipe(student_recipe(r), r.score_recipe)
    seeds = tuple(range(r.score_runs))
    return ReferenceRuns(name, recipe, seeds, role="scored", rules=_reference_rules(name, recipe))


def needs_teacher(r: Run) -> bool:
    """Whether anything of the teacher enters the student's training."""
    return r.loss != "cross_entropy" and not (r.loss == "squared_error" and r.alpha == 0)


def needs_scores(r: Run) -> bool:
    """Whether the kept samples depend on scores: at f = 1 and with a dynamic selection they do not."""
    return r.scorer != "random" and r.fraction < 1 and not rule_of(r).dynamic


def scorer_of(r: Run) -> Scorer:
    """The scorer that ranks the run's samples."""
    return SCORERS[r.method("scorer")[0] if needs_scores(r) else "random"]


def rule_of(r: Run) -> Selection:
    """The rule from scores to kept samples."""
    entry = SELECTIONS[r.method("selection")[0]]
    return entry if isinstance(entry, Selection) else _static(entry)


@functools.lru_cache(maxsize=64)
def _static(rule: Callable[..., Any]) -> Selection:
    return Selection(rule)


def scorer_options(r: Run) -> dict[str, Any]:
    """The options of the scorer, where scores are needed."""
    return r.method("scorer")[1] if needs_scores(r) else {}


def needed_signals(r: Run) -> tuple[str, ...]:
    """The fields of `Signals` that the choice of samples reads and that trainings leave behind."""
    needs = scorer_of(r).needed(**needs_options(r))
    rule = rule_of(r).needs if r.fraction < 1 else ()
    return tuple(dict.fromkeys(need for need in (*needs, *rule) if need != "released"))


def needs_options(r: Run) -> dict[str, Any]:
    """The options of the scorer on which it depends what signals it needs."""
    return scorer_options(r) if callable(scorer_of(r).needs) else {}


def recording(r: Run) -> Recording:
    """How signals are recorded, where scores are needed."""
    return recording_of(r) if needs_scores(r) else Recording(augment=r.augment)


def released_table(r: Run) -> tuple[np.ndarray, str]:
    """The published scores (N,) of the training samples, and the SHA-256 of these numbers.

    A dataset without file names takes a table with the columns `row` and `score`, which `export scores` writes. ValueError
    for a table that is missing or does not fit the samples.
    """
    options = dict(scorer_options(r))
    if not options.get("file"):
        raise ValueError('scorer released needs a table: scorer="released(file=PATH.csv)"')
    file = Path(options.pop("file")).expanduser()
    try:
        content = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as problem:
        raise ValueError(f"the score table {file} cannot be read: {problem.strerror}") from problem
    return _released_table(content, file, dataset_of(r), tuple(sorted(options.items())))


@functools.lru_cache(maxsize=8)
def _released_table(content: str, file: Path, data: Dataset, options: tuple) -> tuple[np.ndarray, str]:
    """`content` tells the cache when to read again."""
    if not data.train_files and options:
        raise ValueError(
            f"scorer released needs the images' file names for {options[0][0]}, and {data.name} has none; "
            "give a table with the columns row and score (export scores writes one)"
        )
    try:
        if data.train_files:
            scores = released_scores(file, data.train_files, others=data.other_files, **dict(options))
        else:
            scores = read_scores(file, data)
    except ValueError as problem:
        raise ValueError(f"score table {file}: {problem}") from problem
    return scores, hashlib.sha256(scores.tobytes()).hexdigest()


def file_digest(name: str) -> str:
    """SHA-256 of a file's content, read again when it has changed; ValueError where it cannot be read."""
    path = Path(name).expanduser()
    try:
        about = path.stat()
        return _content_digest(path.resolve(), about.st_mtime_ns, about.st_size)
    except OSError as problem:
        raise ValueError(f"{name} cannot be read: {problem.strerror}; give the path of a file") from problem


@functools.lru_cache(maxsize=64)
def _content_digest(path: Path, changed: int, size: int) -> str:
    """A sweep asks for the same file once for each of its runs; when it was changed and its size tell whether it is."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


# -- descriptions

# Fields that a description says in another way, or that change no result.
ELSEWHERE = {
    "dataset", "validation", "label_noise", "imbalance", "device", "compile", "eval_every", "keep_student", "precision",
    "teacher", "teacher_fraction", "teacher_file", "teacher_seed", "teacher_recipe", "score_model", "score_runs",
    "score_recipe", "kept_file", "scorer", "centre", "class_balanced", "selection", "fraction",
}  # fmt: skip
OF_THE_TEACHER = {"alpha", "tau", "weighting", "reshape", "cache_logits"}
ACTIVE = [(f.name, f.default) for f in fields(Run) if f.name not in ELSEWHERE | {f.name for f in fields(Recipe)}]


def describe(r: Run) -> dict:
    """What identifies the run's row in a store: the data's content, `in_effect`, and the code."""
    return {"data": dataset_of(r).content_hash, **in_effect(r), "rules": rules_of(r)}


def in_effect(r: Run) -> dict[str, Any]:
    """The fields that can change the outcome and are not at their default; needs no dataset, but for a score table."""
    found = {**_active(r), **_selection_fields(r)}
    found["precision"] = precision_used(r.precision, resolve_device(r.device))
    if r.fraction < 1:
        found["fraction"] = r.fraction
    if r.kept_file:
        found["kept"] = file_digest(r.kept_file)
    if needs_teacher(r):
        found["teacher"] = teacher_runs(r).identity(resolve_device(r.device))
    return found


def _active(r: Run) -> dict[str, Any]:
    """The fields that can change the outcome and are not at their default."""
    idle = set() if needs_teacher(r) else set(OF_THE_TEACHER)
    idle |= {"beta"} if r.feature_loss == "none" else set()
    idle |= {"augment_seed"} if AUGMENTATIONS[r.augment] == AUGMENTATIONS["none"] else set()
    asked = vars(r)
    changed = {name: asked[name] for name, default in ACTIVE if asked[name] != default and name not in idle}
    return {**changed, **student_recipe(r).active()}


def _selection_fields(r: Run) -> dict[str, Any]:
    """What the choice of samples depends on, besides the fraction and the seed."""
    if r.fraction == 1 and not rule_of(r).dynamic:
        return {}
    found: dict[str, Any] = {"selection": r.selection} if r.selection != "window" else {}
    if needs_scores(r):
        found["scorer"] = r.scorer
        if "centre" in rule_of(r).arguments:
            found["centre"] = centre_of(r)
        if r.method("scorer")[0] == "released":
            found |= {"scorer": "released", "score_table": released_table(r)[1]}
    if "labels" in rule_of(r).arguments and r.class_balanced is False:
        found["class_balanced"] = False
    if needed_signals(r):
        found["scored"] = scored_runs(r).identity(resolve_device(r.device))
    return found


def centre_of(r: Run) -> float:
    """The centre of the window: the run's, or the scorer's own."""
    return scorer_of(r).centre if r.centre is None else r.centre


# -- code


def rules_of(r: Run) -> str:
    """Digest of the code that decides the run's outcome: 12 hexadecimal digits."""
    methods = tuple((name, r.method(name)[0]) for name in METHODS)
    signals = needed_signals(r)
    networks = [(r.student, student_recipe(r))]
    if needs_teacher(r):
        networks.append((r.teacher, teacher_runs(r).recipe))
    if signals:
        networks.append((scored_runs(r).model, scored_runs(r).recipe))
    roots = [_entry(name, method) for name, method in methods if _is_active(r, name)]
    roots += [MAKERS[need] for need in signals] + ([LogitCache] if needs_teacher(r) else [])
    return digest(*roots, *(root for network in networks for root in _training_roots(*network)))


def _is_active(r: Run, name: str) -> bool:
    if name == "scorer":
        return needs_scores(r)
    if name in ("weighting", "reshape", "feature_loss"):
        return needs_teacher(r)
    return True


def _entry(name: str, method: str) -> Any:
    entries = METHODS[name][0]()
    return entries.get(method, method)


def _training_roots(model: str, recipe: Recipe) -> tuple[Any, ...]:
    methods = (OPTIMISERS[recipe.optimiser], SCHEDULES[recipe.schedule], AUGMENTATIONS[recipe.augment])
    return (train_batched, MODELS.get(model, model), *methods)


def _reference_rules(model: str, recipe: Recipe) -> str:
    return digest(ReferenceRuns, losses.cross_entropy, *_training_roots(model, recipe))
