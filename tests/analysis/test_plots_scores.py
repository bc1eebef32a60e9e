"""Figures of lessons 00 and 02: sizes, labels, and that what is drawn is what was handed over."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from kdlib.analysis.plots import scores as plots
from kdlib.analysis.plots import start
from kdlib.analysis.plots.style import MAX_SIZE, SCORER_COLOURS

CLASSES = tuple("0123456789")


def images(count: int, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, channels, 8, 8)).astype(np.uint8)


def noise_table(seeds: int) -> pd.DataFrame:
    points = [(f, 1.0) for f in (0.1, 0.5, 1.0)] + [(0.1, c) for c in (0.0, 0.5)]
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        [
            {"scorer": name, "seed": s, "fraction": f, "centre": c, "share": 100 * rng.random()}
            for name in ("forgetting", "forgetting_hardest", "random")
            for s in range(seeds)
            for f, c in points
        ]
    )


def toy() -> Figure:
    rng = np.random.default_rng(0)
    letters, normal = {"A": 0, "B": 5}, (1.2, 0.6)
    return plots.toy(rng.random((6, 2)), np.arange(6) % 2, np.arange(6), rng.random((9, 6)) < 0.5, letters, normal)


def never_learned_table(runs: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        [
            {"rule": rule, "fraction": f, "run": r, "share": 100 * rng.random()}
            for rule in ("counts as 0 events", "counts as hardest")
            for f in (0.1, 0.5, 1.0)
            for r in range(runs)
        ]
    )


def example_rows() -> tuple[dict[str, list[int]], np.ndarray, np.ndarray, np.ndarray]:
    soft = np.full((6, 10), 0.05)
    soft[np.arange(6), np.arange(6)] = 0.4
    soft[:, 9] = 0.25
    return {"hardest": [4, 2], "easiest": [1, 0]}, images(6), np.arange(6), soft


def score_figures() -> dict[str, Figure]:
    rng = np.random.default_rng(0)
    values = {"forgetting": rng.integers(0, 4, 50).astype(float), "el2n": rng.random(50), "aum": -rng.random(50)}
    kept = {"easiest": np.arange(20), "hardest": np.arange(30, 50)}
    matrix = np.array([[1, 0.3, 0.5], [0.3, 1, 0.4], [0.5, 0.4, 1]])
    return {
        "toy": toy(),
        "examples": plots.examples(*example_rows(), CLASSES),
        "pairs": plots.pairs(values, np.arange(5), "kept"),
        "agreement": plots.agreement(matrix, matrix, list(values), 0.1),
        "reliability": plots.reliability({"el2n": {1: [0.2, 0.4, 0.3], 2: [0.5, 0.6, 0.7]}}),
        "never_learned": plots.never_learned(never_learned_table(4), 20.0),
        "window": plots.window(np.arange(50.0), images(50), kept, "score (unit)"),
        "label_noise": plots.label_noise(noise_table(5), 10.0, 0.1),
        "class_counts": plots.class_counts({"el2n": np.arange(10)}, 4.5, CLASSES),
    }


SMALL = ("examples", "pairs")  # many small panels: one text below all of them, or one per column


def test_every_figure_fits_and_names_its_axes() -> None:
    for name, figure in score_figures().items():
        assert tuple(figure.get_size_inches()) <= MAX_SIZE, name
        drawn = [axis for axis in figure.axes if axis.lines or axis.patches or axis.collections]
        assert drawn, name
        for axis in drawn if name not in SMALL else ():
            shares_y = any(axis.get_shared_y_axes().joined(axis, other) and other.get_ylabel() for other in figure.axes)
            assert axis.get_xlabel() or axis.get_ylabel(), name
            assert axis.get_ylabel() or shares_y or axis.get_label() == "<colorbar>", name


def test_mean_interval_is_students() -> None:
    mean, half = plots.mean_interval([1.0, 2.0, 3.0])
    assert mean == 2 and half == pytest.approx(4.302653 / np.sqrt(3), rel=1e-5)  # t(0.975, 2 degrees of freedom)
    assert plots.mean_interval([1.0, 3.0])[0] == 2 and np.isnan(plots.mean_interval([1.0, 3.0])[1])


def test_a_scorer_has_one_colour_and_a_variant_its_familys() -> None:
    assert plots.colour("el2n") == SCORER_COLOURS["el2n"]
    assert plots.colour("forgetting_hardest") == SCORER_COLOURS["forgetting"]
    assert plots.line_style("forgetting_hardest") != plots.line_style("forgetting")
    assert plots.colour("something_new").startswith("#")


@pytest.mark.parametrize("channels", [1, 3])
def test_examples_shows_each_sample_beside_its_three_likeliest_classes(channels: int) -> None:
    groups, _, labels, soft = example_rows()
    pictures = images(6, channels)
    axes = np.array(plots.examples(groups, pictures, labels, soft, CLASSES).axes).reshape(2, 4)
    shown = np.asarray(axes[1, 0].images[0].get_array())
    np.testing.assert_array_equal(shown, pictures[1, 0] if channels == 1 else pictures[1].transpose(1, 2, 0))
    assert axes[1, 0].get_title() == "label 1" and axes[0, 0].get_ylabel() == "hardest"
    bars = axes[1, 1].patches
    np.testing.assert_allclose([bar.get_width() for bar in bars], [40, 25, 5])
    assert [text.get_text() for text in axes[1, 1].get_yticklabels()][:2] == ["1", "9"]
    assert bars[0].get_facecolor() != bars[1].get_facecolor(), "the label's bar stands out"
    assert [text.get_text() for text in axes[1, 3].get_xticklabels()] == ["0", "50", "100"]


def test_pairs_marks_the_kept_samples() -> None:
    values = {"el2n": np.arange(30.0), "aum": -np.arange(30.0)}
    figure = plots.pairs(values, np.arange(25, 30), "kept")
    tones = [tuple(tone) for tone in next(a for a in figure.axes if a.collections).collections[0].get_facecolors()]
    assert len(tones) == 30 and sorted(tones.count(tone) for tone in set(tones)) == [5, 25]
    assert [text.get_text() for text in figure.legends[-1].get_texts()] == ["the others", "kept"]


def test_agreement_shows_the_lower_half_without_the_diagonal() -> None:
    matrix = np.array([[1, 0.3, 0.5], [0.3, 1, 0.4], [0.5, 0.4, 1]])
    left, right = plots.agreement(matrix, matrix, ["forgetting", "el2n", "aum"], 0.1).axes
    assert [text.get_text() for text in left.texts] == ["0.30", "0.50", "0.40"]
    assert [text.get_text() for text in right.texts] == ["30", "50", "40"]
    assert [text.get_text() for text in left.get_yticklabels()] == ["EL2N", "AUM"]


def test_reliability_draws_the_mean_and_every_split() -> None:
    axis = plots.reliability({"el2n": {1: [0.2, 0.4, 0.3], 2: [0.5, 0.6, 0.7]}}).axes[0]
    np.testing.assert_allclose(axis.lines[0].get_ydata(), [0.3, 0.6])
    np.testing.assert_allclose(axis.collections[0].get_offsets()[:, 1], [0.2, 0.4, 0.3, 0.5, 0.6, 0.7])


@pytest.mark.parametrize("runs", [2, 4])
def test_never_learned_draws_means_and_a_band_only_from_three_runs(runs: int) -> None:
    table = never_learned_table(runs)
    axis = plots.never_learned(table, 20.0).axes[0]
    means = table[table.rule == "counts as hardest"].groupby("fraction").share.mean()
    line = next(line for line in axis.lines if line.get_label() == "counts as hardest")
    np.testing.assert_allclose(line.get_ydata(), means)
    assert all(bool(band.get_paths()) == (runs >= 3) for band in axis.collections)
    assert any(line.get_label() == "among all samples" and line.get_ydata()[0] == 20 for line in axis.lines)


def test_window_shades_the_kept_ranks_and_shows_their_ends() -> None:
    scores, pictures = np.random.default_rng(1).random(40), images(40)
    kept = np.argsort(scores)[10:20]
    figure = plots.window(scores, pictures, {"some": kept}, "score (unit)", shown=3)
    band = figure.axes[0].patches[0]
    assert (band.get_x(), band.get_x() + band.get_width()) == (10, 19)
    mosaic = np.asarray(figure.axes[1].images[0].get_array())
    np.testing.assert_array_equal(mosaic[:8, :8], pictures[np.argsort(scores)[10], 0])
    np.testing.assert_array_equal(mosaic[:8, 18:26], pictures[np.argsort(scores)[19], 0])


@pytest.mark.parametrize("seeds", [2, 5])
def test_label_noise_draws_means_and_a_band_only_from_three_seeds(seeds: int) -> None:
    table = noise_table(seeds)
    left, right = plots.label_noise(table, 10.0, 0.1).axes
    line = next(line for line in left.lines if line.get_label() == "random")
    part = table[(table.scorer == "random") & (table.centre == 1)].groupby("fraction").share.mean()
    np.testing.assert_allclose(line.get_ydata(), part)
    np.testing.assert_allclose(line.get_xdata(), [10, 50, 100])
    drawn = [bool(band.get_paths()) for band in right.collections]
    assert len(drawn) == 3 and all(d == (seeds >= 3) for d in drawn)


def test_most_possible_share_is_base_rate_over_f() -> None:
    left = plots.label_noise(noise_table(3), 10.0, 0.1).axes[0]
    line = next(line for line in left.lines if line.get_label() == "if every wrong label were kept first")
    f, share = np.asarray(line.get_xdata()) / 100, np.asarray(line.get_ydata())
    np.testing.assert_allclose(share, np.minimum(100, 10 / f))


def test_soft_targets_shows_each_distribution() -> None:
    targets = {"label": np.eye(10)[3], "teacher": np.full(10, 0.1)}
    figure = start.soft_targets(images(1)[0], targets, CLASSES)
    assert [axis.get_title() for axis in figure.axes] == ["sample", "label", "teacher"]
    np.testing.assert_allclose([bar.get_height() for bar in figure.axes[1].patches], 100 * np.eye(10)[3])
    assert tuple(figure.get_size_inches()) <= MAX_SIZE
