"""Labels from a table: `PATH/labels.csv` with the columns `file` (below PATH), `label` and, if wanted, `split`."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from kdlib.data.listing import PARTS, Listing, files_in, is_image, refuse

LABELS = "labels.csv"
Row = dict[str, str]


def list_table(folder: Path) -> Listing:
    """The images that `labels.csv` in `folder` names.

    Without a column `split`, rows whose files all lie in folders called train, test, ... take their part from there; other
    tables leave the split to the caller. Validation rows are the test part when there are no test rows. Raises ValueError,
    in one line, for a table that cannot be read, and for rows that repeat a file, name a missing one or one outside
    `folder`, or have no label or an unknown split.
    """
    table = folder / LABELS
    rows = read_rows(table, ("file", "label"))
    files = [_inside(row["file"], table) for row in rows]
    refuse(table, "rows repeat a file", [f for f, n in Counter(files).items() if n > 1], "keep one row for each file")
    refuse(table, "rows have no label", [f for f, r in zip(files, rows, strict=True) if not r["label"]], "fill it in")
    missing = [f for f in files if not (folder / f).is_file()]
    refuse(table, "files do not exist", missing, "add them or remove their rows")
    parts, notes = _parts(table, rows, files)
    kept = [(f, r["label"], p) for f, r, p in zip(files, rows, parts, strict=True) if p != "validation"]
    names, labels, splits = (tuple(column) for column in zip(*kept, strict=True))
    listed = set(files)
    skipped = tuple(f"{f}: not in {LABELS}" for f in files_in(folder, folder) if is_image(f) and f not in listed)
    return Listing(names, labels, splits, tuple(sorted(set(labels))), skipped, notes)


def read_rows(table: Path, needed: Sequence[str]) -> list[Row]:
    """The rows of a CSV file whose first line names its columns, among them `needed`; ValueError in one line else."""
    if not table.is_file():  # opening a pipe would wait for ever
        raise ValueError(f"{table} is no file; give the path of a CSV file")
    try:
        with open(table, encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines, skipinitialspace=True, strict=True)
            header = [name.strip().lower() for name in next(reader, [])]
            cells = [row for row in reader if row]
    except (OSError, ValueError, csv.Error) as error:
        raise ValueError(f"{table} cannot be read as CSV ({error}); save it as a CSV file in UTF-8") from error
    missing = [name for name in needed if name not in header]
    if missing:
        raise ValueError(f"{table} has no column {' and '.join(missing)}; its first line must name {','.join(needed)}")
    if not cells:
        raise ValueError(f"{table} has no rows; add one line for each of {','.join(needed)}")
    odd = [number for number, row in enumerate(cells, 2) if len(row) != len(header)]
    refuse(table, f"rows do not have {len(header)} fields, lines", odd, "put fields that hold a comma in quotes")
    return [{name: value.strip() for name, value in zip(header, row, strict=True)} for row in cells]


def _inside(text: str, table: Path) -> str:
    path = PurePosixPath(text.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError(f"{table}: {text!r} does not lie below {table.parent}; write paths relative to that folder")
    return path.as_posix()


def _parts(table: Path, rows: Sequence[Row], files: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """The part of every row ("" if the table does not say), and a note on validation rows."""
    said = [row["split"] if "split" in row else file.partition("/")[0] for row, file in zip(rows, files, strict=True)]
    unknown = dict.fromkeys(s or "(empty)" for s in said if s.casefold() not in PARTS)
    if "split" not in rows[0] and unknown:
        return [""] * len(rows), ()
    refuse(table, "unknown splits", unknown, "choose train, test or val")
    parts = [PARTS[s.casefold()] for s in said]
    if "train" not in parts or len(set(parts)) < 2:
        raise ValueError(f"{table}: all rows are of the part {said[0]}; give train and test rows, or leave split out")
    if "test" in parts:
        unused = parts.count("validation")
        return parts, (f"{unused} validation images not used",) if unused else ()
    return ["test" if part == "validation" else part for part in parts], ("validation rows are the test part",)
