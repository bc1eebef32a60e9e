"""Figures of lesson 05: what is drawn is what was handed over, labelled, within the course's size."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from kdlib.analysis import calibration, classes
from kdlib.analysis.plots import dark_knowledge as plots
from kdlib.analysis.plots.style import MAX_SIZE
from kdlib.utils import paths
from tests.analysis.test_calibration import predictions
from tests.analysis.test_classes import grouped
from tests.analysis.test_plots_accuracy import legend_texts


def check(figure: Figure) -> None:
    figure.canvas.draw()
    width, height = figure.get_size_inches()
    assert width <= MAX_SIZE[0] and height <= MAX_SIZE[1]
    assert all(axis.get_xlabel() or axis.get_ylabel() for axis in figure.axes)


def test_kinds_have_a_panel_for_each_measure() -> None:
    values = {"no KD": [90.0, 91.0, 92.0], "KD": [95.0, 96.0, 97.0]}
    figure = plots.kinds({"accuracy (percent)": values, "error (points)": values})
    check(figure)
    assert [axis.get_xlabel() for axis in figure.axes] == ["accuracy (percent)", "error (points)"]
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["no KD", "KD"]
    means = [
        line.get_xdata()[0] for line in figure.axes[0].lines if len(line.get_xdata()) == 1 and line.get_marker() in "oD"
    ]
    assert means == [91.0, 96.0] and "n = 3" in figure.axes[0].get_ylabel()


def test_reliability_leaves_out_bins_with_few_seeds_or_samples() -> None:
    bins = [calibration.reliability(*predictions(400, seed=s), 10) for s in range(4)]
    figure = plots.reliability({"no KD": bins, "KD": bins[:2]})
    check(figure)
    texts = legend_texts(figure)
    assert texts[0] == "calibrated" and texts[1] in ("no KD (n = 4)", "no KD (n = 3 to 4)") and "KD (n = " in texts[2]
    drawn = [container.lines[0].get_xdata() for container in figure.axes[0].containers]
    counts = np.array([b.counts for b in bins])
    full = (((counts > 0).sum(axis=0) >= 3) & (counts.mean(axis=0) >= 3)).sum()
    assert len(drawn[0]) == full


def test_confusions_stand_in_the_order_of_the_tree() -> None:
    relations = classes.class_relations(*grouped())
    counts = np.arange(36.0).reshape(6, 6)
    names = list("uvwxyz")
    figure = plots.tree_and_confusions(classes.tree(relations), counts, names)
    check(figure)
    left, right = figure.axes[:2]
    order = [tick.get_text() for tick in right.get_yticklabels()]
    assert order == [tick.get_text() for tick in left.get_yticklabels()][::-1], "the tree is drawn from the bottom"
    where = [names.index(name) for name in order]
    np.testing.assert_array_equal(right.images[0].get_array(), counts[np.ix_(where, where)])


def test_relation_matrix_is_ordered_by_superclass() -> None:
    table = pd.read_csv(paths.data() / "results" / "cifar100_teacher_relations.csv", index_col="class")
    figure = plots.relation_matrix(table)
    check(figure)
    shown = np.asarray(figure.axes[0].images[0].get_array())
    assert shown.shape == (100, 100)
    blocks = np.kron(np.eye(20), np.ones((5, 5))).astype(bool) & ~np.eye(100, dtype=bool)
    assert shown[blocks].mean() > 2 * shown[~blocks].mean(), "superclasses stand together"


def test_images_needed_has_a_line_for_each_source() -> None:
    found = classes.hierarchy(*grouped(), ["a", "a", "b", "b", "c", "c"], images=(1, 5))
    figure = plots.images_needed(found, 0.2)
    check(figure)
    assert legend_texts(figure) == [
        "chance",
        "soft targets (n = 4 to 20 parts)",
        "predicted classes (n = 4 to 20 parts)",
    ]
