"""The command `store`: what is stored, whether it is whole, and what of it nobody needs any more."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from kdlib.cli.arguments import Failed, UsageError, note, option, parse, table, usage
from kdlib.store.artefacts import Entry, Store
from kdlib.utils import progress
from kdlib.utils.errors import choose


@dataclass(frozen=True)
class StoreOptions:
    """What is stored: `ls` lists it, `verify` reads everything and compares checksums, `gc` removes what nobody needs.

    gc keeps every row, what rows were made from, what a sweep that runs or was stopped needs, and what was used within
    the last day.
    """

    action: str = option("ls", "ls, verify or gc")
    root: str = option("", "the store's folder; default data/store or $KDLIB_STORE")
    yes: bool = option(False, "gc: do not ask")


def store(args: list[str]) -> int:
    """`python -m kdlib store`."""
    flags = parse(StoreOptions, args, "store", positional=["action"])
    with usage():
        action = choose("action", flags.action, ACTIONS)
    found = Store(flags.root or None)
    if not found.root.is_dir():
        raise UsageError(f"there is no store at {found.root}")
    try:
        with usage():
            return action(found, flags.yes)
    except OSError as problem:
        raise Failed(str(problem)) from problem


def _ls(found: Store, yes: bool) -> int:
    kinds: dict[str, list[Entry]] = {}
    with progress.working(f"looking through {found.root}"):
        for entry in found.ls():
            kinds.setdefault(entry.kind, []).append(entry)
    note(str(found.root))
    if kinds:
        print(table([_summary(kind, entries) for kind, entries in kinds.items()]))
    return 0


def _summary(kind: str, entries: Sequence[Entry]) -> dict[str, str | int]:
    return {
        "kind": kind,
        "entries": len(entries),
        "size": _size(sum(entry.size for entry in entries)),
        "last used": _age(entries[-1].age),
        "first used": _age(entries[0].age),
    }


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _age(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return "just now"


def _verify(found: Store, yes: bool) -> int:
    with progress.working(f"reading all of {found.root}"):
        bad = found.verify()
    for entry in bad:
        print(f"damaged or not readable: {entry.path}")
    total = len(found.ls()) + len(bad)
    note(f"{total - len(bad)} of {total} entries are whole")
    return 1 if bad else 0


def _gc(found: Store, yes: bool) -> int:
    """Remove what nobody needs, and what crashes left; a run that asks for it again makes it again."""
    with progress.working(f"looking through {found.root}"):
        entries, litter = found.unneeded(), found.litter()
    if not entries and not litter:
        note("nothing to remove")
        return 0
    note(f"{len(entries)} entries ({_size(sum(e.size for e in entries))}) that nobody needs, {len(litter)} left-overs")
    for kind in sorted({entry.kind for entry in entries}):
        print(table([_summary(kind, [entry for entry in entries if entry.kind == kind])]))
    if not yes and not _confirmed():
        note("kept")
        return 1
    with progress.working("removing them"):
        freed = found.remove([*entries, *litter])
    note(f"{_size(freed)} set free")
    return 0


ACTIONS = {"ls": _ls, "verify": _verify, "gc": _gc}


def _confirmed() -> bool:
    if not sys.stdin.isatty():
        raise UsageError("gc asks before it removes; without a terminal say --yes")
    return input("Remove them? [y/N] ").strip().lower() in ("y", "yes")
