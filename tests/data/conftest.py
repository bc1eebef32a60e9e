"""Small folders of images."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image


def write_image(file: Path, value: int, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode == "L" else (value, 0, 255 - value)).save(file)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes, three training images and one test image each; every image has its own colour."""
    for split, count in (("train", 3), ("test", 1)):
        for label, name in enumerate(("cat", "dog")):
            for i in range(count):
                write_image(tmp_path / split / name / f"{i}.png", 40 * label + 10 * i + (5 if split == "test" else 0))
    return tmp_path
