"""Figures of lesson 12: what is drawn is what was handed over, labelled, within the course's size."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kdlib.analysis.plots import noise as plots
from tests.analysis.figures import check


def test_learning_draws_percent() -> None:
    figure = plots.learning({"right": [0.1, 0.9], "wrong": [0.0, 0.2]}, 0.1)
    check(figure)
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), [10, 90])


def table(prunings: tuple[str, ...]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"pruning": name, "alpha": alpha, "label_noise": rate, "mean": 10 * k + rate, "half": 1.0, "n": 6}
            for k, name in enumerate(prunings)
            for alpha in (0.0, 0.5)
            for rate in (0.1, 0.4)
        ]
    )


def test_kept_shares_and_accuracies_have_a_line_for_each_pruning() -> None:
    names = ("random", "forgetting", "forgetting_hardest", "difficulty", "medium", "difficulty easiest")
    found = table(names)
    figure = plots.kept_shares(found[found.alpha == 0])
    check(figure)
    lines = [box.lines[0] for box in figure.axes[0].containers]
    assert len(lines) == len(names)
    np.testing.assert_allclose(lines[1].get_ydata(orig=False), [10.1, 10.4])
    looks = {(line.get_color(), line.get_linestyle()) for line in lines}
    assert len(looks) == len(names), "lines of one colour differ in style"
    figure = plots.accuracy_under_noise(found, {0.0: "without", 0.5: "with"})
    check(figure)
    assert [axis.get_title() for axis in figure.axes] == ["without", "with"]


def test_hardest_names_both_labels_of_a_wrong_one() -> None:
    images = np.zeros((3, 1, 8, 8), dtype=np.uint8)
    figure = plots.hardest(images, ["1", "2", "3"], ["1", "7", "3"], {"forgetting": [0, 1], "el2n": [1, 2]})
    assert [axis.get_title() for axis in figure.axes] == ["1", "2, not 7", "2, not 7", "3"]


def test_recall_goes_from_the_rarest_class() -> None:
    figure = plots.recall_by_class({"KD": np.array([[90.0, 50.0], [92.0, 54.0]])}, [100, 5])
    check(figure)
    line = figure.axes[0].containers[0].lines[0]
    np.testing.assert_allclose(line.get_xdata(orig=False), [5, 100])  # one line alone is not shifted
    np.testing.assert_allclose(line.get_ydata(orig=False), [52, 91])
