"""Knobs that reach into one method: views of the difficulty, subset models, DKD's weights; and what older rows are worth."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import numpy as np
import pytest
import torch

from kdlib import Run, Store, run, sweep
from kdlib.data.augment import AUGMENTATIONS, apply_views
from kdlib.experiments.fingerprint import DKD_KNOBS, YOUNGER
from kdlib.experiments.run import (
    LOSS_KNOBS,
    Objective,
    TeacherSide,
    company_key,
    dataset_of,
    describe,
    kept_samples,
    needed_artefacts,
    run_together,
    score_runs,
)
from kdlib.losses.logits import dkd
from kdlib.losses.reshape import class_std
from kdlib.scorers.errors import difficulty
from kdlib.store.artefacts import key
from kdlib.training.evaluate import predict
from kdlib.training.reference_runs import SUBSET_RUNS, Extras, load_model, signals
from kdlib.utils import seeds

SHORT = {"epochs": 2, "fraction": 0.2, "lr": 0.02}
VIEWS = {**SHORT, "scorer": "difficulty", "augment": "crop", "loss": "cross_entropy"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


def ids(r: Run) -> set[str]:
    return {key(kind, description) for kind, description in needed_artefacts(r)}


# -- difficulty over views


def test_difficulty_over_views_is_that_of_the_views_logits(store: Store) -> None:
    """Against Eq. 3 on logits (V,N,K) computed at once, with the views that the stream `score` draws."""
    r = Run(**VIEWS, score_views=3, score_runs=2)
    data, runs = dataset_of(r), score_runs(r)
    found = signals(("view_difficulty",), runs, data, store, "cpu", Extras(views=3, augment="crop")).view_difficulty
    assert found is not None and found.shape == (2, 1347)
    for seed in range(2):
        model, drawn = load_model(runs, data, store, "cpu", seed), [seeds.stream(seed, "score", v) for v in range(3)]
        views = [torch.from_numpy(AUGMENTATIONS["crop"].draw(rng, 8, 1347)) for rng in drawn]
        assert len({v.numpy().tobytes() for v in views}) == 3
        logits = torch.stack([predict(model, apply_views(data.train_x, v, "crop"), data) for v in views])
        np.testing.assert_allclose(found[seed], difficulty(logits.numpy(), data.train_y.numpy()), rtol=1e-4, atol=1e-7)
    scores = found.mean(0)
    top = kept_samples(dataclasses.replace(r, class_balanced=False), store)
    assert set(top) == set(np.argsort(scores)[-len(top) :].tolist())


def test_difficulty_over_no_view_is_refused(tmp_path: Path) -> None:
    r = Run(**VIEWS)
    with pytest.raises(ValueError, match="at least 1 view"):
        signals(("view_difficulty",), score_runs(r), dataset_of(r), Store(tmp_path), "cpu")
    assert not Store(tmp_path).ls()


def test_score_views_runs_and_is_another_row(store: Store) -> None:
    row, clean = run(Run(**VIEWS, score_views=4), store), run(Run(**VIEWS), store)
    assert row["status"] == "ok" and row["kept"] == clean["kept"] == 269 and row["score_views"] == 4
    assert row["train_loss"] != clean["train_loss"]


def test_views_are_part_of_the_signals_key() -> None:
    base = {**VIEWS, "score_augment": "none"}
    runs = [Run(**{**base, **more}) for more in ({}, {"score_views": 4}, {"score_views": 5})]
    runs.append(dataclasses.replace(runs[1], augment="crop_flip"))
    runs.append(dataclasses.replace(runs[1], score_runs=2))
    assert len(set.union(*map(ids, runs))) == len(runs) == len({key("rows", describe(r)) for r in runs})
    unpruned = [Run(**{**VIEWS, "fraction": 1.0}, score_views=v) for v in (0, 4)]
    assert describe(unpruned[0]) == describe(unpruned[1]) and not ids(unpruned[1])


def test_runs_that_differ_in_their_scores_train_side_by_side() -> None:
    changes = [{}, {"score_views": 4}, {"score_model": "resnet8"}]
    runs = [Run(**VIEWS, **change) for change in changes]  # type: ignore[arg-type]
    runs += [dataclasses.replace(runs[0], scorer="memorization", score_subsets=n) for n in (4, 5)]
    table = {"score_column": "a", "score_image": "b", "score_high": "drop", "score_parts": 2, "score_extra": "ignore"}
    runs.append(dataclasses.replace(runs[0], scorer="released", score_file="x.csv", **table))  # type: ignore[arg-type]
    assert company_key(runs[0]) is not None and len({company_key(r) for r in runs}) == 1


# -- memorization


def test_score_subsets_sets_the_number_of_subset_models(store: Store) -> None:
    r = Run(**SHORT, scorer="memorization", score_subsets=4, score_runs=2)
    assert run(r, store)["status"] == "ok"
    ((kind, description),) = [pair for pair in needed_artefacts(r) if pair[0] == "subsets"]
    arrays = store.arrays(kind, description, lambda: pytest.fail("not stored under its description"))
    assert arrays["trained"].shape == arrays["subset_correct"].shape == (8, 1347)
    more = dataclasses.replace(r, score_subsets=5)
    assert ids(r) != ids(more) and describe(r) != describe(more)
    other = [dataclasses.replace(r, scorer="el2n", score_subsets=n) for n in (4, 5)]
    assert describe(other[0]) == describe(other[1]) and ids(other[0]) == ids(other[1])


# -- DKD


def test_dkd_knobs_are_the_arguments_of_the_loss() -> None:
    student, teacher = (torch.randn(6, 5, generator=torch.Generator().manual_seed(s)) * 4 for s in (0, 1))
    labels, weights = torch.arange(6) % 5, {"target_weight": 0.3, "non_target_weight": 2.5, "warmup_epochs": 8.0}
    objective = Objective(Run(loss="dkd", **{f"dkd_{name}": value for name, value in weights.items()}), None)  # type: ignore[arg-type]
    for epoch in (1, 4, 8, 20):
        expected = dkd(student, teacher, labels, alpha=0.5, tau=4.0, epoch=epoch, **weights)
        assert torch.equal(objective.at_epoch(epoch)(student, teacher, labels), expected)
    assert objective.at_epoch(8) is objective is not objective.at_epoch(7)
    usual = Objective(Run(loss="dkd"), None).at_epoch(5)(student, teacher, labels)
    assert torch.equal(usual, dkd(student, teacher, labels, alpha=0.5, tau=4.0, epoch=5))


def test_dkd_knobs_matter_to_dkd_alone() -> None:
    changed = {"dkd_target_weight": 2.0, "dkd_non_target_weight": 2.0, "dkd_warmup_epochs": 3.0}
    assert describe(Run(loss="kd", **changed)) == describe(Run(loss="kd"))  # type: ignore[arg-type]
    for name, value in changed.items():
        assert describe(Run(loss="dkd", **{name: value})) != describe(Run(loss="dkd"))  # type: ignore[arg-type]


def test_dkd_knobs_have_the_losses_defaults() -> None:
    defaults = {name: p.default for name, p in inspect.signature(dkd).parameters.items()}
    assert {knob: getattr(Run(), knob) for knob in DKD_KNOBS} == {k: defaults[name] for k, name in DKD_KNOBS.items()}


def test_runs_of_other_dkd_weights_do_not_share_a_loss(store: Store) -> None:
    changes = [{}, {"dkd_target_weight": 4.0}, {"dkd_non_target_weight": 1.0}, {"dkd_warmup_epochs": 0.0}]
    runs = [Run(**SHORT, loss="dkd", alpha=0.9, **change) for change in changes]  # type: ignore[arg-type]
    assert len({company_key(r) for r in runs}) == 1 and len({key("rows", describe(r)) for r in runs}) == 4
    together = run_together(runs, store)
    assert len({row["train_loss"] for row in together}) == 4
    for r, row in zip(runs, together, strict=True):
        assert row["train_loss"] == pytest.approx(run(r, store)["train_loss"], rel=1e-4)


def test_an_objective_reads_no_knob_that_its_key_lacks() -> None:
    """Runs whose `LOSS_KNOBS` agree share one object."""
    read = []

    class Spy:
        def __getattr__(self, name: str) -> object:
            read.append(name)
            return getattr(Run(loss="dkd"), name)

    logits = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    Objective(Spy(), None).at_epoch(1)(logits, logits + 1, torch.arange(4))  # type: ignore[arg-type]
    assert set(read) == set(LOSS_KNOBS)


def test_class_std_is_computed_once_for_a_company(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr("kdlib.losses.reshape.class_std", lambda *a: calls.append(1) or class_std(*a))  # type: ignore[func-returns-value]
    changes = [
        {"reshape": rule, "tau": tau} for rule in ("classwise_std", "classwise_std_dataset_mean") for tau in (2.0, 4.0)
    ]
    rows = run_together([Run(**SHORT, **change) for change in changes], store)  # type: ignore[arg-type]
    assert len(calls) == 1 and len({row["train_loss"] for row in rows}) == 4
    side = TeacherSide(Run(**SHORT), store)
    assert side.class_std.shape == (10,) and (side.class_std > 0).all()


# -- rows that are older than a knob

OLDER = ({}, {"loss": "dkd"}, {"scorer": "memorization"}, {"scorer": "difficulty", "augment": "crop"})


@pytest.mark.parametrize("change", OLDER)
def test_a_row_without_the_younger_knobs_is_still_found(change: dict, tmp_path: Path) -> None:
    store, r = Store(tmp_path), Run(**SHORT, **change)
    young = {f.name for f in dataclasses.fields(Run) if f.name.startswith("dkd_")} | {"score_views", "score_subsets"}
    young |= {f.name for f in dataclasses.fields(Run) if f.name.startswith("score_")} - set(
        ("score_model", "score_runs", "score_epochs", "score_augment")
    )
    described, old = describe(r), {name: value for name, value in dataclasses.asdict(r).items() if name not in young}
    assert not young & set(described)
    store.add_row(described, {**old, "test_acc": 12.5, "status": "ok", "device": "cpu"})
    row = sweep({"seed": [0]}, store=store, progress=False, **SHORT, **change).iloc[0].to_dict()
    assert row["test_acc"] == 12.5 and {name: row[name] for name in young} == {name: getattr(r, name) for name in young}


def test_the_values_of_older_rows() -> None:
    """Today's defaults are those values, and the number of subset models is the room's constant."""
    assert {name: getattr(Run(), name) for name in YOUNGER} == YOUNGER
    assert Extras().subsets == SUBSET_RUNS == Run().score_subsets
