"""The engine against training written out plainly (`tests/plain.py`): same steps, alone, side by side, resumed."""

from __future__ import annotations

import copy
import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks.conventional import DistillKL
from kdlib.losses import FEATURE_LOSSES, LOSSES, RESHAPES, class_std, cross_entropy, kd, logit_loss
from kdlib.store.artefacts import Store
from kdlib.training.checkpoint import StoredCheckpoint
from kdlib.training.evaluate import predict
from kdlib.training.loop import FeatureTerm, Loop, Member, Trained, train, train_batched
from kdlib.training.recipe import Recipe
from tests.plain import CLASSES, Plain, images, train_plainly
from tests.training.samples import (
    DATA,
    DRIFT,
    KEEP,
    KINKS,
    ONE_STEP,
    SMOOTH_TEACHER,
    STEPS,
    STUDENTS,
    TEACHER,
    fresh_cache,
    identical,
    logit_objective,
    network,
    same_state,
    schedule_of,
)


@pytest.mark.parametrize("student", ["smooth", "mlp"])
@pytest.mark.parametrize("reshape", RESHAPES)
@pytest.mark.parametrize("loss", LOSSES)
def test_one_step_has_the_loss_and_gradient_of_a_plain_step(loss: str, reshape: str, student: str) -> None:
    std = class_std(predict(TEACHER, DATA.train_x, DATA), DATA.train_y, CLASSES)
    options = {} if loss == "cross_entropy" else {"alpha": 0.7, "tau": 3.0}

    def function(logits: Tensor, soft: Tensor | None, labels: Tensor) -> Tensor:
        return logit_loss(logits, soft, labels, loss=loss, reshape=reshape, class_std=std, **options)

    ours, plain = network(student), network(student)
    trained = train(ours, DATA, KEEP, ONE_STEP, seed=3, loss=function, teacher=fresh_cache(), device="cpu")
    found = train_plainly(plain, DATA, KEEP, ONE_STEP, 3, logit_objective(function, TEACHER))
    assert trained.loss == pytest.approx(found.losses, rel=1e-5)
    assert not identical(ours, network(student))
    same_state(ours, plain, STUDENTS[student])


@pytest.mark.parametrize("student", STUDENTS)
def test_one_kd_step_is_the_conventional_loops(student: str) -> None:
    """The same once more with the conventional loop's own two terms, so that nothing of kdlib's losses is in it."""
    hard, soft = nn.CrossEntropyLoss(), DistillKL(4.0)

    def objective(model: nn.Module, x: Tensor, labels: Tensor, positions: np.ndarray) -> tuple[Tensor, Tensor]:
        logits = model(x)
        return logits, 0.5 * hard(logits, labels) + 0.5 * soft(logits, TEACHER(x))

    ours, plain = network(student), network(student)
    trained = train(ours, DATA, KEEP, ONE_STEP, seed=3, loss=kd, teacher=fresh_cache(), device="cpu")
    found = train_plainly(plain, DATA, KEEP, ONE_STEP, 3, objective)
    assert trained.loss == pytest.approx(found.losses, rel=1e-5)
    same_state(ours, plain, STUDENTS[student])


@pytest.mark.parametrize("student", ["mlp", "resnet8"])
def test_bfloat16_is_near_and_keeps_float32_weights(student: str) -> None:
    exact, low = network(student), network(student)
    first, second = (
        train(model, DATA, KEEP, recipe, seed=3, loss=kd, teacher=fresh_cache(), device="cpu")
        for model, recipe in ((exact, STEPS), (low, dataclasses.replace(STEPS, precision="bfloat16")))
    )
    assert second.loss == pytest.approx(first.loss, rel=0.02) and second.loss != first.loss
    assert {p.dtype for p in low.parameters()} == {torch.float32}


