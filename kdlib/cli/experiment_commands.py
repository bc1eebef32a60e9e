"""The commands `run` and `sweep`: their flags are the fields of `Run`."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, make_dataclass, replace
from pathlib import Path
from typing import Any

from kdlib.cli.arguments import Failed, UsageError, assignments, note, option, parse, table, usage, values
from kdlib.data.core import describe
from kdlib.experiments import config, grid
from kdlib.experiments.config import PRESETS, Run, choices, fields_of
from kdlib.experiments.fingerprint import dataset_of, in_effect, needs_teacher, rule_of
from kdlib.experiments.run import check
from kdlib.store.artefacts import StoreError
from kdlib.utils import progress
from kdlib.utils.calls import call_text
from kdlib.utils.errors import choose

RESULTS = (
    "kept", "steps", "teacher_acc", "test_acc", "test_acc_best", "train_loss", "status", "seconds", "precision", "device",
)  # fmt: skip
COSTS = tuple(f"{part}_{unit}" for part in ("student", "teacher", "score", "cache") for unit in ("seconds", "images"))
PRESET_HELP = "smoke, class, laptop, paper: other defaults for the flags below"


@dataclass(frozen=True)
class RunOptions:
    """One experiment; a run that is stored is read, not trained again."""

    preset: str = option("", PRESET_HELP)
    json: bool = option(False, "print the whole row as one line of JSON")


@dataclass(frozen=True)
class SweepOptions:
    """A grid of experiments: every combination of the values in --grid, all other flags fixed.

    Stored runs are read, not trained again; a sweep that was stopped goes on where it was.
    """

    grid: tuple[str, ...] = option((), "name=value1,value2 ...; with --preset alone: its fractions and seeds")
    preset: str = option("", PRESET_HELP)
    workers: int = option(1, "local worker processes, one torch thread each")
    cluster: str = option("", "Dask instead: local, or a scheduler's address tcp://host:8786")
    out: str = option("", "write all rows to this file: .csv, .jsonl or .parquet")
    columns: str = option("", "further columns to print, separated by commas; all: every column")


def with_run_flags(options: type, args: Sequence[str]) -> type:
    """`options` and every field of `Run`, with the defaults of the preset that the arguments name."""
    named = re.findall(r"(?:^|\n)--preset[=\n]([^\n]+)", "\n".join(args))
    with usage():
        fixed = choose("preset", named[-1], PRESETS).fixed if named else {}
    hints = typing.get_type_hints(Run)
    flags = [
        (f.name, hints[f.name], field(default=fixed.get(f.name, f.default), metadata={"help": help_of(f.name)}))
        for f in fields(Run)
    ]
    combined = make_dataclass(options.__name__, flags, bases=(options,), frozen=True)
    combined.__doc__ = options.__doc__
    return combined


def help_of(name: str) -> str:
    """The help of a flag: the field's sentence, its valid words, and the options of its methods."""
    [f] = [f for f in fields(Run) if f.name == name]
    words = choices(name)
    text = f.metadata["help"]
    if words and name != "dataset":
        text += f". One of: {', '.join(words)}"
    if name in config.METHODS:
        found = [(word, config.method_options(name, word)) for word in words]
        calls = [call_text(word, options) for word, options in found if options]
        text += f". With options, at their defaults: {'; '.join(calls)}" if calls else ""
    return text


def run(args: list[str]) -> int:
    """`python -m kdlib run`."""
    flags: Any = parse(with_run_flags(RunOptions, args), args, "run")
    rows, problem = _sweep_rows({}, fields_of(vars(flags)), workers=1, cluster="", given=_given(args))
    if not rows:
        raise Failed(problem.splitlines()[-1].strip())
    [row] = rows
    if flags.json:
        print(json.dumps(row))
    else:
        chosen = [name for name, value in asdict(Run()).items() if row[name] not in (value, [])]
        print(
            table([{"": name, " ": row[name]} for name in dict.fromkeys([*chosen, *RESULTS]) if name in row]).lstrip(
                "\n "
            )
        )
    if row["status"] != "ok":
        raise Failed(f"the training diverged: its loss is not finite; lower --lr (it was {row['lr']:g})")
    return 0


def sweep(args: list[str]) -> int:
    """`python -m kdlib sweep`."""
    flags: Any = parse(with_run_flags(SweepOptions, args), args, "sweep")
    asked = read_grid(flags.grid, typing.get_type_hints(Run))
    if not asked and flags.preset:
        preset = PRESETS[flags.preset]
        asked = {"fraction": list(preset.fractions), "seed": list(preset.seeds)}
    if not asked:
        raise UsageError("a sweep needs --grid, such as: --grid fraction=0.1,0.3 seed=0,1,2")
    _refuse_ignored(asked, args)
    with usage():
        columns = _columns(flags.columns, asked)
        if flags.out:
            grid.check_output(flags.out)
    fixed = {name: value for name, value in fields_of(vars(flags)).items() if name not in asked}
    rows, problem = _sweep_rows(asked, fixed, flags.workers, flags.cluster, _given(args))
    if flags.out:
        note(f"{len(rows)} rows written to {grid.export_rows(rows, Path(flags.out).absolute())}")
    if rows:
        print(table([{name: row[name] for name in columns or row} for row in rows]))
    if problem:
        raise Failed(problem)
    return 0


