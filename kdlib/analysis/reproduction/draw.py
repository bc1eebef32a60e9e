"""The drawing of all figures of accuracy: a table of places and accuracies, as lines."""

from __future__ import annotations

from matplotlib.figure import Figure

from kdlib.analysis.plots import reproduction as plots
from kdlib.analysis.reproduction.figure import Drawn
from kdlib.analysis.reproduction.settings import size


def lines(drawn: Drawn) -> Figure:
    """Accuracy against the figure's axis; teachers stand in the order of their size."""
    axis, table = drawn.figure.axis, drawn.table
    order = sorted(set(table.x), key=size) if axis == "teacher" else ()
    return plots.lines(table, axis, order)
