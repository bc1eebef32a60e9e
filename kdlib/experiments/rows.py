"""Rows as a table, and in files: `data/results/NAME.jsonl` for a plain name, or any path in the form of its suffix."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kdlib.store.artefacts import export_rows as _export
from kdlib.store.serialisation import plain
from kdlib.utils import paths
from kdlib.utils.errors import choose
from kdlib.utils.files import check_target, write_whole

OUTCOMES = ("test_acc", "test_acc_best", "teacher_acc", "kept", "status")
AS_TRAINED = ("device", "precision")
"""Fields of a run whose column says how it was really trained, not what was asked for."""


def outcome_of(row: Mapping[str, Any], run: Any) -> dict[str, Any]:
    """What a row says beyond the fields of its run; equal texts are one object, since a sweep holds many rows."""
    asked = vars(run)
    return {
        sys.intern(name): sys.intern(value) if type(value) is str else value
        for name, value in row.items()
        if name not in asked or name in AS_TRAINED
    }


def table_of(outcomes: Mapping[int, Mapping[str, Any]], runs: Sequence[Any], names: Sequence[str]) -> pd.DataFrame:
    """The table of a sweep, a row for each place in `outcomes`: what varied, what came out, then everything else.

    Runs that differ only in a field without effect (alpha without a teacher) share one stored row, and a row may be older
    than a field: so the fields are those of the run that was asked for, but for `AS_TRAINED`.
    """
    places = sorted(outcomes)
    if not places:
        return pd.DataFrame()
    asked = [name for name in vars(runs[places[0]]) if name not in AS_TRAINED]
    columns = {name: [plain(getattr(runs[place], name)) for place in places] for name in asked}
    for name in dict.fromkeys(name for place in places for name in outcomes[place]):
        columns[name] = [outcomes[place].get(name, math.nan) for place in places]
    first = [name for name in dict.fromkeys([*names, *OUTCOMES]) if name in columns]
    return pd.DataFrame({name: columns[name] for name in dict.fromkeys([*first, *columns])})


def _results(name: str | Path, folder: Path | None = None) -> Path:
    """`data/results/NAME.jsonl` for a plain name (`folder`: another place than `data/results`), else the path itself."""
    path = Path(name)
    return path if path.suffix or path.parent != Path() else (folder or paths.data() / "results") / f"{name}.jsonl"


def _as_csv(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False)


def _as_parquet(frame: pd.DataFrame) -> bytes:
    """The content of a Parquet file; ValueError for a column of several kinds of values, which it cannot hold."""
    try:
        return frame.to_parquet(None, index=False)
    except (ValueError, TypeError) as problem:  # as pyarrow's own errors are
        said = " ".join(map(str, problem.args))
        raise ValueError(f"Parquet cannot hold these rows ({said}); choose .jsonl") from problem


def _from_parquet(path: Path) -> pd.DataFrame:
    """The rows as they were written: lists, such as milestones, are lists again and not arrays."""
    frame = pd.read_parquet(path)
    for name in frame.columns[frame.dtypes == "object"]:
        values = [value.tolist() if isinstance(value, np.ndarray) else value for value in frame[name]]
        frame[name] = pd.Series(values, frame.index, dtype=object)
    return frame


WRITERS: dict[str, Callable[[pd.DataFrame], bytes | str] | None] = {
    ".jsonl": None,
    ".csv": _as_csv,
    ".parquet": _as_parquet,
}


def check_output(name: str | Path) -> None:
    """ValueError as of `check_target`, and for a suffix that says no known form."""
    path = _results(name)
    _form(path, "an output file")
    check_target(path)


def _form(path: Path, what: str) -> Any:
    """What writes the form that the suffix names; ValueError for an unknown one, and where its library is missing."""
    writer = choose(f"suffix of {what}", path.suffix, WRITERS)
    if path.suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise ValueError(f"{path}: Parquet needs pyarrow; choose .csv or .jsonl, or: pip install 'kdlib[parquet]'")
    return writer


def export_rows(rows: pd.DataFrame | Iterable[dict], name: str | Path) -> Path:
    """Write rows to `data/results/NAME.jsonl`, or to a path in the form of its suffix (see WRITERS); returns the path."""
    path = _results(name)
    if writer := _form(path, "an output file"):
        check_target(path)
        write_whole(path, writer(rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))))
    else:
        records = rows.to_dict("records") if isinstance(rows, pd.DataFrame) else rows
        _export(({str(column): value for column, value in row.items()} for row in records), path)
    return path


def load_rows(name: str | Path) -> pd.DataFrame:
    """The rows of `data/results/NAME.jsonl`, or of a path in the form of its suffix (.jsonl, .csv, .parquet).

    FileNotFoundError names the files there are; ValueError an unknown suffix.
    """
    path = _results(name, paths.given("results"))
    if not path.is_file():
        there = ", ".join(sorted(other.stem for other in path.parent.glob("*.jsonl"))) or "none"
        raise FileNotFoundError(f"no rows at {path}; results in that folder: {there}")
    if _form(path, "a file of rows"):
        return pd.read_csv(path) if path.suffix == ".csv" else _from_parquet(path)
    return pd.DataFrame([json.loads(line) for line in path.read_text().splitlines() if line.strip()])
