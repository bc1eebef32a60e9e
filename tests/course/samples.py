"""What the tests of running lessons share."""

from __future__ import annotations

from pathlib import Path

FIXTURES = Path(__file__).parent.parent / "fixtures"


def snapshot(folder):
    return {p.name: p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}
