"""Datasets by name. All come as tensors: uint8 images in memory, row i is sample i for ever.

| name | samples | from |
|---|---|---|
| `digits` | 1,797 images 8x8, grey | ships with scikit-learn; fixed stratified split 3:1 |
| `diabetes` | 442 patients, 10 features, continuous target | ships with scikit-learn; for regression |
| `cifar10`, `cifar100`, `svhn` | 32x32 RGB | torchvision (download, checksum verified), or class folders in `data/raw/NAME` |
| `folder:PATH`, `folder:PATH@64`, `folder:PATH@48x64` | anyone's images | see `kdlib.data.folders` |

To add a dataset: write a function of the folder for raw data that returns a `Dataset` and add one entry to DATASETS.
"""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from kdlib.data.core import Dataset, channel_statistics, describe, file_names, make_dataset, stratified
from kdlib.data.folders import load_folder
from kdlib.data.noise import imbalance_rates, with_imbalance, with_label_noise
from kdlib.utils import paths, progress, seeds
from kdlib.utils.errors import choose

__all__ = [
    "DATASETS", "Dataset", "channel_statistics", "describe", "imbalance_rates", "load", "make_dataset", "place",
    "with_imbalance", "with_label_noise", "with_validation",
]  # fmt: skip


def _digits(root: Path) -> Dataset:
    from sklearn.datasets import load_digits  # here, since its import takes a second that other datasets need not wait
    from sklearn.model_selection import train_test_split

    raw = load_digits()
    x = np.rint(raw.images * (255 / 16)).astype(np.uint8)[:, None]
    rows = train_test_split(np.arange(len(x)), test_size=0.25, stratify=raw.target, random_state=0)
    train, test = (np.sort(part) for part in rows)
    classes = [str(c) for c in raw.target_names]
    return make_dataset("digits", (x[train], raw.target[train]), (x[test], raw.target[test]), classes)


def _torchvision(name: str, root: Path) -> Dataset:
    if (root / name / "train").is_dir():  # a copy in class folders spares the download
        return replace(load_folder(str(root / name), root), name=name)
    from torchvision import datasets  # 4 s, and its build must fit torch: only who downloads needs it

    folder, kind = (
        str(root / name),
        {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100, "svhn": datasets.SVHN}[name],
    )
    splits = ({"split": "train"}, {"split": "test"}) if name == "svhn" else ({"train": True}, {"train": False})
    try:
        with progress.line() as line, contextlib.redirect_stderr(io.StringIO()):  # torchvision has bars of its own
            line.say(lambda: f"getting {name}: {_megabytes(root / name):.0f} MB are here")
            train, test = (kind(folder, download=True, **split) for split in splits)
    except (OSError, RuntimeError) as error:
        there = sum(path.is_file() for path in (root / name).rglob("*"))
        damaged = f"remove the {there} files there, which may be damaged, and try again; or " if there else ""
        raise RuntimeError(
            f"could not get {name} into {folder} ({error}); {damaged}download it there by hand, or use folder:PATH with "
            "your own copy"
        ) from error
    if name == "svhn":
        return make_dataset(name, (train.data, train.labels), (test.data, test.labels), [str(i) for i in range(10)])
    parts = [(np.ascontiguousarray(np.moveaxis(p.data, 3, 1)), p.targets) for p in (train, test)]
    return make_dataset(name, parts[0], parts[1], train.classes)


def _megabytes(folder: Path) -> float:
    """The size of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def _diabetes(root: Path) -> Dataset:
    from sklearn.datasets import load_diabetes  # likewise

    raw = load_diabetes(scaled=False)
    order = seeds.stream(0, "validation").permutation(len(raw.target))
    test, train = np.sort(order[: len(order) // 4]), np.sort(order[len(order) // 4 :])
    x = torch.from_numpy(raw.data.astype(np.float32))[:, :, None, None]
    target = (raw.target - raw.target[train].mean()) / raw.target[train].std()
    y = torch.from_numpy(target.astype(np.float32))
    mean, std = x[train].mean((0, 2, 3)), x[train].std((0, 2, 3))
    return Dataset("diabetes", x[train], y[train], x[test], y[test], (), tuple(mean.tolist()), tuple(std.tolist()))


DATASETS: dict[str, Callable[[Path], Dataset]] = {
    "digits": _digits,
    "diabetes": _diabetes,
    "cifar10": functools.partial(_torchvision, "cifar10"),
    "cifar100": functools.partial(_torchvision, "cifar100"),
    "svhn": functools.partial(_torchvision, "svhn"),
}


BUILT_IN = ("digits", "diabetes")


def place(name: str, root: str | Path | None = None) -> str:
    """Where the dataset `name` comes from, in words, without loading it; `root` as in `load`."""
    folder = (Path(root) if root is not None else paths.data() / "raw") / name
    if name in BUILT_IN:
        return "ships with scikit-learn"
    if (folder / "train").is_dir():
        return f"class folders in {folder}"
    return f"downloaded to {folder}" if folder.is_dir() else f"is downloaded on first use, to {folder}"


@functools.lru_cache(maxsize=4)
def load(name: str, root: str | Path | None = None) -> Dataset:
    """The dataset `name` (see the table above), from memory when it was loaded before.

    `root` (default `data/raw`) is where downloads and decoded folders are kept. Raises ValueError for an unknown name, an
    unreadable image or an empty class, and RuntimeError when a download fails; each names the fix.
    """
    root = Path(root) if root is not None else paths.data() / "raw"
    if name.startswith("folder:"):
        return load_folder(name.removeprefix("folder:"), root)
    return choose("dataset", name, {**DATASETS, "folder:PATH": _digits})(root)


def with_validation(data: Dataset, fraction: float = 0.1, seed: int = 0) -> Dataset:
    """The training part alone, split again (stratified): its `test` part is now a validation set for choosing recipes."""
    groups = torch.zeros(len(data.train_y)) if data.is_regression else data.train_y
    held_out = stratified(groups, fraction, seeds.stream(seed, "validation"))
    x, y = data.train_x, data.train_y
    train_files, other_files = file_names(data.train_files, ~held_out, data.other_files)
    return replace(
        data,
        name=f"{data.name}+validation",
        train_x=x[~held_out],
        train_y=y[~held_out],
        test_x=x[held_out],
        test_y=y[held_out],
        train_files=train_files,
        other_files=other_files,
    )
