"""What a sweep says of itself while it lasts, and of the runs that failed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from kdlib.experiments.backends import RunOutcome
from kdlib.utils import progress


class Report:
    """What a sweep says of itself: how many runs are done, the last one's accuracy, and the time left."""

    def __init__(
        self, line: progress.Line, total: int, missing: Sequence[Any], names: Sequence[str], workers: int
    ) -> None:
        self.line, self.total, self.names, self.workers = line, total, names, workers
        self.ahead = sum(map(_work, missing))
        self.count, self.seconds, self.work = total - len(missing), 0.0, 0.0
        self.began = time.monotonic()
        line.say(f"{self.count} of {total} runs are stored")

    def finished(self, outcome: RunOutcome, run: Any) -> None:
        self.count += 1
        self.ahead -= _work(run)
        row = outcome.get("row") or {}
        accuracy = row.get("test_acc")
        result = outcome.get("error") or row.get("status", "ok")
        if accuracy is not None and result == "ok":
            result = f"{accuracy:.2f}%"
        left = progress.clock(self._seconds_left(row, run))
        self.line.say(f"{self.count} of {self.total} runs, last {_named(run, self.names)}: {result}, {left} left", True)

    def _seconds_left(self, row: Mapping[str, Any], run: Any) -> float:
        """From what the finished students took themselves, without the teachers and scores that they were first to need."""
        self.work += _work(run)
        self.seconds += row.get("student_seconds", 0.0)
        took = self.seconds / min(self.workers, max(self.total, 1)) or time.monotonic() - self.began
        return self.ahead * took / self.work


def _work(run: Any) -> float:
    """The work of a run against that of others in its sweep: epochs times kept fraction, or epochs alone in equal steps."""
    share = getattr(run, "fraction", 1.0) if getattr(run, "budget", "epochs") == "epochs" else 1.0
    return getattr(run, "epochs", 1) * share


def _named(run: Any, names: Sequence[str]) -> str:
    return " ".join(f"{name}={getattr(run, name)}" for name in names) or "run"


def failures(failed: list[dict], good: int, names: Sequence[str]) -> str:
    """The message of a sweep in which runs failed: how many, and the first ten of them with their errors."""
    lines = [f"{len(failed)} of {len(failed) + good} runs failed; the other {good} are stored"]
    lines += [f"  {_named(entry['run'], names)}: {entry['error']}" for entry in failed[:10]]
    return "\n".join(lines + (["  ..."] if len(failed) > 10 else []))
