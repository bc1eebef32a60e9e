"""Scores that are shipped: found before trainings are carried out, whatever the order of the samples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from kdlib import Run, Store, run
from kdlib.data.core import Dataset
from kdlib.experiments import samples, score_tables, study
from kdlib.experiments.fingerprint import dataset_of
from kdlib.experiments.run import needed_artefacts
from kdlib.experiments.samples import cost_of_scores, kept_samples, sample_scores
from tests.experiments.short_runs import SHORT, without_costs

SCORED = Run(**{**SHORT, "scorer": "el2n", "score_runs": 2, "fraction": 0.2}, seed=31)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KDLIB_ROOT", str(tmp_path))
    return tmp_path


def ship(r: Run, store: Store) -> np.ndarray:
    scores, (seconds, images) = sample_scores(r, store), cost_of_scores(r, store)
    score_tables.ship("table", scores, r, {"seconds": seconds, "images": images})
    return scores


def test_a_run_with_shipped_scores_scores_nothing(store: Store, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run(SCORED, store)
    ship(SCORED, store)
    monkeypatch.setattr(samples, "record", lambda *a, **k: pytest.fail("networks were trained to be scored"))
    row = run(SCORED, Store(project / "other"))
    assert without_costs(row) == without_costs(expected)
    assert row["score_images"] == expected["score_images"] > 0
    assert len(needed_artefacts(SCORED)) == len(needed_artefacts(replace(SCORED, scorer="random")))


def test_scores_find_their_samples_in_another_order(store: Store, project: Path) -> None:
    scores, data = ship(SCORED, store), dataset_of(SCORED)
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(scores)))
    moved = replace(data, train_x=data.train_x[order], train_y=data.train_y[order])
    table = project / "data" / "scores" / "table.csv"
    found = score_tables._read(table, 0, moved)
    unequal = [not name.count("-") for name in score_tables.image_digests(moved)]  # of equal samples any order is right
    assert (found == scores[order.numpy()])[unequal].all() and sum(unequal) > 1300


def test_equal_samples_have_digests_of_their_own() -> None:
    x = torch.zeros(4, 1, 2, 2, dtype=torch.uint8)
    data = Dataset("four", x, torch.tensor([0, 0, 1, 0]), x, torch.zeros(4), ("a", "b"), (0.0,), (1.0,))
    first, second, other, third = score_tables.image_digests(data)
    assert (second, third) == (f"{first}-2", f"{first}-3") and other[:6] != first[:6]


@pytest.mark.parametrize(
    "change",
    [{"scorer": "forgetting"}, {"scorer": "el2n(at=0.5)"}, {"score_runs": 3}, {"score_recipe": "epochs=3"}],
)
def test_other_scores_are_not_taken(store: Store, project: Path, change: dict) -> None:
    ship(SCORED, store)
    assert score_tables.shipped(SCORED) is not None
    assert score_tables.shipped(replace(SCORED, **change)) is None


def test_scores_of_other_labels_are_not_taken(store: Store, project: Path) -> None:
    ship(SCORED, store)
    assert score_tables.shipped(replace(SCORED, label_noise=0.2)) is None


def test_a_table_that_lacks_a_sample_is_named(store: Store, project: Path) -> None:
    ship(SCORED, store)
    table = project / "data" / "scores" / "table.csv"
    pd.read_csv(table, dtype=str)[1:].to_csv(table, index=False)
    with pytest.raises(ValueError, match="table.csv has not exactly one row for each training sample of digits"):
        kept_samples(SCORED, store)


@pytest.mark.parametrize("change", [{"scorer": "random"}, {"fraction": 1.0}, {"selection": "ccs"}])
def test_what_scores_cannot_decide_is_not_shipped(change: dict) -> None:
    """A rule that reads what trainings recorded needs them, however it gets its scores."""
    assert not score_tables.can_be_shipped(replace(SCORED, **change))


def test_a_study_ships_the_scores_that_it_has(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = replace(SCORED, scorer="forgetting", score_recipe="epochs=3")
    monkeypatch.setattr(study, "runs_of", lambda name: {SCORED: "a", replace(SCORED, seed=32): "a", other: "b"})
    store = Store(project / "store")
    assert study.ship_scores("smoke", store, "abc") == []
    kept = kept_samples(SCORED, store)
    (table,) = study.ship_scores("smoke", store, "abc")
    assert table.name == "digits_el2n_mlp_e2_r2.csv" and study.ship_scores("smoke", store, "abc") == []
    assert (kept_samples(SCORED, Store(project / "other")) == kept).all()
