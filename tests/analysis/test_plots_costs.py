"""Figures of costs: what is drawn is what was counted."""

import numpy as np
import pandas as pd

from kdlib.analysis.costs import Cost
from kdlib.analysis.plots import costs as plots

PLAIN = Cost(1000, 0, 0, 0)


def test_a_line_for_each_method_and_the_level() -> None:
    found = pd.DataFrame(
        {
            "name": ["random, KD", "random, KD", "all data"],
            "cost": [0.1, 0.7, 0.5],
            "mean": [80.0, 90, 85],
            "half": 1.0,
            "n": 5,
        }
    )
    axis = plots.against_cost(found, 97.0, "all data").axes[0]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["random, KD (n = 5)", "all data (n = 5)"]
    assert axis.texts[0].get_text() == "all data: 97.0%"


def test_bars_end_at_the_total() -> None:
    axis = plots.made_of({"a": Cost(700, 1000, 0, 50), "b": Cost(700, 0, 5000, 0)}, 1000).axes[0]
    assert axis.get_xlim()[1] > 5.7
    ends = [
        max(bar.get_x() + bar.get_width() for bar in axis.patches if round(bar.get_y() + 0.35) == y) for y in (0, 1)
    ]
    np.testing.assert_allclose(ends, [1.75, 5.7])


def test_the_price_is_shared_by_the_students() -> None:
    axis = plots.over_students({"EL2N": Cost(500, 1000, 0, 0)}, PLAIN, [1, 2, 10]).axes[0]
    np.testing.assert_allclose(axis.lines[0].get_ydata(), [1.5, 1.0, 0.6])


def test_curves_are_means_over_image_steps() -> None:
    axis = plots.over_steps({"medium, KD": ([100, 200], np.array([[80.0, 90], [82, 92], [84, 94]]))}, 1000, 70).axes[0]
    np.testing.assert_allclose(axis.lines[0].get_xydata(), [[0.1, 82], [0.2, 92]])
    assert len(axis.collections) == 1, "three seeds have a band"


def test_times_have_a_tick_at_each_number_of_steps() -> None:
    rows = pd.DataFrame({"images": [25_000, 50_000], "seconds": [40.0, 80.0], "kind": ["KD", "no KD"]})
    rows["suspended"] = [False, True]
    axis = plots.seconds_against_steps(rows).axes[0]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["25", "50"]
    assert [line.get_markerfacecolor() == "white" for line in axis.lines] == [False, True]


def test_a_method_has_one_colour_and_its_line_says_whether_it_has_a_teacher() -> None:
    found = plots.looks(["random, no KD", "random, KD", "random 10%, KD", "EL2N of 5, stopped early"])
    assert [look["ls"] for look in found.values()] == ["--", "-", "-", "--"]
    assert len({found[name]["color"] for name in list(found)[:3]}) == 1
    assert [look["markerfacecolor"] == "white" for look in found.values()] == [False, False, True, False]
