"""What an ImageNet-size experiment is: the settings that decide its outcome, and those of the machine it runs on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from kdlib.imagenet.decoding import DECODERS, UNREADABLE
from kdlib.imagenet.networks import NETWORKS
from kdlib.losses import LOSSES, RESHAPES, WEIGHTINGS
from kdlib.training.recipe import Recipe
from kdlib.utils.calls import call_text, check_options, split_call
from kdlib.utils.errors import choose


def setting(default: Any, help: str) -> Any:
    """A field with its help text, which the command line shows."""
    return field(default=default, metadata={"help": help})


# Fields that name a method, with its options as keyword arguments: (the methods, what the engine supplies to them).
METHODS: dict[str, tuple[Mapping[str, Callable], frozenset[str]]] = {
    "loss": (LOSSES, frozenset({"alpha", "tau", "weighting", "epoch", "hard", "kd_weight"})),
    "reshape": (RESHAPES, frozenset({"class_std"})),
    "weighting": (WEIGHTINGS, frozenset()),
}


@dataclass(frozen=True)
class Settings:
    """One experiment; the names are those of `Run`'s fields wherever the meaning is the same.

    The defaults of the recipe are DKDP's for ImageNet (its supplementary): 240 epochs, batch 128, SGD at 0.1 with
    momentum 0.9 and weight decay 5e-4, cosine. Raises ValueError for unknown names and values out of range.
    """

    dataset: str = setting("imagenet", "name of the dataset in the row")
    student: str = setting("resnet50", f"network to train: {', '.join(NETWORKS)}")
    student_weights: str = setting(
        "", "where the student starts: empty (random), a torchvision name, a .safetensors file"
    )
    teacher: str = setting("resnet50", "frozen network that the student learns from; read only if the loss needs one")
    teacher_weights: str = setting("IMAGENET1K_V1", "weights of the teacher: a torchvision name or a .safetensors file")
    scorer: str = setting("random", "what ranks the images: random, or a column of the score table")
    scores: str = setting("", "score table: a CSV of `imagenet score` or a released one")
    score_high: str = setting("keep", "scores: what a high score means: keep (as for a hard image) or drop")
    score_parts: int = setting(2, "scores: trailing parts of a path that name an image: 1 a.JPEG, 2 n01440764/a.JPEG")
    score_extra: str = setting("error", "scores: rows of files that the folder does not have: error, ignore")
    fraction: float = setting(1.0, "kept fraction f of the training images")
    centre: float = setting(1.0, "window of the ranking: 0 easiest, 0.5 medium, 1 hardest")
    class_balanced: bool = setting(True, "the same fraction of every class")
    kept_file: str = setting("", "CSV of the images to keep, by id or by file name; takes the place of the three above")
    loss: str = setting("kd", f"loss on the logits, options as dkd(non_target_weight=2): {', '.join(LOSSES)}")
    alpha: float = setting(0.5, "weight of the teacher's term")
    tau: float = setting(4.0, "temperature")
    reshape: str = setting("none", f"logit reshaping: {', '.join(RESHAPES)}")
    weighting: str = setting("convex", f"of the two terms, free as free(ce=0.5, kd=0.9): {', '.join(WEIGHTINGS)}")
    epochs: int = setting(240, "passes over the kept images")
    batch_size: int = setting(128, "images in a step, over all devices together")
    lr: float = setting(0.1, "peak learning rate")
    momentum: float = setting(0.9, "SGD momentum")
    weight_decay: float = setting(5e-4, "L2 penalty on every parameter")
    optimiser: str = setting("sgd", "sgd, adamw")
    schedule: str = setting("cosine", "learning rate over time: one_cycle, steps, cosine, constant")
    warmup: float = setting(0.2, "share of the training in which one_cycle rises")
    milestones: tuple[int, ...] = setting((), "epochs after which `steps` divides the rate by 10")
    budget: str = setting("epochs", "epochs: as printed; steps: as many steps as the full data would take")
    precision: str = setting("auto", "auto (bfloat16 on a GPU), float32, bfloat16")
    image_size: int = setting(224, "side of the square that the networks see, in pixels")
    min_crop: float = setting(0.08, "smallest share of an image's area that a training crop covers")
    decode: str = setting("full", f"how JPEGs are decoded: {', '.join(DECODERS)}")
    unreadable: str = setting("skip", f"an image that cannot be read is: {', '.join(UNREADABLE)}")
    seed: int = setting(0, "redraws subset, initial weights, order and crops")

    def __post_init__(self) -> None:
        for name in ("student", "teacher"):
            choose(name, getattr(self, name), NETWORKS)
        for name in METHODS:
            object.__setattr__(self, name, call_text(*self.method(name)))
        if min(self.weights) < 0:
            raise ValueError(f"alpha {self.alpha:g} with weighting {self.weighting} makes a weight negative")
        choose("decode", self.decode, DECODERS)
        choose("unreadable", self.unreadable, dict.fromkeys(UNREADABLE))
        self.recipe(Machine())  # raises what the recipe does not allow
        if not 0 < self.min_crop <= 1 or self.image_size < 32:
            raise ValueError("min_crop must lie in (0, 1] and image_size must be 32 or more")
        if self.scorer != "random" and not (self.scores or self.kept_file):
            raise ValueError(f"scorer {self.scorer!r} needs a table of scores: --scores FILE (see: imagenet score)")
        if self.reshape.startswith("classwise") and not self.scores:
            raise ValueError(f"reshape {self.reshape} needs --scores, the teacher's own table (see: imagenet score)")

    def method(self, name: str) -> tuple[str, dict[str, Any]]:
        """The method that the field `name` names, and its options: ("dkd", {"non_target_weight": 2.0})."""
        entries, supplied = METHODS[name]
        method, options = split_call(getattr(self, name))
        function = choose(name, method, entries)
        return method, check_options(f"{name} {method}", function, options, supplied)

    @property
    def weights(self) -> tuple[float, float]:
        """(weight of the cross-entropy, weight of the teacher's term)."""
        rule, options = self.method("weighting")
        ce, kd = WEIGHTINGS[rule](self.alpha, **options)
        return float(ce), float(kd)

    @property
    def needs_teacher(self) -> bool:
        """Whether the loss reads a teacher."""
        return self.loss != "cross_entropy"

    def recipe(self, machine: Machine) -> Recipe:
        """The recipe of the training, as everywhere in kdlib."""
        shared = {f.name for f in fields(Recipe)} - {"augment"}
        found = {name: getattr(self, name) for name in shared if hasattr(self, name)}
        return Recipe(**found, eval_every=machine.eval_every, compile=machine.compile)


@dataclass(frozen=True)
class Machine:
    """What does not decide the outcome, but for the rounding of sums. No entry of it is part of an experiment's identity."""

    device: str = setting("auto", "auto, cpu, cuda")
    micro_batch: int = setting(
        0, "most images on one device at once (gradients accumulate); 0: the whole share of a step"
    )
    loader_workers: int = setting(
        -1, "decoding processes of each device; -1: its share of the cores on a GPU, none on a CPU"
    )
    compile: bool = setting(False, "torch.compile the networks")
    eval_every: int = setting(1, "epochs between accuracies; the last epoch always has one")
    checkpoint_steps: int = setting(1000, "steps between checkpoints; the end of an epoch always has one")
    log_seconds: float | None = setting(
        None,
        "plain lines of progress, and TensorBoard's scalars, every so many seconds; None: one line, scalars every 5",
    )
    lost_after: float = setting(50.0, "seconds after which a process that does not answer counts as lost")
    tensorboard: str = setting("", "folder for TensorBoard's scalars; needs the extra kdlib[tensorboard]")

    def __post_init__(self) -> None:
        if self.micro_batch < 0 or self.micro_batch == 1:
            raise ValueError("micro_batch must be 0 or at least 2: batch normalisation needs two images")
        if self.checkpoint_steps < 1 or self.eval_every < 1 or self.lost_after <= 0:
            raise ValueError("checkpoint_steps and eval_every must be at least 1, lost_after above 0")


# What the papers train with (DKDP, supplementary; MD, App. A.1 and Sec. 4), and a recipe of about a tenth of their
# cost, which is ours: fewer, smaller images, one cycle.
RECIPES: dict[str, dict[str, Any]] = {
    "dkdp": {},
    "md": {
        "student": "mobilenet", "teacher": "resnet34", "epochs": 100, "batch_size": 256, "lr": 0.1, "weight_decay": 1e-4,
        "schedule": "steps", "milestones": (30, 60, 90), "weighting": "free(ce=0.5, kd=0.9)",
    },
    "budget": {
        "epochs": 18, "batch_size": 256, "lr": 0.2, "weight_decay": 5e-5, "schedule": "one_cycle", "image_size": 160,
        "min_crop": 0.25, "decode": "draft",
    },
}  # fmt: skip


def settings(recipe: str = "dkdp", **changes: Any) -> Settings:
    """The settings of a named recipe with `changes`; ValueError for an unknown recipe or field, naming the nearest."""
    known = {f.name: f for f in fields(Settings)}
    for name in changes:
        choose("setting", name, known)
    return dataclasses.replace(Settings(**choose("recipe", recipe, RECIPES)), **changes)
