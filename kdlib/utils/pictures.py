"""Pictures as small files."""

from __future__ import annotations

import io

from PIL import Image


def in_few_colours(png: io.BytesIO) -> bytes:
    """A PNG in 256 colours, a third of the bytes; one that has a palette already stays as it is.

    The colours are spread over all that occur: the commonest ones alone would leave steps in a colour bar.
    """
    picture = Image.open(png)
    if picture.mode == "P":
        return png.getvalue()
    small = io.BytesIO()
    picture.convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE).save(small, format="png", optimize=True)
    return small.getvalue()
