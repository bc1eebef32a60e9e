"""Sentences of lesson 00 on made-up numbers: their form follows from the numbers, both ways."""

import math

import numpy as np
import pytest

from kdlib.analysis.plots import start, style
from kdlib.analysis.statistics import Interval
from kdlib.analysis.tell import start as tell
from tests.analysis.figures import check

UP, DOWN, FLAT, TWO = Interval(3.0, 1.0, 5), Interval(-3.0, 1.0, 5), Interval(0.5, 1.0, 5), Interval(3.0, math.nan, 2)
LOW, HIGH = [80.0, 81.0, 82.0, 81.5], [90.0, 91.5, 92.0, 91.0]


@pytest.mark.parametrize(
    ("found", "word"), [(UP, "higher"), (DOWN, "lower"), (FLAT, "no difference detected"), (TWO, tell.NO_VERDICT)]
)
def test_direction(found, word):
    assert tell.direction(found) == word


def test_amount():
    assert tell.amount(UP) == "+3.0 ± 1.0" and tell.amount(TWO, signed=False) == "3.0"


def test_comparison_is_paired():
    """A difference that is the same for every seed is certain, however much the seeds differ."""
    text = tell.comparison({"no KD": [70.0, 80.0, 90.0], "KD": [71.0, 81.0, 91.0]}, "no KD").data
    assert "+1.0 ± 0.0 | higher" in text and "n = 3" in text and text.count("higher") == 1


def test_gain_table():
    text = tell.gain_table({"27": (LOW, HIGH), "54": (HIGH, LOW), "67": (LOW, LOW)}).data
    rows = text.splitlines()[-3:]
    assert [row.rstrip("| ").split("| ")[-1] for row in rows] == ["higher", "lower", "no difference detected"]


def test_a_cause_needs_every_control_to_fall_short():
    controls = {"smooth": "softness", "other": "the class"}
    values = {"no KD": LOW, "smooth": LOW, "other": LOW, "KD": HIGH}
    assert "None of these alone gives the whole gain" in tell.cause(values, "no KD", "KD", controls).data
    rival = tell.cause({**values, "other": HIGH}, "no KD", "KD", controls).data
    assert "open between" in rival and "the class may be enough" in rival and "softness is not enough" in rival
    assert "no gain to explain" in tell.cause({**values, "KD": LOW}, "no KD", "KD", controls).data
    two = {name: found[:2] for name, found in values.items()}
    assert tell.NO_VERDICT in tell.cause(two, "no KD", "KD", controls).data


def test_change_and_longer():
    assert "rises" in tell.change("KD", LOW, HIGH, "here") and "falls" in tell.change("KD", HIGH, LOW, "here")
    still, climbing = np.array([LOW, LOW]).T, np.array([LOW, HIGH]).T
    before = {"no KD": LOW, "KD": [80.3, *LOW[1:]]}
    grows = tell.longer({"no KD": still, "KD": climbing}, [60, 1320], 27, before).data
    assert "no KD, from 60 to 1,320 steps: 81.1% to 81.1%, +0.0 ± 0.0 points: no change detected" in grows
    assert "points: it grows." in grows and "for one seed is 0.3 points" in grows
    assert "it shrinks." in tell.longer({"no KD": climbing, "KD": still}, [60, 1320], 27, before).data


def test_training_says_whether_the_loss_falls():
    assert "The loss falls" in tell.training([2.0, 0.1], [50.0, 97.0]).data
    assert "does not fall" in tell.training([2.0, 2.5], [50.0, 10.0]).data


def test_agreement_names_the_largest_difference():
    assert "is 0.50 points" in tell.agreement({"KD": [90.0, 91.0]}, {"KD": [90.0, 90.5]}).data


def test_a_stub_left_as_it_was_is_named():
    assert "still kdlib's" in tell.checked(np.sin, np.sin, 1.0).data
    assert "agrees" in tell.checked(lambda x: np.sin(x), np.sin, np.arange(3.0)).data
    with pytest.raises(AssertionError):
        tell.checked(np.cos, np.sin, np.arange(3.0))


def test_answers_are_folded():
    curves = {"last": np.array([LOW, LOW]).T, "even": np.array([LOW, HIGH]).T}
    figure = start.curves([54, 67], curves, "kept samples", log=False)
    sizes = {54: [[54], [54]], 67: [[64, 3], [34, 33]]}
    text = tell.detective("samples", sizes, curves, {67: (LOW, LOW)}, figure).data
    assert text.startswith("<details>") and text.endswith("</details>")
    assert "67 samples, 34 + 33 against 64 + 3: +10.0" in text and "data:image/png" in text
    assert (
        "54 samples: the same batches" in text and "+0.0 ± 0.0 points (no difference detected); with KD minus" in text
    )
    assert "Change it first" in tell.against("alpha = 0.5", LOW, "alpha = 0.5", LOW).data
    assert "lower" in tell.against("alpha = 1", LOW, "alpha = 0.5", HIGH).data


def test_figures_of_the_first_lesson():
    """Both axes are named, the page is not left, and bands appear from three seeds on only."""
    style.use()
    values = {"no KD": np.array([LOW, LOW]).T, "KD": np.array([LOW, HIGH]).T}
    soft = {"label": np.eye(3)[0], "teacher": np.full(3, 1 / 3)}
    figures = [
        start.training([2.0, 0.1], [50.0, 97.0]),
        start.soft_targets(np.zeros((1, 8, 8)), soft, "abc"),
        start.curves([27, 54], values, "kept samples", {"all samples": 97.0, "teacher": 98.0}),
        start.controls({"no KD": LOW, "label smoothing": LOW, "KD": HIGH}, "no KD"),
    ]
    for figure in figures:
        width, height = figure.get_size_inches()
        assert width <= 6 and height <= 3.5
        assert all(axis.get_xlabel() for axis in figure.axes if axis.axison)
        assert any(axis.get_ylabel() for axis in figure.axes)
        style.close(figure)
    for seeds, bands in ((4, 2), (2, 0)):
        figure = start.curves([27, 54], {name: v[:seeds] for name, v in values.items()}, "steps")
        assert len(figure.axes[0].collections) == bands
        assert f"KD (n = {seeds})" in [text.get_text() for text in figure.legends[0].get_texts()]
        style.close(figure)


def test_gradients_that_run_out():
    text = tell.running_out({"no KD": [[1.0, 3.0], [0.001, 0.003]], "KD": [[2.0, 2.0], [0.1, 0.3]]}, [1, 2]).data
    assert "| 1 | 2 | 2 | 1 |" in text and "| 2 | 0.002 | 0.2 | 100 |" in text


def test_the_figure_of_what_is_left_keeps_its_axes():
    gradients = {"no KD": [[1.0, 0.5], [1e-3, 2e-3]], "KD": [[0.9, 2.0], [0.1, 0.2]]}
    early, late = (start.running_out(gradients, {"no KD": [10.0, 50.0], "KD": [20.0, 60.0]}, step) for step in (1, 2))
    for figure in (early, late):
        check(figure)
    assert [a.get_ylim() for a in early.axes] == [a.get_ylim() for a in late.axes]
    assert early.axes[0].get_ylim()[0] < 1e-3, "the smallest gradient is inside"
    assert [a.get_xlim() for a in early.axes][1] == [a.get_xlim() for a in late.axes][1]
    assert list(late.axes[0].lines[0].get_ydata()) == [2e-3, 1e-3], "the strongest first"
    style.close(early), style.close(late)
