"""Published score tables: one CSV row per image file, joined to a list of samples by file name.

Tables released with "Beyond neural scaling laws" (Sorscher et al. 2022) and the like list a metric per
training image in the direction high = KEEP (some were sign-flipped to get there). That is the direction of
every score here, since `keep_indices` at its default centre keeps the highest; a table that runs the other
way takes `high="drop"`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from kdlib.errors import choose

IMAGE_ENDINGS = {".jpeg", ".jpg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
SIGN = {"keep": 1.0, "drop": -1.0}


def released_scores(
    table: str | Path,
    files: Sequence[str | Path],
    *,
    image: str | None = None,
    score: str | None = None,
    high: str = "keep",
    parts: int = 1,
    extra_rows: str = "error",
) -> NDArray[np.float64]:
    """Scores of the samples `files` from a CSV table, (N,) in the order of `files`.

    image, score: the columns; None finds them if only one column can be meant (image file names; numbers)
    high:         what a high score in the table means, "keep" (default) or "drop" (the sign is then flipped)
    parts:        how many trailing parts of a path make its name: 1 "a.JPEG", 2 "n01440764/a.JPEG"
    extra_rows:   "error" refuses rows for files that are not among `files`, "ignore" skips them
    Raises ValueError for columns that cannot be told, files without a row, rows without a file, rows or files
    that share a name, and scores that are not finite; each message counts them and shows the first few.
    """
    sign = choose("meaning of a high score", high, SIGN)
    choose("extra_rows", extra_rows, {"error": 0, "ignore": 0})
    frame = _read(Path(table))
    names = _names(frame[_image_column(frame, image)].astype(str), parts)
    values = pd.to_numeric(frame[_score_column(frame, score, image)], errors="coerce").to_numpy(np.float64)
    wanted = _names(map(str, files), parts)
    _refuse("files share a name (try parts=2)", wanted[wanted.duplicated()])
    _refuse("rows repeat a file name", names[names.duplicated()])
    _refuse("files have no row", wanted[~wanted.isin(names)])
    if extra_rows == "error":
        _refuse("rows name no known file (extra_rows='ignore' skips them)", names[~names.isin(wanted)])
    scores = sign * pd.Series(values, index=names).loc[wanted].to_numpy()
    _refuse("scores are not finite numbers", wanted[~np.isfinite(scores)])
    return scores


def _read(table: Path) -> pd.DataFrame:
    """The table; a first line that holds an image name is a row, not a header."""
    frame = pd.read_csv(table)
    if any(_is_image(column) for column in frame.columns):
        frame = pd.read_csv(table, header=None)
        frame.columns = [str(c) for c in frame.columns]
    if frame.empty:
        raise ValueError(f"{table} has no rows")
    return frame


def _image_column(frame: pd.DataFrame, named: str | None) -> str:
    return _column(frame, named, "image", lambda c: frame[c].dtype.kind not in "biufc" and _is_image(frame[c].iloc[0]))


def _score_column(frame: pd.DataFrame, named: str | None, image: str | None) -> str:
    def could_be(column: str) -> bool:
        values = frame[column]
        row_number = column.startswith("Unnamed") and np.array_equal(values, np.arange(len(values)))
        return is_numeric_dtype(values) and not is_bool_dtype(values) and not row_number and column != image

    return _column(frame, named, "score", could_be)


def _column(frame: pd.DataFrame, named: str | None, role: str, could_be: Callable[[str], bool]) -> str:
    columns = {str(c): c for c in frame.columns}
    if named is not None:
        return choose(f"{role} column", named, columns)
    found = [c for c in columns if could_be(c)]
    if len(found) != 1:
        which = f"any of {', '.join(found)} could be" if found else "no column looks like"
        raise ValueError(f"{which} the {role} column; name it: {role}=<one of {', '.join(columns)}>")
    return found[0]


def _is_image(value: object) -> bool:
    return PurePosixPath(str(value).strip()).suffix.lower() in IMAGE_ENDINGS


def _names(paths: Iterable[str], parts: int) -> pd.Series:
    split = (PurePosixPath(p.strip().replace("\\", "/")).parts for p in paths)
    return pd.Series(["/".join(p[-parts:]) for p in split], dtype=object)


def _refuse(problem: str, names: pd.Series) -> None:
    if len(names):
        raise ValueError(f"{len(names)} {problem}: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}")
