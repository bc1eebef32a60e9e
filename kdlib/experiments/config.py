"""The configuration of one experiment: its fields, their valid values, and the sizes of experiment of the lessons."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from kdlib import losses, models
from kdlib.data import augment, datasets
from kdlib.experiments.presets import PRESETS, Preset
from kdlib.scorers import SCORERS
from kdlib.selection import SELECTIONS, selection
from kdlib.training import recipe
from kdlib.training.signals import Recording
from kdlib.utils.calls import call_text, check_options, options_of, options_text, split_call, split_options
from kdlib.utils.construction import names_nearest
from kdlib.utils.devices import check_device_name, processor_has_bfloat16
from kdlib.utils.errors import choose

__all__ = [
    "PRESETS",
    "Preset",
    "Run",
    "as_run",
    "choices",
    "fields_of",
    "method_options",
    "option",
    "recording_of",
]


def option(default: Any, help: str) -> Any:
    """A field with a default and the sentence that the command line and the documentation show."""
    return field(default=default, metadata={"help": help})


STANDARD = recipe.Recipe()  # whose defaults are those of a run
FAST = "fast"  # the precision that a run replaces by one of the recipe's, the fastest on this machine


@names_nearest
@dataclass(frozen=True)
class Run:
    """One experiment: a student, trained on the kept part of a dataset, with or without a teacher.

    Every field is a number, a truth value or a text. A method's own options are written as a call, for example
    `loss="dkd(non_target_weight=2)"`; they are the keyword-only arguments of its function, and options at their default
    are dropped from the text. The trainings of the teacher and of the scored networks follow the student's recipe except
    for what `teacher_recipe` and `score_recipe` set, for example `teacher_recipe="epochs=200, lr=0.01"` (or a dict).

    Raises ValueError for unknown names (with the nearest valid one), wrong types, values out of range, and options that
    contradict each other or would be ignored; TypeError for an unknown field (with the nearest one).
    """

    dataset: str = option("digits", "digits, diabetes, cifar10, cifar100, svhn, or folder:PATH")
    validation: bool = option(False, "hold out a tenth of the training data and test on it, for choosing recipes")
    label_noise: float = option(0.0, "share of training labels replaced by another class, in [0, 1]")
    imbalance: float = option(1.0, "largest class over smallest class of the training data, at least 1")
    student: str = option("mlp", "network of the student")
    teacher: str = option("mlp", "network of the teacher")
    scorer: str = option("random", "difficulty score that ranks the samples")
    fraction: float = option(1.0, "kept fraction f of the training samples, in (0, 1]")
    centre: float | None = option(
        None, "window of the ranking: 1 hardest, 0.5 medium, 0 easiest; None: the scorer's own"
    )
    class_balanced: bool | None = option(None, "keep the fraction f of every class; None: where the selection can")
    selection: str = option("window", "rule from scores to kept samples")
    kept_file: str = option("", "CSV table of the samples to keep, in place of scorer, fraction and selection")
    loss: str = option("kd", "loss on logits; cross_entropy trains without a teacher")
    alpha: float = option(0.5, "KD weight in [0, 1]")
    tau: float = option(4.0, "temperature, above 0")
    weighting: str = option("convex", "convex: (1-alpha) CE + alpha KD; alpha_on_ce; additive: CE + alpha KD; free")
    reshape: str = option("none", "reshaping of the logits before the loss")
    feature_loss: str = option("none", "loss on features or relations, added with weight beta")
    beta: float = option(1.0, "weight of the feature loss, at least 0")
    teacher_fraction: float = option(1.0, "fraction f_t of the data that the teacher was trained on, at least f")
    teacher_file: str = option(
        "",
        "weights of the teacher (.safetensors, .pth, .pt), in place of its training; ours, RepDistiller's, torchvision's",
    )
    teacher_seed: int = option(0, "seed of the teacher's training")
    teacher_recipe: str = option("", "how the teacher's training differs from the student's: epochs=200, lr=0.01")
    score_model: str = option("", "network that is scored; empty: the teacher's")
    score_runs: int = option(1, "trainings that the scores average over (seeds 0, 1, ...)")
    score_recipe: str = option("", "how the scored trainings differ from the student's: augment=none")
    cache_logits: bool = option(True, "keep the teacher's logits of each view (float16); off: compute them anew")
    epochs: int = option(STANDARD.epochs, "passes over the kept samples")
    batch_size: int = option(STANDARD.batch_size, "largest number of samples in a step")
    lr: float = option(STANDARD.lr, "peak learning rate")
    momentum: float = option(STANDARD.momentum, "momentum of SGD, first beta of AdamW")
    weight_decay: float = option(STANDARD.weight_decay, "L2 penalty on every parameter")
    optimiser: str = option(STANDARD.optimiser, "sgd or adamw")
    schedule: str = option(STANDARD.schedule, "learning rate over time")
    warmup: float = option(STANDARD.warmup, "share of the steps in which one_cycle rises")
    milestones: tuple[int, ...] = option(STANDARD.milestones, "epochs after which `steps` divides the rate by 10")
    remainder: str = option(STANDARD.remainder, "even: batch sizes differ by one at most; last: a smaller last batch")
    augment: str = option(STANDARD.augment, "augmentation of the training images")
    augment_seed: int = option(-1, "seed of the views; runs that share it share cached logits; -1: the run's own")
    precision: str = option(
        STANDARD.precision, "auto: bfloat16 on a GPU, else float32; fast: bfloat16 also on a CPU that computes in it"
    )
    compile: bool = option(
        STANDARD.compile, "torch.compile the networks: some percent faster after 10 to 50 s of compiling"
    )
    budget: str = option(STANDARD.budget, "epochs: as printed; steps: as many steps as the full data would take")
    eval_every: int = option(STANDARD.eval_every, "epochs between test accuracies; the last epoch always has one")
    keep_student: bool = option(False, "store the trained student and its curves (load_student gives them back)")
    seed: int = option(0, "redraws subset, initial weights, order, views and label noise")
    device: str = option("auto", "auto, cpu, cuda, cuda:1, ...")

    def __post_init__(self) -> None:
        for name, kind in KINDS:
            object.__setattr__(self, name, _typed(name, kind, getattr(self, name)))
        for name, low, high in RANGES:
            _check_range(name, getattr(self, name), low, high)
        if not self.dataset.startswith("folder:") and self.dataset not in datasets.DATASETS:
            choose("dataset", self.dataset, dict.fromkeys([*datasets.DATASETS, "folder:PATH"]))
        for name in METHODS:
            object.__setattr__(self, name, _method_text(name, getattr(self, name)))
        for name in WORDS:
            choose(name, getattr(self, name), dict.fromkeys(choices(name)))
        if self.precision == FAST:
            object.__setattr__(self, "precision", "bfloat16" if processor_has_bfloat16() else "auto")
        for name in ("student", "teacher", *(("score_model",) if self.score_model else ())):
            models.check_name(getattr(self, name), name)
        self.recipe()
        check_device_name(self.device)
        for name in ("teacher_recipe", "score_recipe"):
            object.__setattr__(self, name, _recipe_text(name, getattr(self, name)))
        _check_together(self)

    def recipe(self) -> recipe.Recipe:
        """How the student is trained; ValueError for values that cannot be."""
        return _recipe(RECIPE_VALUES(self))

    def method(self, name: str) -> tuple[str, dict[str, Any]]:
        """The method that the field `name` names, and its options: ("dkd", {"non_target_weight": 2.0})."""
        return _split(getattr(self, name))

    def __repr__(self) -> str:
        changed = [f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if getattr(self, f.name) != f.default]
        return f"Run({', '.join(changed)})"


KINDS = tuple((f.name, str(f.type)) for f in fields(Run))
RECIPE_FIELDS = tuple(f.name for f in fields(recipe.Recipe))
RECIPE_VALUES = operator.attrgetter(*RECIPE_FIELDS)


@functools.lru_cache(maxsize=1024)
def _recipe(values: tuple) -> recipe.Recipe:
    """The runs of a sweep have few recipes, and each is asked for many times."""
    return recipe.Recipe(**dict(zip(RECIPE_FIELDS, values, strict=True)))


INF = math.inf
# Ranges are closed, but for the fields in OPEN_BELOW, whose lower end is excluded.
OPEN_BELOW = {"fraction", "tau", "teacher_fraction", "lr"}
RANGES: list[tuple[str, float, float]] = [
    ("label_noise", 0, 1), ("imbalance", 1, INF), ("fraction", 0, 1), ("centre", 0, 1), ("alpha", 0, INF), ("tau", 0, 1e6),
    ("beta", 0, INF), ("teacher_fraction", 0, 1), ("teacher_seed", 0, INF), ("score_runs", 1, 1000), ("epochs", 1, 10**6),
    ("batch_size", 1, INF), ("lr", 0, INF), ("momentum", 0, 0.9999), ("weight_decay", 0, INF), ("warmup", 0, 0.99),
    ("augment_seed", -1, INF), ("eval_every", 1, INF), ("seed", 0, INF),
]  # fmt: skip


def _all_losses() -> dict[str, Callable]:
    return {**losses.LOSSES, **losses.REGRESSION_LOSSES}


# Fields that name a method with options of its own: (the methods, what the engine supplies to each of them).
METHODS: dict[str, tuple[Callable[[], Mapping[str, Any]], frozenset[str]]] = {
    "scorer": (lambda: SCORERS, frozenset()),
    "selection": (lambda: SELECTIONS, frozenset({"centre", "labels", "signals", "epochs", "rng"})),
    "loss": (_all_losses, frozenset({"alpha", "tau", "weighting", "epoch", "hard", "kd_weight"})),
    "weighting": (lambda: losses.WEIGHTINGS, frozenset()),
    "reshape": (lambda: losses.RESHAPES, frozenset({"class_std"})),
    "feature_loss": (lambda: losses.FEATURE_LOSSES, frozenset({"num_samples", "num_classes", "seed"})),
}
WORDS: dict[str, Callable[[], Mapping[str, Any] | tuple[str, ...]]] = {
    "optimiser": lambda: recipe.OPTIMISERS,
    "schedule": lambda: recipe.SCHEDULES,
    "remainder": lambda: recipe.REMAINDERS,
    "augment": lambda: augment.AUGMENTATIONS,
    "precision": lambda: (*recipe.PRECISIONS, FAST),
    "budget": lambda: recipe.BUDGETS,
}


def choices(name: str) -> tuple[str, ...]:
    """The valid words of a field, in the order of their registry; empty for a field that takes no word."""
    if name in ("student", "teacher", "score_model"):
        return tuple(models.MODELS)
    if name == "dataset":
        return (*datasets.DATASETS, "folder:PATH")
    if name in METHODS:
        found = tuple(METHODS[name][0]())
        return ("none", *found) if name == "feature_loss" else found
    return tuple(WORDS[name]()) if name in WORDS else ()


def method_options(name: str, method: str) -> dict[str, Any]:
    """The options of a method with their defaults, such as `method_options("loss", "dkd")`."""
    entries, supplied = METHODS[name]
    return {} if method == "none" and name == "feature_loss" else options_of(_function(entries()[method]), supplied)


def _function(entry: Any) -> Callable:
    """The function of a registry's entry, whose signature names the options."""
    return getattr(entry, "signature_of", getattr(entry, "fn", entry))


