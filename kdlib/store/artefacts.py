"""A content-addressed store for what takes time: teachers, signals, logit caches, checkpoints, rows.

Every entry lives under `key(kind, description)`, the SHA-256 of a canonical JSON text of its full description
and of `SCHEMA`. The release of kdlib is not part of the key: a bug-fix release keeps a month of training. A
change of what a description *means* raises `SCHEMA`, and every older entry is then simply no longer found.

    ROOT/kdlib-store.json                    says that the folder is a store: without it nothing is ever removed there
    ROOT/teachers/ab/abcd....safetensors     arrays and weights, one format for both (bool, float16 ... int64)
    ROOT/checkpoints/ab/abcd....safetensors  the state of a training in its middle
    ROOT/rows/ab/abcd....json                one small file for each finished run
    ROOT/caches/abcd..../                    the logits of one teacher, see `kdlib.training.logit_cache`
    ROOT/sweeps/abcd....json                 what a sweep that is running or was stopped needs
    ROOT/leases/teachers-abcd....lease       who is making what right now

One file is one entry and carries its own checksum and description, so an entry is never half there and never
taken for another one: it is written to a temporary name, fsynced, published under its own name unless somebody
else has been quicker, and the folder is fsynced. Nothing is pickled. Any number of processes and
hosts may share a store, on NFS too: exclusion rests on creating and renaming files, not on flock.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from kdlib.store import housekeeping
from kdlib.store.housekeeping import Entry, Listing
from kdlib.store.leases import LEASE_SECONDS, lease
from kdlib.store.serialisation import (
    SCHEMA,
    Arrays,
    Damaged,
    StoreError,
    check_place,
    export_rows,
    key,
    log,
    pack,
    pack_row,
    plain,
    set_aside,
    trouble,
    unpack,
    unpack_row,
)
from kdlib.utils import paths
from kdlib.utils.files import publish, write_whole

__all__ = ["LEASE_SECONDS", "SCHEMA", "Arrays", "Entry", "Store", "StoreError", "export_rows", "key"]

MARKER = "kdlib-store.json"
UNREADABLE = {errno.EACCES, errno.EPERM, errno.EISDIR, errno.ELOOP}
"""What is wrong with one file and not with the store: the entry is set aside like a damaged one."""


class Store:
    """The store in folder `root` (default: `paths.store()`); its folders appear with the first entry.

    `lease_seconds`: all processes that share a store must use the same value. `used` collects (kind, key) of the
    arrays and caches that were asked for through this object: what a row is made from.
    """

    def __init__(self, root: str | Path | None = None, *, lease_seconds: float = LEASE_SECONDS) -> None:
        self.root = (paths.store() if root is None else Path(root).expanduser()).absolute()
        self.lease_seconds = lease_seconds
        self.used: set[tuple[str, str]] = set()

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r})"

    def path(self, kind: str, description: dict) -> Path:
        """Where the entry lives, there or not. ValueError for a kind that is not a plain word."""
        return self._path(kind, key(kind, description))

    def _path(self, kind: str, name: str) -> Path:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", kind) or kind in ("leases", "sweeps"):
            raise ValueError(f"a kind is a lower-case word such as 'teachers', not {kind!r}")
        if kind in housekeeping.FOLDERS:
            return self.root / kind / name
        ending = "json" if kind == "rows" else "safetensors"
        return self.root / kind / name[:2] / f"{name}.{ending}"

    def has(self, kind: str, description: dict) -> bool:
        """Whether the entry is there (its checksum is verified when it is read)."""
        return self.path(kind, description).exists()

    def listing(self, kind: str) -> Listing:
        """Which entries of a kind there are, by their keys."""
        return Listing(self.root / kind)

    def lease(self, kind: str, description: dict, *, wait: bool = True) -> AbstractContextManager[bool]:
        """Hold the right to make one entry; yields True, or at once False if another has it and not `wait`.

        A crashed owner's lease passes on after `lease_seconds` without a heartbeat, and at once if the owner
        was a process of this host. A lease saves work, it does not guard the data: of two makers the first one to
        finish publishes its entry, and the other one takes that. StoreError where no lease can be written.
        """
        return lease(self.root, f"{kind}-{key(kind, description)}", self.lease_seconds, wait=wait)

    # -- arrays

    def arrays(self, kind: str, description: dict, make: Callable[[], Arrays]) -> Arrays:
        """The entry's arrays; made by `make()` if they are not there, by one process only however many ask.

        A file whose checksum is wrong, or that holds another entry, is set aside (`*.damaged-N`) with a message and
        made again. StoreError if the folder cannot be written to, before `make` is called where that can be known.
        """
        path = self.path(kind, description)
        self.used.add((kind, path.stem))
        if (found := self._arrays(kind, path)) is not None:
            return found
        with self.lease(kind, description):
            if (found := self._arrays(kind, path)) is not None:
                return found  # another process made it while we waited
            made = {name: np.asarray(array, order="C") for name, array in make().items()}
            return made if self._publish(path, pack(made, description)) else self._arrays(kind, path) or made

    def _arrays(self, kind: str, path: Path) -> Arrays | None:
        found = self._read(path, partial(_unpacked, kind))
        if found is None:
            return None
        with suppress(OSError):
            os.utime(path)  # its age is the time since it was last used
        return found[0]

    def folder(self, kind: str, description: dict) -> Path:
        """The folder of a cache, which its user fills."""
        path = self.path(kind, description)
        self.used.add((kind, path.name))
        self._mark()
        return path

    # -- reading and writing files

    def _read(self, path: Path, read: Callable[[Path], Any]) -> Any:
        """What is in the file, or None if there is none or it was damaged and is now set aside."""
        try:
            return read(path)
        except FileNotFoundError:
            return None
        except Damaged as problem:
            set_aside(path, read, problem)
        except OSError as problem:
            if problem.errno not in UNREADABLE:
                raise trouble(self.root, problem) from problem
            set_aside(path, read, problem)
        return None

    def _mark(self) -> None:
        """Put the marker into the store's folder; StoreError where that cannot be written."""
        try:
            if not (self.root / MARKER).exists():
                publish(self.root / MARKER, json.dumps({"kdlib store": SCHEMA}) + "\n")
        except OSError as problem:
            raise trouble(self.root, problem) from problem

    def _publish(self, path: Path, payload: bytes, *, replace: bool = False) -> bool:
        """Write the file if there is none, or whatever there is with `replace`; whether it was written."""
        self._mark()
        try:
            if not replace:
                return publish(path, payload)
            write_whole(path, payload)
            return True
        except OSError as problem:
            raise trouble(self.root, problem) from problem

    # -- checkpoints

    def save_checkpoint(
        self, description: dict, arrays: Arrays, state: dict, aims: Iterable[tuple[str, dict]] = ()
    ) -> None:
        """Replace a training's checkpoint: arrays (weights, momenta, generator states), JSON state (epoch).

        `aims`: (kind, description) of the entries that the training makes. Once they are all there, `store gc` may
        remove a checkpoint that was left behind.
        """
        about = {"description": description, "state": state, "aims": [[kind, key(kind, d)] for kind, d in aims]}
        self._publish(self.path("checkpoints", description), pack(arrays, about), replace=True)

    def load_checkpoint(self, description: dict) -> tuple[Arrays, dict] | None:
        """The last whole checkpoint (arrays, state), or None: the run then starts from its beginning."""
        found = self._read(self.path("checkpoints", description), partial(_unpacked, "checkpoints"))
        return None if found is None else (found[0], found[1]["state"])

    def clear_checkpoint(self, description: dict) -> None:
        """Forget the checkpoint: the run is finished."""
        with suppress(FileNotFoundError):
            self.path("checkpoints", description).unlink()

    def refuse_checkpoint(self, description: dict, reason: str) -> None:
        """Set a checkpoint aside that does not fit the training; the training then starts anew."""

        def refuse(path: Path) -> None:
            raise Damaged(reason)

        set_aside(self.path("checkpoints", description), refuse, Damaged(reason))

    def interrupted(self, names: Iterable[str]) -> list[list[str]]:
        """The groups of runs, as keys of their rows, that were stopped in a training of theirs: only groups all of
        whose runs are among `names`. A run is in one group at most, the latest. Planned as they were, they go on.
        """
        left, groups = set(names), []
        for entry in reversed(self.ls("checkpoints")):
            with suppress(Damaged, OSError, KeyError):
                aims = housekeeping.read_state(entry.path)["aims"]
                group = [name for kind, name in aims if kind == "rows"]
                if group and len(group) == len(aims) and left.issuperset(group):
                    left -= set(group)
                    groups.append(group)
        return groups

    # -- rows

    def row(self, description: dict, name: str = "") -> dict | None:
        """The stored row of a run, or None if it is not there or damaged (then set aside); `name` is its key, if known."""
        expected = partial(_unpacked_row, description=plain(description))
        found = self._read(self._path("rows", name or key("rows", description)), expected)
        return None if found is None else found["row"]

    def add_row(self, description: dict, row: dict, needs: Iterable[tuple[str, str]] = ()) -> dict:
        """Store the row of a finished run, and (kind, key) of the entries it was made from; returns the stored row.

        A row that somebody else has stored meanwhile stays, and is the one returned. NaN and infinities are stored as
        null (JSON has neither).
        """
        payload = pack_row(description, row, needs)
        if self._publish(self.path("rows", description), payload):
            return json.loads(payload)["row"]
        return self.row(description) or self.add_row(description, row, needs)

    def each_row(self) -> Iterator[dict]:
        """Every undamaged row with its description, {"description", "row", "needs"}, oldest first, one at a time."""
        for entry in self.ls("rows"):
            with suppress(StoreError):  # a file that cannot be read now is no reason to hide all others
                if (found := self._read(entry.path, _unpacked_row)) is not None:
                    yield found

    def rows(self) -> list[dict]:
        """All undamaged rows, oldest first."""
        return [found["row"] for found in self.each_row()]

    # -- sweeps, and what they need

    @contextmanager
    def sweep(self, needs: Iterable[tuple[str, str]]) -> Iterator[None]:
        """Within the block, and after it unless it ended well, `store gc` keeps the entries `needs` (kind, key)."""
        named = sorted(set(needs))
        path = self.root / "sweeps" / f"{key('sweeps', {'needs': named})}.json"
        if named:
            self._publish(path, json.dumps({"needs": named}).encode(), replace=True)
        yield
        with suppress(OSError):
            path.unlink(missing_ok=True)

    # -- housekeeping

    def ls(self, kind: str | None = None) -> list[Entry]:
        """Every entry (of one kind), oldest first; its age is the time since it was last used."""
        return housekeeping.entries(self.root, kind)

    def require_marker(self) -> None:
        """ValueError, in one line, if the folder is not a store of kdlib."""
        if not (self.root / MARKER).is_file():
            raise ValueError(
                f"{self.root} has no file {MARKER}, so it may not be a store; any sweep into it writes that file"
            )

    def verify(self) -> list[Entry]:
        """Read every entry, compare checksums and descriptions; the bad ones, which are set aside, are returned.

        Caches are left out: each of their logits has a checksum that is verified whenever it is used. ValueError for
        a folder that is no store.
        """
        self.require_marker()
        bad = []
        for entry in (entry for entry in self.ls() if entry.kind not in housekeeping.FOLDERS):
            read = _unpacked_row if entry.kind == "rows" else partial(_unpacked, entry.kind)
            try:
                whole = self._read(entry.path, read)
            except StoreError as problem:
                log.warning("%s cannot be read: %s", entry.path, problem)
                whole = None
            if whole is None:
                bad.append(entry)
        return bad

    def unneeded(self) -> list[Entry]:
        """What no row, no sweep that runs or was stopped, and no training needs; ValueError for no store."""
        self.require_marker()
        return housekeeping.unneeded(self.root, self.lease_seconds)

    def litter(self, older_than: float = housekeeping.HOUR) -> list[Path]:
        """What crashes left: temporary and damaged files, leases, untouched for `older_than` seconds."""
        return housekeeping.litter(self.root, older_than)

    def remove(self, entries: Iterable[Entry | Path]) -> int:
        """Delete entries (or litter); returns the bytes set free. Asking first is the caller's part.

        An entry that has been used since it was listed stays. ValueError for a path outside and for no store.
        """
        self.require_marker()
        return housekeeping.remove(self.root, entries)


def _unpacked(kind: str, path: Path) -> tuple[Arrays, dict]:
    """`unpack`, and `Damaged` if the file holds another entry than its name says."""
    arrays, state = unpack(path)
    description = state.get("description") if kind == "checkpoints" else state
    if not isinstance(description, dict):
        raise Damaged("it was written by another version of kdlib")
    check_place(kind, description, path)
    return arrays, state


def _unpacked_row(path: Path, description: dict | None = None) -> dict:
    """`unpack_row`, and `Damaged` if it is not the row of the description (or else, of the file's name)."""
    found = unpack_row(path)
    if description is None or found["description"] != description:
        check_place("rows", found["description"], path)
    return found
