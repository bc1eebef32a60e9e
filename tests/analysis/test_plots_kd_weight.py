"""Figures of lesson 04: what is drawn is what was handed over, labelled, within the course's size."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kdlib.analysis import kd_weight
from kdlib.analysis.plots import kd_weight as plots
from kdlib.analysis.plots.style import MAX_SIZE
from tests.analysis.test_kd_weight import FRACTIONS, made_up, peaked
from tests.analysis.test_plots_accuracy import legend_texts


def test_slopes_are_drawn_for_each_teacher() -> None:
    found = kd_weight.slopes(made_up(lambda f, a: 20 * a))
    figure = plots.slopes({"one": found, "two": found.assign(mean=-5.0)})
    figure.canvas.draw()
    assert tuple(figure.get_size_inches()) <= MAX_SIZE
    heights = [line.get_ydata() for line in figure.axes[0].lines if len(line.get_ydata()) == len(FRACTIONS)]
    assert any(np.allclose(y, 20) for y in heights) and any(np.allclose(y, -5) for y in heights)
    assert legend_texts(figure) == ["one (n = 6)", "two (n = 6)"]


def test_rules_are_lines_between_their_ends() -> None:
    fitted = kd_weight.fit_rule(made_up(peaked, noise=1.0), np.random.default_rng(0))
    figure = plots.rules({"teacher": fitted}, {0.4: 0.85, 0.7: 0.5})
    figure.canvas.draw()
    axis = figure.axes[0]
    drawn = next(line for line in axis.lines if line.get_label() == "teacher")
    np.testing.assert_allclose(np.asarray(drawn.get_ydata())[[0, -1]], fitted.rule.ends)
    assert axis.get_xscale() == "log" and axis.get_xlabel() and axis.get_ylabel()
    assert axis.collections, "the band"


def test_temperatures_are_on_a_logarithmic_axis_with_a_tick_each() -> None:
    line = pd.DataFrame({"tau": [1.0, 4.0, 16.0], "mean": [0.0, 2.0, 1.0], "half": [0.0, 0.5, 0.5], "n": [5, 5, 5]})
    figure = plots.temperatures({0.02: line, 0.1: line.assign(half=np.nan, n=2)})
    figure.canvas.draw()
    axis = figure.axes[0]
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["1", "4", "16"]
    assert legend_texts(figure) == ["f = 2% (n = 5)", "f = 10% (n = 2)"]
    assert "= 1" in axis.get_ylabel()
