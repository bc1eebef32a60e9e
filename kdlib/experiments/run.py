"""One experiment: `run(Run(...))` trains the student and returns its row.

row = run(Run(dataset="digits", scorer="forgetting", fraction=0.1, loss="kd", seed=3))
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from torch import OutOfMemoryError, nn

from kdlib import __version__
from kdlib.data.core import Dataset
from kdlib.experiments import score_tables
from kdlib.experiments.checks import check
from kdlib.experiments.config import Run, as_run
from kdlib.experiments.fingerprint import (
    data_fields,
    dataset_of,
    describe,
    loaded_dataset,
    needed_signals,
    needs_teacher,
    recording,
    rule_of,
    scored_runs,
    scorer_of,
    student_recipe,
    teacher_runs,
)
from kdlib.experiments.objective import Objective, TeacherSide, build_student
from kdlib.experiments.samples import cost_of_scores, kept_samples, workshop
from kdlib.store.artefacts import Store, key
from kdlib.training.checkpoint import StoredCheckpoint
from kdlib.training.loop import Member, Trained, train_batched
from kdlib.training.recipe import precision_used
from kdlib.training.reference_runs import Arrays, ReferenceRuns, Workshop, load_model, model_of, stackable
from kdlib.training.signals import Recording, sources
from kdlib.utils import seeds
from kdlib.utils.devices import resolve_device

__all__ = [
    "Objective", "TeacherSide", "batch_key", "build_student", "check", "describe", "kept_samples", "load_student",
    "load_teacher", "members_of", "needed_artefacts", "run", "student_of", "train_together", "workshop",
]  # fmt: skip

# -- runs side by side

# Fields in which runs that train side by side may differ.
FREE = {
    "seed", "scorer", "centre", "class_balanced", "selection", "loss", "alpha", "tau", "reshape", "weighting",
    "augment_seed", "score_model", "score_runs", "score_recipe", "keep_student",
}  # fmt: skip


def batch_key(r: Run) -> tuple | None:
    """Runs of equal key can train side by side; None: only alone (or one process each, which gives the same rows)."""
    alone = r.feature_loss != "none" or rule_of(r).dynamic or r.kept_file
    if alone or not stackable(r.student, dataset_of(r), resolve_device(r.device)):
        return None
    own_data = r.label_noise > 0 or r.imbalance > 1 or r.teacher_fraction < 1  # drawn from the run's seed
    free = FREE - {"seed"} if own_data else FREE
    return tuple((f.name, getattr(r, f.name)) for f in fields(r) if f.name not in free)


def train_together(runs: Sequence[Run], store: Store, described: Sequence[dict]) -> list[dict]:
    """Train runs of equal `batch_key` side by side and store their rows, which are returned in order, each equal to
    `run`'s to float tolerance; `described` has what `describe` says of each.

    Runs that do not fit into memory together are trained in two halves; OutOfMemoryError where a single one does not fit.
    """
    try:
        return _train(runs, store, described)
    except OutOfMemoryError:
        if len(runs) == 1:
            raise
    middle = (len(runs) + 1) // 2  # outside the handler, which keeps what was allocated alive
    halves = (slice(0, middle), slice(middle, None))
    return [row for half in halves for row in train_together(runs[half], store, described[half])]


def _train(runs: Sequence[Run], store: Store, described: Sequence[dict]) -> list[dict]:
    first, data = runs[0], dataset_of(runs[0])
    teaching = [r for r in runs if needs_teacher(r)]
    teacher = TeacherSide(teaching[0], store) if teaching else None
    members = members_of(runs, data, teacher, store)
    resume = StoredCheckpoint(store, {"runs": described}, aims=[("rows", one) for one in described])
    logits = teacher.logits if teacher else None
    trained = train_batched(members, data, student_recipe(first), teacher=logits, device=first.device, resume=resume)
    rows = store_rows(runs, members, trained, teacher, store, described)
    resume.clear()  # only now that the rows are stored
    return rows


def store_rows(
    runs: Sequence[Run],
    members: Sequence[Member],
    trained: Sequence[Trained],
    teacher: TeacherSide | None,
    store: Store,
    described: Sequence[dict],
) -> list[dict]:
    """Store the rows of runs that were trained side by side, and the students that are kept; the rows in their order."""
    rows = []
    for r, member, result, description in zip(runs, members, trained, described, strict=True):
        if describe(r) != description:
            raise RuntimeError("its data or the code changed while it was trained; run it again")
        if r.keep_student:
            store.arrays("students", description, functools.partial(student_arrays, result))
        row = _row(r, member, result, teacher, len(runs), store, description["rules"])
        rows.append(store.add_row(description, row, store.used | set(needed_artefacts(r))))
    return rows


def student_arrays(trained: Trained) -> Arrays:
    """A trained student as arrays: weights `w/NAME` (1, ...) and curves `curve/NAME` (1, E)."""
    found = {f"w/{name}": value.cpu().numpy()[None] for name, value in trained.model.state_dict().items()}
    return found | {f"curve/{name}": np.array([getattr(trained, name)]) for name in ("loss", "test_acc", "rate")}


def members_of(runs: Sequence[Run], data: Dataset, teacher: TeacherSide | None, store: Store) -> list[Member]:
    """What the training loop needs of each run: its student, its kept samples, its seed and its loss, in order."""
    objectives: dict[tuple, Objective] = {}  # equal losses are one object, so that the loop can call them together
    members = []
    for r in runs:
        names = ("loss", "alpha", "tau", "reshape", "weighting")
        read = tuple(getattr(r, name) for name in names) if needs_teacher(r) else ("cross_entropy",)
        if read not in objectives:
            std = teacher.class_std if teacher and r.reshape.startswith("classwise") else None
            objectives[read] = Objective(r, std)
        keep = kept_samples(r, store)
        term = teacher.feature_term(r, len(keep)) if teacher and r.feature_loss != "none" else None
        shared = None if r.augment_seed < 0 else r.augment_seed
        members.append(Member(build_student(r, data), keep, r.seed, objectives[read], shared, term, _sampler(r, keep)))
    return members


def _sampler(r: Run, keep: np.ndarray) -> Any:
    """The sampler of a dynamic selection, or None."""
    if not rule_of(r).dynamic:
        return None
    epochs = student_recipe(r).plan(len(keep), len(keep))[0]
    supplied = {"epochs": epochs, "rng": seeds.stream(r.seed, "order")}
    return rule_of(r).fn(len(keep), r.fraction, **supplied, **r.method("selection")[1])


# -- rows


def _row(
    r: Run, member: Member, t: Trained, asked: TeacherSide | None, together: int, store: Store, rules: str
) -> dict:
    """The run's fields and what came out; accuracies in percent, `test_acc` of the last epoch, `test_acc_best` of the best.

    asked: the teacher that some of the `together` runs side by side have asked.
    """
    teacher = asked if needs_teacher(r) else None
    finite = [a for a in t.test_acc if math.isfinite(a)]
    device = next(member.model.parameters()).device
    measured = {
        "precision": precision_used(r.precision, device),
        "kept": len(member.keep),
        "used_share": round(t.used_share, 6),
        "steps": t.steps,
        "teacher_acc": teacher.accuracy if teacher else None,
        "test_acc": None if t.diverged else t.test_acc[-1],
        "test_acc_best": max(finite, default=None),
        "train_loss": None if t.diverged else t.loss[-1],
        "status": "diverged" if t.diverged else "ok",
        **_costs(r, t, asked, together, store),
        "device": str(device),
        "version": __version__,
        "rules": rules,
    }
    return {**dataclasses.asdict(r), **measured}


def _costs(r: Run, t: Trained, asked: TeacherSide | None, together: int, store: Store) -> dict[str, float]:
    """Wall time (s) and image steps of the student, of its teacher's training, of scoring, and of new cached logits.

    What other runs share (teacher, scores) is stated in full in each row; the cache's cost is that of this call, and the
    runs of the call have equal parts of its seconds.
    """
    teacher = asked if needs_teacher(r) else None
    own_teacher = teacher is not None and scorer_of(r).of == "teacher"  # its cost stands in the teacher's columns
    scoring = (0.0, 0) if own_teacher else cost_of_scores(r, store)
    waited = asked.logits.seconds / together if asked else 0.0
    return {
        "seconds": round(t.seconds, 3),
        "student_seconds": round(max(t.seconds - waited, 0.0), 3),
        "student_images": t.images,
        "teacher_seconds": round(teacher.seconds, 3) if teacher else 0.0,
        "teacher_images": teacher.images if teacher else 0,
        "score_seconds": round(scoring[0], 3),
        "score_images": scoring[1],
        "cache_seconds": round(waited, 3) if teacher else 0.0,
        "cache_images": teacher.logits.images if teacher else 0,
    }


def run(r: Run | Mapping[str, Any], store: Store | str | None = None) -> dict:
    """The row of a run: read if it is stored, else trained and stored; teacher, scores and cached logits as well.

    r:     a `Run`, or a dict of its fields
    store: a `Store` or its folder; default `paths.store()`
    The row is the run's fields and: kept, used_share, steps, teacher_acc, test_acc (last epoch), test_acc_best (percent),
    train_loss (nats), status ("ok" or "diverged"), costs (seconds and image steps), device, version, rules.
    """
    r = as_run(r)
    store = store if isinstance(store, Store) else Store(store)
    described = describe(r)
    found = store.row(described)
    if found is not None and (not r.keep_student or store.has("students", described)):
        return found
    with store.lease("rows", described):
        return train_together([r], store, [described])[0]


def load_student(r: Run | Mapping[str, Any], store: Store | str | None = None) -> nn.Module:
    """The trained student of the run, in eval mode; it is trained first where it is not stored."""
    r = dataclasses.replace(as_run(r), keep_student=True)
    arrays = student_of(r, store)
    return model_of(r.student, arrays, dataset_of(r), resolve_device(r.device))


def student_of(r: Run | Mapping[str, Any], store: Store | str | None = None) -> Arrays:
    """Weights and curves of the run's student as arrays, see `student_arrays`."""
    r = dataclasses.replace(as_run(r), keep_student=True)
    store = store if isinstance(store, Store) else Store(store)
    run(r, store)
    return store.arrays("students", describe(r), _gone)


