"""Teachers and what is kept of them: trainings on all data, their signals, the logit bank."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kdlib.data.augment import AUGMENTATIONS, apply_views, normalise
from kdlib.data.datasets import load
from kdlib.losses.logits import soft_kl
from kdlib.models import build
from kdlib.store.artefacts import Store
from kdlib.training.evaluate import accuracy, predict
from kdlib.training.logit_cache import LogitBank, bank_folder
from kdlib.training.recipe import Recipe
from kdlib.training.reference_runs import SUBSET_RUNS, FullRuns, StoredCheckpoint, full_runs, load_model, signals
from tests.plain import CLASSES, small_data

DATA = small_data()
RECIPE = Recipe(epochs=4, batch_size=16, lr=0.05)
RUNS = FullRuns("mlp", RECIPE, seeds=(0, 1), early=0.5)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("teachers"))


@pytest.fixture(scope="module")
def teacher() -> nn.Module:
    """A ResNet-8 with logits as large as a trained network's, and batch norm statistics of its own."""
    model = build("resnet8", CLASSES, 3, 8, seed=1)
    with torch.no_grad():
        model.train()(normalise(DATA.train_x, DATA.mean, DATA.std))
        model.head.weight.mul_(8)  # type: ignore[union-attr, operator]
    return model.requires_grad_(False).eval()


def plain_logits(model: nn.Module, ids: Tensor, views: Tensor, augment: str = "crop_flip") -> Tensor:
    with torch.no_grad():
        return model(normalise(apply_views(DATA.train_x[ids], views, augment), DATA.mean, DATA.std))


def some_pairs(count: int = 200, augment: str = "crop_flip") -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(2)
    views = AUGMENTATIONS[augment].draw(rng, 8, count)
    return torch.from_numpy(rng.integers(60, size=count)), torch.from_numpy(views)


