"""`Dataset`: images and labels as tensors, row i is sample i for ever; how one is built, checked and described."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, repr=False)
class Dataset:
    """Images uint8 (N,C,H,W) and labels int64 (N,) of a training and a test part.

    `mean` and `std` are the training part's channel statistics on the scale 0..1. For regression: float32 features
    (N,C,1,1), float32 targets (N,) of mean 0 and variance 1 over the training part, and no classes. Images from class
    folders know their files: `train_files` has one path below the folder for each training sample, `other_files` those
    of all other images; both are empty for other data. `skipped` names the files that were found and could not be
    used, each with its reason; `notes` says what else was decided while loading.
    """

    name: str
    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    train_files: tuple[str, ...] = ()
    other_files: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Dataset {self.name}: {describe(self)}>"

    @property
    def num_classes(self) -> int:
        """How many outputs a network needs: the classes, or 1 for regression."""
        return len(self.classes) or 1

    @property
    def is_regression(self) -> bool:
        return not self.classes

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        channels, height, width = self.train_x.shape[1:]
        return channels, height, width

    @functools.cached_property
    def content_hash(self) -> str:
        """sha256 over every pixel and label: what a stored artefact names as its data."""
        digest = hashlib.sha256()
        for part in (self.train_x, self.train_y, self.test_x, self.test_y):
            digest.update(str(tuple(part.shape)).encode())
            digest.update(np.ascontiguousarray(part.numpy()).data)
        return digest.hexdigest()


def describe(data: Dataset) -> str:
    """One line on the data, such as "train 120, test 45, 3 classes, 32x32 RGB, 2 files skipped"."""
    channels, height, width = data.image_shape
    parts = [f"train {len(data.train_y):,}", f"test {len(data.test_y):,}"]
    if data.is_regression:
        parts += [f"{channels} features", "continuous target"]
    else:
        colours = {1: "grey", 3: "RGB"}.get(channels, f"with {channels} channels")
        parts += [f"{data.num_classes} classes", f"{height}x{width} {colours}"]
    parts += data.notes
    if data.skipped:
        parts.append(f"{len(data.skipped)} file{'s' * (len(data.skipped) > 1)} skipped")
    return ", ".join(parts)


def make_dataset(name: str, train: tuple, test: tuple, classes: Sequence[str]) -> Dataset:
    """A `Dataset` from (images uint8 (N,C,H,W), labels) pairs; checks shapes, labels and classes.

    Raises ValueError for an empty class or a label outside 0..K-1, naming it.
    """
    (train_x, train_y), (test_x, test_y) = (
        (torch.as_tensor(x), torch.as_tensor(y, dtype=torch.int64)) for x, y in (train, test)
    )
    for part, x, y in (("training", train_x, train_y), ("test", test_x, test_y)):
        if x.dtype != torch.uint8 or x.ndim != 4 or len(x) != len(y):
            raise ValueError(f"{name}: {part} images must be uint8 (N,C,H,W) with one label each")
        if len(y) and not (0 <= int(y.min()) and int(y.max()) < len(classes)):
            raise ValueError(
                f"{name}: {part} labels must lie in 0..{len(classes) - 1}, found {int(y.min())}..{int(y.max())}"
            )
    counts = torch.bincount(train_y, minlength=len(classes))
    if (counts == 0).any():
        empty = [classes[i] for i in torch.nonzero(counts == 0).flatten().tolist()]
        raise ValueError(f"{name}: no training image in class {', '.join(empty)}; remove the class or add images")
    mean, std = channel_statistics(train_x)
    return Dataset(name, train_x, train_y, test_x, test_y, tuple(classes), mean, std)


def channel_statistics(x: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel on the scale 0..1; exact, from the histogram of the 256 values."""
    means, stds = [], []
    values = np.arange(256) / 255
    for channel in range(x.shape[1]):
        chunks = (part.numpy().ravel() for part in x[:, channel].split(1000))  # bincount needs 8 bytes a pixel
        weights = sum(np.bincount(pixels, minlength=256) for pixels in chunks) / x[:, channel].numel()
        mean = float(weights @ values)
        means.append(mean)
        stds.append(float(np.sqrt(weights @ (values - mean) ** 2)) or 1.0)
    return tuple(means), tuple(stds)


def stratified(labels: Tensor, fraction: float, rng: np.random.Generator) -> Tensor:
    """A boolean mask (N,) that takes `fraction` of every class, at least one and never all of it."""
    mask = torch.zeros(len(labels), dtype=torch.bool)
    for label in torch.unique(labels).tolist():
        rows = torch.nonzero(labels == label).flatten().numpy()
        count = min(max(1, round(fraction * len(rows))), len(rows) - 1)
        mask[rng.permutation(rows)[:count]] = True
    return mask


def file_names(
    files: Sequence[str], kept: Tensor, others: Sequence[str] = ()
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """`train_files` and `other_files` of a dataset that keeps the samples of `files` where `kept` (bool (N,)) is set."""
    if not files:
        return (), ()
    pairs = list(zip(files, kept.tolist(), strict=True))
    return tuple(f for f, is_kept in pairs if is_kept), (*others, *(f for f, is_kept in pairs if not is_kept))
