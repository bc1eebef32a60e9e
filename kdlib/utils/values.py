"""Values written as text on a command line."""

from __future__ import annotations

import ast
from typing import Any


def literal(text: str) -> Any:
    """A number, truth value or list as written in Python (or `true`, `false`); anything else stays a text."""
    if text.strip().lower() in ("true", "false"):
        return text.strip().lower() == "true"
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        return text.strip()


def split_commas(text: str) -> list[str]:
    """The parts of `a,b,[c,d]` between the commas outside brackets: `a`, `b`, `[c,d]`."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "[(") - (letter in "])")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]
