"""Folders of images as datasets: `folder:PATH`, `folder:PATH@64` (64x64 pixels), `folder:PATH@48x64` (height x width).

Three layouts are understood:

| layout | what it means |
|---|---|
| `PATH/CLASS/IMAGE` | one folder for each class; a fifth of every class becomes the test part |
| `PATH/train/CLASS/IMAGE`, `PATH/test/CLASS/IMAGE` | both parts are given; see `kdlib.data.listing.PARTS` for other names |
| `PATH/labels.csv` | a table with the columns `file` (below PATH), `label` and, if wanted, `split` (train or test) |

Without a size, images keep the size that they share if it is square, and are scaled to 32x32 otherwise. Nothing is left
out silently: `Dataset.skipped` names every file that could not be used, `Dataset.notes` every decision.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from kdlib.data.core import Dataset, file_names, make_dataset, stratified
from kdlib.data.decoding import FORMAT, SIDES, Size, cached, decode
from kdlib.data.label_table import LABELS, list_table
from kdlib.data.listing import SUFFIXES, Listing, list_folders
from kdlib.utils import seeds

TEST_SHARE = 0.2  # of every class, where no test part is given


def load_folder(text: str, root: Path) -> Dataset:
    """The dataset of `folder:text`; decoded images are kept below `root` for the next time.

    Raises ValueError, in one line that names the fix, for a folder that does not exist or holds no images, a single
    class, a class without images in one of the parts, a table of labels that does not fit, and an impossible size.
    """
    folder, size = folder_and_size(text)
    name = f"folder:{text if size is None else text.rpartition('@')[0]}"
    found = list_table(folder) if (folder / LABELS).is_file() else list_folders(folder)
    if not found.files:
        endings = ", ".join(sorted(SUFFIXES))
        raise ValueError(
            f"{folder} holds no images ({endings}); expected {folder}/CLASS/IMAGE files or {folder}/{LABELS}"
        )
    if len(found.classes) < 2:
        raise ValueError(
            f"{folder} holds one class only ({found.classes[0]}); a classifier needs two or more: "
            "add a folder of images for each further class"
        )
    cache = _cache_file(folder, size, found.files, root)
    decoded = cached(cache, lambda: decode([folder / file for file in found.files], size, name))
    kept = decoded.kept.tolist()
    unreadable = [file for file, is_kept in zip(found.files, kept, strict=True) if not is_kept]
    problems = [f"{file}: {problem}" for file, problem in zip(unreadable, decoded.problems, strict=True)]
    scaled = (f"scaled to {decoded.pixels.shape[2]}x{decoded.pixels.shape[3]}",) if decoded.scaled else ()
    data = _dataset(name, _only(found, kept), decoded.pixels)
    return replace(data, skipped=(*found.skipped, *problems), notes=(*scaled, *found.notes))


def folder_and_size(text: str) -> tuple[Path, Size | None]:
    """The folder and the (height, width) that `PATH`, `PATH@64` or `PATH@48x64` names; PATH itself may hold an @."""
    whole = _expand(text)
    if text.strip() and _is_dir(whole):
        return whole, None
    before, at, after = text.rpartition("@")
    if not (at and before.strip() and _is_dir(_expand(before))):
        raise ValueError(f"folder:{text[:300]}: no such folder; give the path of a folder of images, as in folder:PATH")
    match = re.fullmatch(r"(\d{1,9})(?:[xX](\d{1,9}))?", after)
    if match is None:
        raise ValueError(
            f"folder:{text}: the size after @ is a number of pixels, such as @32, or height x width, such as @32x48"
        )
    size = int(match[1]), int(match[2] or match[1])
    if not all(SIDES[0] <= side <= SIDES[1] for side in size):
        raise ValueError(f"folder:{text}: the size after @ must lie in {SIDES[0]}..{SIDES[1]} pixels, such as @32")
    return _expand(before), size


def _expand(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ValueError(f"folder:{text}: no such home folder; write the path in full") from error


def _is_dir(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError as error:
        named = f"{str(path)[:100]}..." if len(str(path)) > 100 else path
        raise ValueError(f"{named} cannot be read: {error.strerror}; change its permissions or its name") from error


def _cache_file(folder: Path, size: Size | None, names: Sequence[str], root: Path) -> Path:
    stamp = [(name, *_size_and_time(f"{folder}/{name}")) for name in names]
    key = hashlib.sha256(repr((FORMAT, str(folder.resolve()), size, stamp)).encode()).hexdigest()[:32]
    return root / "folders" / f"{key}.safetensors"


def _size_and_time(file: str) -> tuple[int, int]:
    try:
        found = os.stat(file)
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}; replace or remove it") from error
    if not stat.S_ISREG(found.st_mode):  # opening a pipe would wait for ever
        raise ValueError(f"{file} is a device or pipe, not an image; remove it")
    return found.st_size, found.st_mtime_ns


def _only(found: Listing, kept: Sequence[bool]) -> Listing:
    """The listing without the files that could not be read."""

    def chosen(values: Sequence[str]) -> tuple[str, ...]:
        return tuple(value for value, is_kept in zip(values, kept, strict=True) if is_kept)

    return replace(found, files=chosen(found.files), labels=chosen(found.labels), parts=chosen(found.parts))


def _dataset(name: str, found: Listing, pixels: Tensor) -> Dataset:
    """The images with their parts; every class has at least one image in both."""
    number = {label: i for i, label in enumerate(found.classes)}
    labels = torch.tensor([number[label] for label in found.labels])
    if found.parts[0]:
        held_out = torch.tensor([part == "test" for part in found.parts])
    else:
        held_out = stratified(labels, TEST_SHARE, seeds.stream(0, "validation"))
    for part, chosen in (("training", ~held_out), ("test", held_out)):
        counts = torch.bincount(labels[chosen], minlength=len(found.classes)).tolist()
        empty = [label for label, count in zip(found.classes, counts, strict=True) if not count]
        if empty:
            raise ValueError(f"{name}: no {part} image in class {', '.join(empty)}; remove the class or add images")
    train_files, other_files = file_names(found.files, ~held_out)
    train, test = ((_rows(pixels, chosen), labels[chosen]) for chosen in (~held_out, held_out))
    return replace(make_dataset(name, train, test, found.classes), train_files=train_files, other_files=other_files)


def _rows(pixels: Tensor, chosen: Tensor) -> Tensor:
    """`pixels[chosen]`, without a copy where the chosen rows follow one another."""
    first, count = int(chosen.to(torch.uint8).argmax()), int(chosen.sum())
    return pixels[first : first + count] if bool(chosen[first : first + count].all()) else pixels[chosen]
