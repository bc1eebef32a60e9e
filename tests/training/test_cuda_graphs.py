"""Recorded steps (CUDA graphs), with a recorder that works on a CPU."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from kdlib.losses import kd
from kdlib.training.cuda_graphs import GraphedStep
from kdlib.training.loop import Loop, Member, train
from tests.plain import CLASSES
from tests.training.samples import (
    DATA,
    KEEP,
    STEPS,
    fresh_cache,
    network,
    same_state,
)


def pretend(batch: int) -> Callable:
    """Like a CUDA graph: nothing happens when it is recorded; a replay does the work on the same memory, into the same."""

    def record(step: Callable) -> tuple[Callable[[], None], tuple[Tensor, Tensor]]:
        outputs = torch.full((1, batch, CLASSES), torch.nan), torch.full((1,), torch.nan)

        def replay() -> None:
            for place, value in zip(outputs, step(), strict=True):
                place.copy_(value)

        return replay, outputs

    return record


def refuse(step: Callable) -> tuple[Callable[[], None], tuple[Tensor, Tensor]]:
    raise RuntimeError("operation not permitted when stream is capturing\nmore lines")


@pytest.mark.parametrize("works", [True, False])
def test_recorded_steps_train_as_ordinary_ones(works: bool, capsys: pytest.CaptureFixture) -> None:
    plain, ours = network("smooth"), network("smooth")
    expected = train(plain, DATA, KEEP, STEPS, seed=3, loss=kd, teacher=fresh_cache(), device="cpu")
    loop = Loop([Member(ours, KEEP, 3, kd)], DATA, STEPS, torch.device("cpu"))
    loop.optimiser.param_groups[0]["lr"] = torch.tensor(STEPS.lr)  # where a graph would find it
    graphed = GraphedStep(loop.step, record=pretend(15) if works else refuse, aside=lambda step: step())
    loop.take = graphed
    losses = [float(loop.epoch(epoch, fresh_cache(), None)[0]) for epoch in range(3)]
    assert losses == pytest.approx(expected.loss, rel=1e-5)
    same_state(ours, plain, 1e-4)
    shapes = [key[0] for key in graphed.recorded]
    assert shapes == ([(1, 15)] if works else [])  # the batches of 16 are three, all of them ordinary
    assert graphed.possible == works
    assert capsys.readouterr().out.count("training goes on step by step") == (not works)


def test_a_loss_that_changes_is_recorded_anew() -> None:
    class Warming:
        def __init__(self, epoch: int = 1) -> None:
            self.epoch = epoch

        def __call__(self, logits: Tensor, soft: Tensor | None, labels: Tensor) -> Tensor:
            return kd(logits, soft, labels, alpha=min(self.epoch / 3, 1.0))

        def at_epoch(self, epoch: int) -> Warming:
            return Warming(epoch)

    recipe = dataclasses.replace(STEPS, epochs=4, batch_size=8)
    results = []
    for graphed in (True, False):
        model = network("smooth")
        loop = Loop([Member(model, np.arange(48), 3, Warming())], DATA, recipe, torch.device("cpu"))
        if graphed:
            loop.take = GraphedStep(loop.step, record=pretend(8), aside=lambda step: step())
        results.append((model, [float(loop.epoch(epoch, fresh_cache(), None)[0]) for epoch in range(4)]))
        assert not graphed or loop.take.recorded, "of six batches an epoch the last three are replayed"
    assert results[0][1] == pytest.approx(results[1][1], rel=1e-5)