class Counting(nn.Module):
    """The bank's own network, with the images that went through it counted."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.images = network, 0

    def forward(self, x: Tensor) -> Tensor:
        self.images += len(x)
        return self.network(x)


def counted(bank: LogitBank) -> Counting:
    bank.model = Counting(bank.model)
    return bank.model


# -- the bank


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_without_a_folder_logits_are_the_teachers(teacher: nn.Module, augment: str) -> None:
    """Batch norms folded into the convolutions change float rounding only."""
    ids, views = some_pairs(augment=augment)
    found = LogitBank(teacher, DATA, augment, None)(ids, views)
    torch.testing.assert_close(found, plain_logits(teacher, ids, views, augment), rtol=1e-4, atol=1e-4)


def test_float16_moves_the_kl_by_less_than_a_millionth(teacher: nn.Module, tmp_path: Path) -> None:
    ids, views = some_pairs()
    exact = LogitBank(teacher, DATA, "crop_flip", None)(ids, views)
    kept = LogitBank(teacher, DATA, "crop_flip", tmp_path)(ids, views)
    assert exact.abs().max() > 5  # as large as a trained teacher's, where float16 is coarse
    student = torch.randn(exact.shape, generator=torch.Generator().manual_seed(0)) * 5
    for tau in (1.0, 4.0):
        assert float(soft_kl(kept, exact, tau).max()) < 1e-5 / tau**2
        change = soft_kl(student, kept, tau) - soft_kl(student, exact, tau)
        assert float(change.abs().max()) < 2e-2 / tau**2  # of a divergence of several nats
    assert float((kept - exact).abs().max() / exact.abs().max()) < 2**-11


def test_any_shape_of_question(teacher: nn.Module, tmp_path: Path) -> None:
    ids, views = some_pairs(24)
    bank = LogitBank(teacher, DATA, "crop_flip", tmp_path)
    assert bank(ids.view(2, 3, 4), views.view(2, 3, 4)).shape == (2, 3, 4, CLASSES)
    assert torch.equal(bank(ids.view(4, 6), views.view(4, 6)).flatten(0, 1), bank(ids, views))


@pytest.mark.parametrize("kept", [True, False])
def test_a_logit_does_not_depend_on_who_else_is_asked(teacher: nn.Module, tmp_path: Path, kept: bool) -> None:
    ids, views = some_pairs(150)
    together = LogitBank(teacher, DATA, "crop_flip", tmp_path / "a" if kept else None)(ids, views)
    one_by_one = LogitBank(teacher, DATA, "crop_flip", tmp_path / "b" if kept else None)
    for i in range(0, 150, 10):
        assert torch.equal(one_by_one(ids[i : i + 1], views[i : i + 1])[0], together[i])


def test_only_new_pairs_go_through_the_teacher(teacher: nn.Module, tmp_path: Path) -> None:
    ids, views = some_pairs(64)
    first = LogitBank(teacher, DATA, "crop_flip", tmp_path)
    counter = counted(first)
    expected = first(ids, views)
    asked = counter.images
    assert 0 < asked <= 64 and torch.equal(first(ids, views), expected) and counter.images == asked
    second = LogitBank(teacher, DATA, "crop_flip", tmp_path)  # another student, or another process
    other = counted(second)
    assert torch.equal(second(ids, views), expected) and other.images == 0
    assert torch.equal(second(ids[:5], (views[:5] + 1) % 18)[0], first(ids[:1], (views[:1] + 1) % 18)[0])
    assert other.images == 64  # one chunk


def test_what_another_process_fills_meanwhile_is_left_to_it(teacher: nn.Module, tmp_path: Path) -> None:
    """Another bank on the same file answers the whole question during this one's first chunk of four."""
    ids, views = torch.arange(240) % 60, torch.arange(240) // 60
    here, there = (LogitBank(teacher, DATA, "crop_flip", tmp_path) for _ in range(2))
    mine, its = counted(here), counted(there)

    def meanwhile(*_: object) -> None:
        there(ids, views)

    mine.register_forward_hook(meanwhile)
    found = here(ids, views)
    assert mine.images == 64 and its.images == 256  # chunks of 64, the last one padded
    assert torch.equal(found, LogitBank(teacher, DATA, "crop_flip", tmp_path / "alone")(ids, views))


def test_the_copy_in_device_memory_is_the_file(teacher: nn.Module, tmp_path: Path) -> None:
    """What a bank on a GPU does, carried out on the CPU."""
    bank = LogitBank(teacher, DATA, "crop_flip", tmp_path)
    asked: list[int] = []
    found = bank._found
    bank._found = lambda rows, views: asked.append(len(rows)) or found(rows, views)  # type: ignore[method-assign, func-returns-value]
    ids, views = some_pairs(90)
    near = [bank._near(ids.view(3, 30), views.view(3, 30)) for _ in range(2)]
    assert torch.equal(near[0], near[1]) and len(asked) == 1 and asked[0] == len(torch.unique(ids * 18 + views))
    assert torch.equal(near[0].flatten(0, 1), LogitBank(teacher, DATA, "crop_flip", tmp_path)(ids, views))
    bank._near(ids, (views + 1) % 18)
    assert len(asked) == 2


def test_the_switch_computes_the_teacher_afresh(teacher: nn.Module) -> None:
    ids, views = some_pairs(64)
    bank = LogitBank(teacher, DATA, "crop_flip", None)
    counter = counted(bank)
    for _ in range(3):
        bank(ids, views)
    assert counter.images == 3 * 64


