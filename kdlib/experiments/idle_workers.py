"""Worker processes that wait for the next sweep of this process: starting one takes longer than many a sweep does."""

from __future__ import annotations

import atexit
import os
import subprocess
import threading
from collections.abc import Callable, Hashable

IDLE_SECONDS = 300.0
"""How long a worker waits before it is ended, which frees its memory."""

Child = subprocess.Popen


class IdleWorkers:
    """Workers that have nothing to do, each of a kind (its work and its environment), for `IDLE_SECONDS`.

    They end with this process in any case, since their input ends then. A forked process does not share them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[Child, tuple[Hashable, threading.Timer, Callable[[Child], None]]] = {}

    def take(self, kind: Hashable) -> Child | None:
        """A worker of this kind that is still alive, which the caller owns from now on; None if there is none."""
        with self._lock:
            alike = [child for child, (known, *_) in self._waiting.items() if known == (os.getpid(), kind)]
            child = next((child for child in alike if child.poll() is None), None)
            if child is not None:
                self._waiting.pop(child)[1].cancel()
            return child

    def leave(self, kind: Hashable, child: Child, stop: Callable[[Child], None]) -> None:
        """Let the worker wait; `stop` ends it when its time is over."""
        timer = threading.Timer(IDLE_SECONDS, self._expire, (child,))
        timer.daemon = True
        with self._lock:
            self._waiting[child] = ((os.getpid(), kind), timer, stop)
        timer.start()

    def _expire(self, child: Child) -> None:
        with self._lock:
            waited = self._waiting.pop(child, None)
        if waited is not None:
            waited[2](child)

    def clear(self) -> None:
        """End all of them now."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for child, (_, timer, stop) in waiting.items():
            timer.cancel()
            stop(child)


IDLE = IdleWorkers()
atexit.register(IDLE.clear)
