"""Decoders: full resolution or a JPEG's own smaller ones."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kdlib.imagenet.decoding import decode_draft, decode_full, decode_rate, resized_side


def encoded(width: int, height: int, kind: str = "JPEG") -> bytes:
    ramp = np.linspace(0, 255, width)[None, :, None] + np.zeros((height, 1, 3))
    file = io.BytesIO()
    Image.fromarray(ramp.astype(np.uint8)).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(
    ("size", "expected"), [(256, (500, 376)), (180, (250, 188)), (60, (125, 94)), (30, (63, 47)), (400, (500, 376))]
)
def test_a_draft_is_the_smallest_that_covers_the_square(size: int, expected: tuple[int, int]) -> None:
    content = encoded(500, 376)
    small, full = decode_draft(content, size), decode_full(content, size)
    assert full.size == (500, 376) and small.size == expected and small.mode == "RGB"
    closest = np.abs(np.asarray(small, float) - np.asarray(full.resize(small.size), float)).mean()
    assert closest < 6, "the same picture"


def test_other_formats_are_decoded_in_full() -> None:
    assert decode_draft(encoded(200, 100, "PNG"), 32).size == (200, 100)


def test_the_square_is_cut_from_the_usual_size() -> None:
    assert resized_side(224) == 256 and resized_side(64) == 73


def test_rates_count_every_file(root: Path) -> None:
    files = sorted((root / "val").rglob("*.jpg"))[:20]
    assert decode_rate(files, "full", 32) > 1
    with pytest.raises(ValueError, match="no file to decode"):
        decode_rate([], "full")
