"""What a clock says belongs on the screen of whoever runs a lesson, and not into the notebook that is kept.

These functions return widgets. A notebook shows them while it runs; its clean form has none (`kdlib.course.notebooks`).
"""

from __future__ import annotations

import ipywidgets as widgets
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from kdlib.analysis.plots.inline import small_png


def table(found: pd.DataFrame, title: str = "") -> widgets.HTML:
    """A table under a title; numbers with three significant digits."""
    shown = found.to_html(index=False, float_format="{:.3g}".format, border=0)
    return widgets.HTML(f"<p><b>{title}</b></p>{shown}" if title else shown)


def figure(drawn: Figure) -> widgets.Image:
    """A figure as a picture; the figure is closed, so that the notebook does not draw and keep it by itself."""
    shown = widgets.Image(value=small_png(drawn), format="png")
    plt.close(drawn)
    return shown
