"""What a run's students share: the loss on logits, and the teacher with its cached logits and its feature loss."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from kdlib.data.augment import normalise
from kdlib.data.core import Dataset
from kdlib.experiments.config import Run
from kdlib.experiments.fingerprint import dataset_of, teacher_runs
from kdlib.experiments.samples import workshop
from kdlib.losses import FEATURE_LOSSES, LOSSES, REGRESSION_LOSSES, WEIGHTINGS
from kdlib.losses.reshape import class_std, logit_loss
from kdlib.models import build
from kdlib.store.artefacts import Store
from kdlib.training.evaluate import predict
from kdlib.training.logit_cache import LogitCache, cache_folder
from kdlib.training.loop import FeatureTerm
from kdlib.training.reference_runs import model_of, networks
from kdlib.utils import seeds
from kdlib.utils.calls import accepted, accepts, options_of


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
        supplied: dict[str, Any] = {
            "alpha": self.run.alpha,
            "tau": self.run.tau,
            "weighting": self.weights,
            "epoch": self.epoch,
        }
        supplied |= {"loss": self.name, "reshape": self.reshape, "reshape_options": self.reshape_options}
        return logit_loss(student, teacher, labels, class_std=self.class_std, **supplied, **self.options)

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
