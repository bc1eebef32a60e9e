"""What every figure of the lessons keeps."""

from __future__ import annotations

from matplotlib.figure import Figure

from kdlib.analysis.plots.style import MAX_SIZE


def check(figure: Figure) -> None:
    """It can be drawn and is small enough; every panel's x axis names its unit, and the first one's y axis has a name."""
    width, height = figure.get_size_inches()
    assert width <= MAX_SIZE[0] and height <= MAX_SIZE[1]
    figure.canvas.draw()
    panels = [axis for axis in figure.axes if axis.get_label() != "<colorbar>"]
    assert all("(" in axis.get_xlabel() for axis in panels), "with units"
    assert panels[0].get_ylabel()
