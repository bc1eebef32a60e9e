"""A generated folder of images as one finds them: sizes and aspects vary, and some files are not what they should be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("ant", "bee", "cat", "dog")
TRAIN, VAL = 160, 51  # images, the odd ones below included
TRUNCATED, NO_IMAGE = "ant/broken.jpg", "bee/no_image.jpg"
GREY, CMYK = "cat/grey.jpg", "dog/cmyk.jpg"
UNREADABLE = (TRUNCATED, NO_IMAGE)


def picture(rng: np.random.Generator, label: int) -> Image.Image:
    """A colour of the class with a coarse random pattern, between 40 and 90 pixels on each side."""
    width, height = (int(v) for v in rng.integers(40, 91, 2))
    colour = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200], [180, 180, 60]])[label]
    pattern = rng.integers(-60, 61, (5, 5, 3))
    small = np.clip(colour + pattern, 0, 255).astype(np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BILINEAR)


def make_folder(root: Path) -> Path:
    """`root/train` and `root/val` with TRAIN and VAL JPEGs in the folders of CLASSES; returns `root`."""
    rng = np.random.default_rng(0)
    for part, count in (("train", TRAIN), ("val", VAL)):
        for i in range(count - (4 if part == "train" else 0)):
            file = root / part / CLASSES[i % 4] / f"{i:03}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            picture(rng, i % 4).save(file, quality=90)
    train = root / "train"
    picture(rng, 0).save(train / TRUNCATED)
    content = (train / TRUNCATED).read_bytes()
    (train / TRUNCATED).write_bytes(content[: len(content) // 2])
    (train / NO_IMAGE).write_text("this is a text, whatever its name says\n")
    picture(rng, 2).convert("L").save(train / GREY)
    picture(rng, 3).convert("CMYK").save(train / CMYK)
    return root
