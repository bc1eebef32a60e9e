"""Look at students while they train: `follow` repeats their trainings and asks after each epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

from kdlib.experiments.config import Run, as_run
from kdlib.experiments.fingerprint import dataset_of, describe, needs_teacher, student_recipe
from kdlib.experiments.objective import TeacherSide
from kdlib.experiments.run import batch_key, members_of, store_rows
from kdlib.store.artefacts import Store
from kdlib.training.loop import Loop, Member, Trained, train_batched

T = TypeVar("T")
Look = Callable[[int, int, nn.Module], T]


def follow(
    runs: Sequence[Run | Mapping[str, Any]],
    look: Look[T],
    store: Store | str | Path | None = None,
    *,
    kept: Sequence[NDArray[np.int64]] | None = None,
    rows: bool = False,
) -> list[list[T]]:
    """What `look(i, epoch, student)` says of the student of `runs[i]` after each epoch (1-based): a list for each run.

    The trainings are those of `run`, from the same seeds; nothing of them is stored, while teachers and scores are.
    `look` must leave the student as it is. `kept`: sorted ids (n,) of the training samples for each run, in place of
    those that the run would keep. `rows`: store the rows of the runs, whose seconds leave out those of `look`.
    ValueError for ids in another number than runs, and for rows of runs on other samples than their own.
    """
    asked = [as_run(r) for r in runs]
    store = store if isinstance(store, Store) else Store(store)
    if kept is not None and len(kept) != len(asked):
        raise ValueError(f"kept needs one array of ids for each of {len(asked)} runs, got {len(kept)}")
    if kept is not None and rows:
        raise ValueError("a row is that of the samples which its run keeps; leave out kept, or rows")
    groups: dict[object, list[int]] = {}
    for i, r in enumerate(asked):
        key = batch_key(r)
        count = None if kept is None else len(kept[i])
        groups.setdefault(i if key is None else (key, needs_teacher(r), count), []).append(i)
    found: list[list[T]] = [[] for _ in asked]
    for places in groups.values():
        group = [asked[i] for i in places]
        teacher = TeacherSide(group[0], store) if needs_teacher(group[0]) else None
        members = members_of(group, dataset_of(group[0]), teacher, store)
        if kept is not None:
            members = [replace(m, keep=np.asarray(kept[i])) for i, m in zip(places, members, strict=True)]
        described = [describe(r) for r in group] if rows else []  # before: the code may be edited while it trains
        trained = _train(group[0], members, teacher, places, look, found)
        if rows:
            store_rows(group, members, trained, teacher, store, described)
    return found


def _train(
    first: Run,
    members: Sequence[Member],
    teacher: TeacherSide | None,
    places: Sequence[int],
    look: Look[T],
    found: list[list[T]],
) -> list[Trained]:
    """Train members of equal size side by side and write what `look` says into `found`, at their `places`.

    Each member's seconds leave out its part of those that looking took.
    """
    looked = 0.0

    def on_epoch(epoch: int, loop: Loop) -> None:
        nonlocal looked
        start = time.perf_counter()
        loop.stack.unstack([member.model for member in members])
        for i, member in zip(places, members, strict=True):
            found[i].append(look(i, epoch, member.model))
        looked += time.perf_counter() - start

    logits = teacher.logits if teacher else None
    recipe, data = student_recipe(first), dataset_of(first)
    trained = train_batched(members, data, recipe, teacher=logits, device=first.device, on_epoch=on_epoch)
    return [replace(t, seconds=t.seconds - looked / len(members)) for t in trained]
