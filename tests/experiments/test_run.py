"""`Run` and `run`: what is refused, what is equal, and a short training of every entry of every registry."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kdlib import PRESETS, Run, Store, run
from kdlib.analysis.claims.specification import specifications
from kdlib.data.datasets import DATASETS
from kdlib.experiments import groups
from kdlib.experiments.config import as_run, choices, method_options
from kdlib.experiments.fingerprint import describe, scored_runs, teacher_runs
from kdlib.experiments.run import (
    Objective,
    TeacherSide,
    batch_key,
    check,
    kept_samples,
    train_together,
)
from kdlib.losses import FEATURE_LOSSES, LOSSES, REGRESSION_LOSSES, RESHAPES, Reshaped
from kdlib.losses.logits import dkd
from kdlib.losses.reshape import class_std
from kdlib.models import MODELS
from kdlib.scorers import SCORERS
from kdlib.selection import SELECTIONS
from tests.experiments.short_runs import SHORT, check_row, without_costs


@pytest.mark.parametrize("scorer", [name for name in SCORERS if name != "released"])  # that one: test_released.py
def test_every_scorer_runs(scorer: str, store: Store) -> None:
    check_row(run(Run(**SHORT, scorer=scorer), store), 269)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_runs(loss: str, store: Store) -> None:
    check_row(run(Run(**SHORT, loss=loss), store), 269)


@pytest.mark.parametrize("reshape", RESHAPES)
def test_every_reshape_runs(reshape: str, store: Store) -> None:
    check_row(run(Run(**SHORT, reshape=reshape), store), 269)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])  # the latter is a GPU's default
@pytest.mark.parametrize("name", FEATURE_LOSSES)
def test_every_feature_loss_runs(name: str, precision: str, store: Store) -> None:
    weights = {"feature_loss": name, "beta": min(FEATURE_LOSSES[name].tuned_beta, 1.0), "precision": precision}
    check_row(run(Run(**SHORT, student="resnet8", teacher="resnet14", **weights), store), 269)


@pytest.mark.parametrize(("fraction", "why"), [(0.6, "largest workable fraction"), (0.01, "would leave class")])
def test_shares_of_classes_that_cannot_be_kept_say_why_before_training(fraction: float, why: str) -> None:
    r = Run(**{**SHORT, "fraction": fraction}, scorer="el2n", selection="imbalanced(ratio=50)")
    with pytest.raises(ValueError, match=why):
        check(r)


def test_a_feature_loss_that_cannot_fit_says_why_before_training(store: Store) -> None:
    with pytest.raises(ValueError, match="1x1"):
        run(Run(**SHORT, feature_loss="at"), store)


@pytest.mark.parametrize("model", MODELS)
def test_every_network_runs(model: str, store: Store) -> None:
    row = run(Run(epochs=1, fraction=0.02, lr=0.01, student=model, loss="kd"), store)
    assert row["status"] == "ok" and row["kept"] == 27


@pytest.mark.parametrize("selection", SELECTIONS)
def test_every_selection_runs(selection: str, store: Store) -> None:
    row = run(Run(**{**SHORT, "epochs": 8}, selection=selection), store)  # InfoBatch's first epoch is whole
    check_row(row, 1347 if selection == "infobatch" else 269)
    assert (row["used_share"] < 1) == (selection == "infobatch")


@pytest.mark.parametrize("loss", REGRESSION_LOSSES)
def test_every_regression_loss_runs(loss: str, store: Store) -> None:
    row = run(Run(dataset="diabetes", loss=loss, epochs=30, lr=0.01, fraction=0.3), store)
    assert row["status"] == "ok" and 20 < row["test_acc"] < 70  # variance explained, percent


def test_embedded_datasets_are_among_the_choices() -> None:
    assert set(choices("dataset")) == {*DATASETS, "folder:PATH"} and {"digits", "diabetes"} <= set(DATASETS)


BAD = [
    ({"fraction": 0.0}, r"fraction must lie in \(0, 1\], got 0"),
    ({"fraction": 1.5}, r"fraction must lie in \(0, 1\], got 1.5"),
    ({"tau": 0.0}, "tau must lie in"),
    ({"tau": 1e300}, "tau must lie in"),
    ({"alpha": -0.1}, "alpha must lie in"),
    ({"alpha": 1.1}, r"alpha must lie in \[0, 1\]"),
    ({"epochs": 1.5}, "epochs must be int, got 1.5"),
    ({"epochs": 10**9}, "epochs must lie in"),
    ({"score_runs": 10**5}, "score_runs must lie in"),
    ({"seed": True}, "seed must be int"),
    ({"dataset": "digit"}, "did you mean 'digits'"),
    ({"student": "resnet9"}, "did you mean 'resnet8'"),
    ({"scorer": "forgeting"}, "did you mean 'forgetting'"),
    ({"feature_loss": "vid", "loss": "cross_entropy"}, "needs a teacher"),
    ({"lr": float("nan")}, "lr must be float"),
    ({"milestones": (-1,)}, "milestones are epochs from 1 on"),
    ({"selection": "ccs", "fraction": 0.95}, "hard_cut 0.1 leaves fewer"),
    ({"selection": "ccs", "centre": 0.5}, "selection ccs does not heed centre"),
    ({"selection": "ccs", "class_balanced": False}, "selection ccs does not heed class_balanced"),
    ({"selection": "imbalanced", "class_balanced": False}, "imbalanced shares the samples out to classes"),
    ({"selection": "imbalanced(ratio=1)"}, "ratio, the first class over the last, must be a number above 1"),
    ({"selection": "imbalanced", "fraction": 1.0}, "choose a fraction below 1"),
    ({"loss": "squared_error", "selection": "imbalanced"}, "regression"),
    ({"selection": "infobatch", "fraction": 0.05}, "infobatch keeps at least 0.1"),
    ({"selection": "infobatch", "scorer": "el2n"}, "not by scorer el2n"),
    ({"loss": "squared_error", "selection": "ccs"}, "regression"),
    ({"loss": "squared_error", "scorer": "el2n"}, "regression"),
    ({"loss": "dkd(target_wieght=2)"}, "did you mean 'target_weight'"),
    ({"loss": "kd(beta=2)"}, "loss kd has no options, got beta"),
    ({"scorer": "el2n(at=soon)"}, "at of scorer el2n must be a number"),
    ({"scorer": "released(high=keeep)"}, "did you mean 'keep'"),
    ({"weighting": "free(ce=0.1, kd=9)", "alpha": 0.7}, "alpha would be ignored"),
    ({"teacher_recipe": "ephocs=3"}, "did you mean 'epochs'"),
    ({"teacher_recipe": "lr=fast"}, "teacher_recipe lr must be float"),
    ({"score_recipe": {"schedule": "cosin"}}, "did you mean 'cosine'"),
    ({"teacher_recipe": "budget=steps"}, "cannot set budget"),
    ({"kept_file": "ids.csv", "fraction": 0.5}, "leave scorer, fraction and selection out"),
    ({"device": "gpu"}, "device must be auto, cpu, cuda"),
    ({"device": "cpu:1"}, "device must be auto, cpu, cuda"),
]


@pytest.mark.parametrize(("fields", "message"), BAD)
def test_bad_values_are_refused_before_anything_is_trained(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        Run(**fields)
    assert "\n" not in str(error.value)


UNFIT = [
    ({"dataset": "diabetes"}, "does not fit dataset diabetes, which has a continuous target"),
    ({"loss": "squared_error"}, "does not fit dataset digits, which has classes"),
    ({"fraction": 0.002}, "class"),
    ({"feature_loss": "at"}, "1x1"),
    ({"scorer": "released", "fraction": 0.5}, r'scorer="released\(file=PATH.csv\)"'),
    ({"scorer": "difficulty(views=10000000)", "fraction": 0.5, "augment": "crop"}, "views must lie in"),
    ({"scorer": "memorization(subsets=1000000)", "fraction": 0.5}, "subsets must lie in"),
    ({"scorer": "difficulty(views=3)", "fraction": 0.5}, "choose augment crop or crop_flip"),
    ({"scorer": "el2n", "fraction": 0.5, "epochs": 10**6, "score_runs": 1000}, "GB"),
    ({"kept_file": "nowhere.csv"}, "nowhere.csv"),
    ({"device": "cuda:7"}, "device cuda:7"),
]


@pytest.mark.parametrize(("fields", "message"), UNFIT)
def test_what_cannot_work_is_refused_before_the_teacher_is_trained(fields: dict, message: str) -> None:
    with pytest.raises((ValueError, OSError), match=message):
        check(Run(**fields))


def test_an_unknown_knob_raises() -> None:
    for make in (Run, functools.partial(dataclasses.replace, Run(seed=1))):
        with pytest.raises(TypeError, match="unknown field of Run 'fractoin'; did you mean 'fraction'") as error:
            make(fractoin=0.5)
        assert "\n" not in str(error.value) and error.value.__suppress_context__, "one line, and one traceback"
    with pytest.raises(TypeError, match="positional arguments"):
        Run(*range(99))  # other mistakes stay Python's
    assert list(inspect.signature(Run).parameters) == [f.name for f in dataclasses.fields(Run)]


def test_a_dict_is_as_good_as_a_run(store: Store) -> None:
    assert as_run({"seed": 3}) == Run(seed=3)
    with pytest.raises(ValueError, match="did you mean 'fraction'"):
        run({"fracton": 0.1}, store)
    with pytest.raises(ValueError, match="a Run or a dict"):
        run("digits", store)  # type: ignore[arg-type]


def test_runs_and_stores_are_short_in_print(tmp_path: Path) -> None:
    assert repr(Run()) == "Run()" and repr(Run(fraction=0.1, seed=3)) == "Run(fraction=0.1, seed=3)"
    assert len(repr(Store(tmp_path))) < len(str(tmp_path)) + 40


def test_numpy_numbers_are_numbers() -> None:
    assert Run(seed=np.int64(3), fraction=np.float64(0.5)) == Run(seed=3, fraction=0.5)  # type: ignore[arg-type]


def test_a_recipe_may_be_a_dict() -> None:
    changes = {"milestones": (30, 40), "lr": 0.01, "schedule": "steps"}
    assert Run(teacher_recipe=changes).teacher_recipe == "lr=0.01, milestones=[30, 40], schedule=steps"  # type: ignore[arg-type]


def test_same_seed_same_row_and_another_seed_another(store: Store, tmp_path: Path) -> None:
    first, other = (run(Run(**SHORT, seed=s), store) for s in (3, 4))
    again = run(Run(**SHORT, seed=3), Store(tmp_path))
    assert without_costs(first) == without_costs(again)
    assert first["train_loss"] != other["train_loss"]


def test_a_run_is_stored_and_read_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    row = run(Run(**SHORT, seed=11), store)
    monkeypatch.setattr("kdlib.experiments.run.train_batched", lambda *a, **k: pytest.fail("trained again"))
    assert run({**SHORT, "seed": 11}, str(store.root)) == row


def test_a_run_side_by_side_gives_the_row_it_gives_alone(store: Store, tmp_path: Path) -> None:
    runs = [
        Run(**SHORT, seed=s, loss=loss, alpha=a) for s in (0, 1) for loss, a in (("kd", 0.3), ("cross_entropy", 0.5))
    ]
    assert len({batch_key(r) for r in runs}) == 1
    for r, row in zip(runs, train_together(runs, store, [describe(r) for r in runs]), strict=True):
        alone = run(r, Store(tmp_path))
        assert row["train_loss"] == pytest.approx(alone["train_loss"], rel=1e-4)
        assert abs(row["test_acc"] - alone["test_acc"]) <= 100 / 450 + 1e-6  # one test image at most


def test_runs_of_other_scores_train_side_by_side_and_those_of_other_data_do_not() -> None:
    base = Run(**SHORT, scorer="el2n")
    for change in ({"scorer": "memorization(subsets=4)"}, {"score_model": "resnet8"}, {"seed": 5}, {"alpha": 0.1}):
        assert batch_key(dataclasses.replace(base, **change)) == batch_key(base) is not None
    noisy = dataclasses.replace(base, label_noise=0.1)
    assert batch_key(noisy) != batch_key(dataclasses.replace(noisy, seed=5)), "each seed has labels of its own"
    assert batch_key(dataclasses.replace(base, feature_loss="rkd")) is None


def test_medium_window_leaves_out_both_ends(store: Store) -> None:
    kept = {c: set(kept_samples(Run(**SHORT, scorer="difficulty", centre=c), store)) for c in (0.0, 0.5, 1.0)}
    assert not kept[0.0] & kept[1.0] and not kept[0.5] & (kept[0.0] | kept[1.0])


def test_a_diverging_run_says_so(store: Store) -> None:
    row = run(Run(epochs=2, lr=1e6, loss="cross_entropy"), store)
    assert row["status"] == "diverged" and row["test_acc"] is None


def test_a_folder_of_images_runs(tmp_path: Path, store: Store) -> None:
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
        for scorer in preset.scorers:
            assert Run(**{"scorer": scorer, **preset.fields_for(scorer)}).method("scorer")[0] == scorer


def test_the_papers_figures_count_a_sample_that_is_never_learned_as_their_framework_does() -> None:
    """With the other rule these samples alone fill the kept set at small f."""
    assert method_options("scorer", "forgetting")["never_learned"] == "zero"
    assert groups.PRUNINGS["forgetting"]["scorer"] == "forgetting"
    asked = [claim.prunings for claim in specifications().values() if "forgetting" in str(claim.prunings)]
    assert asked and "forgetting_hardest" not in str(asked)


def test_the_papers_preset_scores_as_their_framework_does() -> None:
    for scorer, name, runs in (("forgetting", "forgetting", 1), ("grand_last", "grand_last(at=1)", 10)):
        r = Run(**{"scorer": scorer, "fraction": 0.5, "seed": 3, **PRESETS["paper"].fields_for(scorer)})
        scored = scored_runs(r)
        assert (r.scorer, scored.model, scored.seeds) == (name, "resnet34", tuple(range(runs)))
        recipe = scored.recipe
        assert (recipe.epochs, recipe.batch_size, recipe.lr, recipe.schedule) == (40, 256, 0.1, "cosine")
        assert recipe.augment == "none" and teacher_runs(r).recipe.augment == "crop_flip"


def test_ties_that_fill_the_set_are_said_once(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    r = Run(epochs=1, fraction=0.2, lr=0.02, scorer="memorization(subsets=2)")
    kept = [kept_samples(dataclasses.replace(r, seed=s), store) for s in (0, 1)]
    said = [record.getMessage() for record in caplog.records if "ties are drawn at random" in record.getMessage()]
    assert len(said) == 1 and "memorization(subsets=2) gives one score to" in said[0]
    assert not np.array_equal(*kept), "each seed draws its own"


# -- losses with options


def test_options_reach_the_loss_and_its_warm_up() -> None:
    student, teacher = (torch.randn(6, 5, generator=torch.Generator().manual_seed(s)) * 4 for s in (0, 1))
    labels, weights = torch.arange(6) % 5, {"target_weight": 0.3, "non_target_weight": 2.5, "warmup_epochs": 8.0}
    objective = Objective(Run(loss="dkd(target_weight=0.3, non_target_weight=2.5, warmup_epochs=8)"), None)
    for epoch in (1, 4, 8, 20):
        expected = dkd(student, teacher, labels, alpha=0.5, tau=4.0, epoch=epoch, **weights)
        assert torch.equal(objective.at_epoch(epoch)(student, teacher, labels), expected)
    assert objective.at_epoch(8) is objective is not objective.at_epoch(7)


def test_a_reshapes_own_options_reach_it(monkeypatch):
    def shrunk(student, teacher, labels, *, class_std=None, by: float = 1.0):
        return Reshaped(student / by, teacher / by, None, student)

    monkeypatch.setitem(RESHAPES, "shrunk", shrunk)
    student, teacher = torch.randn(2, 6, 10, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(6)
    found = Objective(Run(reshape="shrunk(by=2)", alpha=1.0), None)(student, teacher, labels)
    torch.testing.assert_close(found, Objective(Run(alpha=1.0), None)(student / 2, teacher / 2, labels))  # KD alone
    assert (found - Objective(Run(reshape="shrunk", alpha=1.0), None)(student, teacher, labels)).abs().max() > 0.1


def test_free_weights_reach_the_loss() -> None:
    student, teacher = (torch.randn(6, 5, generator=torch.Generator().manual_seed(s)) for s in (0, 1))
    labels = torch.arange(6) % 5
    found = Objective(Run(weighting="free(ce=0.1, kd=9)"), None)(student, teacher, labels)
    parts = [
        Objective(Run(weighting=f"free(ce={c}, kd={k})"), None)(student, teacher, labels) for c, k in ((1, 0), (0, 1))
    ]
    torch.testing.assert_close(found, 0.1 * parts[0] + 9 * parts[1])


def test_class_std_is_computed_once_for_runs_side_by_side(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr("kdlib.experiments.objective.class_std", lambda *a: calls.append(1) or class_std(*a))  # type: ignore[func-returns-value]
    rules = ("classwise_std", "classwise_std_dataset_mean")
    runs = [Run(**SHORT, reshape=rule, tau=tau) for rule in rules for tau in (2.0, 4.0)]
    rows = train_together(runs, store, [describe(r) for r in runs])
    assert len(calls) == 1 and len({row["train_loss"] for row in rows}) == 4
    side = TeacherSide(Run(**SHORT), store)
    assert side.class_std.shape == (10,) and (side.class_std > 0).all()
