"""The studies in files of rows, each apart, and the tables of records that go with them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from kdlib.analysis.claims import Verdict, all_verdicts, recorded
from kdlib.analysis.tables import RECIPE, own_rows, studies
from kdlib.utils import paths

SHOWN = ("student", "epochs", "batch_size", "lr")


def files() -> list[Path]:
    """The files of rows that come with the project, `data/results/*.jsonl`."""
    return sorted(paths.given("results").glob("*.jsonl"))


def read_rows(file: Path) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines; ValueError, in one line, for anything else."""
    try:
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except ValueError as error:
        raise ValueError(f"{file} does not hold JSON lines: {error}") from error


def measured(
    found: Sequence[Path], dataset: str = "", fixed: Mapping[str, Any] | None = None
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each study in the files, (name, rows): one dataset and one recipe; the name says which, and the file.

    dataset: rows of this dataset only. fixed: rows with these values of the recipe's fields only.
    """
    wanted = {name: value for name, value in (fixed or {}).items() if name in RECIPE}
    wanted |= {"dataset": dataset} if dataset else {}
    for file in found:
        rows = pd.DataFrame(own_rows(read_rows(file), **wanted))
        for study in studies(rows) if len(rows) else []:
            first = study.iloc[0]
            recipe = ", ".join(f"{name} {first[name]}" for name in SHOWN if name in study)
            yield f"{first.get('dataset', '')} ({file.name}; {recipe})", study


def former(rows: pd.DataFrame) -> bool:
    """Rows of the code before its protocols were mended: an exercise shows them, and nothing is judged by them."""
    return "rules" in rows and bool((rows["rules"] == "before").all())


def judged(found: Mapping[str, pd.DataFrame]) -> dict[str, list[Verdict]]:
    """The verdicts on every claim, by the study's name; without any study those that need no rows."""
    return {name: all_verdicts(rows, tables=recorded(rows)) for name, rows in (found or {"": pd.DataFrame()}).items()}
