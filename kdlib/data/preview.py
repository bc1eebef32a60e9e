"""A picture of a dataset: for some classes the mean image and a few training images."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from kdlib.data.core import Dataset, describe
from kdlib.utils.files import check_target, write_whole

ROWS, COLUMNS = 20, 8  # classes and images of a class at most


def write_preview(data: Dataset, path: str | Path) -> Path:
    """Write the picture to `path`, a .png; ValueError for data without images and for a place that cannot be written."""
    path = Path(path).expanduser()
    if path.suffix.lower() != ".png":
        raise ValueError(f"{path}: the picture is a PNG; name a file that ends in .png")
    check_target(path)
    content = io.BytesIO()
    draw(data).savefig(content, format="png", bbox_inches="tight", dpi=110)
    write_whole(path, content.getvalue())
    return path


def draw(data: Dataset, rows: int = ROWS, columns: int = COLUMNS) -> Figure:
    """One row for each class, of a hundred classes for `rows` of them: the mean image, then `columns` training images."""
    if data.is_regression:
        raise ValueError(f"{data.name} has numbers as features and no images; choose a dataset of images")
    classes = np.unique(np.linspace(0, data.num_classes - 1, min(rows, data.num_classes)).round().astype(int))
    figure = Figure(figsize=(1.1 * (columns + 1), 1.05 * len(classes) + 0.6), layout="constrained")
    axes = figure.subplots(len(classes), columns + 1, squeeze=False)
    for line, label in zip(axes, classes, strict=True):
        images = data.train_x[data.train_y == int(label)]
        shown = [mean_image(images), *spread(images, columns)]
        for axis in line:
            axis.axis("off")
        for axis, image in zip(line, shown, strict=False):
            axis.imshow(image.permute(1, 2, 0).squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=255)
        line[0].set_title(f"{data.classes[label]} ({len(images):,})", fontsize=8, loc="left")
    part = f"; {len(classes)} of {data.num_classes} classes shown" if len(classes) < data.num_classes else ""
    figure.suptitle(f"{describe(data)}{part}\neach row: the mean image, then training images", fontsize=9)
    return figure


def mean_image(images: Tensor) -> Tensor:
    """uint8 (C,H,W), the mean of uint8 images (N,C,H,W)."""
    return images.double().mean(dim=0).round().to(torch.uint8)


def spread(images: Tensor, count: int) -> Tensor:
    """Up to `count` of the images, spread evenly over their order."""
    rows = np.unique(np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int))
    return images[torch.from_numpy(rows)]
