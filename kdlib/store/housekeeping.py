"""What lies in a store, and what of it nobody needs any more.

An entry stays while a row names it, while a sweep that runs or was stopped names it (`sweeps/*.json`), while a lease on
it is alive, and for a day after it was last used whatever else holds.
Nothing is loaded to know that: rows carry the keys of what they were made from.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kdlib.store.leases import live_leases
from kdlib.store.serialisation import NAME, Damaged, read_needs, read_state

HOUR = 3600.0
SAFE_AGE = 24 * HOUR
"""Seconds since its last use for which an entry is never removed: somebody may be about to use it."""

ABANDONED = 30 * SAFE_AGE
"""Seconds for which a sweep that was stopped and a checkpoint wait for somebody to go on with them."""

FOLDERS = ("caches", "banks")
"""Kinds whose entries are folders of files; the second is what older releases called the first."""

Named = tuple[str, str]  # kind, key


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the store: its kind, key, path, size in bytes, and age in seconds since it was last used."""

    kind: str
    key: str
    path: Path
    size: int
    age: float


class Listing:
    """Which entries of one kind there are, by their keys. A folder is read when it is first asked for, and once."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.read: dict[str, dict[str, set[str]]] = {}  # folder -> key without its rules -> keys

    def holds(self, name: str) -> bool:
        """Whether the entry is there (its checksum is verified when it is read)."""
        return name in self._beside(name)

    def holds_outdated(self, name: str) -> bool:
        """Whether there is an entry that differs from this one in its `rules` only: made by other code."""
        return bool(self._beside(name) - {name})

    def _beside(self, name: str) -> set[str]:
        if name[:2] not in self.read:
            found = self.read.setdefault(name[:2], {})
            with suppress(FileNotFoundError, NotADirectoryError):
                for file in os.listdir(self.place / name[:2]):
                    stem, _, ending = file.partition(".")
                    if ending in ("json", "safetensors"):
                        found.setdefault(stem.partition("-")[0], set()).add(stem)
        return self.read[name[:2]].get(name.partition("-")[0], set())


def entries(root: Path, kind: str | None = None, now: float | None = None) -> list[Entry]:
    """Every entry (of one kind), oldest first. Files whose name is no key belong to somebody else and are left out."""
    found: list[Entry] = []
    for folder in [root / kind] if kind else sorted(root.glob("[a-z]*")):
        if folder.name not in ("leases", "sweeps") and re.fullmatch("[a-z][a-z0-9_]*", folder.name):
            found += _listed(folder, now or time.time())
    return sorted(found, key=lambda entry: (-entry.age, entry.key))


def _listed(folder: Path, now: float) -> Iterator[Entry]:
    ending = "" if folder.name in FOLDERS else r"\.json" if folder.name == "rows" else r"\.safetensors"
    shape = re.compile(NAME + ending)
    for place in [folder] if folder.name in FOLDERS else sorted(folder.glob("[0-9a-f][0-9a-f]")):
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(place) as inside:
            for item in inside:
                if shape.fullmatch(item.name):
                    with suppress(FileNotFoundError):
                        yield _entry(folder.name, Path(item.path), now)


def _entry(kind: str, path: Path, now: float) -> Entry:
    files = [file.lstat() for file in (path.iterdir() if kind in FOLDERS and path.is_dir() else [path])]
    size = sum(min(file.st_size, 512 * getattr(file, "st_blocks", 1 << 50)) for file in files)  # caches are sparse
    used = max((file.st_mtime for file in files), default=0.0)
    return Entry(kind, path.name.partition(".")[0], path, size, now - used)


def litter(root: Path, older_than: float) -> list[Path]:
    """Temporary and damaged files, leases; untouched for `older_than` seconds."""
    found = [
        *root.glob("*/[0-9a-f][0-9a-f]/.*.tmp"),
        *root.glob("*/[0-9a-f][0-9a-f]/*.damaged-*"),
        *root.glob("leases/*.lease"),
        *root.glob("leases/.*.tmp"),
        *root.glob("sweeps/.*.tmp"),
    ]
    now = time.time()
    old = []
    for path in found:
        with suppress(FileNotFoundError):
            if re.match(rf"\.?([a-z0-9_]+-)?{NAME}\.", path.name) and now - path.lstat().st_mtime > older_than:
                old.append(path)
    return old


def unneeded(root: Path, lease_seconds: float) -> list[Entry]:
    """Entries other than rows that may go, see above."""
    now = _clock(root)
    listed = entries(root, now=now)
    there = {(entry.kind, entry.key) for entry in listed}
    keep = _used_by_rows(listed) | live_leases(root, lease_seconds, now) | _swept(root, now)
    found = []
    for entry in listed:
        if entry.kind == "rows" or entry.age < SAFE_AGE or (entry.kind, entry.key) in keep:
            continue
        aims = _aims(entry) if entry.kind == "checkpoints" and entry.age < ABANDONED else there
        if aims and aims <= there:
            found.append(entry)
    return found


def _used_by_rows(listed: Iterable[Entry]) -> set[Named]:
    """What rows were made from. A row that cannot be read is none that a sweep could return, and names nothing."""
    found: set[Named] = set()
    for path in sorted(entry.path for entry in listed if entry.kind == "rows"):  # folder by folder: less to seek
        with suppress(OSError):
            found |= {(kind, name) for kind, name in read_needs(path)}
    return found


def _clock(root: Path) -> float:
    """The time by the clock that stamps the store's files: this host's own may be off by a year."""
    with tempfile.NamedTemporaryFile(dir=root, prefix=".", suffix=".tmp") as probe:
        return os.stat(probe.name).st_mtime


def _swept(root: Path, now: float) -> set[Named]:
    """What sweeps that are running or were stopped need."""
    found: set[Named] = set()
    for path in root.glob("sweeps/*.json"):
        with suppress(OSError, ValueError, KeyError, TypeError):
            if now - path.stat().st_mtime < ABANDONED:
                found |= {(kind, name) for kind, name in json.loads(path.read_bytes())["needs"]}
    return found


def _aims(entry: Entry) -> set[Named]:
    """What a checkpoint works towards; nothing if that cannot be read."""
    with suppress(OSError, Damaged, KeyError, TypeError, ValueError):
        return {(kind, name) for kind, name in read_state(entry.path)["aims"]}
    return set()


def remove(root: Path, doomed: Iterable[Entry | Path]) -> int:
    """Delete entries or litter; returns the bytes set free. ValueError for a path outside of `root`."""
    freed, here = 0, root.resolve()
    for item in doomed:
        path = item.path if isinstance(item, Entry) else item
        if not path.parent.resolve().is_relative_to(here):
            raise ValueError(f"{path} is not in the store {root}")
        with suppress(FileNotFoundError):
            found = _entry(path.parent.name, path, time.time())
            if isinstance(item, Entry) and found.age < min(item.age, SAFE_AGE):
                continue  # used since it was listed
            freed += found.size
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return freed
