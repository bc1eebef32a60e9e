"""The figures of lesson 07 draw the numbers that they are given."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kdlib.analysis.plots import speed as plots
from tests.analysis.test_plots_accuracy import check, legend_texts


def test_a_ladder_shows_rates_and_the_machines_limit() -> None:
    found = pd.DataFrame({"rung": ["old", "new"], "rate": [50.0, 100.0], "limit": [float("nan"), 200.0]})
    figure = plots.ladder({"resnet8": found, "mine": found})
    check(figure)
    left, right = figure.axes
    assert [bar.get_width() for bar in left.patches] == [50, 100] and [t.get_text() for t in left.texts] == [
        "50",
        "100",
    ]
    (limits,) = left.collections
    assert [segment[0][0] for segment in limits.get_segments()] == [200]
    assert [left.get_title(), right.get_title()] == ["ResNet-8", "mine"]
    assert legend_texts(figure) == ["limit of the machine"]


def test_shares_are_stacked_and_parts_keep_their_colour() -> None:
    figure = plots.shares({"a": {"teacher": 25.0, "student": 75.0}, "b": {"student": 60.0}}, "work (FLOP)")
    check(figure)
    bars = figure.axes[0].patches
    assert [(bar.get_x(), bar.get_width()) for bar in bars] == [(0, 25), (25, 75), (0, 60)]
    assert bars[1].get_facecolor() == bars[2].get_facecolor() != bars[0].get_facecolor()
    assert [text.get_text() for text in figure.axes[0].texts] == ["25%", "75%", "100%"]
    assert legend_texts(figure) == ["teacher", "student"]


def test_the_cache_has_a_line_and_points() -> None:
    figure = plots.cache([1, 10], [100.0, 60.0], {1: 99.0, 10: 61.0})
    check(figure)
    line, points = figure.axes[0].lines
    np.testing.assert_allclose(line.get_ydata(), [100, 60])
    np.testing.assert_allclose(points.get_xydata(), [[1, 99], [10, 61]])
