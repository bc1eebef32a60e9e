"""Figures inside a notebook: PNG of 256 colours, a third of the bytes of the default at the same sharpness.

A lesson holds about ten figures and is kept in git at no more than 300 KB; matplotlib's own inline images would not fit.
"""

from __future__ import annotations

import io

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from kdlib.analysis.plots.alt import describe
from kdlib.utils.pictures import in_few_colours


def small_png(figure: Figure) -> bytes:
    """The figure as it appears in a notebook, at its own dpi, cropped to its content, in 256 colours."""
    full = io.BytesIO()
    figure.savefig(full, format="png", dpi=figure.dpi, bbox_inches="tight")
    return in_few_colours(full)


def described_png(figure: Figure) -> tuple[bytes, dict[str, str]]:
    """The figure for a notebook, with what it shows in words as its alternative text."""
    return small_png(figure), {"alt": describe(figure)}


def use() -> None:
    """Show figures this way from now on, if this is a notebook; elsewhere nothing happens."""
    from IPython.core.getipython import get_ipython  # the command line draws without it

    shell = get_ipython()
    if shell is None or shell.display_formatter is None:
        return
    plt.switch_backend(mpl.get_backend())  # the inline backend sets its own formatter when it loads: let it load first
    shell.display_formatter.formatters["image/png"].for_type(Figure, described_png)
