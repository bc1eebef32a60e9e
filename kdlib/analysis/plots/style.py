"""One look for every figure of the suite, and one way to write a figure to disk."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
from cycler import cycler
from matplotlib.figure import Figure

from kdlib.utils import paths
from kdlib.utils.files import write_whole
from kdlib.utils.pictures import in_few_colours

# Okabe-Ito: eight colours that stay apart for every kind of colour vision. One scorer, one colour, in the whole suite.
PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999"]
SCORER_COLOURS = {
    "random": "#000000",
    "forgetting": "#0072B2",
    "el2n": "#D55E00",
    "grand": "#009E73",
    "memorization": "#CC79A7",
    "aum": "#E69F00",
    "difficulty": "#56B4E9",
    "entropy": "#999999",
}
MAX_SIZE = (6.0, 3.5)  # inches, so that a figure fits a notebook column and a slide


def use() -> None:
    """Apply the suite's matplotlib settings (call once, in a lesson's set-up cell)."""
    mpl.rcParams.update(
        {
            "figure.figsize": MAX_SIZE,
            "figure.dpi": 90,
            "figure.constrained_layout.use": True,
            "font.size": 9,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": cycler(color=PALETTE),
            "legend.frameon": False,
            "svg.hashsalt": "kdlib",  # the same figure gives the same bytes
            "svg.fonttype": "none",
        }
    )


def save(figure: Figure, name: str, folder: str | Path | None = None) -> Path:
    """Write `name.svg` and `name.png` (150 dpi, 256 colours) into `folder`; returns the svg path.

    By default the folder is the one that the lessons' runner has set, else `figures/runs/`.
    Each file is written under another name first and then renamed, so that a reader never meets half a figure.
    """
    folder = Path(folder) if folder is not None else paths.drawn()
    folder.mkdir(parents=True, exist_ok=True)
    svg, png = io.BytesIO(), io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None})
    figure.savefig(png, format="png", dpi=150)
    write_whole(folder / f"{name}.svg", svg.getvalue())
    write_whole(folder / f"{name}.png", in_few_colours(png))
    return folder / f"{name}.svg"


def close(figure: Figure) -> None:
    """Release a figure that has been shown or saved."""
    plt.close(figure)
