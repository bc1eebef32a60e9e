"""The lessons outside a checkout: copies of them, with the rows and tables that they read, in a folder of the user's."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from kdlib.utils import paths

DATA = ("paper", "results", "teachers", "scores")  # the folders of `data/` that lessons read
SUFFIXES = {".ipynb", ".md", ".csv", ".json", ".jsonl", ".safetensors"}


def copy_to(target: Path) -> Path:
    """Copy the lessons and what they read into a folder; returns where the lessons then lie.

    Files that are there stay as they are, so that a second copy brings only what is missing. Raises ValueError for a
    folder that holds other things than such a copy, and where the installation has no lessons.
    """
    if target.exists() and not target.is_dir():
        raise ValueError(f"{target} is a file; name a folder")
    if target.is_dir() and any(target.iterdir()) and not (target / "notebooks").is_dir():
        raise ValueError(f"{target} holds other things; name a folder that is new or empty")
    return _copied(target)


def at_hand(progress: Callable[[str], None]) -> None:
    """Outside a checkout, copy the lessons that travel in the package into the working folder, so that they can run there.

    Raises ValueError where the installation has no lessons.
    """
    if not (paths.root() / "notebooks").is_dir():
        progress(f"no lessons in {paths.root()}: those of the package are copied to {_copied(paths.root())}")


def _copied(target: Path) -> Path:
    sources = {"notebooks": paths.notebooks(), **{f"data/{name}": paths.given(name) for name in DATA}}
    sources["benchmarks/results"] = paths.measured()
    if not any(sources["notebooks"].glob("*.ipynb")):
        raise ValueError(f"this installation has no lessons (looked in {sources['notebooks']}); install kdlib again")
    for part, source in sources.items():
        for file in sorted(source.rglob("*")):
            place = target / part / file.relative_to(source)
            hidden = any(name.startswith(".") for name in file.relative_to(source).parts)
            if file.is_file() and file.suffix in SUFFIXES and not hidden and not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, place)
    return target / "notebooks"
