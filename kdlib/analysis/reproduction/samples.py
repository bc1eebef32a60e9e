"""Figures of the papers that show samples and what networks answer for them: runs whose students are kept, and drawings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from kdlib.analysis.plots import reproduction as plots
from kdlib.analysis.plots.accuracy import predictions
from kdlib.analysis.reproduction.figure import Drawn
from kdlib.analysis.reproduction.settings import Place, Setting
from kdlib.experiments.config import Run
from kdlib.experiments.fingerprint import dataset_of, needs_teacher
from kdlib.experiments.groups import NO_KD, Fields, Group, kd
from kdlib.experiments.run import load_student, load_teacher
from kdlib.experiments.samples import sample_scores
from kdlib.losses import RESHAPES, class_std
from kdlib.losses.reshape import row_std
from kdlib.training.evaluate import predict

KEPT: Fields = {"keep_student": True}
GROUPS = ("easy", "medium", "hard")
SHOWN = 10  # samples of a picture
QUARTER, TAU = 0.25, 4.0  # DKDP Fig. 2


def by_seed(r: Run) -> Place:
    """One point for each student: these figures show no accuracy against anything."""
    return Place("student with KD" if needs_teacher(r) else "student", r.fraction)


# ------------------------------------------------------------------------------------ the runs


def two_students(s: Setting) -> list[Group]:
    """A student without and a student with KD on a random quarter of the data."""
    return [Group("students", {"seed": s.seeds[:1], "loss": kd(0.5)}, {**KEPT, "fraction": QUARTER})]


def scored(name: str) -> Callable[[Setting], list[Group]]:
    """A student on the samples that the scorer finds hardest: its scores are what is wanted."""

    def groups(s: Setting) -> list[Group]:
        return [Group("scores", {"seed": s.seeds[:1]}, {**KEPT, **s.scorer(name), **NO_KD, **s.fractions[0]})]

    return groups


def distilled(s: Setting) -> list[Group]:
    """Students with KD on all the data."""
    pair = s.pair("resnet50", "mobilenetv2")
    return [Group("students", {"seed": s.few[:3]}, {**KEPT, **pair, "loss": "kd", "alpha": 0.9, "fraction": 1.0})]


# ------------------------------------------------------------------------------------ the drawings


def answers(drawn: Drawn) -> Figure:
    """The answers of the teacher and of both students for the test image of which the teacher is least certain."""
    plain, taught = sorted(drawn.runs, key=needs_teacher)
    data = dataset_of(taught)
    networks = {
        "teacher": load_teacher(taught, drawn.store),
        "student without KD": load_student(plain, drawn.store),
        "student with KD": load_student(taught, drawn.store),
    }
    soft = {name: F.softmax(predict(net, data.test_x, data) / TAU, dim=1).cpu() for name, net in networks.items()}
    unsure = int(torch.special.entr(soft["teacher"]).sum(1).argmax())
    shown = {name: values[unsure].numpy() for name, values in soft.items()}
    return predictions(data.test_x[unsure].numpy(), shown, data.classes, int(data.test_y[unsure]))


def _scores(drawn: Drawn) -> tuple[Run, np.ndarray]:
    (r,) = drawn.runs
    return r, sample_scores(r, drawn.store)


def _gallery(r: Run, ids: np.ndarray, scores: np.ndarray) -> Figure:
    data = dataset_of(r)
    titles = [f"{data.classes[int(data.train_y[i])]}: {scores[i]:.3g}" for i in ids]
    return plots.gallery([data.train_x[i].numpy() for i in ids], titles)


def hardest(drawn: Drawn) -> Figure:
    """The samples with the highest scores, each with its label and its score."""
    r, scores = _scores(drawn)
    return _gallery(r, np.argsort(-scores, kind="stable")[:SHOWN], scores)


def examples(centre: float) -> Callable[[Drawn], Figure]:
    """Samples around a place in the ranking: 0 the easiest, 0.5 the middle, 1 the hardest."""

    def draw(drawn: Drawn) -> Figure:
        r, scores = _scores(drawn)
        start = round(centre * (len(scores) - SHOWN))
        return _gallery(r, np.argsort(scores, kind="stable")[start : start + SHOWN], scores)

    return draw


def difficulty_groups(logits: Tensor, labels: Tensor) -> dict[str, np.ndarray]:
    """Thirds of the samples by the teacher's cross-entropy, easiest first; logits (N, K), labels (N,)."""
    order = np.argsort(F.cross_entropy(logits, labels, reduction="none").numpy(), kind="stable")
    return dict(zip(GROUPS, np.array_split(order, len(GROUPS)), strict=True))


def accuracy_by_group(logits: Tensor, labels: Tensor, groups: dict[str, np.ndarray]) -> dict[str, float]:
    """Accuracy in percent on each group of samples."""
    right = (logits.argmax(1) == labels).float().numpy()
    return {name: 100 * float(right[ids].mean()) for name, ids in groups.items()}


def training_accuracy(drawn: Drawn) -> Figure:
    """Training accuracy on easy, medium and hard samples of the teacher and of its students."""
    rows = []
    for r in drawn.runs:
        data = dataset_of(r)
        teacher = predict(load_teacher(r, drawn.store), data.train_x, data).cpu()
        student = predict(load_student(r, drawn.store), data.train_x, data).cpu()
        groups = difficulty_groups(teacher, data.train_y)
        for name, logits in (("teacher", teacher), ("student", student)):
            found = accuracy_by_group(logits, data.train_y, groups)
            seed = r.teacher_seed if name == "teacher" else r.seed
            rows += [{"network": name, "group": group, "seed": seed, "value": value} for group, value in found.items()]
    return plots.grouped(pd.DataFrame(rows).drop_duplicates(), GROUPS, "training accuracy (%)")


def reshaping(drawn: Drawn) -> Figure:
    """Logits before and after class-wise reshaping, where their spread is smallest and largest beside their class's."""
    (r,) = drawn.runs
    data = dataset_of(r)
    logits, labels = predict(load_teacher(r, drawn.store), data.train_x, data).cpu(), data.train_y
    usual = class_std(logits, labels, data.num_classes)
    ratio = row_std(logits).squeeze(1) / usual[labels]
    after = RESHAPES["classwise_std"](logits, logits, labels, class_std=usual).teacher
    panels = {}
    for name, i in (("under-confident", int(ratio.argmin())), ("over-confident", int(ratio.argmax()))):
        mean = logits[labels == labels[i]].mean(0)
        label = data.classes[int(labels[i])]
        panels[f"{name}, label {label}"] = {"teacher": logits[i], "reshaped": after[i], "mean of the class": mean}
    return plots.logit_vectors(panels)
