"""Where files live: one place answers it for the package, the lessons, the command line and the tests."""

from __future__ import annotations

import os
from pathlib import Path

SHIPPED = Path(__file__).resolve().parents[1] / "shipped"
"""What an installed package brings along: `notebooks/` and `data/`. A checkout has these folders at its top instead."""


def root() -> Path:
    """The project folder: `$KDLIB_ROOT` if set, else the checkout this package was installed from, else the working folder.

    A kernel works in the folder of its notebook; from a folder `notebooks` the project is the one above it.
    """
    if "KDLIB_ROOT" in os.environ:
        return Path(os.environ["KDLIB_ROOT"]).expanduser().resolve()
    checkout, here = Path(__file__).resolve().parents[2], Path.cwd()
    if (checkout / "notebooks").is_dir():
        return checkout
    return here.parent if here.name == "notebooks" else here


def data() -> Path:
    """`data/`: `raw/` and `store/` (not in git), `results/` and `paper/` (in git)."""
    return root() / "data"


def given(name: str) -> Path:
    """The project's `data/NAME`, such as `paper` or `teachers`, else the copy that travels in the installed package."""
    own, shipped = data() / name, SHIPPED / "data" / name
    return own if own.is_dir() or not shipped.is_dir() else shipped


def measured() -> Path:
    """`benchmarks/results`: the project's, else the copy that travels in the installed package."""
    own, shipped = root() / "benchmarks" / "results", SHIPPED / "benchmarks" / "results"
    return own if own.is_dir() or not shipped.is_dir() else shipped


def notebooks() -> Path:
    """The lessons: the project's `notebooks/`, else the copy that travels in the installed package."""
    own, shipped = root() / "notebooks", SHIPPED / "notebooks"
    return own if own.is_dir() or not shipped.is_dir() else shipped


def store() -> Path:
    """The default artefact store: `$KDLIB_STORE` if set, else `data/store`."""
    return Path(os.environ.get("KDLIB_STORE") or data() / "store").expanduser()


def figures() -> Path:
    """Where running lessons write figures: `$KDLIB_FIGURES` if set, else `figures/`."""
    return Path(os.environ.get("KDLIB_FIGURES", root() / "figures")).expanduser()


def drawn() -> Path:
    """Where a figure that is drawn now goes: `$KDLIB_FIGURES`, which the lessons' runner sets, else `figures/runs/`.

    So a notebook that is run by hand, with whatever preset, never writes over the figures of the lessons as written.
    """
    return figures() if "KDLIB_FIGURES" in os.environ else figures() / "runs"
