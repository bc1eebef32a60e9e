"""What the commands share: arguments to dataclasses, and mistakes to one line."""

from __future__ import annotations

import contextlib
import difflib
import io
import re
import sys
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import Field, field, fields, make_dataclass
from typing import Annotated, Any, TypeVar

import tyro

from kdlib.cli.errors import Failed, UsageError
from kdlib.utils.errors import choose
from kdlib.utils.values import literal, split_commas

__all__ = ["Failed", "UsageError", "assignments", "note", "option", "parse", "table", "usage", "values"]

T = TypeVar("T")


@contextlib.contextmanager
def usage() -> Iterator[None]:
    """Inside, a ValueError is a mistake of the user, said in its first line."""
    try:
        yield
    except ValueError as error:
        raise UsageError(str(error).strip().splitlines()[0]) from error


def option(default: Any, help: str) -> Any:
    """A field of an options dataclass, with its help."""
    return field(default=default, metadata={"help": help})


def parse(options: type[T], args: Sequence[str], command: str, positional: Sequence[str] = ()) -> T:
    """`options` (a dataclass) filled from the arguments; UsageError names an unknown flag's nearest match."""
    spec = described(options, positional)
    check_flags(spec, args, positional)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(spec, args=list(args), prog=f"python -m kdlib {command}", description=options.__doc__)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise UsageError(f"{_first_sentence(said.getvalue())} (see: python -m kdlib {command} --help)") from None


def described(options: type[T], positional: Sequence[str] = ()) -> type[T]:
    """The same fields as tyro wants them: help texts and positions as annotations, no checks yet."""
    hints = typing.get_type_hints(options)

    def annotated(f: Field) -> Any:
        notes = [tyro.conf.arg(help=f.metadata.get("help"))]
        return Annotated[(hints[f.name], *notes, *([tyro.conf.Positional] if f.name in positional else []))]

    return make_dataclass(options.__name__, [(f.name, annotated(f), field(default=f.default)) for f in fields(options)])  # type: ignore[arg-type]


def check_flags(spec: type, args: Sequence[str], positional: Sequence[str] = ()) -> None:
    """UsageError for a flag that is no field, with the nearest one, and with --set where there is that."""
    flags = {"--help": ""}
    for f in fields(spec):
        if f.name not in positional:
            name = f.name.replace("_", "-")
            flags |= {f"--{name}": "", **({f"--no-{name}": ""} if isinstance(f.default, bool) else {})}
    for arg in args:
        if re.match(r"--[a-zA-Z]", arg):
            name, _, value = arg[2:].partition("=")
            if "--set" in flags and name.replace("_", "-") not in [flag[2:] for flag in flags]:
                raise UsageError(_parameter(name, value, flags))
            with usage():
                choose("flag", "--" + name.replace("_", "-"), flags)


def _parameter(name: str, value: str, flags: Iterable[str]) -> str:
    """What is said of a flag that may be meant as a parameter of a lesson."""
    near = difflib.get_close_matches(f"--{name}", list(flags), n=1, cutoff=0.8)
    hint = f"did you mean {near[0]!r}? " if near else ""
    parameter = name.replace("-", "_")
    return f"unknown flag '--{name}'; {hint}a parameter of the lesson is given as: --set {parameter}={value or 'VALUE'}"


def _first_sentence(box: str) -> str:
    """What tyro's message says first: below its title, above the first rule. A plain terminal gets a box of ASCII."""
    plain = re.sub(r"^[\s│|]+|[\s│|]+$|^[╭╰+].*$", "", box, flags=re.MULTILINE)
    blocks = [" ".join(block.split()) for block in re.split(r"^[─-]{3,}$", plain, flags=re.MULTILINE)]
    return blocks[0] if "╭" in box or len(blocks) == 1 else blocks[1]


def assignments(pairs: Sequence[str], flag: str) -> dict[str, str]:
    """`["a=1", "b=2,3"]` as a dict; UsageError if a pair has no `=`."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name or not value:
            raise UsageError(f"{flag} takes name=value, not {pair!r}")
        name = name.strip().replace("-", "_")
        if name in found:
            raise UsageError(f"{flag} {name} is given twice; join its values with commas: {name}={found[name]},{value}")
        found[name] = value
    return found


def values(text: str, kind: Any) -> list[Any]:
    """The values of a field in a grid: `0.1,0.3` or, for a list, `[150,180],[100]`."""
    return [part if kind is str else literal(part) for part in split_commas(text)]


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as aligned columns."""
    cells = [[str(name) for name in rows[0]], *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def note(line: str) -> None:
    """A line for the person at the screen: stderr, so that stdout holds results only."""
    print(line, file=sys.stderr, flush=True)
