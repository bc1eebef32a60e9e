"""kdlib against numbers computed by the public reference implementations, one adapter per function.

The cases come from `tests/reference_numbers.json`, or from the file that KDLIB_REFERENCE_NUMBERS names. A case is
called group/function/variant; its adapter is the one whose name is the longest beginning of the case's, and a case
without an adapter fails. Cases marked advisory document a defect of a reference and may disagree.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.reference import fact_adapters, loss_adapters, model_adapters, score_adapters
from tests.reference.inputs import make

MODULES = (fact_adapters, loss_adapters, model_adapters, score_adapters)
ADAPTERS = {name: adapter for module in MODULES for name, adapter in module.ADAPTERS.items()}
PORTABLE = {name: rule for module in MODULES for name, rule in getattr(module, "PORTABLE", {}).items()}
FILE = Path(os.environ.get("KDLIB_REFERENCE_NUMBERS") or Path(__file__).parent / "reference_numbers.json")
CASES: dict[str, dict[str, Any]] = json.loads(FILE.read_text())["cases"]


def plain(value: Any) -> Any:
    """Arrays, tensors and numpy scalars as lists and numbers; "nan", "inf", "-inf" as floats."""
    if isinstance(value, dict):
        return {str(key): plain(v) for key, v in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return float(value) if value in ("nan", "inf", "-inf") else value


def differences(got: Any, want: Any, rtol: float, where: str = "output") -> Iterator[str]:
    """Every leaf of `want` that `got` lacks or misses; keys that only `got` has do not count, nor does prose."""
    if isinstance(want, dict):
        for key, value in want.items():
            if isinstance(got, dict) and key in got:
                yield from differences(got[key], value, rtol, f"{where}[{key!r}]")
            elif not isinstance(value, str):
                yield f"{where}[{key!r}] is missing"
    elif isinstance(want, list):
        if not isinstance(got, list) or len(got) != len(want):
            yield f"{where}: {got} is not a list of {len(want)}"
        else:
            for i, value in enumerate(want):
                yield from differences(got[i], value, rtol, f"{where}[{i}]")
    elif not same(got, want, rtol):
        yield f"{where}: got {got!r}, the reference has {want!r}"


def same(got: Any, want: Any, rtol: float) -> bool:
    if isinstance(want, bool | str) or want is None or isinstance(got, list | dict | str) or got is None:
        return type(got) is type(want) and got == want
    if not math.isfinite(want) or not math.isfinite(got):
        return got == want or (math.isnan(got) and math.isnan(want))
    return abs(got - want) <= rtol / 100 + rtol * abs(want)


def built(name: str, case: dict[str, Any]) -> dict[str, Any]:
    """The case's inputs as arrays, after checking the sums that guard against drift of the generator."""
    inputs = {key: make(spec) for key, spec in case["inputs"].items()}
    for key, expected in case.get("input_sums", {}).items():
        parts = inputs[key] if isinstance(inputs[key], list) else [inputs[key]]
        values = np.concatenate([np.asarray(part, dtype=np.float64).ravel() for part in parts])
        size = max(1.0, float(np.abs(values).sum()))  # a sum of large numbers may cancel
        assert same(float(values.sum()) / size, plain(expected) / size, 1e-9), f"{name}: input {key!r} drifted"
    return inputs


def adapted(name: str) -> str:
    """The function whose adapter serves the case `name`."""
    parts = name.split("/")
    known = ["/".join(parts[:n]) for n in range(len(parts), 0, -1) if "/".join(parts[:n]) in ADAPTERS]
    assert known, f"no adapter for {name!r}; there are {', '.join(sorted(ADAPTERS))}"
    return known[0]


@pytest.mark.parametrize("name", CASES)
def test_reference_number(name: str) -> None:
    case = {**CASES[name], "name": name}
    function = adapted(name)
    got, want = ADAPTERS[function](case, built(name, case)), case["output"]
    reduce = PORTABLE.get(function, lambda output: output)
    found = list(differences(plain(reduce(plain(got))), plain(reduce(plain(want))), case.get("rtol", 1e-9)))
    if found and case.get("advisory"):
        return
    assert not found, f"{name}: {len(found)} differences, first: " + "; ".join(found[:5])


@pytest.mark.parametrize(
    ("got", "want", "count"),
    [
        ({"a": [1.0, 2.0]}, {"a": [1.0, 2.0 + 1e-12]}, 0),
        ({"a": [1.0]}, {"a": [1.0, 2.0]}, 1),
        ({}, {"a": 1}, 1),
        ({}, {"a": "prose"}, 0),
        ({"a": "x"}, {"a": "y"}, 1),
        ({"a": math.nan}, {"a": math.nan}, 0),
        ({"a": 1.0}, {"a": math.inf}, 1),
        ({"a": True}, {"a": False}, 1),
        ({"a": None}, {"a": 0}, 1),
    ],
)
def test_comparison_sees_each_kind_of_difference(got: Any, want: Any, count: int) -> None:
    assert len(list(differences(got, want, 1e-9))) == count
