"""Recipes, batches, schedules, budgets and what a finished training says about itself."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kdlib.data.augment import normalise
from kdlib.experiments.config import Run
from kdlib.experiments.run import describe, train_together
from kdlib.losses import cross_entropy
from kdlib.models import build
from kdlib.store.artefacts import Store
from kdlib.training.evaluate import accuracy, predict
from kdlib.training.loop import Loop, Member, train, train_batched
from kdlib.training.recipe import REMAINDERS, SCHEDULES, Recipe, batches
from kdlib.utils.devices import keep_freed_memory, resolve_device
from tests.plain import CLASSES, small_data

DATA = small_data()
ALL = np.arange(60)
QUICK = Recipe(epochs=4, batch_size=16, lr=0.05)


def mlp(seed: int = 0) -> nn.Module:
    return build("mlp", CLASSES, 3, 8, seed=seed)


def test_a_gpus_convolutions_sum_in_a_fixed_order() -> None:
    torch.backends.cudnn.deterministic = False
    Loop([Member(mlp(), ALL, 0, cross_entropy)], DATA, QUICK, torch.device("cpu"))
    assert torch.backends.cudnn.deterministic


# -- batches and plans


@pytest.mark.parametrize("count", [1, 2, 3, 15, 16, 17, 18, 31, 32, 33, 67, 1000])
@pytest.mark.parametrize("size", [1, 2, 16, 64])
@pytest.mark.parametrize("remainder", REMAINDERS)
def test_batches_cover_every_sample_once(count: int, size: int, remainder: str) -> None:
    parts = batches(count, size, remainder)
    covered = [i for part in parts for i in range(count)[part]]
    assert covered == list(range(count))
    lengths = [part.stop - part.start for part in parts]
    assert max(lengths) <= size + 1
    if size > 1:
        assert min(lengths) > 1 or count == 1, "batch norm cannot take a batch of one"


@pytest.mark.parametrize(("count", "size"), [(67, 64), (1000, 64), (65, 64), (50000, 64), (13, 4)])
def test_the_remainder_is_spread_evenly(count: int, size: int) -> None:
    lengths = [part.stop - part.start for part in batches(count, size)]
    assert max(lengths) - min(lengths) <= 1 and max(lengths) <= size
    assert len(lengths) == -(-count // size), "as many steps as with a smaller last batch"


def test_the_remainder_can_stay_in_a_last_batch() -> None:
    assert batches(33, 16, "last") == [slice(0, 16), slice(16, 33)], "a single sample joins the batch before"
    assert batches(34, 16, "last") == [slice(0, 16), slice(16, 32), slice(32, 34)]
    assert Recipe(remainder="last").batches(67) == [slice(0, 64), slice(64, 67)]


@pytest.mark.parametrize("kept", [1, 17, 33])
def test_odd_last_batches_train(kept: int) -> None:
    found = train(mlp(), DATA, ALL[:kept], QUICK, seed=0, loss=cross_entropy, device="cpu")
    assert not found.diverged and found.steps == 4 * len(batches(kept, 16))


@pytest.mark.parametrize("kept", [6, 20, 60])
def test_the_step_budget_does_not_depend_on_how_many_are_kept(kept: int) -> None:
    by_steps = dataclasses.replace(QUICK, budget="steps")
    full = 4 * len(batches(60, 16))
    epochs, steps = by_steps.plan(kept, 60)
    assert full <= epochs * steps < full + steps, "whole epochs, the first number that reaches the budget"
    found = train(mlp(), DATA, ALL[:kept], by_steps, seed=0, loss=cross_entropy, device="cpu")
    assert found.steps == epochs * steps and len(found.loss) == epochs
    assert QUICK.plan(kept, 60) == (4, len(batches(kept, 16)))


# -- schedules


def rates(recipe: Recipe, kept: int = 60) -> np.ndarray:
    """The learning rate of every step (E, S), read from a loop."""
    loop = Loop([Member(mlp(), ALL[:kept], 0, cross_entropy)], DATA, recipe, torch.device("cpu"))
    found: list[float] = []
    loop.optimiser.register_step_pre_hook(lambda optimiser, *_: found.append(optimiser.param_groups[0]["lr"]))
    for epoch in range(loop.epochs):
        loop.epoch(epoch, None, None)
    return np.array(found).reshape(loop.epochs, -1)


def test_one_cycle_rises_over_the_warm_up_and_falls_to_nothing() -> None:
    found = rates(Recipe(epochs=10, batch_size=6, lr=0.4, warmup=0.2)).ravel()
    top = int(found.argmax())
    assert found.max() == pytest.approx(0.4, rel=0.05) and top == pytest.approx(0.2 * 100, abs=2)
    assert (np.diff(found[: top + 1]) > 0).all() and (np.diff(found[top:]) < 0).all()
    assert 0 < found[0] < 0.04 and 0 <= found[-1] < 0.01
    assert found.mean() == pytest.approx(0.2, rel=0.03)  # the area of a triangle


def test_without_warm_up_one_cycle_only_falls() -> None:
    found = rates(Recipe(epochs=3, batch_size=20, lr=0.4, warmup=0.0)).ravel()
    assert (np.diff(found) < 0).all()


def test_steps_divides_by_ten_after_each_milestone() -> None:
    recipe = Recipe(epochs=6, batch_size=30, lr=0.05, schedule="steps", milestones=(2, 4))
    np.testing.assert_allclose(rates(recipe), np.repeat([0.05, 0.05, 0.005, 0.005, 0.0005, 0.0005], 2).reshape(6, 2))


def test_cosine_falls_along_half_a_wave() -> None:
    found = rates(Recipe(epochs=4, batch_size=6, lr=0.4, schedule="cosine")).ravel()
    shares = (np.arange(40) + 0.5) / 40
    np.testing.assert_allclose(found, 0.4 * (1 + np.cos(np.pi * shares)) / 2, atol=0.4 * np.pi / 80)
    assert (np.diff(found) < 0).all() and found[-1] < 0.002


def test_adamw_steps_are_those_of_torch() -> None:
    """All samples in one batch, three steps at a constant rate; `momentum` is the first beta."""
    recipe = Recipe(
        epochs=3, batch_size=60, lr=0.01, momentum=0.8, weight_decay=0.1, optimiser="adamw", schedule="constant"
    )
    ours, plain = mlp(), mlp()
    train(ours, DATA, ALL, recipe, seed=0, loss=cross_entropy, device="cpu")
    x, y = normalise(DATA.train_x, DATA.mean, DATA.std), DATA.train_y
    optimiser = torch.optim.AdamW(plain.parameters(), lr=0.01, betas=(0.8, 0.999), weight_decay=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        cross_entropy(plain(x), None, y).mean().backward()
        optimiser.step()
    for a, b in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_constant_is_constant() -> None:
    assert (rates(Recipe(epochs=2, batch_size=30, lr=0.05, schedule="constant")) == 0.05).all()


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_factors_stay_between_zero_and_one(schedule: str) -> None:
    recipe = Recipe(schedule=schedule, milestones=(10, 20))
    factors = [SCHEDULES[schedule](recipe, (e + 0.5) / 60) for e in range(60)]
    assert all(0 < f <= 1 for f in factors)


@pytest.mark.parametrize("kept", [6, 20])
def test_milestones_scale_with_a_budget_of_steps(kept: int) -> None:
    """With a tenth of the data and ten times the epochs, the rate falls at the same share of all steps."""
    recipe = Recipe(epochs=8, batch_size=4, lr=0.1, schedule="steps", milestones=(4, 6), budget="steps")
    seen = rates(recipe, kept)
    shares = [float(np.mean(np.isclose(seen, rate))) for rate in (0.1, 0.01, 0.001)]
    assert np.allclose(shares, [0.5, 0.25, 0.25], atol=0.02)


def test_warm_ups_scale_with_a_budget_of_steps() -> None:
    """A loss that warms up is asked for its form at nominal epochs, which a longer budget stretches."""
    asked: list[float] = []

    class Warming:
        def __call__(self, student: Tensor, teacher: Tensor | None, labels: Tensor) -> Tensor:
            return cross_entropy(student, None, labels)

        def at_epoch(self, epoch: float) -> Warming:
            asked.append(epoch)
            return self

    recipe = Recipe(epochs=4, batch_size=20, budget="steps")
    found = train(mlp(), DATA, ALL[:20], recipe, seed=0, loss=Warming(), device="cpu")
    assert len(found.loss) == 12 and asked == pytest.approx(np.linspace(4 / 12, 4, 12))


# -- recipes are checked


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"eval_every": 0}, "eval_every must be at least 1"),
        ({"lr": 0.0}, "lr > 0"),
        ({"momentum": 1.0}, "momentum"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"warmup": 1.0}, "warmup"),
        ({"schedule": "one-cycle"}, "did you mean 'one_cycle'"),
        ({"augment": "flip"}, "crop_flip"),
        ({"precision": "float16"}, "bfloat16"),
        ({"budget": "step"}, "did you mean 'steps'"),
        ({"remainder": "evn"}, "did you mean 'even'"),
        ({"optimiser": "adam"}, "did you mean 'adamw'"),
        ({"milestones": (0, 5)}, "milestones are epochs from 1 on"),
    ],
)
def test_bad_recipes_raise(knobs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe(**knobs)


# -- what a training returns


def test_the_loss_of_an_epoch_is_the_mean_over_samples_not_batches() -> None:
    """At a vanishing rate the network stays as it is, so the epoch's loss is the mean over all samples."""
    still = Recipe(epochs=1, batch_size=16, lr=1e-30, momentum=0, weight_decay=0, schedule="constant")
    kept = ALL[:18]  # a last batch of two
    found = train(mlp(), DATA, kept, still, seed=0, loss=cross_entropy, device="cpu")
    logits = predict(mlp(), DATA.train_x[:18], DATA)
    assert found.loss[0] == pytest.approx(float(cross_entropy(logits, None, DATA.train_y[:18]).mean()), rel=1e-5)


