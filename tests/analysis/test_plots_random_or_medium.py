"""Figures of lesson 11: what is drawn is what was handed over, labelled, within the course's size."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kdlib.analysis.plots import random_or_medium as plots
from kdlib.analysis.statistics import Interval
from tests.analysis.figures import check


def test_pairs_has_a_line_each_coloured_by_the_winner() -> None:
    figure = plots.pairs(np.array([50.0, 60.0, 55.0]), np.array([52.0, 59.0, 58.0]), Interval(4 / 3, 9.0, 3))
    check(figure)
    lines = figure.axes[0].lines
    assert [line.get_color() for line in lines] == [plots.SKY, plots.GREY, plots.SKY]
    np.testing.assert_allclose(figure.axes[1].lines[1].get_xdata(), [2.0, -1.0, 3.0])
    assert figure.axes[1].get_title() == "n = 3"


def test_pairs_of_two_students_have_no_interval() -> None:
    check(plots.pairs(np.array([50.0, 60.0]), np.array([52.0, 59.0]), Interval(0.5, float("nan"), 2)))


def test_spreads_has_a_row_for_each_group() -> None:
    figure = plots.spreads({"random": np.array([50.0, 52.0, 54.0]), "medium": np.array([50.0, 51.0])})
    check(figure)
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["random (n = 3)", "medium (n = 2)"]


def test_studies_draws_shares_in_percent_without_the_row_of_every_f() -> None:
    found = pd.DataFrame(
        {"fraction": [0.1, 0.3, float("nan")], "first_higher": [0.2, 0.9, 0.1], "apart": [0.0, 0.5, 0.0]}
    )
    figure = plots.studies({"own": found}, 3)
    check(figure)
    np.testing.assert_allclose(figure.axes[0].lines[1].get_ydata(), [20, 90])
    np.testing.assert_allclose(figure.axes[0].lines[2].get_ydata(), [0, 50])
    assert "3 trials" in figure.axes[0].get_ylabel()


def test_detectable_marks_our_n_and_the_papers_effects() -> None:
    effects = {0.1: np.array([4.0, 1.0, 0.5]), 0.3: np.array([2.0, 0.6, 0.3])}
    figure = plots.detectable([3, 10, 40], effects, 10, {"paper": 1.4}, 0.8)
    check(figure)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["f = 10%", "f = 30%", "paper", "ours: n = 10"]
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["3", "10", "40"]
    assert all(0.15 <= tick <= 8 for tick in figure.axes[0].get_yticks())