def _gone() -> Arrays:
    raise RuntimeError("the student was removed from the store while it was read; call again")


def load_teacher(r: Run | Mapping[str, Any], store: Store | str | None = None) -> nn.Module:
    """The teacher of the run, frozen and in eval mode; it is trained first where it is neither shipped nor stored."""
    r = as_run(r)
    store = store if isinstance(store, Store) else Store(store)
    return load_model(teacher_runs(r), workshop(r, store))


# -- what a sweep asks


def needed_artefacts(r: Run) -> tuple[tuple[str, str], ...]:
    """(kind, key) of the stored arrays that the run reads: shared ones are best made first, and once."""
    teacher = teacher_runs(r) if needs_teacher(r) else None
    signals = needed_signals(r) if score_tables.shipped(r) is None else ()
    return _artefacts(data_fields(r), r.device, teacher, signals, scored_runs(r), recording(r))


@functools.lru_cache(maxsize=4096)
def _artefacts(
    asked: tuple[str, bool, float, float, int],
    device: str,
    teacher: ReferenceRuns | None,
    signals: tuple[str, ...],
    scored: ReferenceRuns,
    how: Recording,
) -> tuple[tuple[str, str], ...]:
    """Most runs of a sweep share these, too."""
    shop = Workshop(loaded_dataset(*asked), Nowhere(), device)
    parts = teacher.parts(shop.data, shop.torch_device) if teacher else []
    found = [("networks", shop.describe(part)) for part in parts] + sources(signals, scored, shop, how)
    return tuple((kind, key(kind, description)) for kind, description in found)


class Nowhere:
    """A store for those who ask only what would be stored."""

    def arrays(self, kind: str, description: dict, make: Any) -> Arrays:
        raise RuntimeError(f"nothing is stored here, {kind} neither")