def test_test_accuracies_come_every_so_many_epochs_and_at_the_end() -> None:
    every_third = dataclasses.replace(QUICK, epochs=5, eval_every=3)
    model = mlp()
    found = train(model, DATA, ALL, every_third, seed=0, loss=cross_entropy, device="cpu")
    assert [math.isfinite(a) for a in found.test_acc] == [False, False, True, False, True]
    assert found.test_acc[-1] == pytest.approx(float(accuracy(predict(model, DATA.test_x, DATA), DATA.test_y)))
    assert not found.model.training and found.model is model


def test_training_learns() -> None:
    found = train(mlp(), DATA, ALL, dataclasses.replace(QUICK, epochs=20), seed=0, loss=cross_entropy, device="cpu")
    assert found.loss[-1] < 0.5 * found.loss[0] and found.test_acc[-1] > 40  # chance is 20


def test_stop_after_leaves_on_the_full_schedule() -> None:
    """The first epochs of a long training, not a shorter training with a schedule of its own."""
    short, long = mlp(), mlp()
    rows = [
        train_batched([Member(m, ALL, 0, cross_entropy)], DATA, QUICK, device="cpu", stop_after=stop)[0]
        for m, stop in ((short, 2), (long, None))
    ]
    assert len(rows[0].loss) == 2 and rows[0].loss == rows[1].loss[:2]


