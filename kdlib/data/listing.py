"""Which image files a folder holds, with the class and the part (train, test) of each."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"}
PARTS = {  # what a folder or a table's split may be called, in any case -> what it is
    "train": "train", "training": "train",
    "test": "test", "testing": "test",
    "val": "validation", "valid": "validation", "validation": "validation",
}  # fmt: skip


@dataclass(frozen=True)
class Listing:
    """The image files (paths below the folder), with a label and a part ("train", "test"; "" if none is given) each.

    `classes` are all classes, in order, also those without images; `skipped` names the other files, each with a reason;
    `notes` says what else was decided.
    """

    files: tuple[str, ...]
    labels: tuple[str, ...]
    parts: tuple[str, ...]
    classes: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def list_folders(folder: Path) -> Listing:
    """The images in class folders, which may lie below train and test folders. ValueError where parts do not fit."""
    chosen, notes = split_folders(folder, folder_names(folder))
    places = [("", folder)] if not chosen else [(part, folder / name) for part, name in chosen.items()]
    found = [_list_part(folder, place, part) for part, place in places]

    def joined(name: str) -> tuple[str, ...]:
        return tuple(value for part in found for value in getattr(part, name))

    classes = tuple(sorted(set(joined("classes"))))
    return Listing(joined("files"), joined("labels"), joined("parts"), classes, joined("skipped"), notes)


def split_folders(folder: Path, names: Sequence[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Which of the folders `names` hold the training and the test part ({} if none does), and notes on the others."""
    found: dict[str, str] = {}
    for name in names:
        part = PARTS.get(name.casefold())
        if part in found:
            raise ValueError(f"{folder} holds both {found[part]}/ and {name}/; keep one of them")
        if part:
            found[part] = name
    if not found:
        return {}, ()
    if "train" not in found or len(found) < 2:
        have, lack = next(iter(found.values())), "test" if "train" in found else "train"
        raise ValueError(
            f"{folder} holds {have}/ but no {lack}/; add one, or put the class folders directly below {folder}"
        )
    test = found.get("test", found.get("validation", ""))
    unused = [f"{name}/ not used" for name in names if name not in (found["train"], test)]
    as_test = [] if "test" in found else [f"{test}/ is the test part"]
    return {"train": found["train"], "test": test}, (*as_test, *unused)


def _list_part(root: Path, place: Path, part: str) -> Listing:
    classes = folder_names(place)
    if part and not classes:
        raise ValueError(f"{place} holds no class folders; expected {place}/CLASS/IMAGE files")
    files, labels = [], []
    skipped = [f"{file}: in no class folder" for file in files_in(root, place, deep=False)]
    for name in classes:
        for file in files_in(root, place / name):
            if is_image(file):
                files.append(file)
                labels.append(name)
            else:
                skipped.append(f"{file}: not an image")
    return Listing(tuple(files), tuple(labels), (part,) * len(files), tuple(classes), tuple(skipped))


def folder_names(folder: Path) -> list[str]:
    """The folders directly in `folder`, sorted, without hidden ones."""
    try:
        return sorted(d.name for d in folder.iterdir() if d.is_dir() and not d.name.startswith("."))
    except OSError as error:
        raise ValueError(f"{folder} cannot be read: {error.strerror}; change its permissions or move it") from error


def files_in(root: Path, place: Path, deep: bool = True) -> list[str]:
    """The files in `place`, and if `deep` in the folders below it: paths below `root`, sorted, nothing hidden."""
    found: list[str] = []
    for at, folders, files in os.walk(place):
        folders[:] = [name for name in folders if deep and not name.startswith(".")]
        below = Path(at).relative_to(root).as_posix()
        found += [name if below == "." else f"{below}/{name}" for name in files if not name.startswith(".")]
    return sorted(found, key=lambda file: file.split("/"))


def is_image(file: str) -> bool:
    """Whether the file's name ends like an image's."""
    return os.path.splitext(file)[1].lower() in SUFFIXES


def refuse(where: object, problem: str, names: Iterable[object], fix: str) -> None:
    """ValueError "WHERE: 3 PROBLEM: a, b, c; FIX" if there are any `names`, of which the first five are shown."""
    listed = [str(name) for name in names]
    if listed:
        first = ", ".join(listed[:5]) + (", ..." if len(listed) > 5 else "")
        raise ValueError(f"{where}: {len(listed)} {problem}: {first}; {fix}")
