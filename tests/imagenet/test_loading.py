"""Steps and shards: each image once, the same global batches on any number of processes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from kdlib.imagenet.distributed import World
from kdlib.imagenet.loading import StepBatches, shard
from kdlib.training.recipe import Recipe


def place(rank: int, size: int) -> World:
    return World(rank, size, rank, size, torch.device("cpu"))


def steps_of(keep: np.ndarray, size: int, batch: int, micro: int = 0, epoch: int = 0, first: int = 0) -> list[list]:
    """For each step the list over processes of their lists of parts."""
    found = []
    for rank in range(size):
        steps = StepBatches(keep, Recipe(batch_size=batch), 5, place(rank, size), micro)
        steps.begin(epoch, first)
        parts = iter(steps)
        own = [[next(parts) for _ in range(steps.parts(s))] for s in range(first, len(steps.slices))]
        assert next(parts, None) is None and sum(map(len, own)) == len(steps)
        found.append(own)
    return [list(shares) for shares in zip(*found, strict=True)]


def possible(kept: int, batch: int, size: int) -> bool:
    """Whether no process's share of a step is empty."""
    return min(part.stop - part.start for part in Recipe(batch_size=batch).batches(kept)) >= size


CASES = [case for case in itertools.product((37, 64, 101), (8, 32), (1, 2, 3, 8)) if possible(*case)]


@pytest.mark.parametrize(("kept", "batch", "size"), CASES)
@pytest.mark.parametrize("micro", [0, 2, 3])
def test_every_kept_image_once_an_epoch(kept: int, batch: int, size: int, micro: int) -> None:
    keep = np.arange(kept) * 3 + 1
    seen = [key for shares in steps_of(keep, size, batch, micro) for parts in shares for part in parts for key in part]
    assert sorted(i for _, i in seen) == keep.tolist() and {epoch for epoch, _ in seen} == {0}


@pytest.mark.parametrize("micro", [0, 2, 3, 5])
def test_a_step_holds_the_same_images_on_any_number_of_processes(micro: int) -> None:
    keep = np.arange(103)
    alone = [sorted(shares[0][0]) for shares in steps_of(keep, 1, 16)]
    for size in (2, 3, 4, 7):
        steps = steps_of(keep, size, 16, micro)
        assert [sorted(key for parts in shares for part in parts for key in part) for shares in steps] == alone
        for shares in steps:
            assert len({len(parts) for parts in shares}) == 1, "as many parts on each process"
            sizes = [len(part) for parts in shares for part in parts]
            assert min(sizes) >= 1 and (not micro or max(sizes) <= micro)


def test_epochs_differ_and_a_later_step_can_be_the_first() -> None:
    keep = np.arange(64)
    first, second = steps_of(keep, 2, 16), steps_of(keep, 2, 16, epoch=1)
    assert [i for shares in first for p in shares for part in p for _, i in part] != [
        i for shares in second for p in shares for part in p for _, i in part
    ]
    assert steps_of(keep, 2, 16, epoch=1, first=2) == second[2:]


def test_steps_that_are_too_small_for_the_processes_are_refused() -> None:
    with pytest.raises(ValueError, match="a step of 4 images cannot be shared out among 8 processes; use fewer"):
        StepBatches(np.arange(12), Recipe(batch_size=4), 0, place(0, 8))


@pytest.mark.parametrize(("count", "size"), [(0, 1), (1, 2), (10, 3), (50, 8)])
def test_shards_hold_each_sample_once(count: int, size: int) -> None:
    shards = [shard(count, place(rank, size), 4) for rank in range(size)]
    assert sorted(i for batches in shards for batch in batches for _, i in batch) == list(range(count))
    assert all(1 <= len(batch) <= 4 for batches in shards for batch in batches)
    lengths = [sum(map(len, batches)) for batches in shards]
    assert max(lengths) - min(lengths) <= 1
