"""Local worker processes for sweeps: a child is `python -m kdlib.experiments.worker_pool` and talks in JSON lines.

Unlike multiprocessing's, it does not import the caller's main module, so it works from a notebook and from a
script without a main guard; and a child that dies takes nothing with it but its own run, which is tried again.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from kdlib.experiments.backends import (
    OTHER_KEY,
    WORKER_ENVIRONMENT,
    Job,
    RunOutcome,
    Work,
    attempt,
    deal_gpus,
    visible_gpus,
)
from kdlib.experiments.idle_workers import IDLE
from kdlib.utils import progress

TRIES = 4
"""A run whose worker process dies this often counts as failed: it is the run that kills."""

GROUP_TRIES = 2
"""Runs side by side whose worker dies this often go on one by one, so that only the one that kills fails."""

log = logging.getLogger(__name__)


@dataclass
class _Pool:
    """The parent's side: one thread for each child; jobs come from `todo`, answers go to `done`."""

    work: Work
    wait: bool
    keep: bool = False  # leave the children to the next sweep of this process
    todo: queue.SimpleQueue[tuple[Job, int]] = field(default_factory=queue.SimpleQueue)
    done: queue.SimpleQueue[Any] = field(default_factory=queue.SimpleQueue)
    children: set[subprocess.Popen] = field(default_factory=set)
    reused: set[subprocess.Popen] = field(default_factory=set)  # of an earlier sweep
    lock: threading.Lock = field(default_factory=threading.Lock)
    closed: bool = False

    def feed(self, share: dict[str, str]) -> None:
        """What a thread does: keep one child alive and give it jobs, until there is nothing left to do."""
        child, environment = None, _environment(share)
        try:
            while not self.closed:
                job, deaths = self.todo.get_nowait()
                child, answer = self.answered(job, child, environment)
                if answer is not None:
                    self.done.put((job, answer))
                elif not self.closed:
                    self.died(job, deaths + 1, child)
        except queue.Empty:
            if self.keep and child is not None:
                self.children.discard(child)
                IDLE.leave(self.kind(environment), child, self.stop)
                child = None
        except BaseException as problem:
            self.done.put(problem)
        finally:
            if child is not None:
                self.stop(child)

    def answered(
        self, job: Job, child: subprocess.Popen | None, environment: dict[str, str]
    ) -> tuple[subprocess.Popen | None, Any]:
        """The child that was asked, and its answer, None if it died.

        A child of an earlier sweep that knows other code than this process gives way to a new one.
        """
        if child is None or child.poll() is not None:
            child = self.idle(environment) or self.start(environment)
        answer = None if child is None else self.ask(child, [*job.sent, self.wait])
        if child in self.reused and any(outcome.get("error") == OTHER_KEY for outcome in answer or []):
            self.stop(child)
            return self.answered(job, self.start(environment), environment)
        return child, answer

    def kind(self, environment: dict[str, str]) -> Any:
        return self.work, os.getcwd(), frozenset(environment.items())

    def idle(self, environment: dict[str, str]) -> subprocess.Popen | None:
        """A child that an earlier sweep of this process has left."""
        child = IDLE.take(self.kind(environment))
        if child is not None:
            with self.lock:
                self.children.add(child)
            self.reused.add(child)
        return child

    def died(self, job: Job, deaths: int, child: subprocess.Popen | None) -> None:
        code = "closed" if child is None else child.wait()
        if len(job.runs) > 1 and deaths >= GROUP_TRIES:
            log.warning(
                "%d runs side by side lost %d workers (exit code %s): now one by one", len(job.runs), deaths, code
            )
            for part in job.alone():
                self.todo.put((part, 0))
        elif deaths < TRIES:
            log.warning("a worker process died (exit code %s): its run is tried again", code)
            self.todo.put((job, deaths))
        else:
            error = f"its worker process died {deaths} times (exit code {code}; -9 is often: out of memory)"
            self.done.put((job, job.failed(error)))

    def start(self, environment: dict[str, str]) -> subprocess.Popen | None:
        """A child that is ready to work; RuntimeError if it cannot even be started."""
        code: Any = None
        for _ in range(TRIES):
            with self.lock:
                if self.closed:
                    return None
                child = subprocess.Popen(
                    [sys.executable, "-m", "kdlib.experiments.worker_pool"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env=environment,
                    text=True,
                    start_new_session=True,  # Ctrl-C reaches the parent only, which then stops its children
                )
                self.children.add(child)
            if self.ask(child, asdict(self.work)) == "ready":
                return child
            code = child.wait()
        raise RuntimeError(f"worker processes cannot be started: they end with exit code {code}, see above")

    def ask(self, child: subprocess.Popen, question: Any) -> Any:
        """The child's answer, or None if it died."""
        assert child.stdin is not None and child.stdout is not None
        try:
            child.stdin.write(json.dumps(question) + "\n")
            child.stdin.flush()
            while (line := child.stdout.readline()).endswith("\n"):
                answer = json.loads(line)
                if not isinstance(answer, Mapping):
                    return answer
                self.done.put((child.pid, answer["progress"]))
        except (OSError, ValueError):  # broken pipe; closed by `close` in another thread
            pass
        return None

    def stop(self, child: subprocess.Popen, patience: float = 5.0) -> None:
        """End of input asks the child to leave (it gives its leases back first); one that does not is killed."""
        with suppress(OSError, ValueError):
            child.stdin.close()  # type: ignore[union-attr]
        try:
            child.wait(patience)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        with suppress(OSError, ValueError):
            child.stdout.close()  # type: ignore[union-attr]
        self.children.discard(child)

    def close(self) -> None:
        with self.lock:
            self.closed = True
            children = list(self.children)
        for child in children:
            with suppress(OSError, ValueError):
                child.stdin.close()  # type: ignore[union-attr]
        for child in children:
            self.stop(child)


def _environment(share: dict[str, str]) -> dict[str, str]:
    """What a child finds in its environment, its share of the GPUs included."""
    search = os.pathsep.join(path or os.getcwd() for path in sys.path)
    return {**os.environ, **WORKER_ENVIRONMENT, **share, "PYTHONPATH": search}


def in_processes(jobs: list[Job], work: Work, wait: bool, count: int) -> Iterator[tuple[Job, list[RunOutcome]]]:
    """`count` worker processes; the runs of one that dies are tried again, at most `TRIES` times in all.

    GPUs are dealt out to the processes in turn. A job may come back in parts, see `GROUP_TRIES`. Processes without a GPU
    wait for the next sweep when all is done (`idle_workers`); with one they end, since they would hold its memory.
    """
    wanted = any(job.gpu or getattr(run, "device", "") == "auto" for job in jobs for run in job.runs)
    gpus = visible_gpus() if wanted else []
    pool = _Pool(work, wait, keep=not gpus)
    for job in jobs:
        pool.todo.put((job, 0))
    left = sum(len(job.runs) for job in jobs)
    count = min(count, len(jobs))
    said: dict[int, str] = {}  # process -> what it is at
    threads = [threading.Thread(target=pool.feed, args=(share,), daemon=True) for share in deal_gpus(count, gpus, jobs)]
    try:
        for thread in threads:
            thread.start()
        while left:
            answer = pool.done.get()
            if isinstance(answer, BaseException):
                raise answer
            if isinstance(answer[1], str):
                said[answer[0]] = answer[1]
                progress.detail("; ".join(said.values()))
                continue
            left -= len(answer[1])
            yield answer
        for thread in threads:  # each leaves its child to the next sweep before `close` ends those that are left
            thread.join(10.0)
    finally:
        pool.close()
        for thread in threads:
            thread.join(10.0)


def _serve() -> None:
    """The child's side. It ends when its input ends, also in the middle of a run: then the parent is gone."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a run prints must not mix with the answers
    questions: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(questions,), daemon=True).start()

    one_at_a_time = threading.Lock()  # progress comes from a thread of its own

    def answer(value: Any) -> None:
        with one_at_a_time:
            answers.write(json.dumps(value) + "\n")
            answers.flush()

    try:
        work = None
        while (line := questions.get()) is not None:
            question = json.loads(line)
            if work is None:
                work = Work(**question)
                importlib.import_module(work.experiment)
                answer("ready")
            else:
                with progress.shown_by(lambda text, milestone: answer({"progress": text})):
                    outcomes = attempt(work, *question)
                answer(outcomes)
    except (KeyboardInterrupt, BrokenPipeError):
        pass
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(1)  # not sys.exit: the listening thread still holds stdin


def _listen(questions: queue.SimpleQueue[str | None]) -> None:
    for line in sys.stdin:
        questions.put(line)
    questions.put(None)
    signal.raise_signal(signal.SIGINT)  # a run in progress ends as by Ctrl-C and gives its leases back
    time.sleep(3.0)
    os._exit(1)


if __name__ == "__main__":
    _serve()
