"""Many lessons: all of them, or one at each point of a grid; in parallel, skipping what has not changed."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import itertools
import json
import os
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from kdlib.course import lessons, notebooks
from kdlib.course.lessons import LessonError, say
from kdlib.course.run_times import Ahead, stated
from kdlib.utils import paths, progress
from kdlib.utils.files import write_whole

PACKAGES = ("torch", "numpy", "pandas", "scipy", "scikit-learn", "matplotlib", "seaborn")


@dataclass(frozen=True)
class Task:
    """One lesson with its parameters, and the places of its results."""

    source: Path
    parameters: dict[str, Any]
    preset: str | None
    notebook: Path
    folder: Path

    @property
    def label(self) -> str:
        return self.notebook.stem


@dataclass(frozen=True)
class Outcome:
    """What became of a task: its figure files, or the error that stopped it."""

    task: Task
    figures: tuple[str, ...] = ()
    seconds: float = 0.0
    error: str = ""
    kept: bool = False


def task(
    name: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    preset: str | None = None,
    folder: Path | None = None,
) -> Task:
    """The task of running a lesson (results in `folder`, default `figures/runs`); ValueError as `run_lesson`."""
    source = lessons.find(name)
    given = lessons.given_parameters(notebooks.read(source), parameters or {}, preset)
    notebook = (folder or lessons.runs()) / f"{lessons.run_name(source.stem, given)}.ipynb"
    figures = notebook.with_suffix("") if folder else lessons.default_figures(notebook, given)
    return Task(source, given, preset, notebook, figures)


def run_all(
    *,
    preset: str | None = None,
    workers: int | None = None,
    force: bool = False,
) -> list[Outcome]:
    """Run every lesson; the outcomes in the lessons' order, failures among them.

    A lesson is kept, not run again, if its notebook, parameters, kdlib's code, the committed rows and the
    packages are those of its last success and its outputs are untouched; `force` runs it all the same.
    """
    tasks = [task(name, preset=preset) for name in lessons.names()]
    return run_tasks(tasks, workers=workers, force=force)


def grid_tasks(
    name: str,
    grid: Mapping[str, Sequence[Any]],
    parameters: Mapping[str, Any] | None = None,
    preset: str | None = None,
    folder: str | Path | None = None,
) -> list[Task]:
    """One lesson at every point of a grid such as `{"seed": [0, 1], "dataset": ["digits", "svhn"]}`.

    All points are checked (ValueError), and so is that no parameter is both in the grid and fixed. Outputs are named by
    their parameters, in `folder` (default `figures/runs/NAME`).
    """
    if both := sorted(set(grid) & set(parameters or {})):
        raise ValueError(f"parameter {both[0]!r} is both in the grid and fixed; name it once")
    target = Path(folder) if folder is not None else lessons.runs() / lessons.find(name).stem
    points = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    return [task(name, {**(parameters or {}), **p}, preset=preset, folder=target.absolute()) for p in points]


def run_tasks(
    tasks: Iterable[Task],
    *,
    workers: int | None = None,
    cluster: Any = None,
    force: bool = False,
) -> list[Outcome]:
    """Run the tasks that need it, `workers` at a time (default: one per core); outcomes in the tasks' order.

    One that fails does not stop the others. `cluster`: "local", a Dask address or a Dask cluster object; its
    workers must see the same folders.
    """
    wanted = {t.notebook: t for t in tasks}  # a grid may name one point twice
    with progress.line() as line:
        line.say("looking for what has changed")
        outcomes = {} if force else {path: kept for path, t in wanted.items() if (kept := unchanged(t))}
    todo = [t for path, t in wanted.items() if path not in outcomes]
    workers = max(1, min(workers or os.cpu_count() or 1, len(todo)))
    ahead = Ahead({t.label: expected(t) for t in todo}, workers)
    what = f"{len(todo)} to run, {workers} at a time, {ahead.words()}" if todo else "nothing to run"
    say(f"{what}; {len(outcomes)} unchanged and kept")
    with progress.line() as line:
        if len(todo) > 1:
            line.say(lambda: f"0 of {len(todo)} lessons, {ahead.words()}")
        for count, outcome in enumerate(_execute(todo, workers, cluster, line, ahead), 1):
            outcomes[outcome.task.notebook] = outcome
            ahead.finished(outcome.task.label, outcome.seconds)
            if len(todo) > 1:
                line.say(functools.partial(_state, count, len(todo), outcome, ahead), milestone=True)
    return [outcomes[path] for path in wanted]


def _state(count: int, total: int, last: Outcome, ahead: Ahead) -> str:
    """How far many lessons are, in words."""
    state = f"FAILED, {last.error}" if last.error else f"done in {last.seconds:.0f} s"
    return f"{count} of {total} lessons, last {last.task.label}: {state}, {ahead.words()}"


def expected(task: Task) -> float | None:
    """Seconds that the task will take: what the lesson says of itself, or its last run in this store; None: unknown."""
    before = _stamp(task).get("seconds")
    nb = notebooks.read(task.source)
    declared = notebooks.parameters(nb).get("preset", {}).get("default", "")
    preset = task.parameters.get("preset") or task.preset or os.environ.get("KDLIB_PRESET") or declared
    said = stated(nb, preset)
    if before is None or said is None:
        return said[0] if said else before
    first, again = said
    return min(before, again) if again < first else before


# ------------------------------------------------------------------------------------ where tasks run


def work(task: Task) -> Outcome:
    """Run one task; whatever goes wrong in its lesson is in the outcome. What a worker process is given."""
    try:
        ran = lessons.run_lesson(
            str(task.source),
            task.parameters,
            preset=task.preset,
            out=task.notebook,
            figures=task.folder,
            expect_seconds=expected(task),
        )
    except (LessonError, ValueError, OSError) as error:
        return Outcome(task, error=str(error))
    outcome = Outcome(task, ran.figures, ran.seconds)
    remember(outcome)
    return outcome


def _execute(tasks: Sequence[Task], workers: int, cluster: Any, line: progress.Line, ahead: Ahead) -> Iterator[Outcome]:
    """Outcomes as they come. Never more tasks are handed out than can run, so that Ctrl-C leaves none behind.

    A worker process that dies takes its pool along. The lessons that were at work run again in the end, one by one, so that
    only the one that kills fails.
    """
    if workers == 1 and cluster is None:
        for task in tasks:
            ahead.started(task.label)
            yield work(task)
        return
    waiting, suspects = list(reversed(tasks)), list[Task]()
    said, texts = get_context("spawn").SimpleQueue(), dict[str, str]()  # what the lessons that run say of themselves
    line.detail(lambda: "; ".join(list(texts.values())))
    while waiting:
        with _executor(workers, cluster, said) as submit:
            for task, future in _handed_out(waiting, submit, workers, ahead, said, texts):
                texts.pop(task.label, None)
                if isinstance(future.exception(), BrokenExecutor):
                    suspects.append(task)
                else:
                    yield _outcome(task, future)
    for task in suspects:
        with _executor(1, cluster, said) as submit:
            yield _outcome(task, submit(task))


def _outcome(task: Task, future: Future) -> Outcome:
    error = future.exception()
    return future.result() if error is None else Outcome(task, error=f"the worker died: {error!r}")


def _handed_out(
    waiting: list[Task],
    submit: Callable[[Task], Future],
    workers: int,
    ahead: Ahead,
    said: Any,
    texts: dict[str, str],
) -> Iterator[tuple[Task, Future]]:
    """Tasks and what came of them, until none is waiting or the pool has broken and nothing runs any more."""
    running: dict[Future, Task] = {}
    broken = False
    while running or (waiting and not broken):
        while waiting and len(running) < workers and not broken:
            try:
                running[submit(waiting[-1])] = waiting[-1]
                ahead.started(waiting.pop().label)
            except BrokenExecutor:
                broken = True
        done = wait(running, timeout=progress.REFRESH, return_when=FIRST_COMPLETED).done
        while not said.empty():
            texts.update([said.get()])
        for future in done:
            broken = broken or isinstance(future.exception(), BrokenExecutor)
            yield running.pop(future), future


@contextmanager
def _executor(workers: int, cluster: Any, said: Any) -> Iterator[Callable[[Task], Future]]:
    """A function that hands a task to a worker: local processes, or a Dask cluster, which retries dead workers'.

    Local workers put pairs of a task's label and what it says of itself into the queue `said`.
    """
    if cluster is None:
        with ProcessPoolExecutor(workers, get_context("spawn"), _connect, (said,)) as pool:
            yield lambda task: pool.submit(_work_aloud, task)
    else:
        from kdlib.experiments.backends import _client  # numpy: the help of the lesson commands is to be quick

        with _client(cluster, workers) as client:
            pool = client.get_executor(pure=False, retries=2)
            yield lambda task: pool.submit(work, task)


_said: Any = None  # in a worker process: the queue to its parent


def _connect(said: Any) -> None:
    global _said
    _said = said


def _work_aloud(task: Task) -> Outcome:
    with progress.shown_by(lambda text, milestone: _said.put((task.label, text))):
        return work(task)


# ------------------------------------------------------------------------------------ what has not changed


def unchanged(task: Task) -> Outcome | None:
    """The outcome of the task's last success, if everything that it read and wrote is still the same."""
    stamp = _stamp(task)
    if not stamp or stamp["inputs"] != inputs(task) or stamp["outputs"] != _outputs(task, stamp["figures"]):
        return None
    return Outcome(task, tuple(stamp["figures"]), stamp["seconds"], kept=True)