@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++"))), reason="torch.compile needs a C++ compiler")
def test_compiled_steps_are_the_same_steps() -> None:
    plain, fast = network("mlp"), network("mlp")
    first, second = (
        train(model, DATA, KEEP, recipe, seed=3, loss=kd, teacher=fresh_cache(), device="cpu")
        for model, recipe in ((plain, STEPS), (fast, dataclasses.replace(STEPS, compile=True)))
    )
    assert second.loss == pytest.approx(first.loss, rel=1e-5)
    same_state(fast, plain, STUDENTS["mlp"])


def test_compiling_without_a_compiler_is_refused_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match="C\\+\\+ compiler"):
        Loop([Member(network("mlp"), KEEP, 0, cross_entropy)], DATA, Recipe(compile=True), torch.device("cpu"))


@pytest.mark.parametrize("name", FEATURE_LOSSES)
def test_one_step_with_a_feature_loss(name: str) -> None:
    """Between two smooth networks, except for the loss that needs equal channels, which has a ResNet teach a ResNet."""
    entry = FEATURE_LOSSES[name]
    student, guide = ("resnet8", TEACHER) if name == "fsp" else ("smooth", SMOOTH_TEACHER)
    x = images(DATA, np.arange(4), np.zeros(4, dtype=int), "none")
    with torch.no_grad():
        shapes = network(student).eval().features(x, entry.preact), guide.features(x, entry.preact)
    module = entry.make(*shapes, num_samples=len(KEEP), num_classes=CLASSES, seed=7)
    theirs = copy.deepcopy(module)
    weight = min(entry.tuned_beta, 1.0)

    def objective(model: nn.Module, x: Tensor, labels: Tensor, positions: np.ndarray) -> tuple[Tensor, Tensor]:
        mine = model.features(x, entry.preact)
        with torch.no_grad():
            taught = guide.features(x, entry.preact)
        loss = kd(mine.logits, taught.logits, labels).mean()
        return mine.logits, loss + weight * theirs(mine, taught, labels, torch.from_numpy(positions))

    ours, plain = network(student), network(student)
    member = Member(ours, KEEP, 3, kd, feature_term=FeatureTerm(module, guide, weight, entry.preact))
    trained = train_batched([member], DATA, ONE_STEP, teacher=fresh_cache(guide), device="cpu")[0]
    found = train_plainly(plain, DATA, KEEP, ONE_STEP, 3, objective, also=theirs)
    assert trained.loss == pytest.approx(found.losses, rel=1e-4)
    same_state(ours, plain, KINKS.get(name, 1e-4))
    same_state(module, theirs, KINKS.get(name, 1e-4))


# -- many steps


def many_steps(student: str) -> tuple[nn.Module, Trained, nn.Module, Plain]:
    ours, plain = network(student), network(student)
    trained = train(ours, DATA, KEEP, STEPS, seed=3, loss=kd, teacher=fresh_cache(), record=True, device="cpu")
    found = train_plainly(plain, DATA, KEEP, STEPS, 3, logit_objective(kd, TEACHER), schedule_of(3, 3))
    return ours, trained, plain, found


@pytest.mark.parametrize("student", STUDENTS)
def test_many_steps_with_momentum_decay_schedule_and_a_partial_last_batch(student: str) -> None:
    ours, trained, plain, found = many_steps(student)
    assert trained.steps == 9
    assert trained.loss == pytest.approx(found.losses, rel=STUDENTS[student])
    same_state(ours, plain, DRIFT * STUDENTS[student])


@pytest.mark.parametrize("student", ["smooth", "mlp"])
def test_recorded_dynamics_are_those_of_every_presentation(student: str) -> None:
    _, trained, _, found = many_steps(student)
    labels = DATA.train_y.numpy()
    for epoch, logits in enumerate(found.logits):
        own = logits[np.arange(60), labels]
        others = logits.copy()
        others[np.arange(60), labels] = -np.inf
        margin = own - others.max(1)
        np.testing.assert_allclose(trained.signals["margin"][epoch], margin, rtol=1e-3, atol=1e-4)
        probs = torch.from_numpy(logits).softmax(1).numpy() - np.eye(logits.shape[1])[labels]
        np.testing.assert_allclose(trained.signals["error"][epoch], np.linalg.norm(probs, axis=1), rtol=1e-3, atol=1e-4)
        clear = np.abs(np.nan_to_num(margin)) > 1e-3  # not a tie within the float tolerance
        assert (trained.signals["correct"][epoch] == (margin > 0))[clear].all()
    left_out = np.setdiff1d(np.arange(60), KEEP)
    assert np.isnan(trained.signals["margin"][:, left_out]).all() and not trained.signals["correct"][:, left_out].any()


