"""Figures on teachers: what is drawn is what the table holds."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from kdlib.analysis.plots import capacity as plots

SIZES = {"small": 100, "own": 1000, "other": 3000, "large": 10_000}


def points(**columns: object) -> pd.DataFrame:
    return pd.DataFrame({"mean": 90.0, "half": 1.0, "n": 6, **columns})


def errorbars(axis: plt.Axes) -> list[tuple[str, list[float]]]:
    """(line style, x) of the drawn points."""
    return [(bar.lines[0].get_linestyle(), list(bar.lines[0].get_xdata())) for bar in axis.containers]


def test_a_teacher_of_another_family_stands_apart_from_the_line() -> None:
    found = points(teacher=list(SIZES), fraction=0.1)
    axis = plots.against_size(found, SIZES, "own", ["other"], {0.1: 80.0}).axes[0]
    assert errorbars(axis) == [("-", [100, 1000, 10_000]), ("None", [3000])]
    assert [text.get_text() for text in axis.get_xticklabels()][0] == "small\n100"
    assert 80.0 in [line.get_ydata()[0] for line in axis.lines if len(line.get_ydata())]


def test_each_f_has_a_line_with_its_n() -> None:
    found = pd.concat([points(teacher=list(SIZES), fraction=f) for f in (0.02, 0.1)])
    figure = plots.against_size(found, SIZES, "own", [], {0.02: 70.0, 0.1: 80.0})
    names = {text.get_text() for text in figure.legends[0].get_texts()}
    assert {"f = 2% (n = 6)", "f = 10% (n = 6)", "no KD, same f"} <= names
    figure = plots.against_size(found, SIZES, "own", [], {}, each=2)
    assert "f = 2% (6 students of 3 teachers)" in {text.get_text() for text in figure.legends[0].get_texts()}


def test_temperatures_have_a_line_for_each_teacher_and_a_tick_for_each_value() -> None:
    found = pd.concat([points(tau=[2.0, 4.0, 7.0], size=size) for size in (100, 1000, 10_000)])
    figure = plots.temperatures(found, {size: name for name, size in SIZES.items()})
    axis = figure.axes[0]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "small (n = 6)",
        "own (n = 6)",
        "large (n = 6)",
    ]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["2", "4", "7"]


def test_teacher_data_begins_at_the_students_own_fraction() -> None:
    found = points(fraction=[0.1, 0.1, 0.4, 0.4], teacher_fraction=[0.1, 1.0, 0.4, 1.0])
    assert errorbars(plots.teacher_data(found).axes[0]) == [
        ("-", [0.1, 1.0]), ("None", []), ("-", [0.4, 1.0]), ("None", []),
    ]  # fmt: skip


def test_boundaries_have_a_panel_for_each_network_and_both_classes() -> None:
    field = np.linspace(0, 1, 9).reshape(3, 3)
    figure = plots.boundaries({"a": field, "b": field}, 2.0, np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([0, 1]))
    panels = figure.axes[:2]
    assert [axis.get_title() for axis in panels] == ["a", "b"]
    assert all(len(axis.lines) == 2 and axis.images[0].get_array().shape == (3, 3) for axis in panels)
    crossed = plots.boundaries({"a": field}, 2.0, np.zeros((2, 2)), np.array([0, 1]), np.array([[1.0, 2.0]])).axes[0]
    assert crossed.lines[-1].get_marker() == "x" and crossed.lines[-1].get_xdata().tolist() == [1.0]


def test_effects_without_an_interval_are_points() -> None:
    axis = plots.effects_of({"sure": (-1.0, 0.5), "trained": (0.2, float("nan"))}, "points").axes[0]
    assert [text.get_text() for text in axis.get_yticklabels()] == ["sure", "trained"]
    assert [bar.has_xerr for bar in axis.containers] == [True, False]


def test_a_study_without_rows_says_so_and_one_with_rows_is_drawn() -> None:
    found = points(student="own", teacher=["small", "large"], fraction=0.1)
    assert [text.get_text() for text in plots.in_study(found.iloc[:0], SIZES.__getitem__, {}).axes[0].texts] == [
        "no rows yet"
    ]
    axis = plots.in_study(found, SIZES.__getitem__, {0.1: 20.0, 0.7: 60.0}).axes[0]
    assert [line.get_ydata()[0] for line in axis.lines if line.get_linestyle() == "--" and len(line.get_ydata())] == [
        20.0
    ]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["small\n100", "own\n1,000", "large\n10,000"]
