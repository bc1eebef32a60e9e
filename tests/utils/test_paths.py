"""Where files lie."""

from pathlib import Path

import matplotlib.pyplot as plt

from kdlib.analysis.plots import style
from kdlib.utils import paths


def test_a_notebook_run_by_hand_does_not_write_over_the_lessons_figures(monkeypatch, tmp_path):
    """JupyterLab, plain papermill and VS Code set nothing; the lessons' runner names the folder."""
    monkeypatch.setenv("KDLIB_ROOT", str(tmp_path))
    monkeypatch.delenv("KDLIB_FIGURES")
    figure = plt.figure()
    by_hand = style.save(figure, "03_curve")
    monkeypatch.setenv("KDLIB_FIGURES", str(tmp_path / "scratch"))
    by_runner = style.save(figure, "03_curve")
    plt.close(figure)
    assert by_hand == tmp_path / "figures" / "runs" / "03_curve.svg"
    assert by_runner == tmp_path / "scratch" / "03_curve.svg"
    assert [p.name for p in (tmp_path / "figures").iterdir()] == ["runs"]


def test_the_checkout_is_the_project(monkeypatch):
    monkeypatch.delenv("KDLIB_ROOT", raising=False)
    assert paths.root() == Path(paths.__file__).parents[2]
