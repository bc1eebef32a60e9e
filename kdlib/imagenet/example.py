"""Small folders of real images in ImageNet's layout, for a first run that takes a minute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from kdlib.data import datasets

DIGITS: dict[str, Any] = {
    "dataset": "digits", "student": "resnet18", "image_size": 32, "min_crop": 0.5, "batch_size": 64, "lr": 0.05,
    "schedule": "one_cycle",
}  # fmt: skip
"""Settings for the folder of `write_digits`, an epoch of which takes seconds on a CPU."""


def write_digits(root: Path, side: int = 32) -> Path:
    """scikit-learn's digits as PNG files, `root/train/DIGIT` and `root/val/DIGIT`, enlarged to `side` pixels; `root`.

    Nothing is downloaded. Files that are there are left as they are.
    """
    data = datasets.load("digits")
    for part, images, labels in (("train", data.train_x, data.train_y), ("val", data.test_x, data.test_y)):
        for i, (image, label) in enumerate(zip(images.numpy(), labels.tolist(), strict=True)):
            file = root / part / data.classes[label] / f"{i:04}.png"
            if not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image[0]).resize((side, side), Image.Resampling.BILINEAR).save(file)
    return root


def link_classes(source: Path, root: Path, count: int, *, val: str = "test") -> Path:
    """The first `count` classes of `source/train` and `source/VAL` as links, `root/train` and `root/val`; `root`.

    ValueError if the source has fewer classes.
    """
    names = sorted(folder.name for folder in (source / "train").iterdir() if folder.is_dir())
    if len(names) < count:
        raise ValueError(f"{source / 'train'} has {len(names)} classes, fewer than {count}")
    for name in names[:count]:
        for there, here in (("train", "train"), (val, "val")):
            link = root / here / name
            if not link.exists():
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to((source / there / name).resolve(), target_is_directory=True)
    return root
