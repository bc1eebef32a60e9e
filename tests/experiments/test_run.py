"""`Run` and `run`: what is refused, what is equal, and a short training of every entry of every registry."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from kdlib import PRESETS, Run, Store, run
from kdlib.data.datasets import DATASETS
from kdlib.experiments.run import SELECTIONS, company_key, describe, kept_samples, names, run_together
from kdlib.losses import FEATURE_LOSSES, LOSSES, REGRESSION_LOSSES, RESHAPES
from kdlib.models import MODELS
from kdlib.scorers import SCORERS

SHORT = {"epochs": 2, "fraction": 0.2, "lr": 0.02}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


def check(row: dict, kept: int) -> None:
    assert row["status"] == "ok" and row["kept"] == kept
    assert 0 <= row["test_acc"] <= row["test_acc_best"] <= 100
    assert row["steps"] > 0 and row["train_loss"] > 0


@pytest.mark.parametrize("scorer", [name for name in SCORERS if name != "released"])  # that one: test_released.py
def test_every_scorer_runs(scorer: str, store: Store) -> None:
    check(run(Run(**SHORT, scorer=scorer), store), 269)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_runs(loss: str, store: Store) -> None:
    check(run(Run(**SHORT, loss=loss), store), 269)


@pytest.mark.parametrize("reshape", RESHAPES)
def test_every_reshape_runs(reshape: str, store: Store) -> None:
    check(run(Run(**SHORT, reshape=reshape), store), 269)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])  # the latter is a GPU's default
@pytest.mark.parametrize("name", FEATURE_LOSSES)
def test_every_feature_loss_runs(name: str, precision: str, store: Store) -> None:
    weights = {"feature_loss": name, "beta": min(FEATURE_LOSSES[name].tuned_beta, 1.0), "precision": precision}
    check(run(Run(**SHORT, student="resnet8", teacher="resnet14", **weights), store), 269)


def test_a_feature_loss_that_cannot_fit_says_why_before_training(store: Store) -> None:
    with pytest.raises(ValueError, match="1x1"):
        run(Run(**SHORT, feature_loss="at"), store)


@pytest.mark.parametrize("model", MODELS)
def test_every_network_runs(model: str, store: Store) -> None:
    row = run(Run(epochs=1, fraction=0.02, lr=0.01, student=model, loss="kd"), store)
    assert row["status"] == "ok" and row["kept"] == 27


@pytest.mark.parametrize("selection", SELECTIONS)
def test_every_selection_runs(selection: str, store: Store) -> None:
    row = run(Run(**SHORT, selection=selection, scorer="aum" if selection == "ccs" else "random"), store)
    check(row, 1347 if selection == "infobatch" else 269)


@pytest.mark.parametrize("loss", REGRESSION_LOSSES)
def test_every_regression_loss_runs(loss: str, store: Store) -> None:
    row = run(Run(dataset="diabetes", loss=loss, epochs=30, lr=0.01, fraction=0.3), store)
    assert row["status"] == "ok" and 20 < row["test_acc"] < 70  # variance explained, percent


def test_embedded_datasets_are_among_the_choices() -> None:
    assert set(names("dataset")) == set(DATASETS) and {"digits", "diabetes"} <= set(DATASETS)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"fraction": 0.0}, r"fraction must lie in \(0, 1\], got 0"),
        ({"fraction": 1.5}, r"fraction must lie in \(0, 1\], got 1.5"),
        ({"tau": 0.0}, "tau must lie in"),
        ({"alpha": -0.1}, "alpha must lie in"),
        ({"alpha": 1.1}, r"alpha must lie in \[0, 1\]"),
        ({"epochs": 1.5}, "epochs must be int, got 1.5"),
        ({"seed": True}, "seed must be int"),
        ({"dataset": "digit"}, "did you mean 'digits'"),
        ({"student": "resnet9"}, "did you mean 'resnet8'"),
        ({"scorer": "forgeting"}, "did you mean 'forgetting'"),
        ({"loss": "squared_error"}, "does not fit dataset digits"),
        ({"dataset": "diabetes"}, "does not fit dataset diabetes"),
        ({"feature_loss": "vid", "loss": "cross_entropy"}, "needs a teacher"),
        ({"lr": float("nan")}, "lr must be float"),
        ({"selection": "ccs", "fraction": 0.95}, "hard_cut 0.1 leaves fewer"),
        ({"dataset": "diabetes", "loss": "squared_error", "selection": "ccs"}, "no selection ccs"),
        ({"dkd_target_weight": -1.0}, "dkd_target_weight must lie in"),
        ({"dkd_warmup_epochs": -1.0}, "dkd_warmup_epochs must lie in"),
        ({"score_subsets": 1}, "score_subsets must lie in"),
        ({"score_views": -1}, "score_views must lie in"),
        (
            {"score_views": 4, "scorer": "el2n", "augment": "crop"},
            "does not apply to scorer el2n; it does to: difficulty",
        ),
        ({"score_views": 4, "scorer": "difficulty"}, "augment none has; choose one of: crop, crop_flip"),
        ({"scorer": "released"}, "released needs score_file"),
        ({"score_high": "keeep"}, "did you mean 'keep'"),
        ({"score_extra": "skip"}, "choose one of: error, ignore"),
        ({"score_parts": 0}, "score_parts must lie in"),
    ],
)
def test_bad_values_are_refused_before_anything_is_trained(knobs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Run(**knobs)


def test_an_unknown_knob_raises() -> None:
    with pytest.raises(TypeError, match="fractoin"):
        Run(fractoin=0.5)  # type: ignore[call-arg]


def test_a_class_that_would_vanish_is_named(store: Store) -> None:
    with pytest.raises(ValueError, match="class"):
        run(Run(epochs=1, fraction=0.002), store)


def test_same_seed_same_row_and_another_seed_another(store: Store) -> None:
    first, again, other = (run(Run(**SHORT, seed=s), store) for s in (3, 3, 4))
    assert {**first, "seconds": 0} == {**again, "seconds": 0}
    assert first["train_loss"] != other["train_loss"]


def test_a_run_in_company_gives_the_row_it_gives_alone(store: Store) -> None:
    runs = [
        Run(**SHORT, seed=s, loss=loss, alpha=a) for s in (0, 1) for loss, a in (("kd", 0.3), ("cross_entropy", 0.5))
    ]
    assert len({company_key(r) for r in runs}) == 1
    for r, row in zip(runs, run_together(runs, store), strict=True):
        alone = run(r, store)
        assert row["train_loss"] == pytest.approx(alone["train_loss"], rel=1e-4)
        assert abs(row["test_acc"] - alone["test_acc"]) <= 100 / 450 + 1e-6  # one test image at most


def test_knobs_without_effect_share_a_row() -> None:
    plain = Run(loss="cross_entropy")
    assert describe(plain) == describe(Run(loss="cross_entropy", alpha=0.9, teacher="resnet8"))
    assert describe(Run()) != describe(Run(alpha=0.9))
    assert describe(Run()) == describe(Run(device="cpu", compile=True)), "how a run is computed does not identify it"
    assert describe(Run(scorer="el2n", fraction=1.0)) == describe(Run(scorer="aum", fraction=1.0))
    assert describe(Run(scorer="el2n", fraction=0.5)) != describe(Run(scorer="aum", fraction=0.5))
    random_cut = {"selection": "ccs", "fraction": 0.5}  # its cut is by AUM, of the scored network
    assert describe(Run(**random_cut)) != describe(Run(**random_cut, score_model="resnet8"))


def test_medium_window_leaves_out_both_ends(store: Store) -> None:
    kept = {c: set(kept_samples(Run(**SHORT, scorer="difficulty", centre=c), store)) for c in (0.0, 0.5, 1.0)}
    assert not kept[0.0] & kept[1.0] and not kept[0.5] & (kept[0.0] | kept[1.0])


def test_a_diverging_run_says_so(store: Store) -> None:
    row = run(Run(epochs=2, lr=1e6, loss="cross_entropy"), store)
    assert row["status"] == "diverged" and row["test_acc"] is None


def test_a_folder_of_images_runs(tmp_path: Path, store: Store) -> None:
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for label in range(2):
        for i in range(20):
            folder = tmp_path / "pictures" / f"class{label}"
            folder.mkdir(parents=True, exist_ok=True)
            noise = rng.integers(0, 60, (12, 12, 3)) + 150 * label
            Image.fromarray(noise.astype(np.uint8)).save(folder / f"{i}.png")
    row = run(Run(dataset=f"folder:{tmp_path / 'pictures'}", epochs=5, fraction=0.5, lr=0.02), store)
    assert row["kept"] == 16 and row["test_acc"] == 100


def test_presets_are_valid_runs() -> None:
    for preset in PRESETS.values():
        run_ = Run(**preset.fixed)
        assert preset.seeds and all(0 < f <= 1 for f in preset.fractions)
        assert dataclasses.replace(run_, seed=preset.seeds[-1], fraction=preset.fractions[0])