@functools.lru_cache(maxsize=1024)
def _split(text: str) -> tuple[str, dict[str, Any]]:
    return split_call(text)


def _method_text(name: str, text: str) -> str:
    method, options = _split(text)
    entries, supplied = METHODS[name]
    none = name == "feature_loss" and method == "none"
    if not none and method not in entries():
        choose(name, method, dict.fromkeys(choices(name)))
    if not options:
        return method
    if none:
        return call_text(method, check_options(method, lambda: None, options))
    return call_text(method, check_options(f"{name} {method}", _function(entries()[method]), options, supplied))


def _recipe_text(name: str, text: str | Mapping[str, Any]) -> str:
    """The canonical text of a recipe's differences; ValueError for an unknown field or a value that does not fit."""
    if not text:
        return ""
    given = split_options(text) if isinstance(text, str) else dict(text)
    kinds = {f.name: str(f.type) for f in fields(recipe.Recipe)}
    for key, value in given.items():
        given[key] = _typed(f"{name} {key}", choose(f"field of {name}", key, kinds), value)
    if set(given) & {"budget", "compile"}:
        raise ValueError(f"{name} cannot set budget or compile: these trainings always count epochs")
    try:
        recipe.Recipe(**given)
    except ValueError as problem:
        raise ValueError(f"{name}: {problem}") from None
    return options_text(given)


