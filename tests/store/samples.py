"""What the tests of the store keep in it."""

from __future__ import annotations

import numpy as np

from kdlib.store.artefacts import MARKER, Store

ARRAYS = {
    "weight": np.arange(6, dtype=np.float32).reshape(2, 3).T,  # not contiguous
    "half": np.array([[1.5, -2.0]], dtype=np.float16),
    "right": np.array([True, False, True]),
    "ids": np.array([3, 1, 2]),
    "scalar": np.array(3.5),
    "none": np.zeros((0, 4), dtype=np.uint8),
}


def never() -> dict[str, np.ndarray]:
    raise AssertionError("made although it is stored")


def equal(left: dict, right: dict) -> bool:
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype and np.array_equal(left[name], right[name]) for name in left
    )


def files(store: Store) -> list[str]:
    return sorted(path.name for path in store.root.rglob("*") if path.is_file() and path.name != MARKER)
