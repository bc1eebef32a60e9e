"""The knobs of an experiment, their valid values, and the sizes of experiment that the lessons come in.

Importing this room costs nothing: what a knob may be called is read from the registries when a `Run` is made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any

from kdlib.utils.errors import choose


def knob(default: Any, help: str) -> Any:
    """A field with a default and the sentence that the command line and the documentation show."""
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Run:
    """Every knob of one experiment. Unknown names, wrong types and values out of range raise before anything is trained."""

    dataset: str = knob("digits", "digits, cifar10, cifar100, svhn, or folder:PATH")
    validation: bool = knob(False, "hold out a tenth of the training data and test on it, for choosing recipes")
    label_noise: float = knob(0.0, "share of training labels replaced by another class, in [0, 1]")
    student: str = knob("mlp", "network of the student")
    teacher: str = knob("mlp", "network of the teacher")
    scorer: str = knob("random", "difficulty score that ranks the samples")
    fraction: float = knob(1.0, "kept fraction f of the training samples, in (0, 1]")
    centre: float = knob(1.0, "window of the difficulty ranking: 1 hardest, 0.5 medium, 0 easiest")
    class_balanced: bool = knob(True, "keep the fraction f of every class")
    selection: str = knob(
        "window", "rule from scores to kept samples: window, ccs (stratified), infobatch (each epoch anew)"
    )
    hard_cut: float = knob(
        0.1, "selection ccs: share of all samples, the hardest by AUM, that is dropped first, in [0, 1)"
    )
    loss: str = knob("kd", "loss on logits; cross_entropy trains without a teacher")
    alpha: float = knob(0.5, "KD weight in [0, 1]")
    tau: float = knob(4.0, "temperature, above 0")
    dkd_target_weight: float = knob(1.0, "loss dkd: weight of the target class's part, at least 0")
    dkd_non_target_weight: float = knob(8.0, "loss dkd: weight of the other classes' part, at least 0")
    dkd_warmup_epochs: float = knob(20.0, "loss dkd: epochs over which its KD term rises to full weight; 0: at once")
    reshape: str = knob("none", "reshaping of the logits before the loss")
    feature_loss: str = knob("none", "loss on features or relations, added with weight beta")
    beta: float = knob(1.0, "weight of the feature loss, at least 0")
    weighting: str = knob("convex", "convex: (1-alpha) CE + alpha KD; alpha_on_ce; additive: CE + alpha KD")
    teacher_fraction: float = knob(1.0, "fraction f_t of the data that the teacher was trained on, in (0, 1]")
    teacher_seed: int = knob(0, "seed of the teacher's training")
    teacher_epochs: int = knob(0, "epochs of the teacher's training; 0: as many as the student's")
    bank: bool = knob(True, "remember the teacher's logits for each view (float16); off: compute them anew")
    score_model: str = knob("", "network that is scored; empty: the teacher's")
    score_runs: int = knob(1, "trainings that the scores average over (seeds 0, 1, ...)")
    score_epochs: int = knob(0, "epochs of the scored trainings; 0: as many as the teacher's")
    score_augment: str = knob("none", "augmentation of the scored trainings")
    score_views: int = knob(
        0, "scorer difficulty: views of `augment` that each sample's score averages over; 0: the clean image"
    )
    score_subsets: int = knob(10, "scorer memorization: subset models for each of `score_runs` seeds, at least 2")
    score_file: str = knob("", "scorer released: CSV table with one row for each training image's file")
    score_image: str = knob("", "score_file: column of the file names; empty: the only one that can be meant")
    score_column: str = knob("", "score_file: column of the scores; empty: the only one that can be meant")
    score_high: str = knob("keep", "score_file: what a high score means: keep (as for a hard sample) or drop")
    score_parts: int = knob(1, "score_file: trailing parts of a path that name an image: 1 a.png, 2 cat/a.png")
    score_extra: str = knob("error", "score_file: rows of files that the dataset does not have: error, ignore")
    epochs: int = knob(60, "passes over the kept samples")
    batch_size: int = knob(64, "samples in a step")
    lr: float = knob(0.05, "peak learning rate")
    momentum: float = knob(0.9, "SGD momentum")
    weight_decay: float = knob(5e-4, "L2 penalty on every parameter")
    schedule: str = knob("one_cycle", "learning rate over time: one_cycle, steps, constant")
    warmup: float = knob(0.2, "share of the steps in which one_cycle rises")
    milestones: tuple[int, ...] = knob((), "epochs after which `steps` divides the rate by 10")
    augment: str = knob("none", "none, crop, crop_flip")
    augment_seed: int = knob(-1, "seed of the views; runs that share it share the bank's entries; -1: the run's own")
    precision: str = knob("auto", "auto (bfloat16 on a GPU), float32, bfloat16 (fast on CPUs with AVX512-BF16 or AMX)")
    compile: bool = knob(False, "torch.compile the networks: some percent faster after 10 to 50 s of compiling")
    budget: str = knob("epochs", "epochs: as printed; steps: as many steps as the full data would take")
    eval_every: int = knob(1, "epochs between test accuracies; the last epoch always has one")
    seed: int = knob(0, "redraws subset, initial weights, order and views")
    device: str = knob("auto", "auto, cpu, cuda")

    def __post_init__(self) -> None:
        for f in fields(self):
            object.__setattr__(self, f.name, _typed(f.name, str(f.type), getattr(self, f.name)))
        for name, low, high in RANGES:
            value = getattr(self, name)
            inside = low < value <= high if name in OPEN_BELOW else low <= value <= high
            if not inside:
                left = "(" if name in OPEN_BELOW else "["
                raise ValueError(f"{name} must lie in {left}{low:g}, {high:g}], got {value:g}")
        if not self.dataset.startswith("folder:"):
            choose("dataset", self.dataset, dict.fromkeys([*names("dataset"), "folder:PATH"]))
        for name in NAMED:
            value = getattr(self, name)
            if not (name == "score_model" and value == ""):
                choose(name, value, dict.fromkeys(names(name)))
        self._check_together()

    def _check_together(self) -> None:
        """Knobs that are fine alone but not together."""
        if (self.dataset == "diabetes") != (self.loss in names("regression_loss")):
            fitting = ", ".join(names("regression_loss") if self.dataset == "diabetes" else names("class_loss"))
            raise ValueError(f"loss {self.loss} does not fit dataset {self.dataset}; choose one of: {fitting}")
        if self.dataset == "diabetes" and (
            self.scorer != "random" or self.label_noise or self.reshape != "none" or self.selection == "ccs"
        ):
            raise ValueError("diabetes is regression: scorer random, label_noise 0, reshape none and no selection ccs")
        self._check_scorer()
        if self.selection == "ccs" and self.fraction + self.hard_cut > 1 and self.fraction < 1:
            raise ValueError(f"hard_cut {self.hard_cut:g} leaves fewer samples than fraction {self.fraction:g} keeps")
        if self.alpha > 1 and self.weighting != "additive":
            raise ValueError(f"alpha must lie in [0, 1] with weighting {self.weighting}, got {self.alpha:g}")
        if self.feature_loss != "none" and self.loss == "cross_entropy":
            raise ValueError("a feature loss needs a teacher: take loss kd (alpha 0 leaves the logits' term out)")
        if self.selection == "infobatch" and self.feature_loss != "none":
            raise ValueError("selection infobatch weighs samples one by one and cannot be combined with a feature loss")

    def _check_scorer(self) -> None:
        """The scorer and the knobs that only some scorers have."""
        if self.score_views and self.scorer not in names("view_scorer"):
            fitting = ", ".join(names("view_scorer"))
            raise ValueError(f"score_views does not apply to scorer {self.scorer}; it does to: {fitting}")
        if self.score_views and self.augment == "none":
            fitting = ", ".join(name for name in names("augment") if name != "none")
            raise ValueError(f"score_views needs more views than augment none has; choose one of: {fitting}")
        if self.scorer == "released" and not self.score_file:
            raise ValueError("scorer released needs score_file, a CSV table with one row for each training image")


OPEN_BELOW = {"fraction", "tau", "teacher_fraction", "lr"}
INF = math.inf
RANGES: list[tuple[str, float, float]] = [
    ("label_noise", 0, 1), ("fraction", 0, 1), ("centre", 0, 1), ("hard_cut", 0, 0.99),
    ("alpha", 0, INF), ("tau", 0, INF), ("beta", 0, INF),
    ("dkd_target_weight", 0, INF), ("dkd_non_target_weight", 0, INF), ("dkd_warmup_epochs", 0, INF),
    ("teacher_fraction", 0, 1), ("teacher_seed", 0, INF), ("teacher_epochs", 0, INF), ("score_runs", 1, INF),
    ("score_views", 0, INF), ("score_subsets", 2, INF), ("score_parts", 1, INF),
    ("score_epochs", 0, INF), ("epochs", 1, INF), ("batch_size", 1, INF), ("lr", 0, INF), ("momentum", 0, 0.9999),
    ("weight_decay", 0, INF), ("warmup", 0, 0.99), ("augment_seed", -1, INF), ("eval_every", 1, INF), ("seed", 0, INF),
]  # fmt: skip


def _typed(name: str, kind: str, value: Any) -> Any:
    """`value` as the field's type, or a ValueError that says what was wanted; 1 is a fine float, True is no int."""
    if kind == "tuple[int, ...]" and isinstance(value, list | tuple) and all(type(v) is int for v in value):
        return tuple(value)
    if kind == "float" and isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    if {"int": int, "str": str, "bool": bool}.get(kind) is type(value):
        return value
    raise ValueError(f"{name} must be {'a list of int' if kind.startswith('tuple') else kind}, got {value!r}")


