"""Dataclasses whose constructor names the fix."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, TypeVar

from kdlib.utils.errors import choose

T = TypeVar("T")


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
