"""Figures of lessons 00 and 02: sizes, labels, and that what is drawn is what was handed over."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from kdlib.analysis.plots import scores as plots
from kdlib.analysis.plots import start
from kdlib.analysis.plots.style import MAX_SIZE, SCORER_COLOURS

CLASSES = tuple("0123456789")


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


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


def student_rows(seeds: int = 4) -> pd.DataFrame:
    rows = [
        {"fraction": f, "loss": loss, "seed": s, "test_acc": 80 + 5 * (loss == "kd") + s, "kept": round(1000 * f)}
        for f in (0.05, 0.1)
        for loss in ("cross_entropy", "kd")
        for s in range(seeds)
    ]
    return pd.DataFrame(rows)


def toy() -> Figure:
    rng = np.random.default_rng(0)
    return plots.toy(rng.random((6, 2)), np.arange(6) % 2, np.arange(6), rng.random((9, 6)) < 0.5, {"A": 0, "B": 5})


def score_figures() -> dict[str, Figure]:
    rng = np.random.default_rng(0)
    values = {"forgetting": rng.integers(0, 4, 50).astype(float), "el2n": rng.random(50)}
    kept = {"easiest": np.arange(20), "hardest": np.arange(30, 50)}
    return {
        "toy": toy(),
        "distributions": plots.distributions(values),
        "correlations": plots.correlations(np.array([[1, 0.3], [0.3, 1]]), ["forgetting", "el2n"]),
        "overlaps": plots.overlaps([0.1, 0.5], {"forgetting": [0.4, 0.7]}),
        "reliability": plots.reliability({"el2n": {1: [0.2, 0.4, 0.3], 2: [0.5, 0.6, 0.7]}}),
        "window": plots.window(np.arange(50.0), images(50), kept, "score (unit)"),
        "label_noise": plots.label_noise(noise_table(5), 10.0, 0.1),
        "class_counts": plots.class_counts({"el2n": np.arange(10)}, 4.5, CLASSES),
        "students": start.students(student_rows(), 97.0, 98.0),
    }


def test_every_figure_fits_and_names_its_axes() -> None:
    for name, figure in score_figures().items():
        assert tuple(figure.get_size_inches()) <= MAX_SIZE, name
        drawn = [axis for axis in figure.axes if axis.lines or axis.patches or axis.collections]
        assert drawn, name
        for axis in drawn:
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
def test_examples_shows_the_given_pixels(channels: int) -> None:
    rows = {"hardest": images(4, channels), "easiest": images(5, channels)[:4]}
    figure = plots.examples(rows, CLASSES[:4])
    picture = np.asarray(figure.axes[0].images[0].get_array()).reshape(2 * 9, 4 * 9, channels)
    np.testing.assert_array_equal(picture[9:17, 18:26], rows["easiest"][2].transpose(1, 2, 0))
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["hardest", "easiest"]


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
    line = next(line for line in left.lines if line.get_label() == "most possible")
    f, share = np.asarray(line.get_xdata()) / 100, np.asarray(line.get_ydata())
    np.testing.assert_allclose(share, np.minimum(100, 10 / f))


def test_students_joins_equal_seeds() -> None:
    rows = student_rows().sample(frac=1, random_state=0)
    axis = start.students(rows, 97.0, 98.0).axes[0]
    pairs = [line.get_ydata() for line in axis.lines if len(line.get_ydata()) == 2 and line.get_marker() == "o"]
    assert len(pairs) == 4
    for none, kd in pairs:
        assert kd - none == 5


def test_soft_targets_shows_each_distribution() -> None:
    targets = {"label": np.eye(10)[3], "teacher": np.full(10, 0.1)}
    figure = start.soft_targets(images(1)[0], targets, CLASSES)
    assert [axis.get_title() for axis in figure.axes] == ["sample", "label", "teacher"]
    np.testing.assert_allclose([bar.get_height() for bar in figure.axes[1].patches], 100 * np.eye(10)[3])
    assert tuple(figure.get_size_inches()) <= MAX_SIZE
