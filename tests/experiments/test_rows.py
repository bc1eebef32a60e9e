"""Rows in files: what a sweep found comes back as it was, in every form; what is missing is said before any training."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pandas as pd
import pytest

from kdlib.__main__ import main
from kdlib.experiments import rows
from kdlib.experiments.grid import sweep
from kdlib.experiments.rows import export_rows, load_rows
from tests.experiments.sweeps import tiny

engine = pytest.mark.skipif(
    importlib.util.find_spec("pyarrow") is None, reason="needs pyarrow: the extra kdlib[parquet]"
)
SUFFIXES = [".jsonl", pytest.param(".parquet", marks=engine)]
MIXED = {"milestones": [(), (1, 2)], "centre": [None, 0.5], "class_balanced": [None, True]}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Rows with an empty list beside a full one, and with None beside a number, a truth value and a text."""
    short = {"epochs": 3, "schedule": "steps", "student": "mlp_8", "loss": "cross_entropy", "fraction": 0.05}
    return sweep(MIXED, store=tmp_path_factory.mktemp("store"), progress=False, **short)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_sweeps_rows_come_back_equal(suffix: str, table: pd.DataFrame, tmp_path: Path) -> None:
    found = load_rows(export_rows(table, tmp_path / "new" / f"rows{suffix}"))
    pd.testing.assert_frame_equal(found, table, check_exact=True)
    assert found.milestones.tolist() == [[]] * 4 + [[1, 2]] * 4, "lists, not arrays"
    assert found.class_balanced.tolist() == [None, True] * 4 and found.centre.isna().sum() == 4
    assert found.test_acc.dtype == float and found.kept.dtype == int and found.validation.dtype == bool


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_rows_that_lack_a_value_come_back_with_none(suffix: str, tmp_path: Path) -> None:
    given = [{"kept": [1], "well": True, "seed": 0, "status": "ok"}, {"seed": 1}]
    found = load_rows(export_rows(given, tmp_path / f"rows{suffix}"))
    assert found.seed.tolist() == [0, 1] and found.isna().to_numpy().tolist() == [
        [False] * 4,
        [True, True, False, True],
    ]
    assert found.kept[0] == [1] and found.well[0] is True and found.status[0] == "ok"


def test_a_csv_goes_into_a_new_folder(tmp_path: Path) -> None:
    found = tiny(tmp_path / "s")
    assert len(load_rows(export_rows(found, tmp_path / "new" / "folder" / "rows.csv"))) == len(found)


@engine
def test_the_command_writes_parquet(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "rows.parquet"
    args = ["sweep", "--epochs", "1", "--fraction", "0.05", "--loss", "cross_entropy", "--grid", "seed=0,1"]
    assert main([*args, "--out", str(out)]) == 0 and f"2 rows written to {out}" in capsys.readouterr().err
    assert load_rows(out).seed.tolist() == [0, 1] and [p.name for p in tmp_path.iterdir()] == [out.name]


@engine
@pytest.mark.parametrize("values", [[3, "three"], [3, [3]], [1, True]])
def test_a_column_of_several_kinds_is_refused_in_one_line(values: list, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Parquet cannot hold .* column odd .*; choose .jsonl") as error:
        export_rows([{"odd": value} for value in values], tmp_path / "rows.parquet")
    assert "\n" not in str(error.value) and list(tmp_path.iterdir()) == []


def test_without_pyarrow_the_command_says_so_before_it_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(rows.importlib.util, "find_spec", lambda name: None)
    assert main(["sweep", "--grid", "seed=0,1", "--out", str(tmp_path / "rows.parquet")]) == 2
    said = capsys.readouterr().err
    assert "choose .csv or .jsonl, or: pip install 'kdlib[parquet]'" in said and said.count("\n") == 1
    with pytest.raises(ValueError, match="Parquet needs pyarrow"):
        export_rows([{"a": 1}], tmp_path / "rows.parquet")


def test_a_table_of_diverged_runs_comes_back(tmp_path: Path) -> None:
    found = tiny(tmp_path / "s", {"mood": ["diverges", "well"]})
    pd.testing.assert_frame_equal(load_rows(export_rows(found, tmp_path / "rows.jsonl")), found)
    with pytest.raises(FileNotFoundError, match="results in that folder: rows"):
        load_rows(tmp_path / "other.jsonl")
