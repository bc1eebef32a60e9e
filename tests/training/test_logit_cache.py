"""The logit cache: what it gives is the teacher's, once, whatever happens to its file."""

from __future__ import annotations

import copy
import dataclasses
import os
import resource
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
from kdlib.models.external import External
from kdlib.store.artefacts import Store
from kdlib.training import logit_cache
from kdlib.training.logit_cache import LogitCache, cache_folder
from tests.plain import CLASSES, small_data

DATA = small_data()


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
    """The cache's own network, with the images that went through it counted."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.images = network, 0

    def forward(self, x: Tensor) -> Tensor:
        self.images += len(x)
        return self.network(x)


def counted(bank: LogitCache) -> Counting:
    bank.model = Counting(bank.model)
    return bank.model


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_without_a_folder_logits_are_the_teachers(teacher: nn.Module, augment: str) -> None:
    """Batch norms folded into the convolutions change float rounding only."""
    ids, views = some_pairs(augment=augment)
    found = LogitCache(teacher, DATA, augment, None)(ids, views)
    torch.testing.assert_close(found, plain_logits(teacher, ids, views, augment), rtol=1e-4, atol=1e-4)


def test_float16_moves_the_kl_by_less_than_a_millionth(teacher: nn.Module, tmp_path: Path) -> None:
    ids, views = some_pairs()
    exact = LogitCache(teacher, DATA, "crop_flip", None)(ids, views)
    kept = LogitCache(teacher, DATA, "crop_flip", tmp_path)(ids, views)
    assert exact.abs().max() > 5  # as large as a trained teacher's, where float16 is coarse
    student = torch.randn(exact.shape, generator=torch.Generator().manual_seed(0)) * 5
    for tau in (1.0, 4.0):
        assert float(soft_kl(kept, exact, tau).max()) < 1e-5 / tau**2
        change = soft_kl(student, kept, tau) - soft_kl(student, exact, tau)
        assert float(change.abs().max()) < 2e-2 / tau**2  # of a divergence of several nats
    assert float((kept - exact).abs().max() / exact.abs().max()) < 2**-11


def test_any_shape_of_question(teacher: nn.Module, tmp_path: Path) -> None:
    ids, views = some_pairs(24)
    bank = LogitCache(teacher, DATA, "crop_flip", tmp_path)
    assert bank(ids.view(2, 3, 4), views.view(2, 3, 4)).shape == (2, 3, 4, CLASSES)
    assert torch.equal(bank(ids.view(4, 6), views.view(4, 6)).flatten(0, 1), bank(ids, views))


@pytest.mark.parametrize("kept", [True, False])
def test_a_logit_does_not_depend_on_who_else_is_asked(teacher: nn.Module, tmp_path: Path, kept: bool) -> None:
    ids, views = some_pairs(150)
    together = LogitCache(teacher, DATA, "crop_flip", tmp_path / "a" if kept else None)(ids, views)
    one_by_one = LogitCache(teacher, DATA, "crop_flip", tmp_path / "b" if kept else None)
    for i in range(0, 150, 10):
        assert torch.equal(one_by_one(ids[i : i + 1], views[i : i + 1])[0], together[i])


def test_only_new_pairs_go_through_the_teacher(teacher: nn.Module, tmp_path: Path) -> None:
    ids, views = some_pairs(64)
    first = LogitCache(teacher, DATA, "crop_flip", tmp_path)
    counter = counted(first)
    expected = first(ids, views)
    asked = counter.images
    assert 0 < asked <= 64 and torch.equal(first(ids, views), expected) and counter.images == asked
    second = LogitCache(teacher, DATA, "crop_flip", tmp_path)  # another student, or another process
    other = counted(second)
    assert torch.equal(second(ids, views), expected) and other.images == 0
    assert torch.equal(second(ids[:5], (views[:5] + 1) % 18)[0], first(ids[:1], (views[:1] + 1) % 18)[0])
    assert other.images == 64  # one chunk


def test_what_another_process_fills_meanwhile_is_left_to_it(teacher: nn.Module, tmp_path: Path) -> None:
    """Another bank on the same file answers the whole question during this one's first chunk of four."""
    ids, views = torch.arange(240) % 60, torch.arange(240) // 60
    here, there = (LogitCache(teacher, DATA, "crop_flip", tmp_path) for _ in range(2))
    mine, its = counted(here), counted(there)

    def meanwhile(*_: object) -> None:
        there(ids, views)

    mine.register_forward_hook(meanwhile)
    found = here(ids, views)
    assert mine.images == 64 and its.images == 256  # chunks of 64, the last one padded
    assert torch.equal(found, LogitCache(teacher, DATA, "crop_flip", tmp_path / "alone")(ids, views))


