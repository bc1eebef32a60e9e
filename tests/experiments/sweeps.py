"""Sweeps over `tests.tiny_experiment`, which takes milliseconds a run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd

from kdlib.experiments import grid
from kdlib.experiments.grid import sweep_of

TINY = "tests.tiny_experiment"


GRID = {"width": [2, 3], "seed": [0, 1, 2]}


def tiny(store, grid=GRID, workers=1, cluster=None, progress=False, **fixed) -> pd.DataFrame:
    return sweep_of(TINY, grid, workers, cluster, store, progress, fixed)


def plan(module, runs, **options):
    return grid.plan(module, runs, {place: module.describe(run) for place, run in runs.items()}, **options)


def same(left: pd.DataFrame, right: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(left.drop(columns="pid"), right.drop(columns="pid"), check_exact=True)


def lines(journal: Path) -> list[str]:
    return sorted(journal.read_text().splitlines()) if journal.exists() else []


def child_sweep(tmp_path: Path, journal: Path, workers: int) -> subprocess.Popen:
    code = (
        "import sys; from kdlib.experiments.grid import sweep_of\n"
        f"sweep_of({TINY!r}, {{'seed': list(range(40))}}, {workers}, None, sys.argv[1], True,"
        " {'journal': sys.argv[2], 'pause': 0.1})"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "s"), str(journal)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