SELECTIONS = ("window", "ccs", "infobatch")
DEVICES = ("auto", "cpu", "cuda")
NAMED = (
    "student", "teacher", "score_model", "scorer", "selection", "loss", "reshape", "feature_loss", "weighting",
    "schedule", "augment", "score_augment", "score_high", "score_extra", "precision", "budget", "device",
)  # fmt: skip


@lru_cache
def names(knob_name: str) -> tuple[str, ...]:
    """The valid values of a knob that takes a name: read from the registries, so that a new entry is known everywhere."""
    from kdlib import losses, models, scorers
    from kdlib.data import augment as views
    from kdlib.data import datasets as data
    from kdlib.training import recipe

    return {
        "dataset": tuple(data.DATASETS),
        "student": tuple(models.MODELS), "teacher": tuple(models.MODELS), "score_model": tuple(models.MODELS),
        "scorer": tuple(scorers.SCORERS), "view_scorer": tuple(scorers.VIEW_SCORERS),
        "score_high": ("keep", "drop"), "score_extra": ("error", "ignore"), "selection": SELECTIONS,
        "loss": (*losses.LOSSES, *losses.REGRESSION_LOSSES), "class_loss": tuple(losses.LOSSES),
        "regression_loss": tuple(losses.REGRESSION_LOSSES), "reshape": tuple(losses.RESHAPES),
        "feature_loss": ("none", *losses.FEATURE_LOSSES), "weighting": tuple(losses.logits.WEIGHTINGS),
        "schedule": tuple(recipe.SCHEDULES), "augment": tuple(views.AUGMENTATIONS),
        "score_augment": tuple(views.AUGMENTATIONS), "precision": tuple(recipe.PRECISIONS),
        "budget": ("epochs", "steps"), "device": DEVICES,
    }[knob_name]  # fmt: skip