def remember(outcome: Outcome) -> None:
    """Keep what the task read and wrote beside the store, for `unchanged`."""
    task, figures = outcome.task, list(outcome.figures)
    stamp = {
        "inputs": inputs(task),
        "outputs": _outputs(task, figures),
        "figures": figures,
        "seconds": outcome.seconds,
    }
    write_whole(_stamp_path(task), json.dumps(stamp, indent=1))


def inputs(task: Task) -> str:
    """A hash of all that decides a lesson's outputs: notebook, parameters, kdlib, committed rows, packages."""
    cells = [[c.cell_type, c.source, notebooks.tags(c)] for c in notebooks.read(task.source).cells]
    code = sorted(Path(__file__).parents[1].rglob("*.py"))
    rows = sorted(path for name in ("results", "paper") for path in paths.given(name).rglob("*"))
    environment = [os.environ.get(name) for name in ("KDLIB_PRESET", "OMP_NUM_THREADS")]
    versions = [platform.python_version(), *(importlib.metadata.version(name) for name in PACKAGES)]
    seen = [lessons.names(), cells, task.parameters, task.preset, environment, versions, hashes([*code, *rows])]
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()


def _outputs(task: Task, figures: Iterable[str]) -> list[str]:
    return hashes([task.notebook, *(task.folder / name for name in figures)])


def hashes(files: Iterable[Path]) -> list[str]:
    """One line for each file: its name and content."""
    return [f"{p.name} {hashlib.sha256(p.read_bytes()).hexdigest()}" if p.is_file() else p.name for p in files]


def _stamp_path(task: Task) -> Path:
    place = hashlib.sha256(str(task.notebook.absolute()).encode()).hexdigest()[:16]
    return paths.store() / "lessons" / f"{task.source.stem}-{place}.json"


def _stamp(task: Task) -> dict[str, Any]:
    try:
        return json.loads(_stamp_path(task).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
