"""The names of scorers and prunings as a reader knows them."""

from __future__ import annotations

NAMES = {
    "forgetting": "forgetting",
    "forgetting_hardest": "forgetting, never learned = hardest",
    "el2n": "EL2N",
    "grand": "GraNd",
    "grand_last": "GraNd (last layer)",
    "aum": "AUM",
}


def named(pruning: str) -> str:
    """The pruning as a reader knows it: `EL2N` for `el2n`; a window's name stays behind it. Of "a/b" it is b's name."""
    scorer, _, window = pruning.rpartition("/")[2].partition(" ")
    return f"{NAMES.get(scorer, scorer)} {window}".strip()
