"""Datasets as tensors: uint8 images in memory, row i is sample i for ever. The only room that knows files.

| name | samples | from |
|---|---|---|
| `digits` | 1,797 images 8x8, grey | ships with scikit-learn; fixed stratified split 3:1 |
| `diabetes` | 442 patients, 10 features, continuous target | ships with scikit-learn; for regression |
| `cifar10`, `cifar100`, `svhn` | 32x32 RGB | torchvision (download, checksum verified), or class folders in `data/raw/NAME` |
| `folder:PATH`, `folder:PATH@SIZE` | anyone's images | `PATH/{train,test}/CLASS/*`, or `PATH/CLASS/*` (split 4:1) |
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from safetensors.torch import load_file, save_file
from torch import Tensor

from kdlib.utils import paths, seeds
from kdlib.utils.errors import choose

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"}


@dataclass(frozen=True)
class Dataset:
    """Images uint8 (N,C,H,W) and labels int64 (N,) of a training and a test part.

    `mean` and `std` are the training part's channel statistics on the scale 0..1. For regression: float32 features
    (N,C,1,1), float32 targets (N,) of mean 0 and variance 1 over the training part, and no classes. Images from class
    folders know their files: `train_files` has one path below the folder for each training sample, `other_files` those
    of all other images; both are empty for other data.
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


def _digits(root: Path) -> Dataset:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    raw = load_digits()
    x = np.rint(raw.images * (255 / 16)).astype(np.uint8)[:, None]
    rows = train_test_split(np.arange(len(x)), test_size=0.25, stratify=raw.target, random_state=0)
    train, test = (np.sort(part) for part in rows)
    classes = [str(c) for c in raw.target_names]
    return make_dataset("digits", (x[train], raw.target[train]), (x[test], raw.target[test]), classes)


def _torchvision(name: str, root: Path) -> Dataset:
    if (root / name / "train").is_dir():  # a copy in class folders spares the download
        return replace(_folder(str(root / name), root), name=name)
    from torchvision import datasets

    folder, kind = (
        str(root / name),
        {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100, "svhn": datasets.SVHN}[name],
    )
    splits = ({"split": "train"}, {"split": "test"}) if name == "svhn" else ({"train": True}, {"train": False})
    try:
        train, test = (kind(folder, download=True, **split) for split in splits)
    except (OSError, RuntimeError) as error:
        raise RuntimeError(
            f"could not get {name} into {folder} ({error}); download it there by hand, or use folder:PATH with your own copy"
        ) from error
    if name == "svhn":
        return make_dataset(name, (train.data, train.labels), (test.data, test.labels), [str(i) for i in range(10)])
    parts = [(np.ascontiguousarray(np.moveaxis(p.data, 3, 1)), p.targets) for p in (train, test)]
    return make_dataset(name, parts[0], parts[1], train.classes)


def _image_files(folder: Path, classes: Sequence[str]) -> tuple[list[Path], list[int]]:
    files, labels = [], []
    for label, name in enumerate(classes):
        found = sorted(f for f in (folder / name).rglob("*") if f.suffix.lower() in SUFFIXES)
        files += found
        labels += [label] * len(found)
    return files, labels


def _class_names(folder: Path) -> list[str]:
    names = sorted(d.name for d in folder.iterdir() if d.is_dir() and not d.name.startswith("."))
    if not names:
        raise ValueError(f"{folder} holds no class folders; expected {folder}/CLASS/IMAGE files")
    return names


def _read(file: Path, size: int | None) -> np.ndarray:
    """One image as uint8 (H,W) or (H,W,3); with `size`, its shorter side is scaled to it and the centre cut out."""
    try:
        with Image.open(file) as opened:
            image = opened if opened.mode in ("L", "RGB") else opened.convert("RGB")
            if size is not None:
                scale = size / min(image.size)
                image = image.resize((max(size, round(image.width * scale)), max(size, round(image.height * scale))))
                left, top = (image.width - size) // 2, (image.height - size) // 2
                image = image.crop((left, top, left + size, top + size))
            return np.asarray(image)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"cannot read image {file} ({error}); replace or remove it") from error


def _decode(files: list[Path], size: int | None) -> np.ndarray:
    """All files as one uint8 array (N,C,H,W): grey only if every image is, sides made equal when they differ."""
    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(lambda f: _read(f, size), files))
    if len({image.shape[:2] for image in images}) > 1 or images[0].shape[0] != images[0].shape[1]:
        print(
            f"images of {files[0].parent.parent} differ in size or are not square: scaled to 32x32 "
            "(folder:PATH@SIZE sets another size)"
        )
        return _decode(files, 32)
    if any(image.ndim == 3 for image in images):
        images = [image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2) for image in images]
        return np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2))
    return np.stack(images)[:, None]


