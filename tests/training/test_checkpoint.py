"""Checkpoints: what was stopped goes on to the same bits, and what does not fit starts anew."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from kdlib.losses import FEATURE_LOSSES
from kdlib.losses.logits import cross_entropy
from kdlib.models import build
from kdlib.selection.infobatch import InfoBatch
from kdlib.store.artefacts import Store
from kdlib.training import checkpoint
from kdlib.training.checkpoint import StoredCheckpoint
from kdlib.training.loop import FeatureTerm, Member, train_batched
from kdlib.training.recipe import Recipe
from tests.plain import CLASSES, small_data

DATA = small_data()
RECIPE = Recipe(epochs=5, batch_size=16, lr=0.05)
KEEP = np.arange(0, 60, 2)


class Interrupted(Exception):
    pass


def network(seed: int = 0) -> nn.Module:
    return build("mlp", CLASSES, 3, 8, seed=seed)


def plain_member() -> Member:
    return Member(network(), KEEP, 0, cross_entropy)


def crd_member() -> Member:
    """A student with CRD, whose negatives come from a generator of its own."""
    teacher, student = network(seed=9).requires_grad_(False).eval(), network()
    x = DATA.train_x[:4].float()
    shapes = teacher.features(x), student.features(x)  # type: ignore[operator]
    module = FEATURE_LOSSES["crd"].make(*shapes, num_samples=len(KEEP), num_classes=CLASSES, seed=3)
    return Member(student, KEEP, 0, cross_entropy, feature_term=FeatureTerm(module, teacher, 1.0))


def infobatch_member() -> Member:
    sampler = InfoBatch(len(KEEP), RECIPE.epochs, prune_ratio=0.5, rng=np.random.default_rng(4))
    return Member(network(), KEEP, 0, cross_entropy, sampler=sampler)


CASES = {
    "momentum": (plain_member, RECIPE),
    "no momentum": (plain_member, dataclasses.replace(RECIPE, momentum=0.0)),
    "crd": (crd_member, RECIPE),
    "infobatch": (infobatch_member, RECIPE),
}


def stop_in_epoch_4(epoch: int, loop: object) -> None:
    if epoch == 4:
        raise Interrupted


@pytest.mark.parametrize("case", CASES)
def test_what_was_stopped_goes_on_to_the_same_bits(case: str, tmp_path: Path) -> None:
    make, recipe = CASES[case]

    def train(on_epoch=None, resume=None):  # type: ignore[no-untyped-def]
        member = make()
        trained = train_batched([member], DATA, recipe, device="cpu", on_epoch=on_epoch, resume=resume)
        return member, trained[0]

    def saved() -> StoredCheckpoint:
        return StoredCheckpoint(Store(tmp_path), {"run": case}, every_seconds=0)

    with pytest.raises(Interrupted):
        train(stop_in_epoch_4, saved())
    epochs: list[int] = []
    resumed, row = train(lambda epoch, loop: epochs.append(epoch), again := saved())
    unbroken, expected = train()
    assert epochs == [4, 5] and again.seconds > 0
    assert row.loss == expected.loss and row.steps == expected.steps
    for name, tensor in unbroken.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name


@pytest.mark.parametrize("odd", ["an older version", "another network"])
def test_a_checkpoint_that_does_not_fit_is_set_aside_and_training_starts_anew(
    odd: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        if odd == "an older version":
            patch.setattr(checkpoint, "VERSION", 1)
        member = plain_member()
        if odd == "another network":
            member.model = build("resnet8", CLASSES, 3, 8)
        train_batched([member], DATA, RECIPE, device="cpu", on_epoch=stop_in_epoch_4,
                      resume=StoredCheckpoint(store, {}, every_seconds=0))  # fmt: skip
    assert store.ls("checkpoints")
    epochs: list[int] = []
    resume = StoredCheckpoint(store, {}, every_seconds=0)
    train_batched(
        [plain_member()], DATA, RECIPE, device="cpu", on_epoch=lambda e, loop: epochs.append(e), resume=resume
    )
    assert epochs == [1, 2, 3, 4, 5]
    assert len(list(tmp_path.glob("checkpoints/*/*.damaged-1"))) == 1
    assert [record.levelno for record in caplog.records if "set aside" in record.message] == [logging.WARNING]


def test_a_checkpoint_as_an_older_release_wrote_it_starts_anew(tmp_path: Path) -> None:
    """Its state had neither a version nor a description."""
    from kdlib.store.serialisation import pack
    from kdlib.utils.files import write_whole

    store = Store(tmp_path)
    write_whole(store.path("checkpoints", {}), pack({"network/x": np.zeros(3)}, {"history": [[], []], "steps": 3}))
    assert StoredCheckpoint(store, {}).load(SimpleNamespace(), None, [[], []]) == 0  # type: ignore[arg-type]


def test_arrays_gathered_so_far_come_back_in_their_order(tmp_path: Path) -> None:
    """More than ten of them: "extra/10" must not come before "extra/2"."""

    class Nothing:
        stack, term, sampler, steps = nn.Module(), None, None, 0
        optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1, momentum=0.9)

    Nothing.optimiser.state[Nothing.optimiser.param_groups[0]["params"][0]]["momentum_buffer"] = torch.zeros(1)
    gathered = [np.full(3, i) for i in range(12)]
    saved = StoredCheckpoint(Store(tmp_path), {"run": 1}, [], every_seconds=0)
    saved.extra += gathered
    saved.save(Nothing(), None, [[], []])  # type: ignore[arg-type]
    found: list[np.ndarray] = []
    StoredCheckpoint(Store(tmp_path), {"run": 1}, found).load(Nothing(), None, [[], []])  # type: ignore[arg-type]
    assert [int(a[0]) for a in found] == list(range(12))
