"""The figures of lesson 15 draw the numbers that they are given."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kdlib.analysis.plots import imagenet as plots
from kdlib.analysis.plots.accuracy import BLUE, ORANGE
from tests.analysis.test_plots_accuracy import check, legend_texts


def test_tiny_run_has_a_pair_of_bars_for_each_training() -> None:
    rows = pd.DataFrame({"name": ["teacher", "student"], "test_acc": [40.0, 30.0], "test_top5": [80.0, 70.0]})
    figure = plots.tiny_run(rows)
    check(figure)
    widths = [[bar.get_width() for bar in bars] for bars in figure.axes[0].containers]
    assert widths == [[40, 30], [80, 70]] and legend_texts(figure) == ["top-1", "top-5"]


def test_an_image_that_is_dealt_twice_is_orange() -> None:
    figure = plots.dealing({"padded": [[0, 2], [1, 0]], "exact": [[0, 2], [1]]}, 3)
    check(figure)
    left, right = figure.axes
    colours = [patch.get_facecolor() for patch in left.patches]
    orange = [
        text.get_text()
        for text, colour in zip(left.texts, colours, strict=True)
        if np.allclose(colour[:3], rgb(ORANGE))
    ]
    assert orange == ["0"] and len(right.patches) == 3
    assert all(np.allclose(patch.get_facecolor()[:3], rgb(BLUE)) for patch in right.patches)


def rgb(name: str) -> tuple[float, ...]:
    return tuple(int(name[k : k + 2], 16) / 255 for k in (1, 3, 5))


def test_decoding_shows_rates_and_sizes() -> None:
    figure = plots.decoding({"full": 100.0, "draft": 150.0}, {"original": 110e3, "copy": 30e3})
    check(figure)
    widths = [[bar.get_width() for bar in axis.containers[0]] for axis in figure.axes]
    assert widths == [[100, 150], [110, 30]]


def test_costs_have_a_line_for_each_number_of_gpus_and_a_marker_for_each_bound() -> None:
    found = pd.DataFrame(
        [
            {"fraction": f, "gpus": g, "hours": 100 * f / g, "bound": "compute" if g == 1 else "reading"}
            for f in (0.1, 1.0)
            for g in (1, 8)
        ]
    )
    figure = plots.costs({"dkdp": found, "mine": found})
    check(figure)
    assert [axis.get_title() for axis in figure.axes] == ["DKDP: ResNet-50 from ResNet-50", "mine"]
    assert {"1 GPU", "8 GPUs", "compute", "reading"} == set(legend_texts(figure))
    eight = next(line for line in figure.axes[0].lines if line.get_label() == "8 GPUs")
    np.testing.assert_allclose(eight.get_ydata(), [10 / 8, 100 / 8])
    assert [line.get_marker() for line in figure.axes[0].lines if line.get_marker() != "None"] == ["o", "^"]
