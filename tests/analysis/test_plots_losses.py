"""Figures of lesson 08: what is drawn is what was handed over, labelled, within the course's size."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from kdlib.analysis import loss_effects
from kdlib.analysis.plots import losses as plots
from kdlib.analysis.plots.style import MAX_SIZE


def check(figure: Figure) -> None:
    assert figure.get_size_inches()[0] <= MAX_SIZE[0]
    figure.canvas.draw()
    assert all(axis.get_xlabel() or not axis.axison for axis in figure.axes if axis.get_label() != "<colorbar>")


def table(means: dict[str, float], n: int = 6, beta: float = 1.0) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"feature_loss": name, "beta": beta, "fraction": 0.1, "mean": mean, "half": 1.0 if n else np.nan, "n": n}
            for name, mean in means.items()
        ]
    )


def test_named_keeps_options() -> None:
    assert [plots.named(name) for name in ("ab", "fitnets", "ab(initial_epochs=30)")] == [
        "AB",
        "FitNets",
        "AB (initial_epochs=30)",
    ]


def test_added_draws_each_loss_on_its_line_and_says_where_rows_are_missing() -> None:
    names, filled = ["at", "vid"], table({"at": -1.0, "vid": 2.0})
    figure = plots.added({"f = 10%": {"beta = 1": filled}, "none": {"ours": filled.iloc[:0]}}, names)
    check(figure)
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["VID", "AT"]
    points = left.containers[0].lines[0]
    assert dict(zip(points.get_ydata(), points.get_xdata(), strict=True)) == {1: -1.0, 0: 2.0}
    assert "no rows yet" in [text.get_text() for text in right.texts]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "logarithmic beyond",
        "beta = 1 (n = 6)",
    ]
    assert [text.get_text() for text in left.get_xticklabels()] == ["-5", "0", "5"]


def test_a_value_of_two_series_is_drawn_once_and_large_losses_have_ticks() -> None:
    first, second = table({"at": -40.0, "vid": 2.0}), table({"vid": 2.0})
    second = pd.concat([second, table({"at": -30.0}, beta=1000)])
    axis = plots.added({"f = 10%": {"beta = 1": first, "own": second}}, ["at", "vid"]).axes[0]
    assert [list(bar.lines[0].get_xdata()) for bar in axis.containers] == [[-40, 2], [-30]]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["-50", "-20", "", "-5", "0", "5"]


def test_published_values_claim_no_seeds() -> None:
    figure = plots.added({"f = 10%": {"paper": table({"at": -1.0}, n=0)}}, ["at"])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["logarithmic beyond", "paper"]


def test_gradients_draws_the_median() -> None:
    found = pd.DataFrame(
        [
            {"feature_loss": name, "weight": weight, "seed": s, "ratio": ratio * (1 + 0.1 * s)}
            for weight, factor in (("beta = 1", 1.0), ("own", 100.0))
            for name, ratio in (("at", 0.01 * factor), ("sp", 0.001 * factor))
            for s in range(3)
        ]
    )
    figure = plots.gradients(found)
    check(figure)
    first = figure.axes[0].containers[0].lines[0]
    np.testing.assert_allclose(sorted(first.get_xdata()), [0.0011, 0.011])


def test_winners_draws_both_sides() -> None:
    values = np.random.default_rng(0).normal(size=(4, 3))
    figure = plots.winners({"5%": loss_effects.winner_on_halves(values)})
    check(figure)
    means = sorted(float(line.get_ydata()[0]) for line in figure.axes[0].lines if line.get_linewidth() == 2.4)
    found = loss_effects.winner_on_halves(values)
    np.testing.assert_allclose(means, sorted([found.chosen.mean(), found.fresh.mean()]))


def test_maps_similarities_and_dkd() -> None:
    rng = np.random.default_rng(0)
    maps = [rng.random((4, 4)) for _ in range(2)]
    figure = plots.attention_maps(rng.integers(0, 255, (2, 1, 8, 8)), {"teacher": maps, "student": maps}, ["1", "2"])
    assert len(figure.axes) == 6 and figure.axes[2].get_ylabel() == "teacher"
    figure = plots.similarities({"teacher": np.eye(4), "student": np.ones((4, 4))}, [0, 0, 1, 1])
    assert [axis.get_title() for axis in figure.axes[:2]] == ["teacher", "student"]
    rows = [(w, f, w * f, 0.1, 6) for w in (0.5, 8.0) for f in (0.05, 0.4)]
    found = pd.DataFrame(rows, columns=["weight", "fraction", "mean", "half", "n"])
    figure = plots.decoupled({"rate": found})
    check(figure)
    np.testing.assert_allclose(figure.axes[0].containers[1].lines[0].get_ydata(orig=False), [0.4, 3.2])
