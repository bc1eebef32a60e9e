"""Which images each process loads when: training steps of one global batch, and shards that hold every image once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from kdlib.data.augment import normalise
from kdlib.imagenet.config import Machine
from kdlib.imagenet.distributed import World
from kdlib.imagenet.folders import MEAN, STD, Images, Sample
from kdlib.training.recipe import Recipe


class StepBatches:
    """The (epoch, sample) keys that this process loads, one list for each part of a step (a batch sampler).

    `DistributedSampler` draws the epoch's order and deals it out, position p to process p mod W. The recipe cuts that
    order into global batches; this process loads its share of each, in as many parts as `micro_batch` needs. So a step
    holds the same images on any number of processes, and the images that the sampler repeats to fill up the last round
    are never reached: every kept image is trained on once an epoch. ValueError if a share of a step could be empty.
    """

    def __init__(self, keep: NDArray[np.int64], recipe: Recipe, seed: int, place: World, micro_batch: int = 0) -> None:
        self.keep, self.place, self.micro = keep, place, micro_batch
        self.slices = recipe.batches(len(keep))
        smallest = min(part.stop - part.start for part in self.slices)
        if smallest < place.size:
            raise ValueError(
                f"a step of {smallest} images cannot be shared out among {place.size} processes; "
                "use fewer processes, a larger batch_size or a larger fraction"
            )
        self.sampler: DistributedSampler = DistributedSampler(
            range(len(keep)),  # type: ignore[arg-type]
            num_replicas=place.size,
            rank=place.rank,
            seed=seed,
        )
        self.epoch = self.first_step = 0

    def begin(self, epoch: int, first_step: int = 0) -> None:
        """The next iteration gives the steps of `epoch` from `first_step` on."""
        self.epoch, self.first_step = epoch, first_step
        self.sampler.set_epoch(epoch)

    def parts(self, step: int) -> int:
        """In how many parts each process takes its share of a step."""
        share = -(-(self.slices[step].stop - self.slices[step].start) // self.place.size)
        return -(-share // self.micro) if self.micro else 1

    def __len__(self) -> int:
        return sum(self.parts(step) for step in range(self.first_step, len(self.slices)))

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        mine = self.keep[list(self.sampler)]
        rank, size = self.place.rank, self.place.size
        for step in range(self.first_step, len(self.slices)):
            first, last = (-(-(edge - rank) // size) for edge in (self.slices[step].start, self.slices[step].stop))
            for part in np.array_split(mine[first:last], self.parts(step)):
                yield [(self.epoch, int(i)) for i in part]


def shard(count: int, place: World, batch: int) -> list[list[tuple[int, int]]]:
    """Keys of this process's share of samples 0..count-1, in batches: together the processes hold each sample once."""
    keys = [(0, i) for i in range(place.rank, count, place.size)]
    return [keys[i : i + batch] for i in range(0, len(keys), batch)]


def loader(images: Images, batches: Any, machine: Machine, place: World) -> DataLoader:
    """A DataLoader over lists of keys; its processes live as long as it does."""
    workers = machine.loader_workers
    if workers < 0:
        workers = max(1, len(os.sched_getaffinity(0)) // place.local_size) if place.device.type == "cuda" else 0
    return DataLoader(
        images,
        batch_sampler=batches,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=place.device.type == "cuda",
    )


class UnreadableImage(Exception):
    """An image cannot be read, and was not to be skipped."""


def readable(batches: DataLoader) -> Iterator[Any]:
    """The batches of a loader of `Images`; UnreadableImage, which names it, where an unreadable one is not to be skipped."""
    images: Any = batches.dataset
    for batch in batches:
        if not images.skip_unreadable:
            for i, why in zip(batch.id.tolist(), batch.reason, strict=True):
                if why:
                    raise UnreadableImage(f"cannot read the image {images.split.name(i)}: {why}")
        yield batch


def pixels(batch: Sample, place: World) -> Tensor:
    """The images of a batch on the device, normalised, channels last: (B, 3, S, S) float32."""
    return normalise(batch.image.to(place.device, non_blocking=True), MEAN, STD)
