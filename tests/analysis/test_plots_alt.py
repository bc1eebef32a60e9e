"""The words for a figure come from its own titles, labels and legends."""

import matplotlib.pyplot as plt
import pytest

from kdlib.analysis.plots import inline
from kdlib.analysis.plots.alt import LONGEST, describe


@pytest.fixture
def figure():
    found = plt.figure()
    yield found
    plt.close(found)


def test_a_chart(figure):
    axis = figure.subplots()
    axis.plot([1, 2], [3, 4], label=r"KD, $\tau$ = 4")
    axis.set(xlabel="kept fraction $f$", ylabel="accuracy (%)", title="digits")
    axis.legend()
    assert describe(figure) == "Chart of digits: accuracy (%) against kept fraction f; shown: KD, tau = 4."
    assert inline.described_png(figure)[1] == {"alt": describe(figure)}


def test_equal_panels_are_named_once_and_pictures_are_no_charts(figure):
    for axis in figure.subplots(1, 3):
        axis.imshow([[0, 1]])
        axis.set_title("label 7")
    assert describe(figure) == "Picture of label 7."


def test_a_figure_without_words(figure):
    figure.subplots().imshow([[0, 1]])
    assert describe(figure) == "Picture of samples."


def test_long_texts_are_cut(figure):
    for k, axis in enumerate(figure.subplots(5, 5).ravel()):
        axis.set_title(f"a panel with a long title, number {k}")
    assert len(describe(figure)) <= LONGEST and describe(figure).endswith(" ...")
