"""What a clock says is shown in a widget, which the kept notebook does not have."""

from __future__ import annotations

import matplotlib.pyplot as plt
import nbformat
import pandas as pd

from kdlib.analysis import live
from kdlib.course import notebooks


def test_a_table_is_shown_with_its_title() -> None:
    found = live.table(pd.DataFrame({"name": ["a"], "rate": [1234.5678]}), "measured here")
    assert "measured here" in found.value and "<td>a</td>" in found.value and "1.23e+03" in found.value


def test_a_figure_is_a_picture() -> None:
    figure, _ = plt.subplots()
    assert bytes(live.figure(figure).value).startswith(b"\x89PNG")
    assert not plt.get_fignums(), "an open figure would be drawn, and kept, at the end of the cell"


def test_the_kept_notebook_has_neither() -> None:
    data = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "HTML(value='7.3 images/s')"}
    shown = nbformat.v4.new_output("execute_result", data=data, execution_count=1)
    cell = nbformat.v4.new_code_cell("live.table(found)", outputs=[shown])
    assert notebooks.clean(nbformat.v4.new_notebook(cells=[cell])).cells[0]["outputs"] == []
