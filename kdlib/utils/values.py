"""Values written as text on a command line."""

from __future__ import annotations

import ast
import re
from typing import Any


def literal(text: str) -> Any:
    """A number, truth value or list as written in Python (or `true`, `false`); anything else stays a text."""
    if text.strip().lower() in ("true", "false"):
        return text.strip().lower() == "true"
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        return text.strip()


# A quoted text, or one letter; an apostrophe inside a word opens no quotation.
_PIECE = re.compile(r"""(?<!\w)(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")|.""", re.DOTALL)


def split_commas(text: str) -> list[str]:
    """The parts of `a,b,[c,d],'e,f'` between the commas outside brackets and quotes: `a`, `b`, `[c,d]`, `'e,f'`."""
    parts, depth = [""], 0
    for piece in _PIECE.findall(text):
        depth += (piece in ("[", "(")) - (piece in ("]", ")"))
        if piece == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += piece
    return [part.strip() for part in parts if part.strip()]