def _typed(name: str, kind: str, value: Any) -> Any:
    """`value` as the field's type, or a ValueError that says what was wanted; 1 is a fine float, True is no int."""
    if kind == type(value).__name__ and kind != "float":  # nearly all values, and a sweep has millions
        return value
    if isinstance(value, np.generic):
        value = value.item()
    if value is None and "None" in kind:
        return None
    kind = kind.removesuffix(" | None")
    if kind == "tuple[int, ...]" and isinstance(value, list | tuple) and all(type(v) is int for v in value):
        return tuple(value)
    if kind == "float" and isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    if kind == "str" and isinstance(value, Mapping) and name.endswith("recipe"):
        return value
    if {"int": int, "str": str, "bool": bool}.get(kind) is type(value):
        return value
    raise ValueError(f"{name} must be {'a list of int' if kind.startswith('tuple') else kind}, got {value!r}")


def _check_range(name: str, value: float | None, low: float, high: float) -> None:
    inside = value is None or (low < value <= high if name in OPEN_BELOW else low <= value <= high)
    if not inside:
        left = "(" if name in OPEN_BELOW else "["
        raise ValueError(f"{name} must lie in {left}{low:g}, {high:g}], got {value:g}")


def _check_together(r: Run) -> None:
    """Fields that are fine alone but not together."""
    _check_regression(r)
    if r.weighting.startswith("free") and r.alpha != Run.alpha:
        raise ValueError("weighting free sets both weights itself, and alpha would be ignored; leave alpha out")
    if r.alpha > 1 and r.weighting != "additive":
        raise ValueError(f"alpha must lie in [0, 1] with weighting {r.weighting}, got {r.alpha:g}")
    if r.feature_loss != "none" and r.loss == "cross_entropy":
        raise ValueError("a feature loss needs a teacher: take loss kd (alpha 0 leaves the logits' term out)")
    if r.teacher_fraction < r.fraction:
        raise ValueError(
            f"teacher_fraction {r.teacher_fraction:g} is below fraction {r.fraction:g}: the teacher's samples contain "
            "the student's"
        )
    if r.teacher_file and (r.teacher_seed, r.teacher_fraction, r.teacher_recipe) != (0, 1.0, ""):
        raise ValueError(
            "teacher_file holds a trained teacher; leave teacher_seed, teacher_fraction, teacher_recipe out"
        )
    if r.kept_file and (r.scorer, r.fraction, r.selection) != ("random", 1.0, "window"):
        raise ValueError("kept_file names the kept samples; leave scorer, fraction and selection out")
    _check_selection(r)
    recording_of(r)


