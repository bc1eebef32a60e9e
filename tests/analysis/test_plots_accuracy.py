"""Figures of lesson 03: what is drawn is what was handed over, labelled, within the course's size."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from kdlib.analysis import claims as verdicts
from kdlib.analysis import effects, statistics
from kdlib.analysis.plots import accuracy as plots
from kdlib.analysis.plots.style import PALETTE, SCORER_COLOURS
from kdlib.utils import paths
from tests.analysis.figures import check


def runs(
    seeds: int = 5, prunings: tuple[str, ...] = ("random", "forgetting"), alphas: tuple = (0.0, 0.5)
) -> pd.DataFrame:
    """Accuracy 50 + 40 f, KD adds 10 (1 - f), a seed moves its runs by one amount and each run by a little more."""
    rng = np.random.default_rng(1)
    shift = rng.standard_normal(seeds)
    return pd.DataFrame(
        [
            {
                "pruning": name,
                "fraction": f,
                "alpha": a,
                "seed": s,
                "test_acc": 50 + 40 * f + 10 * (1 - f) * (a > 0) + shift[s] + 0.1 * rng.standard_normal(),
            }
            for name in prunings
            for f in (0.05, 0.1, 0.7)
            for a in alphas
            for s in range(seeds)
        ]
    )


def legend_texts(figure: Figure) -> list[str]:
    legends = [axis.get_legend() for axis in figure.axes] + list(figure.legends)
    return [text.get_text() for legend in legends if legend for text in legend.get_texts()]


def test_main_figure_draws_means_and_bands() -> None:
    table = runs()
    figure = plots.accuracy_vs_fraction(table, statistics.interval([90.0, 91.0, 92.0]))
    check(figure)
    axis = figure.axes[0]
    solid = next(
        line for line in axis.lines if line.get_color() == SCORER_COLOURS["forgetting"] and line.get_ls() == "-"
    )
    chosen = table[(table.pruning == "forgetting") & (table.alpha == 0.5)]
    np.testing.assert_allclose(solid.get_ydata(), chosen.groupby("fraction").test_acc.mean())
    assert [label.get_text() for label in axis.get_xticklabels()] == ["5%", "10%", "70%"]
    assert {"random (n = 5)", "forgetting (n = 5)", "with KD", "without KD"} <= set(legend_texts(figure))
    drawn = [band for band in axis.collections if np.isfinite(band.get_paths()[0].vertices).all()]
    assert len(drawn) == 4
    assert any(line.get_ydata()[0] == 91.0 for line in axis.lines), "the mark of all data"


def test_two_seeds_are_points_without_a_band() -> None:
    figure = plots.accuracy_vs_fraction(runs(seeds=2), statistics.interval([90.0, 91.0]))
    check(figure)
    vertices = [p.vertices for band in figure.axes[0].collections for p in band.get_paths()]
    assert not any(len(v) for v in vertices)
    assert "random (n = 2)" in legend_texts(figure)


def test_a_line_of_one_point_has_a_bar_beside_the_others() -> None:
    table = runs()
    lone = table[(table.pruning == "random") | ((table.fraction == 0.05) & (table.alpha > 0))]
    axis = plots.accuracy_vs_fraction(lone, None).axes[0]
    assert len(axis.containers) == 1
    line = next(line for line in axis.lines if len(line.get_xdata()) == 1 and line.get_marker() == "o")
    assert 0.05 < np.asarray(line.get_xdata())[0] < 0.06


def test_differences_have_a_zero_line_and_error_bars() -> None:
    gains = statistics.gain_points(runs())
    figure = plots.differences({"one": gains, "two": gains}, "points")
    check(figure)
    assert len(figure.axes) == 2 and figure.axes[0].lines[0].get_ydata() == [0, 0]
    assert len(figure.axes[0].containers) == 2


def test_alpha_figure_marks_the_best_alpha() -> None:
    table = runs(prunings=("forgetting",), alphas=(0.0, 0.25, 0.5, 1.0))
    best = statistics.points(verdicts.best_alphas(table), ("fraction",), "best")
    figure = plots.alpha_against_fraction(table, best)
    check(figure)
    stars = [line for line in figure.axes[0].lines if line.get_marker() == "*"]
    assert len(stars) == 3
    np.testing.assert_allclose(figure.axes[1].lines[0].get_ydata().astype(float), best["mean"])


def test_effects_share_their_axes_and_say_n_only_where_it_is_known() -> None:
    paper = effects.published_gains(pd.read_csv(paths.data() / "paper" / "reported.csv"))
    ours = statistics.gain_points(runs())
    figure = plots.effects({"paper": paper, "ours": ours, "theirs": ours.iloc[:0]})
    check(figure)
    left, right, empty = figure.axes
    assert left.get_ylim() == right.get_ylim() and left.get_xlim() == right.get_xlim()
    assert {"forgetting (Table 1)", "EL2N (Sec. 4.1)"} <= {text.get_text() for text in left.get_legend().get_texts()}
    assert "forgetting (n = 5)" in {text.get_text() for text in right.get_legend().get_texts()}
    assert [text.get_text() for text in empty.texts] == ["no rows yet"] and empty.get_legend() is None
    line = next(line for line in left.lines if line.get_label() == "forgetting (Table 1)")
    tabled = paper[(paper.pruning == "forgetting") & (paper["where"] == "Table 1")]
    np.testing.assert_allclose(line.get_ydata(), tabled["mean"])
    assert line.get_markerfacecolor() == "white"


def test_learning_curves_are_those_given() -> None:
    figure = plots.learning_curves({"without": ([3.0, 1.0], [20.0, 80.0]), "with": ([4.0, 2.0], [30.0, 90.0])})
    check(figure)
    left, right = figure.axes
    np.testing.assert_allclose(left.lines[1].get_ydata(), [4, 2])
    np.testing.assert_allclose(right.lines[0].get_xydata(), [[1, 20], [2, 80]])


def test_predictions_show_the_likeliest_classes_of_the_first_network() -> None:
    classes = [str(c) for c in range(12)]
    teacher = np.r_[0.0, 0.0, np.linspace(0.05, 0.15, 10)]
    figure = plots.predictions(
        np.zeros((3, 4, 4), np.uint8), {"teacher": teacher, "student": teacher[::-1]}, classes, 5
    )
    assert [axis.get_title() for axis in figure.axes] == ["label 5", "teacher", "student"]
    np.testing.assert_allclose([bar.get_width() for bar in figure.axes[1].patches], 100 * teacher[2:])
    np.testing.assert_allclose([bar.get_width() for bar in figure.axes[2].patches], 100 * teacher[::-1][2:])
    blue = [bar.get_facecolor() == figure.axes[1].patches[3].get_facecolor() for bar in figure.axes[1].patches]
    assert blue.count(True) == 1


def test_soft_targets_are_the_softmax() -> None:
    logits = np.array([4.0, 0.0, -2.0, 1.0])
    image = np.zeros((1, 8, 8), dtype=np.uint8)
    figure = plots.soft_targets(image, logits, ("a", "b", "c", "d"), (1.0, 4.0), 0)
    assert figure.axes[1].get_xlabel() and figure.axes[1].get_ylabel() and figure.axes[0].get_title() == "label a"
    heights = [patch.get_height() for patch in figure.axes[1].containers[1]]
    np.testing.assert_allclose(heights, 100 * np.exp(logits / 4) / np.exp(logits / 4).sum())


def test_colours_are_those_of_the_suite() -> None:
    assert plots.colour("forgetting easiest") == SCORER_COLOURS["forgetting"]
    assert plots.colour("medium") == SCORER_COLOURS["difficulty"]
    assert plots.colour("grand_last") == SCORER_COLOURS["grand"]
    assert plots.colour("unheard of") in PALETTE


def test_markers_tell_apart_what_colours_may_not() -> None:
    shown = [plots.marker(name) for name in ("random", "forgetting", "el2n", "grand_last", "medium")]
    assert len(set(shown)) == 5
    assert plots.marker("forgetting easiest") == plots.marker("forgetting")
    assert plots.named("el2n easiest") == "EL2N easiest"
