"""Errors that name the fix."""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def choose(kind: str, name: str, choices: Mapping[str, T]) -> T:
    """`choices[name]`, or a ValueError that names the nearest match and every valid choice."""
    if name in choices:
        return choices[name]
    near = difflib.get_close_matches(str(name), list(choices), n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(f"unknown {kind} {name!r}; {hint}choose one of: {', '.join(choices)}")


def names_nearest(dataclass: type[T]) -> type[T]:
    """The dataclass, whose TypeError for an unknown field names the nearest one and all others, in one line."""
    made: Any = dataclass
    init = made.__init__

    @functools.wraps(init)
    def named(self: Any, *args: Any, **given: Any) -> None:
        try:
            init(self, *args, **given)
        except TypeError:
            known = {f.name: f for f in dataclasses.fields(made)}
            try:
                for name in given:
                    choose(f"field of {made.__name__}", name, known)
            except ValueError as problem:
                raise TypeError(str(problem)) from None
            raise

    made.__init__ = named
    return dataclass
