"""From the bytes of an image file to RGB pixels, and how long that takes."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image, UnidentifiedImageError

UNREADABLE = ("skip", "fatal")
# What Pillow raises for files that are truncated, damaged, no image at all, or too large to be meant.
DECODE_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning)


def reason(problem: Exception) -> str:
    """Why an image cannot be read, in words."""
    return "not an image of a known format" if isinstance(problem, UnidentifiedImageError) else str(problem)


def decode_full(content: bytes, size: int) -> Image.Image:
    """The image in RGB at its full resolution, whatever its mode (grey, palette, CMYK)."""
    with Image.open(io.BytesIO(content)) as image:
        return _rgb(image)


def decode_draft(content: bytes, size: int) -> Image.Image:
    """The same, a JPEG at the smallest of 1/8, 1/4, 1/2, 1 of its sides that still covers a square of `size` pixels.

    The decoder leaves out frequencies that the smaller image does not show, which takes less time. Other formats are
    decoded in full.
    """
    with Image.open(io.BytesIO(content)) as image:
        if image.format == "JPEG":
            image.draft(image.mode, (size, size))
        return _rgb(image)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        raise ValueError(f"pixels of mode {image.mode} (16 bits or more); convert the file to 8 bits for each channel")
    return image.convert("RGB")


DECODERS: dict[str, Callable[[bytes, int], Image.Image]] = {"full": decode_full, "draft": decode_draft}


def resized_side(image_size: int) -> int:
    """Length of the shorter side from which the central square of a validation image is cut: 256 for 224."""
    return round(image_size * 256 / 224)


def decode_rate(
    files: Sequence[Path], decode: str, image_size: int = 224, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Images per second that one core reads, decodes and resizes to the validation size; every file once.

    Raises ValueError for an unknown decoder or an empty list.
    """
    if not files:
        raise ValueError("there is no file to decode")
    side = resized_side(image_size)
    began = clock()
    for file in files:
        image = DECODERS[decode](file.read_bytes(), side)
        scale = side / min(image.size)
        image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
    return len(files) / (clock() - began)
