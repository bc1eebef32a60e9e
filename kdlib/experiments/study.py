"""Studies: whole tables of the papers as lists of runs, in the order of what a verdict hangs on.

A study goes on from the rows and teachers that are committed, on any machine: a run whose row is in the study's results
file is not trained again, and `data/teachers` is asked before a teacher is trained. It holds its own runs only.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kdlib.experiments import score_tables
from kdlib.experiments.config import PRESETS, Run, fields_of
from kdlib.experiments.fingerprint import describe, in_effect, needs_teacher, scored_runs, teacher_runs
from kdlib.experiments.grid import export_rows, sweep_runs
from kdlib.experiments.groups import STUDIES
from kdlib.experiments.run import workshop
from kdlib.experiments.samples import cost_of_scores, has_scores, sample_scores
from kdlib.experiments.shipped import without_precision
from kdlib.experiments.teachers import ship, shipped
from kdlib.store.artefacts import Store
from kdlib.training.reference_runs import networks
from kdlib.utils import paths


def runs_of(name: str) -> dict[Run, str]:
    """The runs of a study, each with the name of the first group it belongs to, in order."""
    groups, preset, _ = STUDIES[name]
    found: dict[Run, str] = {}
    for group in groups():
        for r in group.runs(PRESETS[preset].fixed):
            found.setdefault(r, group.name)
    return found


def results(name: str) -> Path:
    """The file of the study's rows."""
    return paths.data() / "results" / f"{STUDIES[name][2]}.jsonl"


def identity(r: Run) -> str:
    """What tells a run from others, whatever code made its row, in which precision, and wherever the data lie."""
    data = {name: getattr(r, name) for name in ("dataset", "validation", "label_noise", "imbalance")}
    return json.dumps({**data, **without_precision(in_effect(r))}, sort_keys=True)


def committed(name: str) -> dict[str, dict]:
    """The rows in the study's file by the identity of their run; those that travel in an installed package, too."""
    file = results(name)
    if not file.parent.is_dir():
        file = paths.given("results") / f"{STUDIES[name][2]}.jsonl"
    lines = file.read_text().splitlines() if file.is_file() else []
    return {identity(Run(**fields_of(row))): row for row in map(json.loads, lines)}


def missing(name: str) -> dict[Run, str]:
    """The runs without a row, each with its group, in the study's order; runs of the same training come once."""
    known, found = committed(name), dict[str, tuple[Run, str]]()
    for r, group in runs_of(name).items():
        if (key := identity(r)) not in known:
            found.setdefault(key, (r, group))
    return dict(found.values())


def carry_out(name: str, store: Store, *, workers: int = 1, at_most: int | None = None) -> int:
    """Train what is missing and write the file after each row; returns how many runs were trained.

    Rows that the store holds, as those that another study shares, are only written. SweepError at the end if runs failed;
    all others are in the file.
    """
    for r in missing(name):
        if (row := store.row(describe(r))) is not None:
            add(name, r, row)
    waiting = list(missing(name))[:at_most]
    if waiting:
        shown = ("student", "teacher", "scorer", "fraction", "loss", "alpha", "tau", "seed")
        sweep_runs(waiting, names=shown, workers=workers, store=store, on_row=lambda r, row: add(name, r, row))
    return len(waiting)


def add(name: str, r: Run, row: dict) -> Path:
    """Put a row into the study's file, in the study's order."""
    known = {**committed(name), identity(r): row}
    order = dict.fromkeys(identity(one) for one in runs_of(name))
    return export_rows([known[key] for key in order if key in known], results(name))


def status(name: str) -> list[dict[str, Any]]:
    """For each group: how many runs there are, how many are done, and the hours that they took."""
    known = committed(name)
    found: dict[str, dict[str, Any]] = {}
    for r, group in runs_of(name).items():
        line = found.setdefault(group, {"group": group, "runs": 0, "done": 0, "student hours": 0.0})
        row = known.get(identity(r))
        line["runs"] += 1
        line["done"] += row is not None
        line["student hours"] += hours(row)
    return [{**line, "student hours": round(line["student hours"], 2)} for line in found.values()]


def hours(row: Mapping[str, Any] | None) -> float:
    """What a row's student and the answers that it waited for took; 0 for no row."""
    return 0.0 if row is None else (row["student_seconds"] + row["cache_seconds"]) / 3600


def teachers(name: str, store: Store) -> Iterator[tuple[Run, float]]:
    """Train or fetch every teacher that the study needs; yields a run of each with the teacher's accuracy (percent)."""
    met: list[Any] = []
    for r in runs_of(name):
        if needs_teacher(r) and teacher_runs(r) not in met:
            met.append(teacher_runs(r))
            yield r, float(networks(teacher_runs(r), workshop(r, store))["test_acc"][0])


def ship_teachers(name: str, store: Store, commit: str) -> list[Path]:
    """Write the study's stored teachers that are not shipped yet into `data/teachers`, each with its card."""
    found: list[Path] = []
    met: list[Any] = []
    for r in runs_of(name):
        runs, shop = teacher_runs(r), workshop(r, store)
        description = shop.describe(runs)
        if not needs_teacher(r) or runs in met or shipped(shop.data, description) is not None:
            continue
        met.append(runs)
        if store.has("networks", description):
            title = f"{r.dataset}_{runs.model}_s{runs.seeds[0]}"
            about = {"title": title, "commit": commit, "recipe": dataclasses.asdict(runs.recipe)}
            found.append(ship(title, networks(runs, shop), shop.data, description, about))
    return found


def ship_scores(name: str, store: Store, commit: str) -> list[Path]:
    """Write the scores whose trainings are stored and that are not shipped yet into `data/scores`, each with its card."""
    found: list[Path] = []
    met: list[dict] = []
    for r in runs_of(name):
        if not score_tables.can_be_shipped(r) or (about := score_tables.description(r)) in met:
            continue
        met.append(about)
        if score_tables.shipped(r) is None and has_scores(r, store):
            seconds, images = cost_of_scores(r, store)
            title = _title_of_scores(r)
            card = {"title": title, "commit": commit, "seconds": seconds, "images": images}
            found.append(score_tables.ship(title, sample_scores(r, store), r, card))
    return found


def _title_of_scores(r: Run) -> str:
    """`cifar100_forgetting_resnet20_e30_r1`: the scored network, its epochs, and how many trainings the scores average."""
    runs = scored_runs(r)
    told = f"{r.dataset} {r.scorer} {runs.model} e{runs.recipe.epochs} r{len(runs.seeds)}"
    return re.sub(r"[^a-z0-9]+", "_", told).strip("_")
