"""Figures of transformers, regression and teachers show their tables."""

import numpy as np
import pandas as pd

from kdlib.analysis.plots import beyond as plots
from kdlib.analysis.statistics import Interval


def labelled(figure):
    assert figure.axes[0].get_xlabel() and figure.axes[0].get_ylabel()
    assert tuple(figure.get_size_inches()) <= (6.0, 3.5)
    return figure


def test_attention_draws_the_row_of_the_token():
    weights = np.random.default_rng(0).dirichlet(np.ones(16), (3, 16))
    figure = labelled(plots.attention(weights, np.zeros((8, 8)), 5))
    shown = figure.axes[2].images[0].get_array()
    np.testing.assert_allclose(shown, 100 * weights[1, 5].reshape(4, 4))


def test_rates_run_from_the_start_to_the_end():
    axis = labelled(plots.rates({"cosine": [1.0, 0.5, 0.0], "one cycle": [0.0, 1.0, 0.0]})).axes[0]
    assert [list(line.get_xdata()) for line in axis.lines] == [[0, 50, 100]] * 2


def test_gains_have_a_line_for_each_pair_and_n():
    table = pd.DataFrame({"fraction": [0.1, 0.2], "mean": [1.0, 2.0], "half": [0.5, np.nan], "n": 4})
    axis = labelled(plots.gains({"a": table, "b": table})).axes[0]
    assert [t.get_text() for t in axis.get_legend().get_texts()] == ["a (n = 4)", "b (n = 4)"]


def test_regression_scores_put_what_lies_below_at_the_edge():
    found = {"el2n": (Interval(-500.0, 9.0, 5), Interval(30.0, 2.0, 5)), "random": (Interval(40.0, 1.0, 5),) * 2}
    axis = labelled(plots.regression_scores(found, 48.0, floor=-60.0)).axes[0]
    drawn = [float(container.lines[0].get_xdata()[0]) for container in axis.containers]
    assert drawn == [-60.0, 40.0, 30.0, 40.0]
    assert axis.containers[0].lines[0].get_marker() == "<"


def test_teacher_quality_has_a_point_for_each_teacher():
    table = pd.DataFrame(
        {"epochs": [1, 1, 60], "teacher_acc": [70.0, 72.0, 97.0], "mean": [0.0, 1.0, 4.0], "half": 1.0, "n": 5}
    )
    axis = labelled(plots.teacher_quality(table, Interval(90.0, 1.0, 5))).axes[0]
    assert [list(c.lines[0].get_xdata()) for c in axis.containers] == [[70.0, 72.0], [97.0]]
