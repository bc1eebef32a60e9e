"""Published score tables: one CSV row per image file, joined to a list of samples by file name.

Tables released with "Beyond neural scaling laws" (Sorscher et al. 2022) and the like list a metric per
training image in the direction high = KEEP (some were sign-flipped to get there). That is the direction of
every score here, since `keep_indices` at its default centre keeps the highest; a table that runs the other
way takes `high="drop"`. The arguments are the options of the scorer `released`, so that one message fits both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from kdlib.utils.errors import choose

IMAGE_ENDINGS = {".jpeg", ".jpg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
SIGN = {"keep": 1.0, "drop": -1.0}
EXTRA = ("error", "ignore")


def released_scores(
    table: str | Path,
    files: Sequence[str | Path],
    *,
    image: str = "",
    column: str = "",
    high: str = "keep",
    parts: int = 1,
    extra: str = "error",
    others: Sequence[str | Path] = (),
) -> NDArray[np.float64]:
    """Scores of the samples `files` from a CSV table, (N,) in the order of `files`.

    image, column: the columns; "" finds them if only one can be meant (image file names; numbers)
    high:   what a high score in the table means, "keep" (default) or "drop" (the sign is then flipped)
    parts:  how many trailing parts of a path make its name: 1 "a.JPEG", 2 "n01440764/a.JPEG"
    extra:  "error" refuses rows for unknown files, "ignore" skips them
    others:       files besides `files` that a row may name, such as held-out images
    Raises ValueError for a file that is no CSV table, columns that cannot be told, files without a row, rows
    without a file, rows or files that share a name, and scores that are not finite; each message counts them and
    shows the first few.
    """
    sign = choose("high", high, SIGN)
    choose("extra", extra, dict.fromkeys(EXTRA))
    frame = _read(Path(table))
    image = _column(frame, image, "image", _could_be_image)
    column = _column(frame, column, "column", lambda f, c: c != image and _could_be_score(f, c))
    names = _names(frame[image].astype(str), parts)
    values = pd.to_numeric(frame[column], errors="coerce").to_numpy(np.float64)
    wanted = _names(map(str, files), parts)
    _refuse(f"files share a name (try parts={parts + 1})", wanted[wanted.duplicated()])
    _refuse("rows repeat a file name", names[names.duplicated()])
    _refuse("files have no row", wanted[~wanted.isin(names)])
    if extra == "error":
        known = pd.concat([wanted, _names(map(str, others), parts)])
        _refuse("rows name no known file (extra='ignore' skips them)", names[~names.isin(known)])
    scores = sign * pd.Series(values, index=names).loc[wanted].to_numpy()
    _refuse("scores are not finite numbers", wanted[~np.isfinite(scores)])
    return scores


def _read(table: Path) -> pd.DataFrame:
    """The table; a first line that holds an image name is a row, not a header."""
    try:
        frame = pd.read_csv(table)
        if any(_is_image(column) for column in frame.columns):
            frame = pd.read_csv(table, header=None)
            frame.columns = [str(c) for c in frame.columns]
    except ValueError as problem:  # pandas' parsing errors and undecodable bytes are ValueErrors of several lines
        raise ValueError(f"not a CSV table: {' '.join(str(problem).split())}") from problem
    if frame.empty:
        raise ValueError(f"{table} has no rows")
    return frame


def _could_be_image(frame: pd.DataFrame, column: str) -> bool:
    return frame[column].dtype.kind not in "biufc" and _is_image(frame[column].iloc[0])


def _could_be_score(frame: pd.DataFrame, column: str) -> bool:
    values = frame[column]
    row_number = column.startswith("Unnamed") and np.array_equal(values, np.arange(len(values)))
    return is_numeric_dtype(values) and not is_bool_dtype(values) and not row_number


def _column(frame: pd.DataFrame, named: str, option: str, could_be: Callable[[pd.DataFrame, str], bool]) -> str:
    columns = {str(c): str(c) for c in frame.columns}
    if named:
        return choose(option, named, columns)
    found = [c for c in columns if could_be(frame, c)]
    if len(found) != 1:
        which = f"any of {', '.join(found)} could be" if found else "no column looks like"
        raise ValueError(f"{which} the {option}; name it: {option}=<one of {', '.join(columns)}>")
    return found[0]


def _is_image(value: object) -> bool:
    return PurePosixPath(str(value).strip()).suffix.lower() in IMAGE_ENDINGS


def _names(paths: Iterable[str], parts: int) -> pd.Series:
    split = (PurePosixPath(p.strip().replace("\\", "/")).parts for p in paths)
    return pd.Series(["/".join(p[-parts:]) for p in split], dtype=object)


def _refuse(problem: str, names: pd.Series) -> None:
    if len(names):
        raise ValueError(f"{len(names)} {problem}: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}")
