"""Figures of lesson 09: what is drawn is what was handed over, labelled, within the course's size."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from kdlib.analysis.plots import medium as plots
from tests.analysis.figures import check


def found(column: str, names: list, half: float = 1.0, n: int = 5) -> pd.DataFrame:
    rows = [
        {column: name, "fraction": f, "mean": k + 10 * f - 2, "half": half, "n": n}
        for k, name in enumerate(names)
        for f in (0.05, 0.3)
    ]
    return pd.DataFrame(rows)


def labels(figure: Figure) -> list[str]:
    return [text.get_text() for axis in figure.axes if (key := axis.get_legend()) for text in key.get_texts()]


def test_toy_has_a_panel_for_each_window() -> None:
    rng = np.random.default_rng(0)
    figure = plots.toy(rng.normal(size=(30, 2)), np.arange(30) % 3, {"all": np.arange(30), "hard": np.arange(6)})
    check(figure)
    sizes = [len(dots.get_offsets()) for dots in figure.axes[1].collections]
    assert figure.axes[1].get_title() == "hard" and sorted(sizes) == [2, 2, 2, 8, 8, 8]


def test_who_learns_shows_both_tables() -> None:
    records = [
        {"group": g, "seed": s, "teacher_acc": 99.0, "student_acc": 90.0 + s} for g in plots.GROUPS for s in range(3)
    ]
    taught = [
        {"kept": k, "group": g, "seed": s, "test_acc": 70.0 + 5 * (k == "hard")}
        for k in ("random", "hard")
        for g in plots.GROUPS
        for s in range(3)
    ]
    figure = plots.who_learns(pd.DataFrame(records), pd.DataFrame(taught))
    check(figure)
    assert labels(figure) == ["teacher", "student (n = 3)"]
    assert [text.get_text() for text in figure.axes[1].texts] == ["70.0"] * 3 + ["75.0"] * 3, "the table's own order"


def test_by_window_names_the_kinds_and_leaves_random_out_of_the_differences() -> None:
    kinds = ["random", "difficulty easiest", "medium", "difficulty"]
    runs = pd.DataFrame(
        [
            {"pruning": p, "fraction": f, "seed": s, "test_acc": 50.0 + s}
            for p in kinds
            for f in (0.05, 0.3)
            for s in (0, 1, 2)
        ]
    )
    figure = plots.by_window(runs, found("pruning", kinds[1:]))
    check(figure)
    assert labels(figure) == [f"{word} (n = 3)" for word in ("random", "easy", "medium", "hard")]
    assert len(figure.axes[0].containers) == 4 and len(figure.axes[1].containers) == 3


def test_window_map_is_bold_where_detected_and_has_the_hardest_on_top() -> None:
    figure = plots.window_map(found("centre", [0.0, 0.5, 1.0], half=0.9))
    check(figure)
    axis = figure.axes[0]
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["1", "0.5", "0"]
    weights = {text.get_text(): text.get_fontweight() for text in axis.texts}
    assert weights["+3.0"] == "bold" and weights["+0.5"] == "normal" and weights["-1.5"] == "bold"


def test_profile_draws_one_column() -> None:
    figure = plots.profile(found("centre", [0.0, 0.5, 1.0]), 0.3)
    check(figure)
    np.testing.assert_allclose(np.asarray(figure.axes[0].containers[0][0].get_ydata(), dtype=float), [1, 2, 3])


def test_reshaped_shows_before_and_after() -> None:
    rows = {"under": (np.arange(3.0), 2 * np.arange(3.0)), "over": (np.arange(3.0), np.arange(3.0) / 2)}
    figure = plots.reshaped(rows, np.ones(3), ["a", "b", "c"])
    check(figure)
    assert [bar.get_height() for bar in figure.axes[0].containers[1]] == [0, 2, 4] and len(figure.axes) == 3


def test_reshape_effects_has_a_line_for_each() -> None:
    figure = plots.reshape_effects(found("reshape", ["class-wise", "SKD"]))
    check(figure)
    assert labels(figure) == ["class-wise (n = 5)", "SKD (n = 5)"]


def test_beside_says_what_is_not_measured() -> None:
    figure = plots.beside({"paper": found("line", ["vgg8"], n=3), "ours": found("line", [])}, "minus random (points)")
    check(figure)
    assert [text.get_text() for text in figure.axes[1].texts] == ["not measured yet"]
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim() and labels(figure) == ["vgg8 (n = 3)"]


def test_points_of_two_seeds_have_no_interval() -> None:
    check(plots.window_map(found("centre", [0.0, 1.0], half=float("nan"), n=2)))
    check(plots.reshape_effects(found("reshape", ["SKD"], half=float("nan"), n=2)))
