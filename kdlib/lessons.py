"""Lessons: find them and run them with papermill, so that a run either succeeds whole or leaves nothing but its explanation.

A lesson runs in a fresh kernel of *this* interpreter, whatever kernels the machine knows. Its figures go to a temporary folder
and its notebook to a temporary name; only when every cell has run do both take their place.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kdlib import paths
from kdlib.errors import choose

PRESET_NAMES = ("smoke", "class", "laptop", "paper")
IPC_LIMIT = 90  # a socket's path may have about 100 characters; longer ones fall back to TCP


class LessonError(RuntimeError):
    """A lesson did not run to its end; `notebook` is the notebook as far as it came."""

    def __init__(self, message: str, notebook: Path) -> None:
        super().__init__(message, notebook)
        self.message, self.notebook = message, notebook

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class Ran:
    """A lesson that ran: the executed notebook, the figure files it wrote (names in `folder`), and the seconds it took."""

    name: str
    notebook: Path
    folder: Path
    figures: tuple[str, ...]
    seconds: float


def chosen_preset(preset: str) -> str:
    """`$KDLIB_PRESET` if set, else `preset`: how the tests make a lesson small without touching its parameters.

    Raises ValueError for a name that is not a preset.
    """
    name = os.environ.get("KDLIB_PRESET") or preset
    return choose("preset", name, dict.fromkeys(PRESET_NAMES, name))


def folder() -> Path:
    """Where the lessons lie."""
    return paths.root() / "notebooks"


def names() -> list[str]:
    """The lessons in order, such as `00_start_here`."""
    return sorted(path.stem for path in folder().glob("[0-9]*.ipynb"))


def find(name: str) -> Path:
    """The notebook of a lesson given as `03`, `3`, `03_kd_on_pruned_data` or a path to a notebook.

    Raises ValueError naming the nearest and all lessons if there is none.
    """
    if name.endswith(".ipynb") and Path(name).is_file():
        return Path(name)
    lessons = {lesson: lesson for lesson in names()}
    numbers = {str(int(lesson.split("_")[0])): lesson for lesson in lessons}
    key = name.removesuffix(".ipynb")
    key = numbers.get(str(int(key)), key) if key.isdigit() else key
    return folder() / f"{choose('lesson', key, lessons)}.ipynb"


# ---------------------------------------------------------------------------------------------- one lesson


def say(line: str) -> None:
    """The default progress: one plain line on stderr, at once."""
    print(line, file=sys.stderr, flush=True)


def run_lesson(
    name: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    preset: str | None = None,
    out: str | Path | None = None,
    figures: str | Path | None = None,
    progress: Callable[[str], None] = say,
    expect_seconds: float | None = None,
) -> Ran:
    """Execute a lesson in a clean kernel; returns what it made.

    `out` (default `figures/runs/NAME[__PARAMETERS].ipynb`) receives the executed, cleaned notebook, `figures` the figure files:
    by default `figures/` for a run as written, and a folder beside the notebook for a run with other parameters.
    Raises ValueError for an unknown parameter, a wrong type or an unknown preset, before anything runs; and LessonError if a
    cell fails or the kernel dies: the failed notebook then lies beside `out` as `*.failed.ipynb`, and neither `out`
    nor the figures have been touched.
    """
    from kdlib import notebooks

    source = find(name)
    nb = notebooks.read(source)
    given = notebooks.check_parameters(parameters or {}, declared := notebooks.parameters(nb))
    if preset is not None:
        choose("preset", preset, dict.fromkeys(PRESET_NAMES))
        given = {**given, **({"preset": preset} if "preset" in declared else {})}
    target = Path(out) if out is not None else runs() / f"{run_name(source.stem, given)}.ipynb"
    if figures is None:
        figures = target.with_suffix("") if given else paths.figures()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kdlib-") as scratch:
        job = _Job(source, nb, given, target, Path(scratch), progress, expect_seconds)
        executed = job.execute(preset or given.get("preset"))
        made = _publish(Path(scratch) / "figures", Path(figures))
    notebooks.write(notebooks.clean(executed, keep_injected=bool(given)), target)
    job.failed.unlink(missing_ok=True)
    return Ran(source.stem, target, Path(figures), made, time.monotonic() - start)


def runs() -> Path:
    """Where executed notebooks go (not in git)."""
    return paths.figures() / "runs"


def run_name(stem: str, parameters: Mapping[str, Any]) -> str:
    """`03_name__seed=1__f=0.3`: a file name that says what ran."""
    parts = [f"{key}={value}" for key, value in parameters.items()]
    return "__".join([stem, *(re.sub(r"[^\w=.,+-]+", "", part)[:60] for part in parts)])


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


# ---------------------------------------------------------------------------------------------- the kernel


def kernel_environment(scratch: Path, preset: str | None) -> dict[str, str]:
    """What a lesson's kernel finds in its environment besides our own.

    Sleeping instead of spinning OpenMP threads, one thread unless the user says otherwise (so that numbers do not depend on the
    machine's cores), this very kdlib, a folder for figures, and no personal IPython start-up files.
    """
    package = str(Path(__file__).resolve().parent.parent)
    inherited = os.environ.get("PYTHONPATH")
    chosen = {"KDLIB_PRESET": preset} if preset else {}
    return {
        "OMP_WAIT_POLICY": "PASSIVE",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        "PYTHONPATH": os.pathsep.join([package, *([inherited] if inherited else [])]),
        "KDLIB_ROOT": str(paths.root()),
        "KDLIB_FIGURES": str(scratch / "figures"),
        "IPYTHONDIR": str(scratch / "ipython"),
        **chosen,
    }


@contextlib.contextmanager
def own_kernel(scratch: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """While open, `python3` means the running interpreter: its spec comes first on JUPYTER_PATH, before any stale one."""
    spec = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Python 3",
        "language": "python",
        "env": dict(environment),
    }
    home = scratch / "jupyter" / "kernels" / "python3"
    home.mkdir(parents=True)
    (home / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    before = os.environ.get("JUPYTER_PATH")
    os.environ["JUPYTER_PATH"] = os.pathsep.join([str(scratch / "jupyter"), *([before] if before else [])])
    try:
        yield
    finally:
        if before is None:
            del os.environ["JUPYTER_PATH"]
        else:
            os.environ["JUPYTER_PATH"] = before


def _transport(scratch: Path) -> dict[str, Any]:
    """Unix sockets in the scratch folder: parallel kernels cannot take each other's TCP ports."""
    connection = str(scratch / "kernel.json")
    if os.name != "posix" or len(connection) > IPC_LIMIT:
        return {}
    return {"KernelManager": {"transport": "ipc", "connection_file": connection}}


@dataclass
class _Job:
    """One execution: the notebook, where it goes, and how far it has come."""

    source: Path
    nb: Any
    given: Mapping[str, Any]
    target: Path
    scratch: Path
    progress: Callable[[str], None]
    expect_seconds: float | None = None
    cell: int = -1
    start: float = field(default_factory=time.monotonic)

    @property
    def failed(self) -> Path:
        return self.target.with_name(f"{self.target.stem}.failed.ipynb")

    def execute(self, preset: str | None) -> Any:
        """The executed notebook; whatever goes wrong becomes a LessonError beside a notebook that shows it."""
        import papermill
        from traitlets.config import Config

        (self.scratch / "figures").mkdir()
        saved = self.scratch / "notebook.ipynb"
        tracker = _Tracker(self)
        try:
            with own_kernel(self.scratch, kernel_environment(self.scratch, preset)):
                executed = papermill.execute_notebook(
                    self.nb,
                    str(saved),
                    dict(self.given),
                    kernel_name="python3",
                    language="python",
                    progress_bar=False,
                    stderr_file=tracker,
                    config=Config(_transport(self.scratch)),
                    resources={"metadata": {"path": str(self.source.parent)}},
                    on_cell_start=tracker.cell_start,
                    on_cell_executed=tracker.cell_executed,
                )
        except Exception as error:
            raise self.failure(_explain(error), saved) from error
        if skipped := [cell for cell in _code_cells(executed) if cell.execution_count is None]:
            raise self.failure(f"{len(skipped)} code cells did not run", saved)
        return executed

    def failure(self, reason: str, saved: Path) -> LessonError:
        self.failed.parent.mkdir(parents=True, exist_ok=True)
        if saved.exists():
            shutil.copyfile(saved, self.failed)
        first = ""
        if 0 <= self.cell < len(self.nb.cells):
            lines = [line for line in self.nb.cells[self.cell].source.splitlines() if line.strip()]
            first = f" ({lines[0].strip()[:60]})" if lines else ""
        where = f"cell {self.cell + 1} of {len(self.nb.cells)}{first}"
        return LessonError(
            f"lesson {self.source.stem} failed in {where}: {reason}; the notebook so far: {self.failed}",
            self.failed,
        )


def _code_cells(nb: Any) -> list[Any]:
    return [cell for cell in nb.cells if cell.cell_type == "code" and cell.source.strip()]


def _explain(error: Exception) -> str:
    """One line for anything papermill may raise."""
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    if isinstance(error, PapermillExecutionError):
        first = (error.evalue or "").strip().splitlines()
        return f"{error.ename}: {first[0]}" if first else str(error.ename)
    if isinstance(error, DeadKernelError):
        return "the kernel died (killed, or out of memory)"
    return f"{type(error).__name__}: {error}"


class _Tracker:
    """Turns what papermill reports into plain progress lines, at most one every two seconds."""

    every = 2.0

    def __init__(self, job: _Job) -> None:
        self.job, self.last, self.buffer = job, time.monotonic(), ""
        self.done = self.total = self.injected = 0

    def cell_start(self, cell: Any, cell_index: int) -> None:
        self.total = self.total or len(_code_cells(self.job.nb)) + bool(self.job.given)
        self.injected += "injected-parameters" in cell.metadata.get("tags", [])
        self.job.cell = cell_index - self.injected

    def cell_executed(self, cell: Any, cell_index: int, execute_reply: Any) -> None:
        self.done += 1
        if time.monotonic() - self.last >= self.every or self.done == self.total:
            self.say(f"cell {self.done}/{self.total}, {self.clock()}")

    def clock(self) -> str:
        elapsed = time.monotonic() - self.job.start
        whole = self.job.expect_seconds or elapsed * self.total / max(self.done, 1)
        return f"{elapsed:.0f} s elapsed, about {max(0.0, whole - elapsed):.0f} s left"

    def say(self, text: str) -> None:
        self.last = time.monotonic()
        self.job.progress(f"{self.job.source.stem}: {text}")

    def write(self, text: str) -> None:
        """Pass on the kernel's stderr, where a sweep reports its progress; of a redrawn line only the latest state."""
        *lines, self.buffer = (self.buffer + text).split("\n")
        for line in lines:
            if shown := line.split("\r")[-1].strip():
                self.say(shown)
        shown = self.buffer.split("\r")[-1].strip()
        if "\r" in self.buffer and shown and time.monotonic() - self.last >= self.every:
            self.say(shown)

    def flush(self) -> None:
        pass
