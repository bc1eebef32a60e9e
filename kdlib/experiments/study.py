"""Studies: whole tables of the papers as lists of runs, in the order of what a verdict hangs on.

A study goes on from the rows and teachers that are committed, on any machine: a run whose row is in the study's results
file is not trained again, and `data/teachers` is asked before a teacher is trained. It holds its own runs only.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdlib.experiments.config import PRESETS, Run, fields_of
from kdlib.experiments.fingerprint import in_effect, needs_teacher, teacher_runs
from kdlib.experiments.grid import export_rows, sweep_runs
from kdlib.experiments.run import workshop
from kdlib.experiments.teachers import ship, shipped
from kdlib.store.artefacts import Store
from kdlib.training.reference_runs import networks
from kdlib.utils import paths

Fields = dict[str, Any]

# Which samples are kept, as fields of a run; the key is the name in figures.
PRUNINGS: dict[str, Fields] = {
    "random": {"scorer": "random"},
    "forgetting": {"scorer": "forgetting"},
    "el2n": {"scorer": "el2n"},
    "grand_last": {"scorer": "grand_last"},
    "medium": {"scorer": "difficulty", "centre": 0.5},
    "easy": {"scorer": "difficulty", "centre": 0.0},
    "hard": {"scorer": "difficulty", "centre": 1.0},
}
NO_KD: Fields = {"loss": "cross_entropy"}


@dataclass(frozen=True)
class Group:
    """One figure or table of a study: every combination of the values in `grid`, with the fields of `fixed`."""

    name: str
    grid: Mapping[str, Sequence[Fields]]
    fixed: Fields

    def runs(self, base: Fields) -> Iterator[Run]:
        """The runs of the group, in the order of the grid; `base` gives what the group leaves open."""
        for chosen in itertools.product(*self.grid.values()):
            fields: Fields = {**base, **self.fixed}
            for part in chosen:
                fields |= part
            yield Run(**fields)


def values(name: str, *options: Any) -> list[Fields]:
    """`values("seed", 0, 1)` -> [{"seed": 0}, {"seed": 1}]."""
    return [{name: option} for option in options]


def paired_seeds(count: int) -> list[Fields]:
    """Seeds of the students: three under each teacher, so that one teacher alone has an interval already."""
    return [{"seed": seed, "teacher_seed": seed // 3} for seed in range(count)]


def kd(*alphas: float) -> list[Fields]:
    """No KD, and KD at each alpha."""
    return [NO_KD, *({"loss": "kd", "alpha": alpha} for alpha in alphas)]


def _prunings(*names: str) -> list[Fields]:
    return [PRUNINGS[name] for name in names]


def laptop() -> list[Group]:
    """The papers' questions on CIFAR-100 with ResNet-20, for a CPU; about 10 minutes a run."""
    fig4 = {"loss": kd(0.5, 1.0), "pruning": _prunings("random", "forgetting", "medium", "el2n", "grand_last")}
    random = {"seed": paired_seeds(6), "loss": kd(0.5, 1.0)}
    return [
        Group("DKDP Fig. 4, random", {"fraction": values("fraction", 0.1, 0.05, 0.3), **random}, PRUNINGS["random"]),
        Group("All data without KD", {"seed": values("seed", 0, 1, 2)}, {"fraction": 1.0, **NO_KD}),
        Group("DKDP Fig. 4, f = 0.1", {"seed": paired_seeds(4), **fig4}, {"fraction": 0.1}),
        Group("DKDP Fig. 4, f = 0.05", {"seed": paired_seeds(4), **fig4}, {"fraction": 0.05}),
        Group("DKDP Fig. 4, f = 0.3", {"seed": paired_seeds(4), **fig4}, {"fraction": 0.3}),
        Group(
            "DKDP Fig. 7 and 10",
            {
                "seed": values("seed", 0, 1, 2),
                "teacher": values("teacher", "resnet8", "resnet14", "resnet20", "resnet32", "resnet56"),
                "tau": values("tau", 2.0, 4.0, 7.0),
                "fraction": values("fraction", 0.1, 0.3),
            },
            {"student": "resnet14"},
        ),
        Group(
            "MD Table 1",
            {
                "seed": paired_seeds(5),
                "fraction": values("fraction", 0.3, 0.5, 0.7),
                "pruning": _prunings("medium", "random", "easy", "hard"),
            },
            {},
        ),
        Group(
            "DKDP Fig. 6",
            {
                "seed": values("seed", 0, 1, 2),
                "fraction": values("fraction", 0.05, 0.1, 0.3, 0.7),
                "alpha": kd(0.25, 0.5, 0.75, 1.0),
                "pruning": _prunings("forgetting", "random"),
            },
            {},
        ),
    ]


def paper() -> list[Group]:
    """DKDP Fig. 4 on CIFAR-100 with the papers' recipe, for a GPU."""
    scorers = [
        {"scorer": name, **PRESETS["paper"].scorers.get(name, {})} for name in ("forgetting", "grand_last", "el2n")
    ]
    return [
        Group(
            "DKDP Fig. 4",
            {
                "seed": values("seed", *PRESETS["paper"].seeds),
                "fraction": values("fraction", *PRESETS["paper"].fractions),
                "pruning": [{"scorer": "random"}, *scorers],
                "loss": kd(0.5),
            },
            {},
        )
    ]


def smoke() -> list[Group]:
    """The same machinery on digits, in seconds."""
    return [Group("smoke", {"seed": values("seed", 0, 1), "loss": kd(0.5)}, {"fraction": 0.1})]


# name -> (its groups, the preset that fixes the rest, the file of its rows in data/results)
STUDIES: dict[str, tuple[Callable[[], list[Group]], str, str]] = {
    "laptop": (laptop, "laptop", "cifar100_study"),
    "paper": (paper, "paper", "cifar100_paper"),
    "smoke": (smoke, "smoke", "smoke_study"),
}


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
    """What tells a run from others, whatever code made its row and wherever the data lie."""
    data = {name: getattr(r, name) for name in ("dataset", "validation", "label_noise", "imbalance")}
    return json.dumps({**data, **in_effect(r)}, sort_keys=True)


def committed(name: str) -> dict[str, dict]:
    """The rows in the study's file by the identity of their run."""
    file = results(name)
    lines = file.read_text().splitlines() if file.is_file() else []
    return {identity(Run(**fields_of(row))): row for row in map(json.loads, lines)}


def missing(name: str) -> list[Run]:
    """The runs without a row, in the study's order; runs that describe the same training come once."""
    known, found = committed(name), dict[str, Run]()
    for r in runs_of(name):
        if (key := identity(r)) not in known:
            found.setdefault(key, r)
    return list(found.values())


def carry_out(name: str, store: Store, *, workers: int = 1, at_most: int | None = None) -> int:
    """Train what is missing and write the file after each row; returns how many runs were trained.

    SweepError at the end if runs failed; all others are in the file.
    """
    waiting = missing(name)[:at_most]
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
        line["student hours"] += _hours(row)
    return [{**line, "student hours": round(line["student hours"], 2)} for line in found.values()]


def _hours(row: Mapping[str, Any] | None) -> float:
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
