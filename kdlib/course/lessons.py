"""Lessons: find them and run them with papermill; a run succeeds whole or leaves only its explanation.

A lesson runs in a fresh kernel of *this* interpreter, whatever kernels the machine knows. Its figures go to a
temporary folder and its notebook to a temporary name; only when every cell has run do both take their place.
"""

from __future__ import annotations

import copy
import hashlib
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdlib.course.execution import Execution, LessonError, Stalled
from kdlib.utils import paths, progress
from kdlib.utils.errors import choose

__all__ = ["LessonError", "Ran", "chosen_preset", "figures_by_hand", "find", "names", "run_lesson", "templates"]

ATTEMPTS = 3  # at a lesson whose kernel stalls
LONGEST_PART = 40  # characters of one parameter in a file name
FIRST_TEMPLATE = 90  # notebooks from this number on are templates: they run by name, with parameters
PRESET_NAMES = ("smoke", "class", "laptop", "paper")


@dataclass(frozen=True)
class Ran:
    """A lesson that ran: the executed notebook, its figure files (names in `folder`) and its seconds."""

    name: str
    notebook: Path
    folder: Path
    figures: tuple[str, ...]
    seconds: float


def chosen_preset(preset: str) -> str:
    """`$KDLIB_PRESET` if set, else `preset`: so tests make a lesson small without touching its parameters.

    Raises ValueError for a name that is not a preset.
    """
    name = os.environ.get("KDLIB_PRESET") or preset
    return choose("preset", name, dict.fromkeys(PRESET_NAMES, name))


def folder() -> Path:
    """Where the lessons lie."""
    return paths.notebooks()


def names() -> list[str]:
    """The lessons in order, such as `00_start_here`."""
    return [name for name in _numbered() if int(name.split("_")[0]) < FIRST_TEMPLATE]


def templates() -> list[str]:
    """The notebooks that are no lessons: `python -m kdlib lesson NAME` runs them, `lesson all` and `figures` do not."""
    return [name for name in _numbered() if int(name.split("_")[0]) >= FIRST_TEMPLATE]


def _numbered() -> list[str]:
    return sorted(path.stem for path in folder().glob("[0-9][0-9]_*.ipynb"))


def find(name: str) -> Path:
    """The notebook of a lesson given as `03`, `3`, `03_kd_on_pruned_data` or a path to a notebook.

    Raises ValueError naming the nearest and all lessons if there is none.
    """
    if name.endswith(".ipynb") and Path(name).is_file():
        return Path(name).resolve()
    lessons = {lesson: lesson for lesson in [*names(), *templates()]}
    numbers = {int(lesson.split("_")[0]): lesson for lesson in lessons}
    key = name.removesuffix(".ipynb")
    key = numbers.get(int(key), key) if key.isdecimal() else key
    return folder() / f"{choose('lesson', key, lessons)}.ipynb"


def figures_by_hand() -> Path:
    """Where a template that somebody starts writes its figures: `$KDLIB_FIGURES` if set, else beside the lessons' own."""
    return paths.drawn()


def say(line: str) -> None:
    """One plain line on stderr, at once."""
    print(line, file=sys.stderr, flush=True)


def run_lesson(
    name: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    preset: str | None = None,
    out: str | Path | None = None,
    figures: str | Path | None = None,
    expect_seconds: float | None = None,
) -> Ran:
    """Execute a lesson in a clean kernel; returns what it made.

    `out` (default `figures/runs/NAME[__PARAMETERS].ipynb`) receives the executed, cleaned notebook and
    `figures` the figure files: by default `figures/` for a run as written, a folder beside the notebook for
    any other run. `expect_seconds`, how long it will take, makes the time left that is shown better.

    Raises ValueError for an unknown parameter, a wrong type or an unknown preset, before anything runs;
    LessonError if a cell fails or the kernel dies: the notebook so far then lies beside `out` as
    `*.failed.ipynb`, and neither `out` nor the figures have been touched.
    """
    from kdlib.course import notebooks  # what only asks for names of lessons need not load it

    source = find(name)
    nb = notebooks.read(source)
    given = given_parameters(nb, parameters or {}, preset)
    target = Path(out) if out is not None else runs() / f"{run_name(source.stem, given)}.ipynb"
    figures = Path(figures) if figures is not None else default_figures(target, given)
    start = time.monotonic()
    with progress.line() as line:
        for attempt in range(1, ATTEMPTS + 1):
            job = Execution(source, copy.deepcopy(nb), given, target, Path(), line, expect_seconds)
            try:
                executed, made = _executed(job, preset or given.get("preset"), figures)
                break
            except Stalled as problem:
                if attempt == ATTEMPTS:
                    raise LessonError(f"lesson failed {attempt} times: {problem}", job.failed) from problem
                say(f"{problem}; the lesson starts again")
    notebooks.write(notebooks.clean(executed, keep_injected=bool(given)), target)
    job.failed.unlink(missing_ok=True)
    return Ran(source.stem, target, figures, made, time.monotonic() - start)


def _executed(job: Execution, preset: str | None, figures: Path) -> tuple[Any, tuple[str, ...]]:
    """The executed notebook and the figures that it published."""
    with tempfile.TemporaryDirectory(prefix="kdlib-") as scratch:
        job.scratch = Path(scratch)
        executed = job.execute(preset)
        return executed, _publish(job.scratch / "figures", figures)


def given_parameters(nb: Any, parameters: Mapping[str, Any], preset: str | None) -> dict[str, Any]:
    """The parameters that differ from the notebook's own, checked; with `preset` where the notebook has one."""
    from kdlib.course import notebooks  # what only asks for names of lessons need not load it

    declared = notebooks.parameters(nb)
    given = notebooks.check_parameters(parameters, declared)
    if preset is not None and "preset" in declared:
        given["preset"] = preset
    if (named := given.get("preset", preset)) is not None:
        choose("preset", named, dict.fromkeys(PRESET_NAMES))
    return {name: value for name, value in given.items() if value != declared[name]["default"]}


def runs() -> Path:
    """Where executed notebooks go (not in git)."""
    return paths.figures() / "runs"


def run_name(stem: str, parameters: Mapping[str, Any]) -> str:
    """`03_name__seed=1__f=0.3`: a file name that says what ran, and another one for other parameters.

    A part that a file name cannot hold as it is (`a/b`, a list, a long text) is written with what it can hold, and with a
    digest of the whole.
    """
    return "__".join([stem, *(_name_part(key, value) for key, value in parameters.items())])


def _name_part(key: str, value: Any) -> str:
    text = f"{key}={value}"
    short = re.sub(r"[^\w=.,+-]+", "-", text, flags=re.ASCII).strip("-")[:LONGEST_PART]
    capitals = isinstance(value, str) and value != value.lower()  # some file systems do not tell A from a
    if short == text and "__" not in text and not capitals:
        return text
    return f"{short.replace('__', '-')}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def default_figures(target: Path, given: Mapping[str, Any]) -> Path:
    """`figures/` holds the lessons as written; any other run keeps its figures beside its notebook."""
    as_written = not given and not os.environ.get("KDLIB_PRESET")
    return paths.figures() if as_written else target.with_suffix("")


def _publish(made: Path, target: Path) -> tuple[str, ...]:
    """Move finished figures into place, each by one rename inside the target's file system."""
    files = sorted(path for path in made.glob("*") if path.is_file() and not path.name.startswith("."))
    if files:
        target.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".partial-", dir=target))
        try:
            for path in files:
                shutil.copyfile(path, staging / path.name)
            for path in files:
                os.replace(staging / path.name, target / path.name)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return tuple(path.name for path in files)
