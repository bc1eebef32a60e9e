"""Named streams of randomness: one seed gives an independent generator for each thing that is drawn.

Runs of equal seed share nothing by accident and everything on purpose: the stream of the subset does not move when the
augmentation draws one number more, and the order of epoch 7 does not depend on what was drawn in epoch 6, so that a run
can stop and go on without carrying generator states along.
"""

from __future__ import annotations

import numpy as np

STREAMS = ("init", "order", "augment", "subset", "noise", "validation", "loss", "score", "teacher", "scored")


def stream(seed: int, name: str, *indices: int) -> np.random.Generator:
    """The generator of stream `name` (see `STREAMS`) for `seed`, optionally one per epoch or member (`indices`)."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(STREAMS.index(name), *indices)))


def integer(seed: int, name: str, *indices: int) -> int:
    """One 63-bit integer from a stream, for libraries that take a seed and not a generator."""
    return int(stream(seed, name, *indices).integers(2**63 - 1))
