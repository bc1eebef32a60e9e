"""A content-addressed store for what takes time: teachers, signals, logit banks, checkpoints, rows.

Every entry lives under `key(kind, description)`, the SHA-256 of a canonical JSON text of its full description
and of `SCHEMA`. The release of kdlib is not part of the key: a bug-fix release keeps a month of training. A
change of what a description *means* raises `SCHEMA`, and every older entry is then simply no longer found.

    ROOT/teachers/ab/abcd....safetensors     arrays and weights, one format for both (bool, float16 ... int64)
    ROOT/checkpoints/ab/abcd....safetensors  the state of a run in its middle
    ROOT/rows/ab/abcd....json                one small file for each finished run
    ROOT/leases/teachers-abcd....lease       who is making what right now

One file is one entry and carries its own checksum, so an entry is never half there: it is written to a
temporary name, fsynced, renamed, and the folder is fsynced. Nothing is pickled. Any number of processes and
hosts may share a store, on NFS too: exclusion rests on creating and renaming files, not on flock.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from kdlib.store.serialisation import (
    SCHEMA,
    Arrays,
    Damaged,
    StoreError,
    export_rows,
    key,
    log,
    pack,
    pack_row,
    set_aside,
    trouble,
    unpack,
    unpack_row,
    write_whole,
)
from kdlib.utils import paths

__all__ = ["LEASE_SECONDS", "SCHEMA", "Arrays", "Entry", "Store", "StoreError", "export_rows", "key"]

LEASE_SECONDS = 60.0
"""A lease without a heartbeat for this long may be taken over (at once if its owner died on this host)."""

PATIENCE = 10.0
"""Seconds of waiting after which a message says for what, and after which an empty lease counts as nobody's."""


@dataclass(frozen=True)
class Entry:
    """One file of the store: its kind, key, path, size in bytes, and age in seconds."""

    kind: str
    key: str
    path: Path
    size: int
    age: float


