"""The commands `run`, `sweep` and `store`: their flags are the fields of `Run`."""

from __future__ import annotations

import json
import re
import sys
import typing
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import Any

from kdlib.cli.arguments import Failed, UsageError, assignments, note, option, parse, table, usage, values
from kdlib.utils.errors import choose

RESULTS = ("kept", "steps", "teacher_acc", "test_acc", "test_acc_best", "train_loss", "status", "seconds", "device")


@dataclass(frozen=True)
class RunOptions:
    """One experiment; a run that is stored is read, not trained again."""

    preset: str = option("", "smoke, class, laptop, paper: other defaults for the flags below")
    json: bool = option(False, "print the whole row as one line of JSON")


@dataclass(frozen=True)
class SweepOptions:
    """A grid of experiments: every combination of the values in --grid, all other flags fixed.

    Stored runs are read, not trained again; a sweep that was stopped goes on where it was.
    """

    grid: tuple[str, ...] = option((), "name=value1,value2 ...; with --preset alone: its fractions and seeds")
    preset: str = option("", "smoke, class, laptop, paper: other defaults for the flags below")
    workers: int = option(1, "local worker processes, one torch thread each")
    cluster: str = option("", "Dask instead: local, or a scheduler's address tcp://host:8786")
    out: str = option("", "write all rows to this file, one JSON object a line")


def with_run_flags(options: type, args: Sequence[str]) -> type:
    """`options` and every field of `Run`, with the defaults of the preset that the arguments name."""
    from kdlib.experiments.run import PRESETS, Run

    named = re.findall(r"(?:^|\n)--preset[=\n]([^\n]+)", "\n".join(args))
    with usage():
        fixed = choose("preset", named[-1], PRESETS).fixed if named else {}
    hints = typing.get_type_hints(Run)
    knobs = [
        (f.name, hints[f.name], field(default=fixed.get(f.name, f.default), metadata=f.metadata)) for f in fields(Run)
    ]
    combined = make_dataclass(options.__name__, knobs, bases=(options,), frozen=True)
    combined.__doc__ = options.__doc__
    return combined


def knobs_of(flags: Any) -> dict[str, Any]:
    """The fields of `Run` among the parsed flags."""
    from kdlib.experiments.run import Run

    return {f.name: getattr(flags, f.name) for f in fields(Run)}


def run(args: list[str]) -> int:
    """`python -m kdlib run`."""
    flags: Any = parse(with_run_flags(RunOptions, args), args, "run")
    row = _sweep_rows({}, knobs_of(flags), workers=1, cluster="")[0][0]
    if flags.json:
        print(json.dumps(row))
    else:
        from kdlib.experiments.run import Run

        chosen = [name for name, value in asdict(Run()).items() if row[name] != value]
        print(table([{"": name, " ": row[name]} for name in (*chosen, *RESULTS)]).lstrip("\n "))
    return 0 if row["status"] == "ok" else 1


def sweep(args: list[str]) -> int:
    """`python -m kdlib sweep`."""
    from kdlib.experiments.run import PRESETS, Run

    flags: Any = parse(with_run_flags(SweepOptions, args), args, "sweep")
    grid = read_grid(flags.grid, typing.get_type_hints(Run))
    if not grid and flags.preset:
        preset = PRESETS[flags.preset]
        grid = {"fraction": list(preset.fractions), "seed": list(preset.seeds)}
    if not grid:
        raise UsageError("a sweep needs --grid, such as: --grid fraction=0.1,0.3 seed=0,1,2")
    fixed = {name: value for name, value in knobs_of(flags).items() if name not in grid}
    rows, problem = _sweep_rows(grid, fixed, flags.workers, flags.cluster)
    if flags.out:
        from kdlib.experiments.grid import export_rows

        note(f"{len(rows)} rows written to {export_rows(rows, Path(flags.out).absolute())}")
    if rows:
        print(
            table(
                [
                    {name: row[name] for name in (*grid, "test_acc", "test_acc_best", "teacher_acc", "status")}
                    for row in rows
                ]
            )
        )
    if problem:
        raise Failed(problem)
    return 0


