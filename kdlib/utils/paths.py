"""Where files live: one place answers it for the package, the lessons, the command line and the tests."""

from __future__ import annotations

import os
from pathlib import Path


def root() -> Path:
    """The project folder: `$KDLIB_ROOT` if set, else the checkout this package was installed from, else the working folder."""
    if "KDLIB_ROOT" in os.environ:
        return Path(os.environ["KDLIB_ROOT"]).expanduser().resolve()
    checkout = Path(__file__).resolve().parents[2]
    return checkout if (checkout / "notebooks").is_dir() else Path.cwd()


def data() -> Path:
    """`data/`: `raw/` and `store/` (not in git), `results/` and `paper/` (in git)."""
    return root() / "data"


def store() -> Path:
    """The default artefact store: `$KDLIB_STORE` if set, else `data/store`."""
    return Path(os.environ.get("KDLIB_STORE") or data() / "store").expanduser()


def figures() -> Path:
    """Where running lessons write figures: `$KDLIB_FIGURES` if set, else `figures/`."""
    return Path(os.environ.get("KDLIB_FIGURES", root() / "figures")).expanduser()
