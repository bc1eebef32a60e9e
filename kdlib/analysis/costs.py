"""What a run costs, in image steps: forward and backward pass of the student for one image are one step.

Wall time depends on the machine and on what else it does; image steps do not, and they can be added up. The passes of
another network, or a forward pass alone, count by their floating-point operations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import pandas as pd
import torch

from kdlib.data.augment import AUGMENTATIONS
from kdlib.experiments import shipped, study
from kdlib.experiments.groups import STUDIES
from kdlib.models import build
from kdlib.models.operations import operations

IMAGES = 8  # in the batch whose operations are counted


class Work(NamedTuple):
    """Floating-point operations for one image: of a forward pass, and of a step (forward and backward)."""

    forward: float
    step: float


@lru_cache
def work(network: str, num_classes: int, in_channels: int, image_size: int) -> Work:
    """The operations of a network of `kdlib.models`, by its name and the shape of its images."""
    images = torch.zeros(IMAGES, in_channels, image_size, image_size)
    return Work(*operations(build(network, num_classes, in_channels, image_size), images))


class Cost(NamedTuple):
    """Image steps of the student: `student` for each student anew, the other three once for all that share them."""

    student: float
    teacher: float
    scoring: float
    cache: float

    @property
    def once(self) -> float:
        """What is paid before the first student trains."""
        return self.teacher + self.scoring + self.cache

    def total(self, students: float = 1) -> float:
        """What `students` students cost together."""
        return self.once + students * self.student


def cost(row: Mapping[str, Any], num_classes: int, in_channels: int, image_size: int) -> Cost:
    """The cost of a row's run (a result of `run` or `sweep`) as if nothing had been there before.

    The row's own count of cached logits is what was still missing in its store; here it is the number of different (sample,
    view) pairs that the training asks for, in expectation over the views, each a forward pass of the teacher.
    """
    shape = (num_classes, in_channels, image_size)
    step = work(row["student"], *shape).step
    teacher, scored = (work(name, *shape) for name in (row["teacher"], row["score_model"] or row["teacher"]))
    pairs = 0.0
    if row["loss"] != "cross_entropy":
        views = AUGMENTATIONS[row["augment"]].num_views(image_size)
        pairs = row["kept"] * views * (1 - (1 - 1 / views) ** row["epochs"])
    return Cost(
        float(row["student_images"]),
        row["teacher_images"] * teacher.step / step,
        row["score_images"] * scored.step / step,
        pairs * teacher.forward / step,
    )


def break_even(method: Cost, plain: Cost) -> float:
    """The number of students from which on the method is cheaper than the plain one; infinity if it never is."""
    saved, extra = plain.student - method.student, method.once - plain.once
    if extra <= 0:
        return 0.0 if saved >= 0 else float("inf")
    return extra / saved if saved > 0 else float("inf")


def spent() -> pd.DataFrame:
    """What the rows, teachers and scores that come with the project have cost, in hours of one process.

    Columns what, rows (trainings) and hours. A training that several groups or tables of scores share is counted once.
    """
    found = pd.DataFrame([*_rows(), *_shipped()])
    return found.groupby("what", sort=False, as_index=False).agg(rows=("hours", "size"), hours=("hours", "sum"))


def _rows() -> Iterator[dict[str, Any]]:
    met = set()
    for name in STUDIES:
        known = study.committed(name)
        for r, group in study.runs_of(name).items():
            row = known.get(study.identity(r))
            if row and (key := (study.identity(r), row["precision"], row["test_acc"])) not in met:
                met.add(key)
                yield {"what": f"{group} (study {name})", "hours": study.hours(row)}


def _shipped() -> Iterator[dict[str, Any]]:
    met = list[dict]()
    for kind in ("teachers", "scores"):
        for _, about in shipped.cards(kind):
            trained = about["description"].get("scored", about["description"])
            if trained not in met:
                met.append(trained)
                yield {"what": kind, "hours": about["seconds"] / 3600}