def recording_of(r: Run) -> Recording:
    """How signals are recorded, by those options of the scorer that say so; ValueError for options that cannot work."""
    known = {f.name for f in fields(Recording)}
    options = {name: value for name, value in r.method("scorer")[1].items() if name in known}
    return Recording(**options, augment=r.augment)


def _check_regression(r: Run) -> None:
    classes, rule = r.scorer != "random" or r.imbalance > 1 or r.reshape != "none", selection(r.method("selection")[0])
    if r.method("loss")[0] in losses.REGRESSION_LOSSES and (classes or r.label_noise or rule.needs or rule.by_class):
        needed = "scorer random, label_noise 0, imbalance 1, reshape none, selection window"
        raise ValueError(f"loss {r.loss} is for regression, which has no classes: {needed}")


def _check_selection(r: Run) -> None:
    """A selection is told only what it heeds."""
    rule, options = r.method("selection")
    entry = selection(rule)
    for name, argument in (("centre", "centre"), ("class_balanced", "labels")):
        if getattr(r, name) is not None and argument not in entry.arguments:
            raise ValueError(f"selection {rule} does not heed {name}; leave it out or choose selection window")
    if entry.by_class and r.class_balanced is False:
        raise ValueError(f"selection {rule} shares the samples out to classes; leave class_balanced out")
    if entry.dynamic and r.scorer != "random":
        raise ValueError(f"selection {rule} goes by the losses of the training itself, not by scorer {r.scorer}")
    if entry.dynamic and r.feature_loss != "none":
        raise ValueError(f"selection {rule} weighs samples one by one and cannot be combined with a feature loss")
    entry.check(r.fraction, **options)


def fields_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `Run` among the columns of a row."""
    return {f.name: row[f.name] for f in fields(Run) if f.name in row}


def as_run(given: Run | Mapping[str, Any]) -> Run:
    """A `Run`, made from a dict where one is given; ValueError names an unknown field's nearest match."""
    if isinstance(given, Run):
        return given
    if not isinstance(given, Mapping):
        raise ValueError(f"expected a Run or a dict of its fields, got {type(given).__name__}")
    known = {f.name: f for f in fields(Run)}
    for name in given:
        choose("field of Run", name, known)
    return Run(**given)