def test_the_copy_in_device_memory_is_the_file(teacher: nn.Module, tmp_path: Path) -> None:
    """What a bank on a GPU does, carried out on the CPU."""
    bank = LogitCache(teacher, DATA, "crop_flip", tmp_path)
    asked: list[int] = []
    found = bank._found
    bank._found = lambda rows, views: asked.append(len(rows)) or found(rows, views)  # type: ignore[method-assign, func-returns-value]
    ids, views = some_pairs(90)
    near = [bank._near(ids.view(3, 30), views.view(3, 30)) for _ in range(2)]
    assert torch.equal(near[0], near[1]) and len(asked) == 1 and asked[0] == len(torch.unique(ids * 18 + views))
    assert torch.equal(near[0].flatten(0, 1), LogitCache(teacher, DATA, "crop_flip", tmp_path)(ids, views))
    bank._near(ids, (views + 1) % 18)
    assert len(asked) == 2


def test_the_switch_computes_the_teacher_afresh(teacher: nn.Module) -> None:
    ids, views = some_pairs(64)
    bank = LogitCache(teacher, DATA, "crop_flip", None)
    counter = counted(bank)
    for _ in range(3):
        bank(ids, views)
    assert counter.images == 3 * 64


def stored_entries(folder: Path) -> np.memmap:
    """The cache's file as (pairs, bytes): float16 logits, then a checksum of 4 bytes."""
    return np.memmap(folder / "logits", dtype=np.uint8, mode="r+").reshape(-1, 2 * CLASSES + 4)


@pytest.mark.parametrize("damage", ["one bit", "zeros", "entry written, checksum not"])
def test_a_damaged_entry_is_computed_again(teacher: nn.Module, tmp_path: Path, damage: str) -> None:
    ids, views = some_pairs(40)
    expected = LogitCache(teacher, DATA, "crop_flip", tmp_path)(ids, views)
    entry = stored_entries(tmp_path)[int(ids[3]) * 18 + int(views[3])]
    if damage == "one bit":
        entry[4] ^= 1 << 6
    else:
        entry[-4 if damage == "entry written, checksum not" else 0 :] = 0
    counter = counted(again := LogitCache(teacher, DATA, "crop_flip", tmp_path))
    assert torch.equal(again(ids, views), expected)
    assert counter.images == 64  # one chunk, for one pair


def test_every_flipped_bit_is_noticed(teacher: nn.Module, tmp_path: Path) -> None:
    one, view = torch.tensor([7]), torch.tensor([3])
    cache = LogitCache(teacher, DATA, "crop_flip", tmp_path)
    expected = cache(one, view)
    entry = stored_entries(tmp_path)[7 * 18 + 3]
    right = entry.copy()
    unnoticed = 0
    for byte in range(2 * CLASSES):
        for bit in range(8):
            entry[:] = right
            entry[byte] ^= 1 << bit
            unnoticed += not torch.equal(cache(one, view), expected)
    assert unnoticed == 0


def test_a_file_that_is_cut_off_under_a_training_is_filled_again(teacher: nn.Module, tmp_path: Path) -> None:
    """A mapped file would end the process with SIGBUS here."""
    ids, views = some_pairs()
    cache = LogitCache(teacher, DATA, "crop_flip", tmp_path)
    expected = cache(ids, views)
    os.truncate(tmp_path / "logits", 100)
    assert torch.equal(cache(ids, views), expected)
    assert torch.equal(LogitCache(teacher, DATA, "crop_flip", tmp_path)(ids, views), expected)


def test_a_disk_over_quota_costs_the_kept_logits_only(teacher: nn.Module, tmp_path: Path, caplog) -> None:  # type: ignore[no-untyped-def]
    """The kernel refuses every write beyond the limit, as a quota does; a mapped file would end with SIGBUS or SIGXFSZ."""
    ids, views = some_pairs()
    expected = LogitCache(teacher, DATA, "crop_flip", tmp_path / "roomy")(ids, views)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        cache = LogitCache(teacher, DATA, "crop_flip", tmp_path / "small")
        assert torch.equal(cache(ids, views), expected) and torch.equal(cache(ids, views), expected)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [record for record in caplog.messages if "File too large" in record], "and it says so"


