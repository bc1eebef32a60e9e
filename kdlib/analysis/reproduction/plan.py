"""From a figure and a setting to its table: rows that are committed or stored, and the training of what is missing."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from kdlib.analysis.reproduction import boundaries
from kdlib.analysis.reproduction.costs import Cost, at_hand, cost_of
from kdlib.analysis.reproduction.figure import Drawn, PaperFigure
from kdlib.analysis.reproduction.settings import NO_TEACHER, Place, Setting, teacher_of
from kdlib.experiments.config import Run
from kdlib.experiments.fingerprint import describe
from kdlib.experiments.grid import sweep_runs
from kdlib.experiments.groups import STUDIES
from kdlib.experiments.run import run
from kdlib.experiments.study import committed, identity
from kdlib.store.artefacts import Store

COLUMNS = ["panel", "line", "x", "seed", "teacher_id", "value"]
THE_TEACHER = "the teacher itself"


@dataclass
class Plan:
    """The runs of a figure in a setting, the rows that there are, and what is missing."""

    figure: PaperFigure
    setting: Setting
    store: Store
    runs: dict[Run, tuple[Place, ...]]
    rows: dict[Run, dict] = field(default_factory=dict)
    committed: int = 0

    @property
    def missing(self) -> list[Run]:
        """The runs without a row."""
        return [r for r in self.runs if r not in self.rows]

    def cost(self) -> Cost:
        """What training the missing runs will cost."""
        return cost_of(self.missing, self.rows.values(), self.store) if self.missing else Cost()

    def carry_out(self, workers: int = 1, progress: bool = True) -> None:
        """Train the missing runs; SweepError at the end if some failed."""
        if not self.missing:
            return
        if self.figure.follows:
            self.rows |= boundaries.follow_all(self.missing, self.store)
            return
        if self.figure.students:  # a sweep is content with a row, although its student was not kept
            self.rows |= {r: run(r, self.store) for r in self.missing}
            return
        names = [n for n in ("scorer", "fraction", "loss", "alpha", "teacher", "tau", "seed") if self._varies(n)]
        sweep_runs(
            self.missing,
            names=names,
            workers=workers,
            store=self.store,
            progress=progress,
            on_row=lambda r, row: self.rows.update({r: row}),
        )

    def _varies(self, name: str) -> bool:
        return len({getattr(r, name) for r in self.runs}) > 1

    def drawn(self) -> Drawn:
        """The table of what there is; ValueError if there is nothing."""
        there = {r: places for r, places in self.runs.items() if r in self.rows}
        if not there:
            raise ValueError(
                f"there are no rows for {self.figure.name} with preset {self.setting.preset} on {self.setting.dataset}; "
                "allow its training (at_most_hours), or take the preset class"
            )
        return Drawn(self.figure, self.setting, there, _table(self.figure, there, self.rows), self.store)


def plan(figure: PaperFigure, setting: Setting, store: Store | None = None) -> Plan:
    """Look up the rows of the figure: first the committed ones of the studies, then those in the store."""
    store = store or Store()
    found = Plan(figure, setting, store, figure.runs(setting))
    if not figure.students:
        known = dict(itertools.chain.from_iterable(committed(name).items() for name in STUDIES))
        found.rows = {r: known[key] for r in found.runs if known and (key := identity(r)) in known}
        found.committed = len(found.rows)
    if at_hand(setting.dataset):
        found.rows |= _stored(found.missing, store, figure)
    return found


def _stored(runs: list[Run], store: Store, figure: PaperFigure) -> dict[Run, dict]:
    if figure.follows:
        rows = {r: boundaries.followed_row(r, store) for r in runs}
    else:
        described = {r: describe(r) for r in runs}
        rows = {r: store.row(d) for r, d in described.items() if not figure.students or store.has("students", d)}
    return {r: row for r, row in rows.items() if row is not None}


def _table(
    figure: PaperFigure, runs: Mapping[Run, tuple[Place, ...]], rows: Mapping[Run, Mapping[str, Any]]
) -> pd.DataFrame:
    """A row for each training and place: `COLUMNS`; runs that diverged have no accuracy and are left out."""
    found: dict[tuple, list[Any]] = {}
    for r, places in runs.items():
        row = rows[r]
        for place in places:
            x = round(row["student_images"] / 1000, 1) if figure.axis == "cost" else place.x
            found.setdefault(
                (place, r.seed, teacher_of(r)), [place.panel, place.line, x, r.seed, teacher_of(r), row["test_acc"]]
            )
            if figure.axis == "teacher" and row["teacher_acc"] is not None:
                own = [place.panel, THE_TEACHER, r.teacher, r.teacher_seed, NO_TEACHER, row["teacher_acc"]]
                found.setdefault((place.panel, r.teacher, r.teacher_seed), own)
    return pd.DataFrame(list(found.values()), columns=COLUMNS).dropna(subset="value")
