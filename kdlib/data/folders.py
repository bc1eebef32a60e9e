"""Folders of images as datasets."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from safetensors.torch import load_file, save_file
from torch import Tensor

from kdlib.data.core import Dataset, file_names, make_dataset, stratified
from kdlib.utils import seeds

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"}


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


def load_folder(path: str, root: Path) -> Dataset:
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
        held_out = stratified(labels, 0.2, seeds.stream(0, "validation"))
        x, y = ((part[~held_out], part[held_out]) for part in (pixels, labels))
    found = make_dataset(name, (x[0], y[0]), (x[1], y[1]), classes)
    train_files, other_files = file_names(files, ~held_out)
    return replace(found, train_files=train_files, other_files=other_files)