def test_runs_side_by_side_keep_equally_many_samples() -> None:
    members = [Member(mlp(s), ALL[: 10 + s], s, cross_entropy) for s in range(2)]
    with pytest.raises(ValueError, match="equally many"):
        train_batched(members, DATA, QUICK, device="cpu")


def test_views_of_a_sample_do_not_depend_on_who_else_is_kept() -> None:
    recipe = dataclasses.replace(QUICK, augment="crop_flip")

    def views(keep: np.ndarray, seed: int, shared: int | None) -> dict[int, int]:
        member = Member(build("resnet8", CLASSES, 3, 8), keep, seed, cross_entropy, augment_seed=shared)
        loop = Loop([member], DATA, recipe, torch.device("cpu"))
        positions, found = loop.draw(2)
        return dict(zip(loop.keep[0][positions[0]].tolist(), found[0].tolist(), strict=True))

    few, many, other = views(ALL[:20], 1, 7), views(ALL, 2, 7), views(ALL, 2, None)
    assert all(few[i] == many[i] for i in few) and many != other


# -- prediction


def test_predict_leaves_mode_and_statistics_alone() -> None:
    model = build("resnet8", CLASSES, 3, 8)
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    logits = predict(model, DATA.train_x, DATA, batch=7)
    assert model.training and logits.shape == (60, CLASSES) and not logits.requires_grad
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    torch.testing.assert_close(logits, predict(model, DATA.train_x, DATA), rtol=1e-4, atol=1e-5)


def test_accuracy_is_in_percent_over_the_samples() -> None:
    logits = torch.tensor([[[2.0, 1.0], [0.0, 1.0]], [[1.0, 2.0], [0.0, 1.0]]])
    assert accuracy(logits, torch.tensor([0, 1])).tolist() == [100.0, 50.0]


# -- devices and memory


def test_auto_is_the_cpu_where_no_gpu_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == torch.device("cpu") == resolve_device("cpu")


def test_an_unusable_gpu_is_named_and_left(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def broken(*args: object, **options: object) -> Tensor:
        raise RuntimeError("CUDA error: no kernel image is available\nmore lines")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "ones", broken)
    assert resolve_device("auto") == torch.device("cpu")
    assert "no kernel image is available" in capsys.readouterr().out


def test_freed_memory_is_kept_for_the_next_step() -> None:
    """A tensor of 8 MiB, freed and made again: after the first time its pages are there already."""
    resource = pytest.importorskip("resource")
    keep_freed_memory()

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(10):
            torch.ones(2 << 20)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    faults()
    assert faults() < 2048, "ten times 8 MiB are 20,480 pages"


def test_out_of_memory_halves_the_batch_of_runs(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [Run(epochs=1, fraction=0.05, loss="cross_entropy", seed=s) for s in range(5)]
    described = [describe(r) for r in runs]
    expected = train_together(runs, Store(tmp_path / "a"), described)
    sizes: list[int] = []

    def tight(members: list[Member], *args: object, **options: object) -> list:
        sizes.append(len(members))
        if len(members) > 2:
            raise torch.OutOfMemoryError("not enough memory for so many")
        return train_batched(members, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("kdlib.experiments.run.train_batched", tight)
    rows = train_together(runs, Store(tmp_path / "b"), described)
    assert sizes == [5, 3, 2, 1, 2]
    assert [row["seed"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["train_loss"] for row in rows] == pytest.approx([row["train_loss"] for row in expected], rel=1e-4)


def test_out_of_memory_alone_is_an_error(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **options: object) -> list:
        raise torch.OutOfMemoryError("not enough memory for one")

    monkeypatch.setattr("kdlib.experiments.run.train_batched", full)
    with pytest.raises(torch.OutOfMemoryError):
        r = Run(epochs=1, fraction=0.05, loss="cross_entropy")
        train_together([r], Store(tmp_path), [describe(r)])
