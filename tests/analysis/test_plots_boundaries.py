"""Figures of decision boundaries show their tables."""

import numpy as np
import pandas as pd
import pytest
import torch

from kdlib.analysis import boundaries
from kdlib.analysis.plots import boundaries as plots


def labelled(figure):
    assert all(axis.get_xlabel() for axis in figure.axes)
    assert figure.axes[0].get_ylabel()
    assert tuple(figure.get_size_inches()) <= (6.0, 3.5)
    return figure


def some_plane():
    return boundaries.plane_through(*torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]]), side=9, margin=0.2)


def test_maps_draw_each_panel_on_its_own_axes():
    xy, labels = np.random.default_rng(0).standard_normal((12, 2)), np.arange(12) % 3
    given = plots.Scatter(xy, labels, labels > 0)
    x, y, points = plots.grid_over(xy, side=5)
    assert points.shape == (25, 2) and x[0] < xy[:, 0].min() and y[-1] > xy[:, 1].max()
    shared = labelled(plots.maps({"a": (np.zeros((5, 5)), given)}, x, y, ("u", "v"), 3))
    drawn = sum(len(c.get_offsets()) for c in shared.axes[0].collections)
    assert drawn == 12
    own = labelled(plots.maps({"a": (np.zeros((5, 5)), given)}, {"a": x}, {"a": 2 * y}, ("u", "v"), 3))
    assert own.axes[0].get_ylim() == pytest.approx((2 * y[0], 2 * y[-1]))


def test_planes_name_regions_without_a_corner_of_their_class():
    plane, found = some_plane(), np.zeros((9, 9), int)
    found[:, 5:] = 2
    figure = labelled(plots.planes({"teacher": found}, plane, ["0", "1", "0"], ["0", "1", "2"]))
    named = [text.get_text() for text in figure.axes[0].texts]
    assert named == ["0", "1", "0", "2"], "three corners, then the one region that no corner explains"


def test_drifts_show_every_seed_and_the_baseline():
    rows = [
        {"group": name, "seed": s, "drift": mean + s}
        for name, mean in (("easy", 20.0), ("hard", 10.0), ("all", 5.0))
        for s in range(3)
    ]
    left, right = labelled(plots.drifts(pd.DataFrame(rows))).axes
    assert [t.get_text() for t in left.get_yticklabels()] == ["easy", "hard"]
    assert sorted(right.lines[0].get_xdata()) == [15.0, 15.0, 15.0], "paired by seed"


def test_over_epochs_has_a_band_from_three_seeds_on():
    curves = {"easy": np.random.default_rng(0).uniform(10, 20, (3, 30)), "hard": np.full((2, 30), 5.0)}
    axis = labelled(plots.over_epochs(curves, 8.0)).axes[0]
    assert len(axis.collections) == 1
    assert [t.get_text() for t in axis.get_xticklabels()] == ["1", "2", "5", "10", "20", "30"]


def test_seeds_of_a_map_and_measures_draw_a_line_and_a_panel_for_each():
    table = pd.DataFrame({"group": ["hard", "easy"] * 2, "map_seed": [0, 0, 1, 1], "drift": [1.0, 2.0, 3.0, 4.0]})
    axis = labelled(plots.seeds_of_a_map(table)).axes[0]
    assert [list(line.get_ydata()) for line in axis.lines] == [[1.0, 3.0], [2.0, 4.0]]
    records = pd.DataFrame({"group": ["easy", "hard"] * 3, "seed": [0, 0, 1, 1, 2, 2], "a": range(6), "b": range(6)})
    figure = labelled(plots.measures(records, {"a": "A", "b": "B"}))
    assert [axis.get_xlabel() for axis in figure.axes] == ["A", "B"]
    assert "n = 3" in figure.axes[0].get_ylabel()
