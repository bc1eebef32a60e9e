"""Real sweeps of digits students: equal rows on every executor, and a session left open holds nobody up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from kdlib import Store, sweep
from kdlib.experiments.grid import sweep as sweep_again
from kdlib.utils import paths

GRID = {"fraction": [0.1, 0.2], "loss": ["cross_entropy", "kd"], "seed": [0, 1]}  # one group for each fraction
FIXED = {"epochs": 3, "scorer": "forgetting", "progress": False}
MEASURED = ["kept", "steps", "teacher_acc", "test_acc", "test_acc_best", "train_loss", "status"]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return sweep(GRID, store=tmp_path_factory.mktemp("alone"), **FIXED)


@pytest.mark.parametrize("where", [{"workers": 2}, {"workers": 2, "cluster": "local"}], ids=["processes", "dask"])
def test_every_executor_gives_the_same_rows(where: dict, unbroken: pd.DataFrame, tmp_path: Path) -> None:
    rows = sweep(GRID, store=tmp_path, **FIXED, **where)
    # 1e-5: on another executor other runs may have trained side by side, in another order of float sums
    pd.testing.assert_frame_equal(rows[MEASURED], unbroken[MEASURED], rtol=1e-5)
    assert sweep_again(GRID, store=tmp_path, **FIXED).equals(rows)  # nothing is trained twice


def test_a_session_left_open_holds_nobody_up(tmp_path: Path) -> None:
    """This process keeps its store and its trained teacher open, as a forgotten notebook does; another one goes on."""
    store = Store(tmp_path)
    mine = sweep({"seed": [0]}, store=store, **FIXED)
    call = f"from kdlib import sweep; print(len(sweep({{'seed': [0, 1]}}, store={str(tmp_path)!r}, **{FIXED!r})))"
    done = subprocess.run(
        [sys.executable, "-c", call], cwd=paths.root(), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.strip() == "2", done.stderr
    assert sweep({"seed": [0]}, store=store, **FIXED).equals(mine)
    assert len(store.rows()) == 2
