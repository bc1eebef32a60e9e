"""Every figure and table of both papers, made again from rows of runs: `FIGURES["dkdp-fig7"]`.

To add a figure: one entry in `dkdp.FIGURES` or `medium.FIGURES`, with the runs that it needs, where each stands, and how it
is drawn. An entry without runs says what it needs instead.
"""

from __future__ import annotations

from kdlib.analysis.reproduction import dkdp, medium
from kdlib.analysis.reproduction.figure import Drawn, PaperFigure
from kdlib.analysis.reproduction.plan import Plan, plan
from kdlib.analysis.reproduction.settings import Setting, setting
from kdlib.utils.errors import choose

__all__ = ["FIGURES", "Drawn", "PaperFigure", "Plan", "Setting", "find", "plan", "setting"]

FIGURES: dict[str, PaperFigure] = {**dkdp.FIGURES, **medium.FIGURES}


def find(name: str) -> PaperFigure:
    """The figure of that name; ValueError with the nearest and all names, and for one that needs more than runs."""
    found = choose("figure", name, FIGURES)
    if found.groups is None:
        raise ValueError(f"{name} ({found.title}) cannot be made from rows of runs; it needs {found.needs}")
    return found
