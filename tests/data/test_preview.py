"""The picture of a dataset: its means are means, its samples are training images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kdlib.data import preview
from kdlib.data.core import make_dataset
from kdlib.data.datasets import load


def test_means_and_samples() -> None:
    x = torch.arange(12, dtype=torch.uint8).reshape(12, 1, 1, 1).expand(12, 3, 4, 4)
    assert preview.mean_image(x).unique().tolist() == [6]  # 5.5, halves to even
    assert preview.spread(x, 4)[:, 0, 0, 0].tolist() == [0, 4, 7, 11]
    assert len(preview.spread(x[:2], 4)) == 2


def test_each_row_is_a_class(tmp_path: Path) -> None:
    digits = load("digits")
    figure = preview.draw(digits, columns=3)
    assert len(figure.axes) == 10 * 4
    for label in range(10):
        mean, *samples = (np.asarray(axis.images[0].get_array()) for axis in figure.axes[4 * label : 4 * label + 4])
        mine = digits.train_x[digits.train_y == label][:, 0].numpy()
        assert np.abs(mean - mine.mean(axis=0)).max() <= 0.5
        assert all((mine == sample).all(axis=(1, 2)).any() for sample in samples)
        count = int((digits.train_y == label).sum())
        assert figure.axes[4 * label].get_title(loc="left") == f"{label} ({count})"
    assert "train 1,347, test 450, 10 classes, 8x8 grey" in figure.get_suptitle()


def test_many_classes_are_thinned_out_and_it_is_said(tmp_path: Path) -> None:
    y = torch.arange(60)
    x = torch.zeros(60, 1, 4, 4, dtype=torch.uint8)
    data = make_dataset("many", (x, y), (x, y), [f"c{i}" for i in range(60)])
    figure = preview.draw(data)
    assert len(figure.axes) == 20 * 9 and "20 of 60 classes shown" in figure.get_suptitle()
    file = preview.write_preview(data, tmp_path / "new" / "many.png")
    with Image.open(file) as image:
        assert image.format == "PNG" and image.width > 300


def test_what_has_no_picture(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="diabetes has numbers as features and no images; choose a dataset of images"):
        preview.write_preview(load("diabetes"), tmp_path / "x.png")
    with pytest.raises(ValueError, match=r"name a file that ends in \.png"):
        preview.write_preview(load("digits"), tmp_path / "x.jpg")
    assert not list(tmp_path.iterdir())
