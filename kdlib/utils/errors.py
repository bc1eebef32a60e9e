"""Errors that name the fix."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def choose(kind: str, name: str, choices: Mapping[str, T]) -> T:
    """`choices[name]`, or a ValueError that names the nearest match and every valid choice."""
    if name in choices:
        return choices[name]
    near = difflib.get_close_matches(str(name), list(choices), n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(f"unknown {kind} {name!r}; {hint}choose one of: {', '.join(choices)}")
