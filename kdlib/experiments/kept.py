"""A fixed list of kept samples, as a CSV table of row numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from kdlib.data.core import Dataset


def read_kept(file: str, data: Dataset) -> np.ndarray:
    """Sorted ids (n,) of the training samples that the table names in its column `id`; ValueError for any other content."""
    try:
        table = pd.read_csv(Path(file).expanduser())
    except (OSError, ValueError) as problem:
        raise ValueError(f"kept_file {file} cannot be read as a CSV table: {str(problem).splitlines()[0]}") from problem
    if "id" not in table or table["id"].dtype.kind not in "iu":
        raise ValueError(f"kept_file {file} needs a column `id` of row numbers; it has: {', '.join(table.columns)}")
    ids, total = np.sort(table["id"].to_numpy(np.int64)), len(data.train_y)
    if not len(ids) or ids[0] < 0 or ids[-1] >= total:
        raise ValueError(f"kept_file {file}: ids must lie in 0..{total - 1} of {data.name}")
    if (np.diff(ids) == 0).any():
        raise ValueError(f"kept_file {file} names sample {ids[:-1][np.diff(ids) == 0][0]} twice")
    return ids