def _folder(path: str, root: Path) -> Dataset:
    path, _, size = path.partition("@")
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise ValueError(f"folder:{path}: no such folder")
    if size and not size.isdigit():
        raise ValueError(f"folder:{path}@{size}: the size after @ is a number of pixels, such as @32")
    split = (folder / "train").is_dir()
    if split and not (folder / "test").is_dir():
        raise ValueError(
            f"{folder} holds train/ but no test/; add one, or put the class folders directly below {folder}"
        )
    classes = _class_names(folder / "train" if split else folder)
    parts = [_image_files(folder / p, classes) for p in (("train", "test") if split else ("",))]
    files = [f for found, _ in parts for f in found]
    names = [f.relative_to(folder).as_posix() for f in files]
    stamp = [(name, f.stat().st_size, f.stat().st_mtime_ns) for name, f in zip(names, files, strict=True)]
    key = hashlib.sha256(repr((str(folder.resolve()), size, stamp)).encode()).hexdigest()[:32]
    cache = root / "folders" / f"{key}.safetensors"
    if cache.exists():
        pixels = load_file(cache)["pixels"]
    else:
        pixels = torch.from_numpy(_decode(files, int(size) if size else None))
        cache.parent.mkdir(parents=True, exist_ok=True)
        save_file({"pixels": pixels}, cache.with_suffix(".partial"))
        cache.with_suffix(".partial").replace(cache)
    labels = torch.tensor([label for _, ls in parts for label in ls])
    n_train = len(parts[0][0]) if split else None
    return _split_folder(f"folder:{path}", pixels, labels, n_train, classes, names)


def _split_folder(
    name: str, pixels: Tensor, labels: Tensor, n_train: int | None, classes: list[str], files: list[str]
) -> Dataset:
    if n_train is not None:
        held_out = torch.arange(len(labels)) >= n_train
        x, y = ((part[:n_train], part[n_train:]) for part in (pixels, labels))  # views: nothing is copied
    else:
        held_out = _stratified(labels, 0.2, seeds.stream(0, "validation"))
        x, y = ((part[~held_out], part[held_out]) for part in (pixels, labels))
    found = make_dataset(name, (x[0], y[0]), (x[1], y[1]), classes)
    train_files, other_files = _file_names(files, ~held_out)
    return replace(found, train_files=train_files, other_files=other_files)


def _file_names(
    files: Sequence[str], kept: Tensor, others: Sequence[str] = ()
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """`train_files` and `other_files` of a dataset that keeps the samples of `files` where `kept` (bool (N,)) is set."""
    if not files:
        return (), ()
    pairs = list(zip(files, kept.tolist(), strict=True))
    return tuple(f for f, is_kept in pairs if is_kept), (*others, *(f for f, is_kept in pairs if not is_kept))


def _stratified(labels: Tensor, fraction: float, rng: np.random.Generator) -> Tensor:
    """A boolean mask (N,) that takes `fraction` of every class, at least one and never all of it."""
    mask = torch.zeros(len(labels), dtype=torch.bool)
    for label in torch.unique(labels).tolist():
        rows = torch.nonzero(labels == label).flatten().numpy()
        count = min(max(1, round(fraction * len(rows))), len(rows) - 1)
        mask[rng.permutation(rows)[:count]] = True
    return mask


def _diabetes(root: Path) -> Dataset:
    from sklearn.datasets import load_diabetes

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


@functools.lru_cache(maxsize=4)
def load(name: str, root: str | Path | None = None) -> Dataset:
    """The dataset `name` (see the table above), from memory when it was loaded before.

    `root` (default `data/raw`) is where downloads and decoded folders are kept. Raises ValueError for an unknown name, an
    unreadable image or an empty class, and RuntimeError when a download fails; each names the fix.
    """
    root = Path(root) if root is not None else paths.data() / "raw"
    if name.startswith("folder:"):
        return _folder(name.removeprefix("folder:"), root)
    return choose("dataset", name, {**DATASETS, "folder:PATH": _digits})(root)


def with_validation(data: Dataset, fraction: float = 0.1, seed: int = 0) -> Dataset:
    """The training part alone, split again (stratified): its `test` part is now a validation set for choosing recipes."""
    groups = torch.zeros(len(data.train_y)) if data.is_regression else data.train_y
    held_out = _stratified(groups, fraction, seeds.stream(seed, "validation"))
    x, y = data.train_x, data.train_y
    train_files, other_files = _file_names(data.train_files, ~held_out, data.other_files)
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


def with_label_noise(data: Dataset, rate: float, seed: int) -> Dataset:
    """Give each training sample, with probability `rate` in [0,1], another class drawn uniformly; the test part stays clean."""
    if data.is_regression:
        raise ValueError(f"label noise changes classes, and {data.name} has none")
    if not 0 <= rate <= 1:
        raise ValueError(f"label noise rate must lie in [0, 1], got {rate}")
    rng, k = seeds.stream(seed, "noise"), data.num_classes
    wrong = rng.random(len(data.train_y)) < rate
    shift = rng.integers(1, k, size=len(data.train_y)) * wrong
    return replace(data, name=f"{data.name}+noise{rate:g}", train_y=(data.train_y + torch.from_numpy(shift)) % k)


def with_imbalance(data: Dataset, rates: Sequence[float], seed: int) -> Dataset:
    """Keep the share `rates[c]` in (0,1] of the training samples of class c, at least one; the test part stays as it is."""
    if len(rates) != data.num_classes or not all(0 < r <= 1 for r in rates):
        raise ValueError(f"imbalance needs {data.num_classes} rates in (0, 1], one for each class")
    rng = seeds.stream(seed, "noise", 1)
    rows = []
    for label, rate in enumerate(rates):
        members = torch.nonzero(data.train_y == label).flatten().numpy()
        rows.append(rng.permutation(members)[: max(1, round(rate * len(members)))])
    kept = torch.zeros(len(data.train_y), dtype=torch.bool)
    kept[np.concatenate(rows)] = True
    train_files, other_files = _file_names(data.train_files, kept, data.other_files)
    return replace(
        data,
        name=f"{data.name}+imbalance",
        train_x=data.train_x[kept],
        train_y=data.train_y[kept],
        train_files=train_files,
        other_files=other_files,
    )