@pytest.mark.parametrize("linked", ["folder", "file"])
def test_nothing_is_written_through_a_link(teacher: nn.Module, tmp_path: Path, linked: str) -> None:
    """Somebody else's store may hold links to files of ours."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "logits").write_text("ours")
    if linked == "folder":
        (tmp_path / "cache").symlink_to(precious)
    else:
        (tmp_path / "cache").mkdir()
        (tmp_path / "cache" / "logits").symlink_to(precious / "logits")
    ids, views = some_pairs(70)
    found = LogitCache(teacher, DATA, "crop_flip", tmp_path / "cache")(ids, views)
    assert torch.equal(found, LogitCache(teacher, DATA, "crop_flip", tmp_path / "own")(ids, views))
    assert (precious / "logits").read_text() == "ours"


def test_a_gpu_keeps_the_logits_only_if_they_fit(teacher: nn.Module, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """Carried out on the CPU: the answers are the same from the device's copy and from the file."""
    ids, views = some_pairs()
    cache = LogitCache(teacher, DATA, "crop_flip", tmp_path)
    assert cache._fits_the_device() and torch.equal(cache._near(ids, views), cache(ids, views))
    monkeypatch.setattr(logit_cache, "DEVICE_BYTES", 60 * 18 * (2 * CLASSES + 1) - 1)
    monkeypatch.setattr(logit_cache, "AT_ONCE", 7)
    fresh = LogitCache(teacher, DATA, "crop_flip", tmp_path / "pieces")
    assert not fresh._fits_the_device() and torch.equal(fresh(ids, views), cache(ids, views))


def test_the_file_is_sparse_and_small(teacher: nn.Module, tmp_path: Path) -> None:
    LogitCache(teacher, DATA, "crop_flip", tmp_path)(*some_pairs(5))
    about = (tmp_path / "logits").stat()
    assert about.st_size <= 60 * 18 * (2 * CLASSES + 4) and about.st_blocks * 512 <= 5 * 4096


def test_caches_of_other_weights_data_and_views_lie_elsewhere(tmp_path: Path, teacher: nn.Module) -> None:
    store = Store(tmp_path)
    other_data = dataclasses.replace(DATA, train_y=(DATA.train_y + 1) % CLASSES)
    again = copy.deepcopy(teacher)
    assert cache_folder(store, again, DATA, "crop") == cache_folder(store, teacher, DATA, "crop")
    with torch.no_grad():
        next(again.parameters()).view(-1)[0].add_(1e-6)  # as after a training with another thread count
    folders = {
        cache_folder(store, model, data, augment)
        for model in (teacher, again)
        for data in (DATA, other_data)
        for augment in ("none", "crop")
    }
    assert len(folders) == 8


def test_a_full_disk_stops_the_caches_growth_and_nothing_else(tmp_path, monkeypatch, caplog):
    data = load("digits")
    model = build("mlp", 10, 1, 8)
    ids, views = torch.arange(100)[None], torch.zeros(1, 100, dtype=torch.int64)
    fresh = LogitCache(model, data, "none", None)(ids, views)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=0))
    cache = LogitCache(model, data, "none", tmp_path)
    torch.testing.assert_close(cache(ids, views), fresh, rtol=1e-3, atol=1e-3)
    assert "the disk is nearly full" in caplog.text and (tmp_path / "logits").stat().st_size == 0


class Deciding(nn.Module):
    """A network whose way depends on its input, which cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 8 * 8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.head(x.flatten(1))
        return logits if float(logits.detach().sum()) > 1e9 else 2 * logits


@pytest.mark.parametrize("name", ["torchvision:resnet18", "torchvision:squeezenet1_1", "deciding"])
def test_networks_of_other_libraries_answer_the_same(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    foreign = External(Deciding(), name) if name == "deciding" else build(name, CLASSES, 3, 32, seed=1)
    data = DATA if name == "deciding" else dataclasses.replace(DATA, train_x=DATA.train_x.repeat(1, 1, 4, 4))
    cache = LogitCache(foreign.eval(), data, "none", tmp_path)
    ids = torch.arange(len(data.train_y))
    with torch.no_grad():
        wanted = foreign(normalise(data.train_x, data.mean, data.std))
    torch.testing.assert_close(cache(ids, torch.zeros_like(ids)), wanted, rtol=2e-3, atol=2e-3)
