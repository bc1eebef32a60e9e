"""The commands `lesson`, `figures` and `lab`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdlib.cli.arguments import Failed, UsageError, assignments, note, option, parse, usage
from kdlib.course import copies, lessons, notebooks, suite
from kdlib.utils import paths, progress
from kdlib.utils.errors import choose


@dataclass(frozen=True)
class LessonOptions:
    """Run one lesson, or "all"; without a name: list them with their parameters."""

    name: str = option("", "03, 03_kd_on_pruned_data, a notebook file, or all")
    preset: str = option("", "smoke (seconds), class (minutes), laptop (hours), paper (GPU)")
    set: tuple[str, ...] = option((), "parameters: name=value ...")
    grid: tuple[str, ...] = option((), "one run for each combination: name=value1,value2 ...")
    out: str = option("", "notebook to write; with --grid: folder")
    workers: int = option(0, "runs at a time; 0: one for each core")
    cluster: str = option("", "local, or a Dask scheduler's address tcp://host:8786")
    force: bool = option(False, "run also what has not changed since its last success")
    student: bool = option(False, "write the copy without solutions and outputs instead of running")
    update: bool = option(False, "run as written and replace the notebook in notebooks/ by the clean result")


def lesson(args: list[str]) -> int:
    """`python -m kdlib lesson`."""
    flags = parse(LessonOptions, args, "lesson", positional=["name"])
    if not flags.name:
        return _list()
    with usage():
        copies.at_hand(note)
        found = lessons.names() if flags.name == "all" else [str(lessons.find(flags.name))]
    if flags.out and len(found) > 1 and not flags.grid:
        raise UsageError("--out names one notebook; give one lesson")
    _check_out(flags)
    if flags.student:
        return _student(found, flags.out)
    if flags.update:
        if flags.set or flags.grid or flags.preset:
            raise UsageError("--update runs a lesson as it is written: no --set, --grid or --preset")
        return _finish(suite.run_tasks([suite.task(n) for n in found], workers=flags.workers or None, force=True), True)
    if flags.grid:
        return _grid(found, flags)
    with usage():
        tasks = [_task(name, flags) for name in found]
    cluster = flags.cluster or None
    return _finish(suite.run_tasks(tasks, workers=flags.workers or None, cluster=cluster, force=flags.force))


def _check_out(flags: LessonOptions) -> None:
    """UsageError for an `--out` of the wrong kind, before anything runs."""
    if flags.grid and Path(flags.out).is_file():
        raise UsageError(f"--out {flags.out} is a file; with --grid name a folder")
    if flags.out and not flags.grid and Path(flags.out).is_dir():
        raise UsageError(
            f"--out {flags.out} is a folder; name a notebook file, such as {Path(flags.out) / 'out.ipynb'}"
        )


def _task(name: str, flags: LessonOptions) -> suite.Task:
    task = suite.task(name, _parameters(name, flags.set), preset=flags.preset or None)
    if flags.out:
        notebook = Path(flags.out).absolute()
        return suite.Task(task.source, task.parameters, task.preset, notebook, notebook.with_suffix(""))
    return task


def _parameters(name: str, pairs: Sequence[str]) -> dict[str, Any]:
    declared = _declared(name)
    return {key: notebooks.parse_parameter(key, text, declared) for key, text in assignments(pairs, "--set").items()}


def _grid(found: list[str], flags: LessonOptions) -> int:
    """One run of each lesson for each point of the grid, and an index of the runs of each lesson."""
    given = assignments(flags.grid, "--grid")
    everywhere = {key for name in found for key in _declared(name)}
    if len(found) > 1 and (unknown := sorted(set(given) - everywhere)):
        raise UsageError(f"no lesson has a parameter {unknown[0]!r}; python -m kdlib lesson lists them")
    with usage():
        tasks = {name: _grid_tasks(name, given, flags, alone=len(found) == 1) for name in found}
    everything = [task for several in tasks.values() for task in several]
    outcomes = suite.run_tasks(
        everything, workers=flags.workers or None, cluster=flags.cluster or None, force=flags.force
    )
    from kdlib.course.site.grid import write_index  # nbconvert: the help is to be quick

    for folder in dict.fromkeys(task.notebook.parent for task in everything):
        note(f"index: {write_index([o for o in outcomes if o.task.notebook.parent == folder], folder)}")
    return _finish(outcomes)


def _grid_tasks(name: str, given: dict[str, str], flags: LessonOptions, alone: bool) -> list[suite.Task]:
    """The tasks of one lesson; among several lessons, one takes those parameters of the grid that it has."""
    declared, stem = _declared(name), Path(name).stem
    folder = (Path(flags.out).absolute() / ("" if alone else stem)) if flags.out else lessons.runs() / stem
    grid = {
        key: [notebooks.parse_parameter(key, part, declared) for part in notebooks.split_commas(text)]
        for key, text in given.items()
        if alone or key in declared
    }
    if empty := [key for key, values in grid.items() if not values]:
        raise ValueError(f"--grid {empty[0]} has no values; write {empty[0]}=value1,value2")
    if not alone and set(given) - set(declared):
        note(f"{stem} has no parameter {', '.join(sorted(set(given) - set(declared)))}; it runs without")
    return suite.grid_tasks(name, grid, _parameters(name, flags.set), flags.preset or None, folder)


def _declared(name: str) -> dict[str, dict[str, Any]]:
    return notebooks.parameters(notebooks.read(lessons.find(name)))


def _finish(outcomes: list[suite.Outcome], update: bool = False) -> int:
    """Say where the results lie; Failed, naming every lesson that failed, if any did."""
    for outcome in outcomes:
        if outcome.error:
            continue
        target = outcome.task.notebook
        if update:
            target = notebooks.write(notebooks.read(target), outcome.task.source)
        note(
            f"{target}"
            + (f" and {len(outcome.figures)} figure files in {outcome.task.folder}" if outcome.figures else "")
        )
    failed = [outcome for outcome in outcomes if outcome.error]
    if failed:
        lines = [f"{len(failed)} of {len(outcomes)} failed", *(f"  {o.task.label}: {o.error}" for o in failed)]
        raise Failed("\n".join(lines) if len(outcomes) > 1 else failed[0].error)
    return 0


def _student(found: list[str], out: str) -> int:
    for name in found:
        source = lessons.find(name)
        target = Path(out) if out else lessons.runs() / f"{source.stem}.student.ipynb"
        note(f"{notebooks.write(notebooks.student_copy(notebooks.read(source)), target)}")
    return 0


def _list() -> int:
    for name in [*lessons.names(), *lessons.templates()]:
        nb = notebooks.read(lessons.find(name))
        print(f"{name}: {notebooks.title(nb)}")
        for key, found in notebooks.parameters(nb).items():
            print(f"    {key}: {found['type']} = {found['default']!r}  {found['help']}")
    return 0


@dataclass(frozen=True)
class FiguresOptions:
    """Run every lesson that changed since its last success; write figures/ and the site figures/site/index.html.

    One figure or table of a paper: python -m kdlib lesson 90 --set figure=NAME, with a name from --list.
    """

    preset: str = option("", "smoke, class, laptop, paper; other than the lessons' own, figures go to figures/runs")
    workers: int = option(0, "lessons at a time; 0: one for each core")
    force: bool = option(False, "run also what has not changed")
    list: bool = option(False, "name every figure and table of both papers, and what it needs; runs nothing")


def figures(args: list[str]) -> int:
    """`python -m kdlib figures`."""
    flags = parse(FiguresOptions, args, "figures")
    if flags.list:
        from kdlib.analysis.tell.reproduction import every_figure  # torch: the help is to be quick

        with progress.working("looking for the rows of all figures"):
            said = every_figure()
        print(said)
        return 0
    with usage():
        copies.at_hand(note)
        outcomes = suite.run_all(preset=flags.preset or None, workers=flags.workers or None, force=flags.force)
    from kdlib.course.site import write_site  # likewise

    note(f"site: {write_site(outcomes, paths.figures() / 'site')}")
    return _finish(outcomes)


@dataclass(frozen=True)
class LessonsOptions:
    """Write the lessons, and the rows and tables they read, into a folder: to work on them without a clone."""

    action: str = option("", "copy")
    folder: str = option("", "a folder that is new or empty, or one that such a copy was written to")


def lessons_command(args: list[str]) -> int:
    """`python -m kdlib lessons copy FOLDER`."""
    flags = parse(LessonsOptions, args, "lessons", positional=["action", "folder"])
    with usage():
        choose("action", flags.action, {"copy": None})
        if not flags.folder:
            raise UsageError("name the folder: kdlib lessons copy FOLDER")
        written = copies.copy_to(Path(flags.folder).expanduser().absolute())
    note(f"{len(list(written.glob('*.ipynb')))} notebooks in {written}; open them with: kdlib lab {flags.folder}")
    return 0


def lab(args: list[str]) -> int:
    """`python -m kdlib lab [FOLDER]`: JupyterLab on the lessons (of that folder); further arguments are its own."""
    given = args.pop(0) if args and not args[0].startswith("-") else ""
    project = Path(given).expanduser().absolute() if given else paths.root()
    if not (project / "notebooks").is_dir():
        raise UsageError(f"there are no lessons in {project}; write them there with: kdlib lessons copy {project}")
    os.environ["KDLIB_ROOT"] = str(project)  # for the kernels, which work in the folder of their notebook
    root_may = ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []  # the user of many containers
    place = ["--notebook-dir", str(project / "notebooks")]
    os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", *place, *root_may, *args])
