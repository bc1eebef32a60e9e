"""Reference runs: trainings on labels that are done once and kept."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from kdlib.store.artefacts import Store
from kdlib.training import reference_runs, signals
from kdlib.training.evaluate import accuracy, predict
from kdlib.training.recipe import Recipe
from kdlib.training.reference_runs import ReferenceRuns, Workshop, dynamics, load_model, networks, outputs
from kdlib.training.signals import Recording, cost_of, record
from kdlib.utils import seeds
from tests.plain import CLASSES, small_data

DATA = small_data()
RECIPE = Recipe(epochs=4, batch_size=16, lr=0.05)
RUNS = ReferenceRuns("mlp", RECIPE, seeds=(0, 1), early=0.5)
ALONE = dataclasses.replace(RUNS, model="resnet8", recipe=dataclasses.replace(RECIPE, epochs=1))
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(DATA, Store(tmp_path_factory.mktemp("teachers")), "cpu")


def store_of(shop: Workshop) -> Store:
    assert isinstance(shop.store, Store)
    return shop.store


def forbidden(*args: object, **options: object) -> None:
    raise AssertionError("trained again")


# -- what identifies a training


def test_a_description_holds_what_is_not_at_its_default() -> None:
    described = RUNS.describe(DATA, CPU)
    assert described["recipe"] == {"precision": "float32", "epochs": 4, "batch_size": 16}
    assert described["seeds"] == [0, 1] and "samples" not in described


@pytest.mark.parametrize("change", [{"eval_every": 3}, {"compile": True}, {"precision": "float32"}])
def test_what_only_reports_or_rounds_identifies_nothing(change: dict) -> None:
    other = dataclasses.replace(RUNS, recipe=dataclasses.replace(RECIPE, **change))
    assert other.describe(DATA, CPU) == RUNS.describe(DATA, CPU)


def test_the_precision_that_is_used_identifies_a_training() -> None:
    assert RUNS.describe(DATA, torch.device("cuda"))["recipe"]["precision"] == "bfloat16"


def test_a_teacher_a_scored_network_and_a_student_share_no_draw() -> None:
    teacher, scored = RUNS, dataclasses.replace(RUNS, role="scored")
    weights = [r.members(DATA)[0].model.state_dict() for r in (teacher, scored)]
    assert not torch.equal(*(next(iter(w.values())) for w in weights))
    drawn = {r.members(DATA)[0].seed for r in (teacher, scored)}
    assert len(drawn) == 2 and not drawn & {0, 1}, "a student of seed 0 draws from 0 itself"
    orders = [seeds.stream(s, "order", 0).permutation(60).tolist() for s in (*drawn, 0)]
    assert len({tuple(order) for order in orders}) == 3


# -- networks, dynamics, outputs


def test_networks_hold_weights_curves_and_costs(shop: Workshop) -> None:
    arrays = networks(RUNS, shop)
    shapes = {name: array.shape for name, array in arrays.items() if not name.startswith("w/")}
    curves = {f"curve/{name}": (2, 4) for name in ("loss", "test_acc", "rate")}
    assert shapes == {**curves, "test_acc": (2,), "seconds": (2,), "images": (2,)}
    assert arrays["images"].tolist() == [240, 240]
    assert (np.diff(arrays["curve/loss"][:, [0, -1]]) < 0).all()


def test_dynamics_and_outputs(shop: Workshop) -> None:
    recorded, late = dynamics(RUNS, shop), outputs(RUNS, shop)
    assert recorded["correct"].shape == recorded["margin"].shape == recorded["error"].shape == (2, 4, 60)
    assert recorded["early_probs"].shape == late["late_probs"].shape == (2, 60, CLASSES)
    assert late["embedding"].shape == (2, 60, 128)
    assert (recorded["correct"] == (recorded["margin"] > 0)).all()
    np.testing.assert_allclose(late["late_probs"].sum(-1), 1, rtol=1e-5)


def test_a_loaded_teacher_is_the_trained_one(shop: Workshop) -> None:
    arrays, late = networks(RUNS, shop), outputs(RUNS, shop)
    for row in (0, 1):
        model = load_model(RUNS, shop, row)
        assert not model.training and not any(p.requires_grad for p in model.parameters())
        assert float(accuracy(predict(model, DATA.test_x, DATA), DATA.test_y)) == pytest.approx(arrays["test_acc"][row])
        probs = predict(model, DATA.train_x, DATA).softmax(1).numpy()
        np.testing.assert_allclose(late["late_probs"][row], probs, rtol=1e-4, atol=1e-6)


def test_seeds_give_what_they_give_alone(shop: Workshop) -> None:
    together, alone = networks(RUNS, shop), networks(dataclasses.replace(RUNS, seeds=(1,)), shop)
    for name in alone:
        if name != "seconds":
            np.testing.assert_allclose(alone[name][0], together[name][1], rtol=5e-3, atol=1e-3, err_msg=name)


def test_the_second_time_nothing_is_trained(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [read(RUNS, shop) for read in (networks, dynamics, outputs)]
    monkeypatch.setattr(reference_runs, "train_batched", forbidden)
    for read, before in zip((networks, dynamics, outputs), expected, strict=True):
        again = read(RUNS, shop)
        assert all((again[name] == before[name]).all() for name in before)


def test_trainings_that_were_finished_are_not_lost_with_those_that_were_not(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Convolutional networks on a CPU train one after the other, and each is an entry of its own."""
    real, count = reference_runs.train_batched, 0

    def stopped_in_the_second(*args, **options):  # noqa: ANN002, ANN003, ANN202
        nonlocal count
        count += 1
        if count == 2:
            raise KeyboardInterrupt
        return real(*args, **options)

    monkeypatch.setattr(reference_runs, "train_batched", stopped_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        networks(ALONE, shop)
    monkeypatch.setattr(reference_runs, "train_batched", real)
    seen: list[tuple[int, ...]] = []
    monkeypatch.setattr(reference_runs, "_train", _watched(reference_runs._train, seen))
    assert networks(ALONE, shop)["test_acc"].shape == (2,)
    assert seen == [(1,)]


def _watched(train, seen):  # noqa: ANN001, ANN202
    def watched(runs, shop, finished):  # noqa: ANN001, ANN202
        seen.append(runs.seeds)
        return train(runs, shop, finished)

    return watched


def test_a_shipped_network_is_taken_before_one_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = networks(RUNS, Workshop(DATA, Store(tmp_path / "a"), "cpu"))
    asked: list[dict] = []
    shop = Workshop(
        DATA, Store(tmp_path / "b"), "cpu", released=lambda description: asked.append(description) or trained
    )
    monkeypatch.setattr(reference_runs, "train_batched", forbidden)
    found = networks(RUNS, shop)
    assert all((found[name] == trained[name]).all() for name in trained) and len(asked) == 1
    monkeypatch.undo()
    assert dynamics(RUNS, shop)["correct"].shape == (2, 4, 60), "what is not shipped is trained for"


def test_a_subset_is_what_the_workshop_says(tmp_path: Path) -> None:
    ids = np.arange(0, 60, 2)
    shop = Workshop(DATA, Store(tmp_path), "cpu", keep=lambda samples: ids)
    runs = dataclasses.replace(RUNS, samples="every second")
    seen = ~np.isnan(dynamics(runs, shop)["margin"][0, 0])
    assert np.flatnonzero(seen).tolist() == ids.tolist()
    with pytest.raises(ValueError, match="every second"):
        networks(runs, Workshop(DATA, Store(tmp_path / "b"), "cpu"))


def test_a_diverging_teacher_is_an_error_and_is_not_kept(shop: Workshop) -> None:
    wild = dataclasses.replace(RUNS, recipe=dataclasses.replace(RECIPE, lr=1e9))
    with pytest.raises(RuntimeError, match="diverged.*lower lr"):
        networks(wild, shop)
    assert not store_of(shop).has("networks", shop.describe(wild))


def test_the_early_epoch_is_a_tenth_and_never_none() -> None:
    assert ReferenceRuns("mlp", Recipe(epochs=200)).early_epoch() == 20
    assert ReferenceRuns("mlp", Recipe(epochs=3)).early_epoch() == 1


# -- signals


def test_only_what_is_asked_for_is_made(tmp_path: Path) -> None:
    shop = Workshop(DATA, Store(tmp_path), "cpu")
    assert record(("embedding",), RUNS, shop).correct is None
    assert not store_of(shop).ls("gradients") and not store_of(shop).ls("subsets")
    found = record(("grad_norm", "subset_correct", "trained"), RUNS, shop)
    assert found.grad_norm is not None and found.grad_norm.shape == (2, 60) and (found.grad_norm > 0).all()
    assert found.trained is not None and found.trained.shape == (2 * Recording().subsets, 60)
    assert (found.trained.sum(1) == 42).all() and found.correct is None


def test_gradients_and_subset_models_go_on_where_they_were_stopped(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, count = signals.train_batched, 0

    def stopped_in_the_third(*args, **options):  # noqa: ANN002, ANN003, ANN202
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        return real(*args, **options)

    for needs, total in ((("grad_norm",), 4), (("trained",), 6)):
        runs = dataclasses.replace(ALONE, seeds=(0, 1, 2, 3) if total == 4 else (0, 1))
        count = 0
        monkeypatch.setattr(signals, "train_batched", stopped_in_the_third)
        with pytest.raises(KeyboardInterrupt):
            record(needs, runs, shop, Recording(subsets=3))
        record(needs, runs, shop, Recording(subsets=3))
        assert count == total + 1, "the two that were finished are not trained again"


def test_a_diverging_subset_model_is_an_error(shop: Workshop) -> None:
    wild = dataclasses.replace(RUNS, recipe=dataclasses.replace(RECIPE, lr=1e9))
    with pytest.raises(RuntimeError, match="diverged"):
        record(("trained",), wild, shop)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"at": 0.0}, "share of the epochs"),
        ({"at": 1.5}, "share of the epochs"),
        ({"views": 10**7, "augment": "crop"}, "views must lie in"),
        ({"views": 3}, "choose augment crop or crop_flip"),
        ({"subsets": 1}, "subsets must lie in"),
        ({"subsets": 10**6}, "subsets must lie in"),
    ],
)
def test_recordings_that_cannot_be_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recording(**options)


def test_costs_count_each_training_once(shop: Workshop) -> None:
    seconds, images = cost_of(("correct", "late_probs"), RUNS, shop)
    assert images == 2 * 4 * 60 and seconds > 0
    assert cost_of((), RUNS, shop) == (0.0, 0)
    assert cost_of(("trained",), RUNS, shop)[1] == 2 * Recording().subsets * 4 * 42
    assert cost_of(("grad_norm",), RUNS, shop)[1] == 2 * 2 * 60, "up to the early epoch only"