# -- the logit cache


@pytest.mark.parametrize("student", ["mlp", "smooth"])
def test_cache_on_and_off_give_the_same_run(student: str, tmp_path: Path) -> None:
    """Float16 rounding of the soft targets moves the loss by less than 1e-3 of itself over three epochs."""
    on, off, again = network(student), network(student), network(student)
    rows = [
        train(model, DATA, KEEP, STEPS, seed=3, loss=kd, teacher=fresh_cache(folder=folder), device="cpu")
        for model, folder in ((on, tmp_path), (off, None), (again, tmp_path))
    ]
    assert rows[0].loss == pytest.approx(rows[1].loss, rel=1e-3)
    assert rows[0].test_acc[-1] == pytest.approx(rows[1].test_acc[-1], abs=100 / 20)  # one test image at most
    same_state(on, off, 2e-3)
    assert identical(on, again), "a filled cache must give what a cold one gave, bit for bit"


# -- runs side by side


def side_by_side(
    student: str, recipe: Recipe, seeds: tuple[int, ...], loss: Callable = kd
) -> list[tuple[nn.Module, Trained]]:
    members = [Member(network(student, seed=s), KEEP, s, loss) for s in seeds]
    return [
        (m.model, t)
        for m, t in zip(members, train_batched(members, DATA, recipe, teacher=fresh_cache(), device="cpu"), strict=True)
    ]


@pytest.mark.parametrize("student", STUDENTS)
@pytest.mark.parametrize("recipe", [ONE_STEP, STEPS], ids=["one step", "nine steps"])
def test_a_run_is_the_same_alone_and_side_by_side(student: str, recipe: Recipe) -> None:
    tolerance = STUDENTS[student] * (1 if recipe is ONE_STEP else DRIFT)
    for seed, (model, trained) in zip((0, 1, 2), side_by_side(student, recipe, (0, 1, 2)), strict=True):
        [(alone, row)] = side_by_side(student, recipe, (seed,))
        assert trained.loss == pytest.approx(row.loss, rel=tolerance)
        same_state(model, alone, tolerance)  # batch norm statistics and their step counters included
        assert trained.test_acc[-1] == pytest.approx(row.test_acc[-1], abs=100 / 20)


def test_members_may_differ_in_loss_subset_and_views() -> None:
    other = np.setdiff1d(np.arange(60), np.arange(14))
    members = [Member(network("mlp"), KEEP, 0, kd, augment_seed=7), Member(network("mlp"), other, 1, cross_entropy)]
    together = train_batched(members, DATA, STEPS, teacher=fresh_cache(), device="cpu")
    for member, row in zip(members, together, strict=True):
        alone = dataclasses.replace(member, model=network("mlp"))
        [expected] = train_batched([alone], DATA, STEPS, teacher=fresh_cache(), device="cpu")
        assert row.loss == pytest.approx(expected.loss, rel=5e-3)
        same_state(member.model, alone.model, 2e-3)


@pytest.mark.parametrize("student", ["mlp", "smooth"])
def test_a_diverging_member_is_flagged_and_leaves_the_others_alone(student: str) -> None:
    def exploding(logits: Tensor, soft: Tensor | None, labels: Tensor) -> Tensor:
        return kd(logits, soft, labels) * torch.inf

    members = [Member(network(student), KEEP, 0, kd), Member(network(student, 1), KEEP, 1, exploding)]
    good, bad = train_batched(members, DATA, STEPS, teacher=fresh_cache(), device="cpu")
    [(alone, row)] = side_by_side(student, STEPS, (0,))
    assert bad.diverged and not good.diverged
    assert good.loss == pytest.approx(row.loss, rel=5e-3)
    same_state(members[0].model, alone, 1e-3)


