"""Leases: who is making which entry right now, agreed on by creating and renaming files only, on NFS too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

from kdlib.store.serialisation import log, trouble
from kdlib.utils.files import write_whole

LEASE_SECONDS = 60.0
"""A lease without a heartbeat for this long may be taken over (at once if its owner died on this host)."""

PATIENCE = 10.0
"""Seconds of waiting after which a message says for what, and after which an empty lease counts as nobody's."""


@contextmanager
def lease(root: Path, name: str, seconds: float, *, wait: bool) -> Iterator[bool]:
    """Hold the lease `name` (KIND-KEY) of the store `root`; yields whether it was got, see `Store.lease`."""
    path = root / "leases" / f"{name}.lease"
    lock = filelock.SoftFileLease(path, lease_duration=seconds, poll_interval=0.05)
    try:
        held = _acquire(lock, path, wait)
    except OSError as problem:
        raise trouble(root, problem) from problem
    try:
        yield held
    finally:
        if held:
            with suppress(OSError):  # the folder may have gone: the work is done all the same
                lock.release()


def _acquire(lock: filelock.SoftFileLease, path: Path, wait: bool) -> bool:
    told = False
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        empty = _empty(path)
        with suppress(filelock.Timeout):
            lock.acquire(timeout=PATIENCE if wait else 0.0)
            return True
        if not wait:
            return False
        _check_room(path.parent)
        if empty and empty == _empty(path):
            path.unlink(missing_ok=True)
        elif not told:
            told = True
            log.warning("waiting for another process that is making %s", path.stem.partition("-")[0])


def _check_room(folder: Path) -> None:
    """OSError if no file can be written there: a lease whose owner has died could then never be taken over.

    filelock says nothing of that and lets its caller wait for ever.
    """
    probe = folder / "probe"
    write_whole(probe, bytes(4096))
    probe.unlink(missing_ok=True)


def _empty(path: Path) -> tuple[int, int] | None:
    """The identity of a lease file without an owner's name in it, or None.

    A process killed between creating its lease and writing its name leaves one, and filelock lets it be.
    """
    with suppress(FileNotFoundError):
        about = path.stat()
        return None if about.st_size else (about.st_ino, about.st_mtime_ns)
    return None


def live_leases(root: Path, seconds: float, now: float) -> set[tuple[str, str]]:
    """(kind, key) of everything that is being made: leases with a heartbeat in the `seconds` before `now`."""
    found = set()
    for path in root.glob("leases/*.lease"):
        with suppress(FileNotFoundError):
            if now - path.stat().st_mtime < seconds:
                kind, _, name = path.stem.partition("-")
                found.add((kind, name))
    return found