def read_grid(pairs: Sequence[str], hints: dict[str, Any]) -> dict[str, list[Any]]:
    """`["fraction=0.1,0.3"]` as `{"fraction": [0.1, 0.3]}`; UsageError for a name that is no field of `Run`."""
    grid = {}
    for name, text in assignments(pairs, "--grid").items():
        with usage():
            grid[name] = values(text, choose("field of Run", name, hints))
    return grid


def _sweep_rows(grid: dict[str, list], fixed: dict, workers: int, cluster: str) -> tuple[list[dict], str]:
    """The rows, and what went wrong with the missing ones; every point is checked first (UsageError)."""
    from kdlib.experiments import grid as sweeping
    from kdlib.experiments.run import Run, describe
    from kdlib.store.artefacts import StoreError

    with usage():
        runs = sweeping.points(Run, grid, fixed)
        if workers < 1:
            raise ValueError(f"--workers must be at least 1, got {workers}")
    try:
        with usage():  # a folder of images or a score table that does not fit is found out before the first training
            for r in runs:
                describe(r)
        frame = sweeping.sweep(grid, workers=workers, cluster=cluster or None, **fixed)
        return frame.to_dict("records"), ""
    except sweeping.SweepError as error:
        return error.rows.to_dict("records"), str(error)
    except (StoreError, OSError) as error:
        raise Failed(str(error)) from error


# ------------------------------------------------------------------------------------ the store


@dataclass(frozen=True)
class StoreOptions:
    """What is stored: `ls` lists it, `verify` reads everything and compares checksums, `gc` removes what no row needs."""

    action: str = option("ls", "ls, verify or gc")
    root: str = option("", "the store's folder; default data/store or $KDLIB_STORE")
    yes: bool = option(False, "gc: do not ask")


def store(args: list[str]) -> int:
    """`python -m kdlib store`."""
    from kdlib.store.artefacts import Store

    flags = parse(StoreOptions, args, "store", positional=["action"])
    with usage():
        action = choose("action", flags.action, {"ls": _ls, "verify": _verify, "gc": _gc})
    found = Store(flags.root or None)
    if not found.root.is_dir():
        raise UsageError(f"there is no store at {found.root}")
    return action(found, flags.yes)


def _ls(found: Any, yes: bool) -> int:
    kinds: dict[str, list] = {}
    for entry in found.ls():
        kinds.setdefault(entry.kind, []).append(entry)
    note(str(found.root))
    if kinds:
        print(table([_summary(kind, entries) for kind, entries in kinds.items()]))
    return 0


def _summary(kind: str, entries: list) -> dict[str, Any]:
    return {
        "kind": kind,
        "entries": len(entries),
        "size": _size(sum(entry.size for entry in entries)),
        "newest": _age(entries[-1].age),
        "oldest": _age(entries[0].age),
    }


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _age(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return "just now"


def _verify(found: Any, yes: bool) -> int:
    total = len(found.ls())
    bad = found.verify()
    for entry in bad:
        print(f"damaged, set aside: {entry.path}")
    note(f"{total - len(bad)} of {total} entries are whole")
    return 1 if bad else 0


def _gc(found: Any, yes: bool) -> int:
    """Remove what no stored row needs, and what crashes left; a run that a row needs again is made again."""
    from kdlib.experiments.run import Run, needed_artefacts

    names = {f.name for f in fields(Run)}
    runs = {Run(**{k: v for k, v in row.items() if k in names}) for row in found.rows()}
    entries = found.unneeded([pair for r in runs for pair in needed_artefacts(r)])
    litter = found.litter()
    if not entries and not litter:
        note("nothing to remove")
        return 0
    note(f"{len(entries)} entries ({_size(sum(e.size for e in entries))}) that no row needs, {len(litter)} left-overs")
    for kind in sorted({entry.kind for entry in entries}):
        print(table([_summary(kind, [entry for entry in entries if entry.kind == kind])]))
    if not yes and not _confirmed():
        note("kept")
        return 1
    note(f"{_size(found.remove([*entries, *litter]))} set free")
    return 0


def _confirmed() -> bool:
    if not sys.stdin.isatty():
        raise UsageError("gc asks before it removes; without a terminal say --yes")
    return input("Remove them? [y/N] ").strip().lower() in ("y", "yes")