class Store:
    """The store in folder `root` (default: `paths.store()`); its folders appear with the first entry.

    `lease_seconds`: all processes that share a store must use the same value.
    """

    def __init__(self, root: str | Path | None = None, *, lease_seconds: float = LEASE_SECONDS) -> None:
        self.root = (paths.store() if root is None else Path(root).expanduser()).absolute()
        self.lease_seconds = lease_seconds

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r})"

    def path(self, kind: str, description: dict) -> Path:
        """Where the entry lives, there or not. ValueError for a kind that is not a plain word."""
        return self._path(kind, key(kind, description))

    def _path(self, kind: str, name: str) -> Path:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", kind) or kind == "leases":
            raise ValueError(f"a kind is a lower-case word such as 'teachers', not {kind!r}")
        if kind == "banks":  # a folder of mapped files, which carry checksums of their own
            return self.root / kind / name
        ending = "json" if kind == "rows" else "safetensors"
        return self.root / kind / name[:2] / f"{name}.{ending}"

    def has(self, kind: str, description: dict) -> bool:
        """Whether the entry is there (its checksum is verified when it is read)."""
        return self.path(kind, description).exists()

    # -- leases

    @contextmanager
    def lease(self, kind: str, description: dict, *, wait: bool = True) -> Iterator[bool]:
        """Hold the right to make one entry; yields True, or at once False if another has it and not `wait`.

        A crashed owner's lease passes on after `lease_seconds` without a heartbeat, and at once if the owner
        was a process of this host. A lease saves work, it does not guard the data: two makers would write
        equal files.
        """
        path = self.root / "leases" / f"{kind}-{key(kind, description)}.lease"
        lock = filelock.SoftFileLease(path, lease_duration=self.lease_seconds, poll_interval=0.05)
        held = self._acquire(lock, path, wait)
        try:
            yield held
        finally:
            if held:
                with suppress(OSError):  # the folder may have gone: the work is done all the same
                    lock.release()

    def _acquire(self, lock: filelock.SoftFileLease, path: Path, wait: bool) -> bool:
        told = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            while True:
                empty = _empty(path)
                with suppress(filelock.Timeout):
                    lock.acquire(timeout=PATIENCE if wait else 0.0)
                    return True
                if not wait:
                    return False
                if empty and empty == _empty(path):
                    path.unlink(missing_ok=True)
                elif not told:
                    told = True
                    log.warning("waiting for another process that is making %s", path.stem[:-52])
        except OSError as problem:
            raise trouble(self.root, problem) from problem

    # -- arrays

    def arrays(self, kind: str, description: dict, make: Callable[[], Arrays]) -> Arrays:
        """The entry's arrays; made by `make()` if they are not there, by one process only however many ask.

        A file whose checksum is wrong is set aside (`*.damaged-N`) with a message and made again. StoreError
        if the folder cannot be written to, before `make` is called where that can be known.
        """
        path = self.path(kind, description)
        if (found := self._read(path, unpack)) is not None:
            return found[0]
        with self.lease(kind, description):
            if (found := self._read(path, unpack)) is not None:
                return found[0]  # another process made it while we waited
            made = {name: np.asarray(array, order="C") for name, array in make().items()}
            self._write(path, pack(made, description))
            return made

    def _read(self, path: Path, read: Callable[[Path], Any]) -> Any:
        """What is in the file, or None if there is none or it was damaged and is now set aside."""
        try:
            return read(path)
        except FileNotFoundError:
            return None
        except Damaged as problem:
            set_aside(path, read, problem)
            return None
        except OSError as problem:
            raise trouble(self.root, problem) from problem

    def _write(self, path: Path, payload: bytes) -> None:
        try:
            write_whole(path, payload)
        except OSError as problem:
            raise trouble(self.root, problem) from problem

    # -- checkpoints

    def save_checkpoint(self, description: dict, arrays: Arrays, state: dict) -> None:
        """Replace the run's checkpoint: arrays (weights, momenta, generator states), JSON state (epoch)."""
        self._write(self.path("checkpoints", description), pack(arrays, state))

    def load_checkpoint(self, description: dict) -> tuple[Arrays, dict] | None:
        """The last whole checkpoint (arrays, state), or None: the run then starts from its beginning."""
        return self._read(self.path("checkpoints", description), unpack)

    def clear_checkpoint(self, description: dict) -> None:
        """Forget the checkpoint: the run is finished."""
        with suppress(FileNotFoundError):
            self.path("checkpoints", description).unlink()

    # -- rows

    def row(self, description: dict) -> dict | None:
        """The stored row of a run, or None if it is not there or damaged (then set aside)."""
        found = self._read(self.path("rows", description), unpack_row)
        return None if found is None else found["row"]

    def add_row(self, description: dict, row: dict) -> None:
        """Store the row of a finished run; NaN and infinities are stored as null (JSON has neither)."""
        self._write(self.path("rows", description), pack_row(description, row))

    def rows(self) -> list[dict]:
        """All undamaged rows, oldest first."""
        found = (self._read(entry.path, unpack_row) for entry in self.ls("rows"))
        return [entry["row"] for entry in found if entry is not None]

    # -- housekeeping

    def ls(self, kind: str | None = None) -> list[Entry]:
        """Every entry (of one kind), oldest first; a bank's age is the time since it was last added to."""
        found = []
        for folder in [self.root / kind] if kind else sorted(self.root.glob("[a-z]*")):
            pattern = (
                "*" if folder.name == "banks" else "??/[!.]*.json" if folder.name == "rows" else "??/[!.]*.safetensors"
            )
            for path in folder.glob(pattern):
                with suppress(FileNotFoundError):
                    found.append(_entry(folder.name, path))
        return sorted(found, key=lambda entry: (-entry.age, entry.key))

    def verify(self) -> list[Entry]:
        """Read every entry and compare checksums; returns the damaged ones, which are set aside.

        Banks are left out: each of their logits has a checksum that is verified whenever it is used.
        """
        bad = []
        for entry in (entry for entry in self.ls() if entry.kind != "banks"):
            whole = self._read(entry.path, unpack_row if entry.kind == "rows" else unpack)
            if whole is None:
                bad.append(entry)
        return bad

    def litter(self, older_than: float = 3600.0) -> list[Path]:
        """What crashes left: temporary and damaged files, leases; untouched for `older_than` seconds."""
        found = [
            *self.root.glob("*/??/.*.tmp"),
            *self.root.glob("*/??/*.damaged-*"),
            *self.root.glob("leases/*"),
        ]
        now = time.time()
        return [path for path in found if path.is_file() and now - path.stat().st_mtime > older_than]

    def unneeded(self, needed: Iterable[tuple[str, dict]]) -> list[Entry]:
        """Entries other than rows that are not among the (kind, description) pairs in `needed`."""
        keep = {self.path(kind, description) for kind, description in needed}
        return [entry for entry in self.ls() if entry.kind != "rows" and entry.path not in keep]

    def remove(self, entries: Iterable[Entry | Path]) -> int:
        """Delete entries (or litter); returns the bytes set free. Asking first is the caller's part."""
        freed = 0
        for entry in entries:
            path = entry.path if isinstance(entry, Entry) else entry
            if not path.resolve().is_relative_to(self.root.resolve()):
                raise ValueError(f"{path} is not in the store {self.root}")
            with suppress(FileNotFoundError):
                freed += _entry("", path).size
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        return freed


def _empty(path: Path) -> tuple[int, int] | None:
    """The identity of a lease file without an owner's name in it, or None.

    A process killed between creating its lease and writing its name leaves one, and filelock lets it be.
    """
    with suppress(FileNotFoundError):
        about = path.stat()
        return None if about.st_size else (about.st_ino, about.st_mtime_ns)
    return None


def _entry(kind: str, path: Path) -> Entry:
    files = [file.stat() for file in (path.iterdir() if path.is_dir() else [path])]
    size = sum(min(file.st_size, 512 * getattr(file, "st_blocks", 1 << 50)) for file in files)  # banks are sparse
    return Entry(kind, path.stem, path, size, time.time() - max((file.st_mtime for file in files), default=0.0))
