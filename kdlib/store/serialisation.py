"""The bytes of a store's entries: their names, their checksums, and files that are there whole or not at all.

Arrays and weights are one safetensors file with a JSON text in its header, rows are one JSON file; both carry
the SHA-256 of all they say. Nothing is pickled.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from kdlib.utils.files import check_target, write_whole

SCHEMA = 1
"""Raised when the same description starts to mean something else; every older entry is then made again."""

Arrays = dict[str, np.ndarray]
log = logging.getLogger(__name__)


class StoreError(OSError):
    """The store's folder cannot be used (full, read-only, over quota); names the folder and the fix."""

    def __str__(self) -> str:
        return self.strerror or super().__str__()


class Damaged(Exception):
    """An entry whose bytes are not what was written."""


def plain(value: Any) -> Any:
    """`value` as JSON has it: tuples become lists, NumPy scalars Python's, NaN and infinities None."""
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:  # nearly all there is
        return value
    if kind is float:
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        if bad := [name for name in value if not isinstance(name, str)]:
            raise TypeError(f"names must be strings, not {bad[0]!r}")
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str | int):
        return value
    raise TypeError(f"a description or row holds numbers, strings, lists and dicts, not {type(value).__name__}")


def _merged(value: Any) -> Any:
    """`value` as `plain` gives it, with 1 for 1.0: equal descriptions (`alpha=1`, `alpha=1.0`) share one key."""
    if type(value) is str or type(value) is int or value is None:  # nearly all there is
        return value
    if isinstance(value, dict):
        return {name: _merged(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_merged(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def _canonical(value: Any) -> str:
    """The JSON text of a `plain` value, one for all that are equal."""
    return CANONICAL.encode(value)


CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def key(kind: str, description: dict) -> str:
    """The name of an entry: SHA-256 (64 hex digits) of kind, description and `SCHEMA`.

    `rules` in a description (a digest of the code that decides the outcome) is not hashed but stands behind the
    digits, so that entries that differ in nothing else are found beside each other.
    """
    return _name(kind, plain(description), SCHEMA)


def _name(kind: str, said: dict, schema: int) -> str:
    """`key` of a description that is `plain` already."""
    rest = {name: value for name, value in said.items() if name != "rules"}
    text = _canonical({"schema": schema, "kind": kind, "description": _merged(rest)})
    name = hashlib.sha256(text.encode()).hexdigest()
    return f"{name}-{said['rules']}" if said.get("rules") else name


NAME = r"[0-9a-f]{64}(-[0-9a-f]{4,64})?"
"""What a key looks like: nothing else in a store's folders is taken for an entry."""


def check_place(kind: str, description: dict, path: Path) -> None:
    """`Damaged` if the entry is not the one that its file's name promises (this schema's or an older one's)."""
    if all(_name(kind, description, schema) != path.name.partition(".")[0] for schema in range(SCHEMA, 0, -1)):
        raise Damaged("it holds another entry than its name says")


def _digest(arrays: Arrays, state: str) -> str:
    """SHA-256 over names, types, shapes and bytes of all arrays, and over the JSON text `state`."""
    total = hashlib.sha256(state.encode())
    for name in sorted(arrays):
        array = arrays[name]
        total.update(f"{name} {array.dtype.str} {array.shape}".encode())
        total.update(array.reshape(-1).view(np.uint8).data if array.size else b"")
    return total.hexdigest()


def pack(arrays: Arrays, state: dict) -> bytes:
    solid = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    text = _canonical(plain(state))
    return safetensors.numpy.save(solid, {"state": text, "sha256": _digest(solid, text)})


def unpack(path: Path) -> tuple[Arrays, dict]:
    """Arrays and state of the file; `Damaged` unless both are what was written; FileNotFoundError."""
    raw = path.read_bytes()  # not mapped: a network file that changes under a map kills the process
    try:
        length = int.from_bytes(raw[:8], "little")
        about = json.loads(raw[8 : 8 + length])["__metadata__"]
        arrays = safetensors.numpy.load(raw)
        if about["sha256"] != _digest(arrays, about["state"]):
            raise Damaged("checksum differs")
        return arrays, json.loads(about["state"])
    except (ValueError, KeyError, TypeError, safetensors.SafetensorError) as problem:
        raise Damaged(f"not a whole safetensors file: {problem}") from problem


def read_state(path: Path) -> dict:
    """The state alone, from the file's first bytes, without a look at the arrays; `Damaged` or OSError."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            raise Damaged("not a whole safetensors file")
        try:
            return json.loads(json.loads(file.read(length))["__metadata__"]["state"])
        except (ValueError, KeyError, TypeError) as problem:
            raise Damaged(f"not a whole safetensors file: {problem}") from problem


ROW_END = b', "sha256": "%s"}\n'


def pack_row(description: dict, row: dict, needs: Iterable[tuple[str, str]] = ()) -> bytes:
    """One JSON object whose last member is the SHA-256 of all bytes before it, so that checking takes no parsing."""
    body = {"description": plain(description), "row": plain(row), "needs": sorted(map(list, needs))}
    said = json.dumps(body, allow_nan=False).encode()[:-1]
    return said + ROW_END % hashlib.sha256(said).hexdigest().encode()


def unpack_row(path: Path) -> dict:
    """{"description", "row", "needs"} of the file; `Damaged` or FileNotFoundError as in `unpack`."""
    raw = path.read_bytes()
    said, end = raw[: -len(ROW_END) - 62], raw[-len(ROW_END) - 62 :]  # 64 hex digits in place of %s
    try:
        body = json.loads(raw)
        stated = body.pop("sha256")
        whole = end == ROW_END % hashlib.sha256(said).hexdigest().encode()
        if not whole and stated != hashlib.sha256(_canonical(body).encode()).hexdigest():  # as older releases wrote it
            raise Damaged("checksum differs")
        return {"needs": [], **body}
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise Damaged(str(problem)) from problem


def read_needs(path: Path) -> list[list[str]]:
    """(kind, key) of what the row was made from, without a look at all the rest; empty if the file does not say."""
    raw = path.read_bytes()
    try:
        return json.loads(b"{" + raw[raw.rindex(b'"needs": ') :])["needs"]
    except (ValueError, KeyError, TypeError):
        return []


_FIXES = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some space there or raise the quota",
    errno.EFBIG: "raise the file-size limit (ulimit -f)",
    errno.EROFS: "make it writable",
    errno.EACCES: "make it writable",
    errno.EPERM: "make it writable",
}


def trouble(root: Path, problem: OSError) -> StoreError:
    fix = _FIXES.get(problem.errno or 0, "check that the folder exists and is healthy")
    reason = problem.strerror or str(problem)
    return StoreError(
        problem.errno,
        f"cannot use the store {root}: {reason}; {fix}, or set KDLIB_STORE to another folder",
    )


def set_aside(path: Path, read: Callable[[Path], Any], problem: Exception) -> None:
    """Rename a damaged file (never delete it: someone may want to look) and say so in one line.

    The renamed file is read once more: if another process has put a whole one there since, it goes back.
    """
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    try:
        os.rename(path, aside)
    except FileNotFoundError:
        return  # another process was quicker
    except OSError as refused:
        log.warning("%s is damaged and cannot be set aside (%s): not used", path, refused.strerror)
        return
    try:
        read(aside)
        os.rename(aside, path)
    except (Damaged, OSError):
        log.warning("%s is damaged (%s): set aside as %s", path, problem, aside.name)


def export_rows(rows: Iterable[dict], path: str | Path) -> None:
    """Write rows as JSON lines (`data/results/*.jsonl`), whole or not at all; ValueError as `check_target` says."""
    check_target(Path(path))
    lines = [json.dumps(plain(row), allow_nan=False) for row in rows]
    write_whole(Path(path), "".join(line + "\n" for line in lines).encode())
