"""What travels with the project instead of being computed anew: files with a card `NAME.json` beside each.

A card says which dataset and which trainings its file comes from (their description, without the digest of the code).
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from kdlib.utils import paths

Card = tuple[Path, dict[str, Any]]


def folder(kind: str) -> Path:
    """Where files of a kind, `teachers` or `scores`, are written to."""
    return paths.data() / kind


def find(kind: str, dataset: str, description: dict) -> Card | None:
    """The card, and what it says, of the file that was made from trainings of this description on this dataset, or None.

    A dataset is known by its name, since copies of it may hold the same images in another order. A file from trainings in
    another precision will do where there is none in the wanted one: which one a machine is fast in says nothing of the
    question asked.
    """
    wanted = identity(description)
    there = [(card, about) for card, about in cards(kind) if about["dataset"] == dataset]
    for alike in (lambda described: described, without_precision):
        for card, about in there:
            if alike(about["description"]) == alike(wanted):
                return card, about
    return None


def cards(kind: str) -> list[Card]:
    """The cards of all files of a kind, `teachers` or `scores`."""
    own = folder(kind)
    place = own if own.is_dir() else paths.given(kind)
    return _cards(place, _stamp(place))


def write_card(target: Path, dataset: str, description: dict, about: dict[str, Any]) -> None:
    """Write the card of the file `target`."""
    card = {"dataset": dataset, "description": identity(description), **about}
    target.chmod(0o644)
    target.with_suffix(".json").write_text(json.dumps(card, indent=1, sort_keys=True) + "\n")


def identity(description: dict) -> dict:
    """A description as a card has it: through JSON, without the data's content and the digest of the code."""
    return json.loads(json.dumps({k: v for k, v in description.items() if k not in ("data", "rules")}))


def without_precision(described: Any) -> Any:
    """A description without the precision of the trainings that it speaks of."""
    if not isinstance(described, dict):
        return described
    return {name: without_precision(value) for name, value in described.items() if name != "precision"}


def _stamp(where: Path) -> tuple:
    return tuple(sorted((card.name, card.stat().st_mtime_ns) for card in where.glob("*.json")))


@functools.lru_cache(maxsize=8)
def _cards(where: Path, stamp: tuple) -> list[Card]:
    """The cards, read again when one of them has changed."""
    return [(where / name, json.loads((where / name).read_text())) for name, _ in stamp]