@pytest.mark.parametrize("damage", ["one bit", "zeros", "entry written, checksum not"])
def test_a_damaged_entry_is_computed_again(teacher: nn.Module, tmp_path: Path, damage: str) -> None:
    ids, views = some_pairs(40)
    bank = LogitBank(teacher, DATA, "crop_flip", tmp_path)
    expected = bank(ids, views)
    logits = np.memmap(tmp_path / "logits.f16", dtype=np.uint16, mode="r+", shape=(60, 18, CLASSES))
    check = np.memmap(tmp_path / "check.u32", dtype=np.uint32, mode="r+", shape=(60, 18))
    place = int(ids[3]), int(views[3])
    if damage == "one bit":
        logits[place][2] ^= 1 << 14
    elif damage == "zeros":
        logits[place] = 0
    else:
        check[place] = 0
    counter = counted(again := LogitBank(teacher, DATA, "crop_flip", tmp_path))
    assert torch.equal(again(ids, views), expected)
    assert counter.images == 64  # one chunk, for one pair


def test_every_flipped_bit_is_noticed(teacher: nn.Module, tmp_path: Path) -> None:
    one, view = torch.tensor([7]), torch.tensor([3])
    bank = LogitBank(teacher, DATA, "crop_flip", tmp_path)
    expected = bank(one, view)
    logits = np.memmap(tmp_path / "logits.f16", dtype=np.uint16, mode="r+", shape=(60, 18, CLASSES))
    right = logits[7, 3].copy()
    unnoticed = 0
    for word in range(CLASSES):
        for bit in range(16):
            logits[7, 3] = right
            logits[7, 3, word] ^= 1 << bit
            unnoticed += not torch.equal(bank(one, view), expected)
    assert unnoticed == 0


def test_the_file_is_sparse_and_small(teacher: nn.Module, tmp_path: Path) -> None:
    LogitBank(teacher, DATA, "crop_flip", tmp_path)(*some_pairs(5))
    assert (tmp_path / "logits.f16").stat().st_size == 60 * 18 * CLASSES * 2
    assert (tmp_path / "check.u32").stat().st_size == 60 * 18 * 4


def test_banks_of_other_teachers_data_and_views_lie_elsewhere(store: Store) -> None:
    other_data = dataclasses.replace(DATA, train_y=(DATA.train_y + 1) % CLASSES)
    folders = {
        bank_folder(store, runs, data, augment)
        for runs in (RUNS, dataclasses.replace(RUNS, seeds=(1,)), dataclasses.replace(RUNS, fraction=0.5))
        for data in (DATA, other_data)
        for augment in ("none", "crop")
    }
    assert len(folders) == 12


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


# -- checkpoints


def test_arrays_gathered_so_far_come_back_in_their_order(tmp_path: Path) -> None:
    """More than ten of them: "extra/10" must not come before "extra/2"."""

    class Nothing:
        stack, term, steps = nn.Module(), None, 0
        optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1, momentum=0.9)

    Nothing.optimiser.state[Nothing.optimiser.param_groups[0]["params"][0]]["momentum_buffer"] = torch.zeros(1)
    gathered = [np.full(3, i) for i in range(12)]
    saved = StoredCheckpoint(Store(tmp_path), {"run": 1}, [], every_seconds=0)
    saved.extra += gathered
    saved.save(Nothing(), None, [[], []])  # type: ignore[arg-type]
    found: list[np.ndarray] = []
    StoredCheckpoint(Store(tmp_path), {"run": 1}, found).load(Nothing(), None, [[], []])  # type: ignore[arg-type]
    assert [int(a[0]) for a in found] == list(range(12))


def test_a_full_disk_stops_the_banks_growth_and_nothing_else(tmp_path, monkeypatch, capsys):
    data = load("digits")
    model = build("mlp", 10, 1, 8)
    ids, views = torch.arange(100)[None], torch.zeros(1, 100, dtype=torch.int64)
    fresh = LogitBank(model, data, "none", None)(ids, views)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=0))
    bank = LogitBank(model, data, "none", tmp_path)
    torch.testing.assert_close(bank(ids, views), fresh, rtol=1e-3, atol=1e-3)
    assert "no room for the logit bank" in capsys.readouterr().out
    assert not bank.check.any()
