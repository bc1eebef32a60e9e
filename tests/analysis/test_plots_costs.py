"""Figures of costs: what is drawn is what was counted."""

import numpy as np
import pandas as pd

from kdlib.analysis.costs import Cost
from kdlib.analysis.plots import costs as plots

PLAIN = Cost(1000, 0, 0, 0)


def test_a_line_for_each_method_and_the_level() -> None:
    found = pd.DataFrame(
        {"name": ["a", "a", "b"], "cost": [0.1, 0.7, 0.5], "mean": [80.0, 90, 85], "half": 1.0, "n": 5}
    )
    axis = plots.against_cost(found, 97.0, "all data").axes[0]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["a (n = 5)", "b (n = 5)"]
    assert axis.texts[0].get_text() == "all data: 97.0%"


def test_bars_end_at_the_total() -> None:
    axis = plots.made_of({"a": Cost(700, 1000, 0, 50), "b": Cost(700, 0, 5000, 0)}, 1000).axes[0]
    ends = [
        max(bar.get_x() + bar.get_width() for bar in axis.patches if round(bar.get_y() + 0.35) == y) for y in (0, 1)
    ]
    np.testing.assert_allclose(ends, [1.75, 5.7])


def test_the_price_is_shared_by_the_students() -> None:
    axis = plots.over_students({"a": Cost(500, 1000, 0, 0)}, PLAIN, [1, 2, 10]).axes[0]
    np.testing.assert_allclose(axis.lines[0].get_ydata(), [1.5, 1.0, 0.6])


def test_curves_are_means_over_image_steps() -> None:
    axis = plots.over_steps({"a": ([100, 200], np.array([[80.0, 90], [82, 92], [84, 94]]))}, 1000, 70).axes[0]
    np.testing.assert_allclose(axis.lines[0].get_xydata(), [[0.1, 82], [0.2, 92]])
    assert len(axis.collections) == 1, "three seeds have a band"


def test_times_have_a_tick_at_each_number_of_steps() -> None:
    rows = pd.DataFrame({"images": [25_000, 50_000], "seconds": [40.0, 80.0], "taught": [True, False]})
    axis = plots.seconds_against_steps(rows).axes[0]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["25", "50"]