def _columns(text: str, asked: Iterable[str]) -> list[str]:
    """What varied, what came out, and what else was asked for; empty for every column."""
    if text == "all":
        return []
    known = dict.fromkeys([*(f.name for f in fields(Run)), *RESULTS, *COSTS])
    more = [name.strip() for name in text.split(",") if name.strip()]
    for name in more:
        choose("column", name, known)
    return list(dict.fromkeys([*asked, "test_acc", "test_acc_best", "teacher_acc", "status", *more]))


def _given(args: Sequence[str]) -> set[str]:
    """The names of the flags that were given."""
    return {arg.split("=")[0].removeprefix("--").replace("-", "_") for arg in args if arg.startswith("--")}


def _refuse_ignored(asked: dict[str, list], args: Sequence[str]) -> None:
    """A flag that the grid would override is a mistake."""
    if both := sorted(_given(args) & set(asked)):
        raise UsageError(f"--{both[0].replace('_', '-')} is given as a flag and in --grid; leave one of them out")


# Flags that only some runs heed, and another value for those whose default depends on the rest.
OF_A_TEACHER = (
    "alpha", "tau", "weighting", "reshape", "teacher", "teacher_fraction", "teacher_file", "teacher_seed", "teacher_recipe",
)  # fmt: skip
OF_A_SELECTION = ("scorer", "centre", "selection", "score_model", "score_runs", "score_recipe")
HEEDED_BY_SOME = (*OF_A_TEACHER, *OF_A_SELECTION, "beta", "augment_seed", "warmup", "milestones")
OTHER = {"centre": 0.37}
DEFAULTS: dict[str, Any] = {f.name: f.default for f in fields(Run)}


def _refuse_idle(runs: Sequence[Run], given: set[str]) -> None:
    """A flag without effect on any of the runs is a mistake."""
    for name in HEEDED_BY_SOME:
        if name in given and not any(_matters(r, name) for r in runs):
            why = "nothing here heeds it"
            if all(r.fraction == 1 and not rule_of(r).dynamic for r in runs) and name in OF_A_SELECTION:
                why = "fraction 1 keeps all samples"
            elif not any(map(needs_teacher, runs)) and name in OF_A_TEACHER:
                why = "no run here has a teacher"
            raise UsageError(f"--{name.replace('_', '-')} would have no effect ({why}); leave it out")


def _matters(r: Run, name: str) -> bool:
    """Whether another value of the field would change the outcome; a field at its default is no mistake."""
    if getattr(r, name) == DEFAULTS[name]:
        return True
    other: dict[str, Any] = {name: OTHER.get(name, DEFAULTS[name])}
    try:
        return in_effect(replace(r, **other)) != in_effect(r)
    except ValueError:  # the run would not even be valid
        return True


def read_grid(pairs: Sequence[str], hints: dict[str, Any]) -> dict[str, list[Any]]:
    """`["fraction=0.1,0.3"]` as `{"fraction": [0.1, 0.3]}`; UsageError for a name that is no field of `Run`."""
    found: dict[str, list[Any]] = {}
    for name, text in assignments(pairs, "--grid").items():
        with usage():
            found[name] = values(text, choose("field of Run", name, hints))
        if not found[name]:
            raise UsageError(f"--grid {name}= names no value")
    return found


def _sweep_rows(
    asked: dict[str, list], fixed: dict, workers: int, cluster: str, given: set[str]
) -> tuple[list[dict], str]:
    """The rows, and what went wrong with the missing ones; every point is checked first (UsageError)."""
    with usage():
        runs = grid.points(Run, asked, fixed)
        if workers < 1:
            raise ValueError(f"--workers must be at least 1, got {workers}")
        _refuse_idle(runs, given)
        with progress.working(f"checking {len(runs):,} runs"):  # what cannot work is found out before any training
            for r in runs:
                check(r)
        for name, data in {r.dataset: dataset_of(r) for r in runs}.items():
            note(f"{name}: {describe(data)}")
    try:
        with usage():
            names, where = list(asked), cluster or None
            frame = grid.sweep_runs(runs, names=names, workers=workers, cluster=where, checked=True)
        return frame.to_dict("records"), ""
    except grid.SweepError as error:
        return error.rows.to_dict("records"), str(error)
    except (StoreError, OSError) as error:
        raise Failed(str(error)) from error
