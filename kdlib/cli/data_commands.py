"""The command `data`: which datasets there are, and what one looks like."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from kdlib.cli.arguments import Failed, UsageError, note, option, parse, table, usage
from kdlib.data.core import describe
from kdlib.data.datasets import DATASETS, load, place
from kdlib.data.preview import write_preview
from kdlib.utils.errors import choose
from kdlib.utils.files import check_target


@dataclass(frozen=True)
class DataOptions:
    """What there is to train on: `ls` lists the datasets, `show NAME` describes one in a line and draws it."""

    action: str = option("ls", "ls or show")
    name: str = option("", "show: digits, cifar10, cifar100, svhn, or folder:PATH for a folder of images")
    out: str = option("", "show: the picture's file; default data_NAME.png in the working folder")


def data(args: list[str]) -> int:
    """`python -m kdlib data`."""
    flags = parse(DataOptions, args, "data", positional=["action", "name"])
    with usage():
        action = choose("action", flags.action, {"ls": _ls, "show": _show})
    return action(flags)


def _ls(flags: DataOptions) -> int:
    if flags.name or flags.out:
        raise UsageError("data ls takes no name and no --out; did you mean: data show NAME")
    print(table([{"name": name, "where": place(name)} for name in DATASETS]))
    note("folder:PATH takes your own images; python -m kdlib data show NAME draws a dataset")
    return 0


def _show(flags: DataOptions) -> int:
    if not flags.name:
        raise UsageError(f"data show needs a name: {', '.join(DATASETS)} or folder:PATH")
    target = Path(flags.out or f"data_{_word(flags.name)}.png")
    with usage():
        check_target(target)
        try:
            found = load(flags.name)
        except RuntimeError as error:  # a download that failed
            raise Failed(str(error)) from error
        print(describe(found))
        for line in found.skipped:
            note(f"skipped {line}")
        if found.is_regression and not flags.out:
            return 0
        note(f"picture written to {write_preview(found, target)}")
    return 0


def _word(name: str) -> str:
    """The dataset's name as part of a file's name: the last folder of a path."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", Path(name.removeprefix("folder:")).name).strip("_.") or "images"
