"""Teachers and what is kept of them: trainings on all data, and their signals."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from kdlib.store.artefacts import Store
from kdlib.training.evaluate import accuracy, predict
from kdlib.training.recipe import Recipe
from kdlib.training.reference_runs import SUBSET_RUNS, FullRuns, full_runs, load_model, signals
from tests.plain import CLASSES, small_data

DATA = small_data()
RECIPE = Recipe(epochs=4, batch_size=16, lr=0.05)
RUNS = FullRuns("mlp", RECIPE, seeds=(0, 1), early=0.5)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("teachers"))


# -- trainings on all data


def test_full_runs_hold_weights_and_signals(store: Store) -> None:
    arrays = full_runs(RUNS, DATA, store, "cpu")
    shapes = {name: array.shape for name, array in arrays.items() if not name.startswith("w/")}
    assert shapes == {
        "correct": (2, 4, 60), "margin": (2, 4, 60), "error": (2, 4, 60), "probs": (2, 2, 60, CLASSES), "prob_epochs": (2,),
        "embedding": (2, 60, 128), "test_acc": (2,),
    }  # fmt: skip
    np.testing.assert_allclose(arrays["probs"].sum(-1), 1, rtol=1e-5)
    assert arrays["prob_epochs"].tolist() == [2, 4]
    assert (arrays["correct"] == (arrays["margin"] > 0)).all()


def test_a_loaded_teacher_is_the_trained_one(store: Store) -> None:
    arrays = full_runs(RUNS, DATA, store, "cpu")
    for row in (0, 1):
        model = load_model(RUNS, DATA, store, "cpu", row)
        assert not model.training and not any(p.requires_grad for p in model.parameters())
        assert float(accuracy(predict(model, DATA.test_x, DATA), DATA.test_y)) == pytest.approx(arrays["test_acc"][row])
        late = predict(model, DATA.train_x, DATA).softmax(1).numpy()
        np.testing.assert_allclose(arrays["probs"][row, 1], late, rtol=1e-4, atol=1e-6)


def test_seeds_give_what_they_give_alone(store: Store) -> None:
    arrays = full_runs(RUNS, DATA, store, "cpu")
    alone = full_runs(dataclasses.replace(RUNS, seeds=(1,)), DATA, store, "cpu")
    for name in alone:
        if name != "prob_epochs":
            np.testing.assert_allclose(alone[name][0], arrays[name][1], rtol=5e-3, atol=1e-3, err_msg=name)


def test_the_second_time_nothing_is_trained(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = full_runs(RUNS, DATA, store, "cpu")

    def forbidden(*args: object, **options: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("kdlib.training.reference_runs.train_company", forbidden)
    again = full_runs(RUNS, DATA, store, "cpu")
    assert all((again[name] == expected[name]).all() for name in expected)


def test_a_teacher_of_a_fraction_sees_that_fraction_of_each_class(store: Store) -> None:
    runs = FullRuns("mlp", dataclasses.replace(RECIPE, epochs=1), fraction=0.5)
    margin = full_runs(runs, DATA, store, "cpu")["margin"][0, 0]
    seen = ~np.isnan(margin)
    assert np.bincount(DATA.train_y[seen]).tolist() == [6] * CLASSES


def test_a_diverging_teacher_is_an_error_and_is_not_kept(store: Store) -> None:
    wild = FullRuns("mlp", dataclasses.replace(RECIPE, lr=1e9))
    with pytest.raises(RuntimeError, match="diverged.*lower lr"):
        full_runs(wild, DATA, store, "cpu")
    assert not store.has("full_runs", wild.describe(DATA))


def test_the_early_epoch_is_a_tenth_and_never_none() -> None:
    assert FullRuns("mlp", Recipe(epochs=200)).early_epoch() == 20
    assert FullRuns("mlp", Recipe(epochs=3)).early_epoch() == 1


# -- signals


def test_only_what_is_asked_for_is_made(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert signals(("embedding",), RUNS, DATA, store, "cpu").correct is None
    assert not store.ls("gradients") and not store.ls("subsets")
    found = signals(("grad_norm", "subset_correct"), RUNS, DATA, store, "cpu")
    assert found.grad_norm is not None and found.grad_norm.shape == (2, 60) and (found.grad_norm > 0).all()
    assert found.trained is not None and found.trained.shape == (2 * SUBSET_RUNS, 60)
    assert (found.trained.sum(1) == 42).all() and found.correct is None
