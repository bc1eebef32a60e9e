"""Scores and kept samples as CSV files, and back.

A row names its sample by `file` where the dataset knows its files (folders of images), else by `row`, the number of the
training sample counted from 0. A table of kept samples has that column alone, a table of scores also `score`, written so
that reading it gives the same numbers to the last bit. Further columns of a table that is read are ignored.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kdlib.data.core import Dataset
from kdlib.data.label_table import Row, read_rows
from kdlib.data.listing import refuse
from kdlib.utils.files import check_target, write_whole


def write_scores(path: str | Path, scores: ArrayLike, data: Dataset) -> Path:
    """Write one finite score (N,) for each training sample. ValueError for other counts or numbers, or a bad place."""
    values = np.asarray(scores, dtype=np.float64)
    if values.shape != data.train_y.shape:
        raise ValueError(
            f"{data.name} has {len(data.train_y)} training samples, but the scores are of shape {values.shape}"
        )
    refuse("scores", "scores are not finite, samples", np.flatnonzero(~np.isfinite(values)), "score every sample")
    names = sample_names(data)
    return _write(
        path, [_column(data), "score"], ((name, repr(float(v))) for name, v in zip(names, values, strict=True))
    )


def read_scores(path: str | Path, data: Dataset) -> NDArray[np.float64]:
    """The scores (N,) of a table with exactly one row for each training sample, in the samples' order.

    Raises ValueError, in one line, for a table that cannot be read or lacks a column, for samples that are unknown, twice
    or missing, and for scores that are not finite numbers.
    """
    table = Path(path).expanduser()
    rows, ids = _samples(table, data, "score")
    missing = np.setdiff1d(np.arange(len(data.train_y)), ids)
    names = sample_names(data)
    refuse(table, "training samples have no row", [names[i] for i in missing], "add their scores")
    values = [_number(row["score"]) for row in rows]
    bad = [row["score"] or "(empty)" for row, value in zip(rows, values, strict=True) if not np.isfinite(value)]
    refuse(table, "scores are not finite numbers", bad, "correct them")
    scores = np.empty(len(ids))
    scores[ids] = values
    return scores


def write_kept(path: str | Path, kept: ArrayLike, data: Dataset) -> Path:
    """Write which training samples are kept, from their ids (n,). ValueError for ids that are no samples or come twice."""
    ids = np.asarray(kept)
    if ids.ndim != 1 or len(ids) == 0 or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"kept samples must be one or more integer ids, got {ids.dtype} of shape {ids.shape}")
    total = len(data.train_y)
    refuse(
        "kept samples", f"ids outside 0..{total - 1}", ids[(ids < 0) | (ids >= total)], f"choose samples of {data.name}"
    )
    refuse(
        "kept samples",
        "ids come twice",
        [i for i, n in Counter(ids.tolist()).items() if n > 1],
        "name each sample once",
    )
    names = sample_names(data)
    return _write(path, [_column(data)], ((names[i],) for i in np.sort(ids)))


def read_kept(path: str | Path, data: Dataset) -> NDArray[np.int64]:
    """The sorted ids (n,) of the training samples that a table names. ValueError, in one line, as in `read_scores`."""
    return np.sort(_samples(Path(path).expanduser(), data)[1])


def sample_names(data: Dataset) -> Sequence[str]:
    """What the training samples are called in a table: their files, or their numbers."""
    return data.train_files or [str(i) for i in range(len(data.train_y))]


def _column(data: Dataset) -> str:
    return "file" if data.train_files else "row"


def _samples(table: Path, data: Dataset, *further: str) -> tuple[list[Row], NDArray[np.int64]]:
    """The rows of a table and the ids of the samples that they name."""
    column = _column(data)
    rows = read_rows(table, (column, *further))
    known = {name: i for i, name in enumerate(sample_names(data))}
    given = [row[column].replace("\\", "/") if column == "file" else row[column] for row in rows]
    unknown = [name or "(empty)" for name in given if name not in known]
    others = "" if column == "file" else f", which are 0..{len(known) - 1}"
    refuse(table, f"rows name no training sample of {data.name}{others}", unknown, "take the table of this dataset")
    refuse(
        table, "samples come twice", [n for n, count in Counter(given).items() if count > 1], "keep one row for each"
    )
    return rows, np.array([known[name] for name in given], dtype=np.int64)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _write(path: str | Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Path:
    target = Path(path).expanduser()
    check_target(target)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_whole(target, text.getvalue())
    return target
