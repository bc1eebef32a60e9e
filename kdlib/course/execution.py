"""One execution of one notebook: this interpreter's kernel, progress cell by cell, failures in one line."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from kdlib.utils import paths
from kdlib.utils.progress import Line, clock

IPC_LIMIT = 90  # a socket's path may have about 100 characters; longer ones fall back to TCP


SILENCE = 120.0
"""Seconds without any work of a kernel in the middle of a cell after which it counts as stalled."""


class Stalled(RuntimeError):
    """A kernel has done its work and its answer got lost: rarely, under load, a message between processes does."""


class LessonError(RuntimeError):
    """A lesson did not run to its end; `notebook` is the notebook as far as it came."""

    def __init__(self, message: str, notebook: Path) -> None:
        super().__init__(message, notebook)
        self.message, self.notebook = message, notebook

    def __str__(self) -> str:
        return self.message


def kernel_environment(scratch: Path, preset: str | None) -> dict[str, str]:
    """What a lesson's kernel finds in its environment besides our own.

    OpenMP threads that sleep instead of spin, one of them unless the user says otherwise (so that numbers do
    not depend on the machine's cores), this very kdlib, a folder for figures, no personal IPython start-up. Progress
    comes on stderr, from where it is passed on; a clean notebook keeps none of it.
    """
    package = str(Path(__file__).resolve().parents[2])
    inherited = os.environ.get("PYTHONPATH")
    chosen = {"KDLIB_PRESET": preset} if preset else {}
    return {
        "OMP_WAIT_POLICY": "PASSIVE",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        "PYTHONPATH": os.pathsep.join([package, *([inherited] if inherited else [])]),
        "KDLIB_ROOT": str(paths.root()),
        "KDLIB_FIGURES": str(scratch / "figures"),
        "KDLIB_PROGRESS": "relay",
        "IPYTHONDIR": str(scratch / "ipython"),
        **chosen,
    }


def own_kernel(scratch: Path, environment: Mapping[str, str]) -> Any:
    """A kernel manager class for which `python3` means the running interpreter and nothing else.

    It knows only the folder that is written here, so a stale `python3` of the user or of another environment
    cannot win. Kernels talk through Unix sockets in `scratch`: parallel ones cannot take each other's TCP ports.
    """
    # with papermill: the help of the lesson commands is to be quick
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    spec = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Python 3",
        "language": "python",
        "env": dict(environment),
    }
    kernels = scratch / "kernels"
    (kernels / "python3").mkdir(parents=True)
    (kernels / "python3" / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")

    class OwnKernel(AsyncKernelManager):
        started: list[Any] = []

        def __init__(self, **kw: Any) -> None:
            super().__init__(**kw)
            self.started.append(self)

        async def start_kernel(self, **kw: Any) -> None:  # type: ignore[override]
            with open(scratch / "kernel.log", "wb") as log:  # what a kernel says in its last throes
                await super().start_kernel(**kw, stdout=log, stderr=log)

        def _kernel_spec_manager_default(self) -> KernelSpecManager:
            return KernelSpecManager(kernel_dirs=[str(kernels)])

    return OwnKernel


def end(kernel: Any) -> None:
    """Kill what Ctrl-C or an error at the wrong moment left of the kernels of this class."""
    for manager in kernel.started:
        process = getattr(manager.provisioner, "process", None)
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()


def _transport(scratch: Path) -> dict[str, Any]:
    """Settings that make a kernel talk through sockets in the scratch folder, where their paths fit."""
    connection = str(scratch / "kernel.json")
    if os.name != "posix" or len(connection) > IPC_LIMIT:
        return {}
    return {"KernelManager": {"transport": "ipc", "connection_file": connection}}


@dataclass
class Execution:
    """One execution: the notebook, where it goes, and how far it has come."""

    source: Path
    nb: Any
    given: Mapping[str, Any]
    target: Path
    scratch: Path
    line: Line
    expect_seconds: float | None = None
    cell: int = -1
    start: float = field(default_factory=time.monotonic)

    @property
    def failed(self) -> Path:
        return self.target.with_name(f"{self.target.stem}.failed.ipynb")

    def execute(self, preset: str | None) -> Any:
        """The executed notebook; whatever goes wrong becomes a LessonError, with a notebook that shows it."""
        import papermill  # 1.9 s, which the help of the lesson commands need not wait for
        from traitlets.config import Config

        (self.scratch / "figures").mkdir()
        self.line.say(f"{self.source.stem}: starting its kernel")
        saved = self.scratch / "notebook.ipynb"
        tracker = Tracker(self)
        kernel = own_kernel(self.scratch, kernel_environment(self.scratch, preset))
        watch = Watch(kernel, tracker)
        for chatty in ("papermill", "asyncio"):  # what they would say is in the LessonError
            logging.getLogger(chatty).setLevel(logging.CRITICAL)
        try:
            executed = papermill.execute_notebook(
                self.nb,
                str(saved),
                dict(self.given),
                kernel_name="python3",
                language="python",
                progress_bar=False,
                stderr_file=tracker,
                config=Config(_transport(self.scratch)),
                kernel_manager_class=kernel,
                resources={"metadata": {"path": str(self.source.parent)}},
                on_cell_start=tracker.cell_start,
                on_cell_executed=tracker.cell_executed,
            )
        except Exception as error:
            if watch.stalled:
                raise Stalled(f"{self.source.stem}: the kernel has been silent for {SILENCE:.0f} s") from error
            raise self.failure(_explain(error), saved) from error
        finally:
            watch.stop()
            end(kernel)
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
    from nbclient.exceptions import DeadKernelError  # with papermill
    from papermill.exceptions import PapermillExecutionError

    if isinstance(error, PapermillExecutionError):
        first = (error.evalue or "").strip().splitlines()
        return f"{error.ename}: {first[0]}" if first else str(error.ename)
    if isinstance(error, DeadKernelError):
        return "the kernel died (killed, or out of memory)"
    return f"{type(error).__name__}: {error}"


class Watch(threading.Thread):
    """Ends a kernel that neither works nor answers, so that its lesson can start again."""

    def __init__(self, kernel: Any, tracker: Tracker, silence: float = SILENCE) -> None:
        super().__init__(daemon=True)
        self.kernel, self.tracker, self.silence = kernel, tracker, silence
        self.stalled, self.over = False, threading.Event()
        self.start()

    def run(self) -> None:
        seen, since = (-1.0, -1), time.monotonic()
        while not self.over.wait(min(5.0, self.silence / 4)):
            now = (round(self._work(), 1), self.tracker.done)
            if now != seen or not self._processes():
                seen, since = now, time.monotonic()
            elif time.monotonic() - since > self.silence:
                self.stalled = True
                end(self.kernel)
                return

    def _processes(self) -> list[psutil.Process]:
        """The kernels that run, and what they have started."""
        found: list[psutil.Process] = []
        for manager in self.kernel.started:
            with suppress(psutil.Error, AttributeError):
                process = psutil.Process(manager.provisioner.process.pid)
                found += [process, *process.children(recursive=True)]
        return found

    def _work(self) -> float:
        """CPU seconds of these processes."""
        total = 0.0
        for process in self._processes():
            with suppress(psutil.Error):
                total += sum(process.cpu_times()[:2])
        return total

    def stop(self) -> None:
        """The lesson is over."""
        self.over.set()


class Tracker:
    """Says at which cell a lesson is, and passes on what its kernel says of long work."""

    def __init__(self, job: Execution) -> None:
        self.job, self.buffer = job, ""
        self.done = self.injected = 0
        self.total = len(_code_cells(job.nb)) + bool(job.given)

    def cell_start(self, cell: Any, cell_index: int) -> None:
        self.injected += "injected-parameters" in cell.metadata.get("tags", [])
        self.job.cell = cell_index - self.injected
        self.job.line.detail("")
        self.job.line.say(self.words)

    def cell_executed(self, cell: Any, cell_index: int, execute_reply: Any) -> None:
        self.done += 1

    def words(self) -> str:
        """The time left by what was expected, or, if that is more, as much of the time so far as there are cells left."""
        elapsed = time.monotonic() - self.job.start
        left = max((self.job.expect_seconds or 0.0) - elapsed, elapsed * (self.total - self.done) / self.total)
        return f"{self.job.source.stem}: cell {min(self.done + 1, self.total)}/{self.total}, {clock(left)} left"

    def write(self, text: str) -> None:
        """Pass on the kernel's stderr, where sweeps report; of a redrawn line only its latest state."""
        *lines, self.buffer = (self.buffer + text).split("\n")
        for line in [*lines, self.buffer if "\r" in self.buffer else ""]:
            if shown := line.split("\r")[-1].strip():
                self.job.line.detail(shown)

    def flush(self) -> None:
        pass