def test_training_stops_when_nobody_is_left() -> None:
    wild = dataclasses.replace(STEPS, lr=1e8, schedule="constant", epochs=20)
    found = train(network("mlp"), DATA, KEEP, wild, seed=0, loss=cross_entropy, device="cpu")
    assert found.diverged and len(found.loss) < 20


# -- repeatability


@pytest.mark.parametrize("student", ["mlp", "resnet8"])
def test_the_same_seed_gives_the_same_bits(student: str) -> None:
    (a, first), (b, second) = (side_by_side(student, STEPS, (4,))[0] for _ in range(2))
    assert identical(a, b) and first.loss == second.loss and first.test_acc == second.test_acc
    [(c, _)] = side_by_side(student, STEPS, (5,))
    assert not identical(a, c)


def test_global_generators_are_neither_read_nor_moved() -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    before, state = torch.get_rng_state(), np.random.get_state()[1].copy()
    [(a, _)] = side_by_side("resnet8", STEPS, (4,))
    assert torch.equal(torch.get_rng_state(), before) and (np.random.get_state()[1] == state).all()
    torch.manual_seed(2)
    [(b, _)] = side_by_side("resnet8", STEPS, (4,))
    assert identical(a, b)


@pytest.mark.parametrize("feature", [None, "fitnets"])
def test_training_leaves_the_teacher_as_it_was(feature: str | None) -> None:
    taught_by = copy.deepcopy(TEACHER)
    term = None
    if feature:
        x = images(DATA, np.arange(4), np.zeros(4, dtype=int), "none")
        with torch.no_grad():
            shapes = network().features(x), taught_by.features(x)
        module = FEATURE_LOSSES[feature].make(*shapes, num_samples=len(KEEP), num_classes=CLASSES, seed=7)
        term = FeatureTerm(module, taught_by, 1.0)
    member = Member(network(), KEEP, 0, kd, feature_term=term)
    train_batched([member], DATA, STEPS, teacher=fresh_cache(taught_by), device="cpu")
    assert identical(taught_by, TEACHER) and not taught_by.training
    assert all(p.grad is None and not p.requires_grad for p in taught_by.parameters())


class Interrupted(Exception):
    pass


@pytest.mark.parametrize(("student", "members"), [("mlp", 2), ("smooth", 1), ("smooth", 2), ("resnet8", 1)])
def test_an_interrupted_training_goes_on_to_the_same_bits(student: str, members: int, tmp_path: Path) -> None:
    recipe = dataclasses.replace(STEPS, epochs=5, eval_every=2)  # accuracies of some epochs are NaN

    def start(on_epoch: Callable | None, saved: StoredCheckpoint | None) -> tuple[list[Member], list[Trained]]:
        group = [Member(network(student, seed=s), KEEP, s, kd) for s in range(members)]
        return group, train_batched(
            group, DATA, recipe, teacher=fresh_cache(), record=True, device="cpu", on_epoch=on_epoch, resume=saved
        )

    def stop(epoch: int, loop: object) -> None:
        if epoch == 4:
            raise Interrupted

    def checkpoint() -> StoredCheckpoint:
        return StoredCheckpoint(Store(tmp_path), {"run": student}, every_seconds=0)

    with pytest.raises(Interrupted):
        start(stop, checkpoint())
    epochs: list[int] = []
    resumed, rows = start(lambda epoch, loop: epochs.append(epoch), checkpoint())
    unbroken, expected = start(None, None)
    assert epochs == [4, 5], "epoch 4 was not saved yet when it was interrupted"
    for a, b, row, other in zip(resumed, unbroken, rows, expected, strict=True):
        assert identical(a.model, b.model)
        assert row.loss == other.loss and row.steps == other.steps == 15
        np.testing.assert_array_equal(row.test_acc, other.test_acc)
        np.testing.assert_array_equal(row.signals["margin"], other.signals["margin"])
        np.testing.assert_array_equal(row.signals["correct"], other.signals["correct"])
