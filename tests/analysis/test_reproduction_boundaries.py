"""MD's pictures of boundaries and its Table 2: drawn from few students, which are looked at while they train."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from kdlib.analysis import reproduction
from kdlib.analysis.reproduction import FIGURES, boundaries, costs
from kdlib.analysis.reproduction.costs import Cost
from kdlib.experiments.fingerprint import dataset_of
from kdlib.experiments.run import load_student, run
from kdlib.experiments.samples import sample_scores
from kdlib.store.artefacts import Store
from kdlib.training.evaluate import embeddings

SMOKE = reproduction.setting("smoke")
THREE = ("hard", "easy", "medium")
TITLES = {
    "md-fig1": ["full", "hard", "easy"],
    "md-fig2": [*THREE],
    **{f"md-fig{k}": [f"{name}, epoch {epoch}/4" for name in THREE] for k, epoch in ((7, 2), (8, 3), (9, 4))},
    "md-table2": ["", ""],
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A map costs seconds and has tests of its own; here a random plane stands in for it."""

    def plane(features: Any, steps: int) -> Any:
        return features @ np.random.default_rng(0).standard_normal((features.shape[1], 2))

    monkeypatch.setattr(boundaries.boundaries, "tsne", plane)
    monkeypatch.setattr(costs, "PROBE_SECONDS", 0.01)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One store for all figures of boundaries: they show the same few students."""
    return Store(tmp_path_factory.mktemp("boundaries"))


@pytest.mark.parametrize("name", boundaries.FIGURES)
def test_boundaries_are_drawn_from_students_that_are_trained_once(name: str, store: Store) -> None:
    figure = FIGURES[name]
    found = reproduction.plan(figure, SMOKE, store)
    price = found.cost()
    assert price.students == len(found.missing) and (price.seconds > 0) == bool(found.missing)
    found.carry_out(progress=False)
    again = reproduction.plan(figure, SMOKE, store)
    assert again.rows.keys() == found.runs.keys() and again.cost() == Cost()
    assert figure.draw is not None
    picture = figure.draw(again.drawn())
    assert [axis.get_title() for axis in picture.axes] == TITLES[name]
    plt.close(picture)


def test_what_is_seen_at_the_end_is_the_student_itself(store: Store) -> None:
    """The features after the last epoch are those of the student that `run` trains; those in the middle are not."""
    figure = FIGURES["md-fig9"]
    found = reproduction.plan(figure, SMOKE, store)
    found.carry_out(progress=False)
    for r in found.runs:
        seen = boundaries.followed(r, store)
        assert seen is not None and seen["gradient"].shape == (4,) and (seen["gradient"] > 0).all()
        own = embeddings(load_student(r, store), dataset_of(r))[boundaries.drawn_samples(r)]
        np.testing.assert_allclose(seen["features"][-1], own, rtol=0.02, atol=0.02)
        assert np.abs(seen["features"][0] - own).max() > 0.1
        assert found.rows[r]["test_acc"] == pytest.approx(run(r, store)["test_acc"], abs=0.5)


def test_of_the_drawn_samples_those_are_dark_that_a_student_saw(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, Any] = {}
    monkeypatch.setattr(boundaries.plots, "maps", lambda panels, *_: shown.update(panels))
    found = reproduction.plan(FIGURES["md-fig1"], SMOKE, store)
    found.carry_out(progress=False)
    boundaries.teacher_space(found.drawn())
    (r,) = found.runs
    labels, drawn = dataset_of(r).train_y.numpy(), boundaries.drawn_samples(r)
    assert set(labels[drawn]) == set(boundaries.CLASSES) and (np.diff(drawn) > 0).all()
    full, hard, easy = (shown[name][1] for name in ("full", "hard", "easy"))
    assert full.chosen.all() and not (hard.chosen & easy.chosen).any(), "30% from either end have no sample in common"
    scores = sample_scores(r, store)[drawn]
    for c in range(3):
        own = full.labels == c
        assert scores[own & hard.chosen].min() >= scores[own & ~hard.chosen].max()
        assert scores[own & easy.chosen].max() <= scores[own & ~easy.chosen].min()
        assert (own & hard.chosen).sum() == (own & easy.chosen).sum() == round(0.3 * own.sum())


def test_gradient_sd_and_information_are_those_that_were_seen(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    tables: list[pd.DataFrame] = []
    monkeypatch.setattr(boundaries.plots, "measures", lambda table, columns: tables.append(table))
    found = reproduction.plan(FIGURES["md-table2"], SMOKE, store)
    found.carry_out(progress=False)
    boundaries.gradients_and_information(found.drawn())
    table = tables[0].set_index(["group", "seed"])
    assert len(table) == len(found.runs) == 6
    for r in found.runs:
        seen = boundaries.followed(r, store)
        assert seen is not None
        g = seen["gradient"]
        sd = np.sqrt(((g - g.mean()) ** 2).sum() / (len(g) - 1))
        line = table.loc[(boundaries.window_of(r), r.seed)]
        assert line.gradient_sd == pytest.approx(sd) and line.mutual_information == seen["information"][0]
        assert 0 < line.mutual_information < np.log(10)


def test_a_training_that_diverges_is_named() -> None:
    r = next(iter(FIGURES["md-fig7"].runs(SMOKE)))
    with pytest.raises(ValueError, match="the training on hard samples diverged in epoch 2"):
        boundaries._gathered(r, [{}, {}])
