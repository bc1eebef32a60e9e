"""Pulling the plug: processes of a sweep are killed at random moments, and nothing is lost, nothing is wrong."""

from __future__ import annotations

import dataclasses
import math
import sys
from pathlib import Path

import pytest

from benchmarks.chaos import DIGITS, LIGHT, chaos

FEW_DIGITS = dataclasses.replace(DIGITS, grid={"scorer": ["random", "forgetting"], "seed": [0, 1, 2]})

needs_proc = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds workers through /proc")


@needs_proc
@pytest.mark.parametrize(("subject", "kills"), [(LIGHT, 25), (FEW_DIGITS, 4)], ids=["light", "digits"])
def test_killed_sweeps_end_with_the_rows_of_an_unbroken_one(subject, kills, tmp_path):
    tally = chaos(subject, kills, tmp_path, seed=7)
    print(tally, file=sys.stderr)
    assert tally.kills >= kills and tally.victims["worker"] > 0
    assert tally.rows_compared == tally.rounds * math.prod(len(values) for values in subject.grid.values())
    assert (tally.rows_lost, tally.rows_wrong, tally.files_damaged) == (0, 0, 0)
