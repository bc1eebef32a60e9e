"""InfoBatch: drop some of the easy samples anew in every epoch, and weigh the others up in exchange."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEAST_KEPT = 0.1  # of the below-average samples; weights stay at most 10


def soft_prune(
    losses: ArrayLike, keep_ratio: float, *, rng: np.random.Generator, exact: bool = True
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """One epoch's kept ids (sorted) and the loss weights of all samples, (N,).

    losses: (N,) current losses, +inf where not yet known (such a sample stays). The m samples strictly below
    the mean of the known are candidates; of these floor(keep_ratio m), drawn at random, stay. All others stay
    with weight 1. Kept candidates weigh m / kept (exact=True, the default: at least one is kept, and the weights of the
    epoch sum to exactly N, so the expected gradient is that of the whole set) or 1 / keep_ratio (exact=False:
    as in the authors' code; the weights then sum to at most 1 / keep_ratio less than N).
    Qin et al. 2024, "InfoBatch: lossless training speed up by unbiased dynamic data pruning", Sec. 3.
    Raises ValueError for keep_ratio outside (0, 1] and losses that are NaN.
    """
    losses = np.asarray(losses, dtype=np.float64)
    if not 0 < keep_ratio <= 1:
        raise ValueError(f"keep_ratio must lie in (0, 1], not {keep_ratio}")
    if losses.ndim != 1 or np.isnan(losses).any():
        raise ValueError(f"losses must be a vector (N,) without NaN, got shape {losses.shape}")
    known = losses[np.isfinite(losses)]
    easy = losses < known.mean() if len(known) else np.zeros(len(losses), dtype=bool)
    candidates = np.flatnonzero(easy)
    count = int(keep_ratio * len(candidates))
    if exact and len(candidates):
        count = max(count, 1)
    drawn = rng.choice(candidates, count, replace=False)
    weights = np.ones(len(losses))
    weights[drawn] = len(candidates) / max(count, 1) if exact else 1 / keep_ratio
    return np.sort(np.concatenate([np.flatnonzero(~easy), drawn])).astype(np.int64), weights


class InfoBatch:
    """A sampler over N samples: every `iter()` is one epoch's order, as int64 ids, and sets `weights`.

        sampler = InfoBatch(len(data), epochs=200, rng=np.random.default_rng(0))
        for epoch in range(200):
            order = np.fromiter(sampler, dtype=np.int64)              # or sampler.epoch_order()
            for ids in np.array_split(order, steps):
                losses = loss(model(x[ids]), y[ids])                  # (B,)
                (losses * torch.as_tensor(sampler.weights[ids])).mean().backward()
                sampler.update(ids, losses.detach())                  # the unweighted losses

    prune_ratio: share r of the below-average samples dropped each epoch, so that 1 - r of them stay, at least
                 0.1. That is the reading of the authors' packaged code and of their paper; the argument of
                 the same name in their research code is the share KEPT. The two agree at 0.5 only.
    delta:       pruning stops for good after floor(delta * epochs) epochs (annealing): from then on every
                 epoch is whole and every weight is 1.
    exact:       how kept samples are weighed, see `soft_prune`.
    The defaults of the first two, 0.5 and 0.875, are the authors'.
    The first epoch is whole, since nothing is known of the losses yet.
    """

    def __init__(
        self,
        num_samples: int,
        epochs: int,
        *,
        prune_ratio: float = 0.5,
        delta: float = 0.875,
        exact: bool = True,
        rng: np.random.Generator,
    ) -> None:
        if not 0 <= prune_ratio < 1 or not 0 <= delta <= 1:
            raise ValueError(f"need 0 <= prune_ratio < 1 and 0 <= delta <= 1, got {prune_ratio} and {delta}")
        self.keep_ratio = max(1 - prune_ratio, LEAST_KEPT)
        self.last_pruned = int(delta * epochs)  # epochs 2 .. last_pruned, counted from 1, are pruned
        self.exact, self.rng = exact, rng
        self.losses = np.full(num_samples, np.inf)  # not known yet
        self.weights = np.ones(num_samples)
        self.epoch = 0

    def epoch_order(self) -> NDArray[np.int64]:
        """Start the next epoch: its sample ids in random order. Sets `weights` for the epoch."""
        self.epoch += 1
        if self.epoch <= self.last_pruned:
            kept, self.weights = soft_prune(self.losses, self.keep_ratio, rng=self.rng, exact=self.exact)
        else:
            kept, self.weights = np.arange(len(self.losses)), np.ones(len(self.losses))
        return self.rng.permutation(kept)

    def get_state(self) -> dict[str, np.ndarray]:
        """All that changes, as arrays: losses and weights (N,), the epoch, and the generator's state as JSON bytes."""
        state = json.dumps(self.rng.bit_generator.state).encode()  # of PCG64, the default: plain whole numbers
        return {
            "losses": self.losses,
            "weights": self.weights,
            "epoch": np.array(self.epoch),
            "rng": np.frombuffer(state, dtype=np.uint8),
        }

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from what `get_state` gave."""
        self.losses, self.weights = np.array(state["losses"]), np.array(state["weights"])
        self.epoch = int(state["epoch"])
        self.rng.bit_generator.state = json.loads(state["rng"].tobytes())

    def __iter__(self) -> Iterator[int]:
        return iter(self.epoch_order().tolist())

    def update(self, ids: ArrayLike, losses: ArrayLike) -> None:
        """Record the current, unweighted losses (B,) of the samples `ids` (B,)."""
        self.losses[np.asarray(ids)] = np.asarray(losses, dtype=np.float64)
