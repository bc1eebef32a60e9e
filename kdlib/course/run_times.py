"""How long lessons take: what each says of itself in its table of presets, and from that the time left of many."""

from __future__ import annotations

import os
import re
import statistics
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from kdlib.utils.progress import clock

if TYPE_CHECKING:
    from nbformat import NotebookNode

UNITS = {"s": 1.0, "minute": 60.0, "minutes": 60.0}
STATED_CORES = 2  # of the machine that the lessons speak of, which a lesson's sweeps keep busy
TRUST = 60.0  # seconds of finished lessons that count as much as what was stated


def stated(nb: NotebookNode, preset: str) -> tuple[float, float] | None:
    """Seconds of a first run, and of one whose trainings are stored, in the column "run time" of the lesson's table.

    Such as 120 and 20 for "about 2 minutes; again: 20 s"; the geometric mean of "1 to 2 minutes". None where the lesson
    has no such row, or no number in it.
    """
    lines = [line for cell in nb.cells if cell.cell_type == "markdown" for line in cell.source.splitlines()]
    tables = [k for k, line in enumerate(lines) if line.startswith("|") and "run time" in line]
    for row in lines[tables[0] + 2 :] if tables else []:
        cells = [cell.strip() for cell in row.strip().strip("|").split("|")]
        if cells[0] == f"`{preset}`":
            first, _, again = cells[-1].partition("again:")
            seconds = _seconds(first)
            return None if seconds is None else (seconds, _seconds(again) or seconds)
        if not row.startswith("|"):
            break
    return None


def _seconds(text: str) -> float | None:
    """The seconds that "about 2 minutes", "1 to 2 minutes" or "20 s" names."""
    found = re.findall(r"(\d+)\s*(s|minutes?)?\b", text)
    known = [unit for _, unit in found if unit]
    if not known:
        return None
    values = [int(number) * UNITS[unit or known[-1]] for number, unit in found]
    return round(statistics.geometric_mean(values))


class Ahead:
    """The time left of many lessons, of which `workers` run at a time on this machine.

    expected: name -> seconds of the lesson alone on two cores, None where unknown. Lessons side by side share the cores.
    """

    def __init__(self, expected: Mapping[str, float | None], workers: int, cores: int | None = None) -> None:
        self.expected, self.workers = dict(expected), workers
        slower = max(1.0, STATED_CORES * workers / (cores or os.cpu_count() or 1))
        self.stated, self.took = TRUST, TRUST * slower
        self.running: dict[str, float] = {}

    def started(self, name: str) -> None:
        self.running[name] = time.monotonic()

    def finished(self, name: str, seconds: float) -> None:
        """It took so long beside the others; 0 for one that failed, which says nothing of the rest."""
        self.running.pop(name, None)
        expected = self.expected.pop(name, None)
        if expected and seconds:
            self.stated, self.took = self.stated + expected, self.took + seconds

    def seconds(self) -> float:
        """Seconds until the last lesson ends, those of unknown length left out."""
        now, pace = time.monotonic(), self.took / self.stated
        left = [
            max(0.0, seconds * pace - (now - self.running.get(name, now)))
            for name, seconds in self.expected.items()
            if seconds
        ]
        return max([sum(left) / self.workers, *left])

    def words(self) -> str:
        """Such as "0:21:00 left"."""
        unknown = sum(seconds is None for seconds in self.expected.values())
        return f"{clock(self.seconds())} left" + (f", and {unknown} of unknown length" if unknown else "")
