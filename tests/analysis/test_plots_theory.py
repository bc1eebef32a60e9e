"""Figures of the theory lesson: what they draw is what the formulas say, and they fit the page."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from kdlib.analysis.plots import inline, style
from kdlib.analysis.plots import theory as plots
from kdlib.theory import counterexamples
from kdlib.theory import ridge as theory


def figures_of_the_lesson() -> dict[str, Figure]:
    rng, known = np.random.default_rng(0), counterexamples.known_counterexample()
    X, theta, alphas = rng.standard_normal((2, 8)), np.array([2.0, 1.0]), np.linspace(0, 1, 3)
    trained = [theory.monte_carlo(X, [0, 1, 2], theta, a, 1.0, 1.0, 20, rng) for a in alphas]
    lines = np.array([run.bias for run in trained]), np.array([run.variance for run in trained])
    rates = np.array([counterexamples.failure_rate(ratios) for ratios in ([0.5, 2.0], [0.5, 0.9, 1.1])])
    return {
        "toy": plots.toy(
            X, X.T @ theta, [0, 1, 2], theta, {"student": trained[0].errors, "teacher": trained[1].errors}
        ),
        "formula": plots.formula_check(alphas, *lines, alphas, trained),
        "lemma": plots.singular_values(alphas, np.ones((3, 5))),
        "direction": plots.ratio_by_direction(known.X, 2, 1.0, 1.0, known.theta),
        "failures": plots.failures(np.array([2.0, 5.0]), {"one random": rates, "worst": rates}),
        "total": plots.total_error(X, [0, 1, 2], theta, 1.0, 0.5, 1.0),
    }


def test_figures_have_labelled_axes_with_units_and_fit_the_page() -> None:
    style.use()
    for name, figure in figures_of_the_lesson().items():
        width, height = figure.get_size_inches()
        assert width <= 6 and height <= 3.5, name
        figure.draw_without_rendering()
        panels = [axis for axis in figure.axes if axis.get_label() != "<colorbar>"]
        assert all(axis.get_xlabel() for axis in panels), name
        assert "(" in panels[0].get_ylabel(), name
        style.close(figure)


def test_shaded_directions_are_those_where_the_theorem_fails() -> None:
    known = counterexamples.known_counterexample()
    aligned = np.hstack([known.X_f, theory.aligned_columns(known.X_f, [1.0, 2.0])])
    for X, label in ((known.X.astype(float), "Theorem 1 fails"), (aligned, "Theorem 1 fails: nowhere")):
        figure = plots.ratio_by_direction(X, 2, 1.0, 1.0)
        assert label in figure.axes[1].get_legend_handles_labels()[1]
        ratio = figure.axes[1].lines[0].get_ydata()
        assert (ratio.max() > 1 + theory.ROUNDING) == (label == "Theorem 1 fails")
        style.close(figure)


def test_the_plotted_ratio_is_that_of_the_squared_biases() -> None:
    known = counterexamples.known_counterexample()
    figure = plots.ratio_by_direction(known.X, 2, 1.0, 1.0, known.theta)
    degrees, ratio = figure.axes[1].lines[0].get_data()
    direction = np.degrees(np.arctan2(2, 1))  # of theta* = (1, 2)
    expected = float(known.large_teacher / known.small_teacher)
    assert np.interp(direction, degrees, ratio) == pytest.approx(expected, abs=1e-3)
    style.close(figure)


def test_the_total_error_is_shown_relative_to_no_teacher() -> None:
    """The curves cross 1 inside the picture: below, the teacher pays."""
    X, theta = np.random.default_rng([0, 4]).standard_normal((5, 40)), np.random.default_rng([0, 7]).standard_normal(5)
    figure = plots.total_error(X, range(10), theta, 0.5, 1.0, 0.3)
    lams, ratio = figure.axes[1].lines[1].get_data()  # alpha = 1
    crossing = lams[np.argmax(ratio > 1)]
    assert lams[0] < crossing < lams[-1] and 0 < ratio.min() < 1 < ratio.max() < figure.axes[1].get_ylim()[1]
    style.close(figure)


def test_notebook_figures_are_small_pngs() -> None:
    figure = plots.singular_values(np.linspace(0, 1, 9), np.random.default_rng(0).random((9, 5)))
    small = [inline.small_png(figure) for _ in range(3)][-1]  # the layout settles after a drawing or two
    plain = io.BytesIO()
    figure.savefig(plain, format="png", dpi=figure.dpi, bbox_inches="tight")
    picture, before = Image.open(io.BytesIO(small)), Image.open(plain)
    assert picture.mode == "P" and picture.size == before.size
    assert len(small) < 0.6 * len(plain.getvalue())
    colours, exact = (np.asarray(image.convert("RGB"), dtype=float) for image in (picture, before))
    assert np.abs(colours - exact).mean() < 1  # of 255
    style.close(figure)
