"""Look at students while they train: `follow` repeats their trainings and asks after each epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from kdlib.experiments.config import Run, as_run
from kdlib.experiments.fingerprint import dataset_of, needs_teacher, student_recipe
from kdlib.experiments.objective import TeacherSide
from kdlib.experiments.run import batch_key, members_of
from kdlib.store.artefacts import Store
from kdlib.training.loop import Loop, train_batched

T = TypeVar("T")
Look = Callable[[int, int, nn.Module], T]


def follow(
    runs: Sequence[Run | Mapping[str, Any]], look: Look[T], store: Store | str | Path | None = None
) -> list[list[T]]:
    """What `look(i, epoch, student)` says of the student of `runs[i]` after each epoch (1-based): a list for each run.

    The trainings are those of `run`, from the same seeds; nothing of them is stored, while teachers and scores are.
    `look` must leave the student as it is.
    """
    asked = [as_run(r) for r in runs]
    store = store if isinstance(store, Store) else Store(store)
    groups: dict[object, list[int]] = {}
    for i, r in enumerate(asked):
        key = batch_key(r)
        groups.setdefault(i if key is None else (key, needs_teacher(r)), []).append(i)
    found: list[list[T]] = [[] for _ in asked]
    for places in groups.values():
        _follow_together(asked, places, look, store, found)
    return found


def _follow_together(runs: Sequence[Run], places: list[int], look: Look[T], store: Store, found: list[list[T]]) -> None:
    group = [runs[i] for i in places]
    first, data = group[0], dataset_of(group[0])
    teacher = TeacherSide(first, store) if needs_teacher(first) else None
    members = members_of(group, data, teacher, store)

    def on_epoch(epoch: int, loop: Loop) -> None:
        loop.stack.unstack([member.model for member in members])
        for i, member in zip(places, members, strict=True):
            found[i].append(look(i, epoch, member.model))

    logits = teacher.logits if teacher else None
    train_batched(members, data, student_recipe(first), teacher=logits, device=first.device, on_epoch=on_epoch)