@dataclass(frozen=True)
class Preset:
    """A size of experiment: fixed knobs, the seeds and the kept fractions of a figure."""

    fixed: dict[str, Any]
    seeds: tuple[int, ...]
    fractions: tuple[float, ...]


PRESETS: dict[str, Preset] = {
    "smoke": Preset({"dataset": "digits", "epochs": 4}, (0, 1), (0.1, 0.5)),
    "class": Preset({"dataset": "digits", "epochs": 60, "score_runs": 5}, tuple(range(10)), (0.02, 0.05, 0.1, 0.2, 0.4, 0.7)),
    "laptop": Preset(
        {
            "dataset": "cifar100", "student": "resnet8", "teacher": "resnet8", "epochs": 10, "batch_size": 32, "lr": 0.1,
            "augment": "crop_flip", "score_augment": "crop_flip", "augment_seed": 0, "eval_every": 5,
        },
        (0, 1, 2),
        (0.05, 0.1, 0.3),
    ),
    "paper": Preset(
        {
            "dataset": "cifar100", "student": "resnet32", "teacher": "resnet32", "epochs": 240, "batch_size": 64, "lr": 0.05,
            "schedule": "steps", "milestones": (150, 180, 210), "augment": "crop_flip", "score_augment": "crop_flip",
            "tau": 4.0, "alpha": 0.5, "augment_seed": 0, "eval_every": 10,
        },
        (0, 1, 2),
        (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    ),
}  # fmt: skip
