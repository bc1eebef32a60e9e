"""What the missing runs of a figure will cost, said before anything is trained."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import median
from typing import Any

import torch

from kdlib.data import datasets
from kdlib.experiments.config import Run, method_options
from kdlib.experiments.fingerprint import (
    dataset_of,
    needed_signals,
    needs_scores,
    needs_teacher,
    scored_runs,
    scorer_of,
    teacher_runs,
)
from kdlib.experiments.samples import has_scores
from kdlib.experiments.teachers import shipped
from kdlib.imagenet.costs import rate, training_step
from kdlib.models import build
from kdlib.store.artefacts import Store
from kdlib.training.reference_runs import ReferenceRuns
from kdlib.utils.devices import resolve_device

# Training images, shape and classes of the datasets that the figures are made on.
SHAPES: dict[str, tuple[int, tuple[int, int, int], int]] = {
    "digits": (1347, (1, 8, 8), 10),
    "cifar10": (50_000, (3, 32, 32), 10),
    "cifar100": (50_000, (3, 32, 32), 100),
    "svhn": (73_257, (3, 32, 32), 10),
}
PROBE_SECONDS = 0.5


@dataclass
class Cost:
    """How many trainings are missing, and the images that they present, by network.

    teachers, scored: trainings that the students wait for. `seconds` is one process's time, from the rates of known rows
    or of a short trial here; evaluations and the teacher's answers are not in it.
    """

    students: int = 0
    teachers: int = 0
    scored: int = 0
    images: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, model: str, images: float) -> None:
        """Count the images of a training."""
        self.images[model] = self.images.get(model, 0) + round(images)


def at_hand(dataset: str) -> bool:
    """Whether the dataset is there without a download."""
    return not datasets.place(dataset).startswith("is downloaded")


def cost_of(missing: Sequence[Run], known: Iterable[Mapping[str, Any]], store: Store) -> Cost:
    """The cost of the missing runs; `known` are rows whose rates count. Trains nothing and downloads nothing."""
    found = Cost(students=len(missing))
    for r in missing:
        found.add(r.student, r.epochs * (1 if r.budget == "steps" else r.fraction) * SHAPES[r.dataset][0])
    for runs, r in _new_teachers(missing, store):
        found.teachers += len(runs.seeds)
        found.add(runs.model, len(runs.seeds) * runs.recipe.epochs * SHAPES[r.dataset][0])
    for runs, r in _new_scores(missing, store):
        found.scored += len(runs.seeds) * _subsets(r)
        found.add(runs.model, len(runs.seeds) * _subsets(r) * runs.recipe.epochs * SHAPES[r.dataset][0])
    rates = _rates(list(known))
    for model, images in found.images.items():
        found.seconds += images / (rates.get(model) or _trial(model, missing[0].dataset, missing[0].device))
    return found


def _new_teachers(missing: Sequence[Run], store: Store) -> list[tuple[ReferenceRuns, Run]]:
    """The teachers that are neither stored nor shipped, as far as that can be known without a download."""
    wanted = {(teacher_runs(r), _own_data(r)): r for r in missing if needs_teacher(r)}
    return [(runs, r) for (runs, _), r in wanted.items() if not (at_hand(r.dataset) and _has_teacher(runs, r, store))]


def _own_data(r: Run) -> int:
    """The seed that the run's data are drawn from, where they are drawn."""
    return r.seed if r.imbalance > 1 or r.label_noise else 0


def _has_teacher(runs: ReferenceRuns, r: Run, store: Store) -> bool:
    data, device = dataset_of(r), resolve_device(r.device)
    descriptions = [part.describe(data, device) for part in runs.parts(data, device)]
    return all(store.has("networks", d) or shipped(data, d) is not None for d in descriptions)


def _new_scores(missing: Sequence[Run], store: Store) -> list[tuple[ReferenceRuns, Run]]:
    """The scored trainings that are neither stored nor shipped; a score of the teacher costs no training of its own."""
    wanted = {
        (scored_runs(r), _own_data(r), _subsets(r)): r
        for r in missing
        if needs_scores(r) and needed_signals(r) and scorer_of(r).of != "teacher"
    }
    return [(runs, r) for (runs, *_), r in wanted.items() if not (at_hand(r.dataset) and has_scores(r, store))]


def _subsets(r: Run) -> int:
    """Trainings behind one seed of a score: memorization trains many networks, each on a part of the samples."""
    name, options = r.method("scorer")
    return int({**method_options("scorer", name), **options}.get("subsets", 1))


def _rates(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Training images per second of each network, the median over rows that were made on this kind of device."""
    here = resolve_device("auto").type
    found: dict[str, list[float]] = {}
    for row in rows:
        for side in ("student", "teacher"):
            seconds, images = row.get(f"{side}_seconds") or 0, row.get(f"{side}_images") or 0
            if seconds > 0 and images > 0 and str(row.get("device", "")).startswith(here):
                found.setdefault(row[side], []).append(images / seconds)
    return {model: median(values) for model, values in found.items()}


@lru_cache
def _trial(model: str, dataset: str, device: str, batch: int = 64) -> float:
    """Training images per second, from some steps on random images."""
    where, (_, shape, classes) = resolve_device(device), SHAPES[dataset]
    net = build(model, classes, shape[0], shape[1:]).to(where)
    x = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(0)).to(where)
    labels = torch.arange(batch, device=where) % classes
    clock = time.thread_time if where.type == "cpu" else time.perf_counter  # other work on the machine does not count
    return batch * rate(training_step(net, x, labels), PROBE_SECONDS, where, clock)
