"""`Signals`, the arrays a training run leaves behind, and `Scorer`, a pure function of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The axes of each field. Letters that recur must agree in length: R runs, E epochs, P recorded epochs, N samples,
# K classes, D embedding dimensions. The subset models of memorization have their own number of runs, S.
AXES = {
    "correct": "REN",
    "margin": "REN",
    "error": "REN",
    "probs": "RPNK",
    "prob_epochs": "P",
    "grad_norm": "RN",
    "grad_norm_last": "RN",
    "embedding": "ND",
    "subset_correct": "SN",
    "trained": "SN",
    "view_difficulty": "RN",
    "released": "N",
}
# A run count may differ between fields: GraNd is often taken from other networks than the training dynamics.
FREE_AXES = "R"


@dataclass(frozen=True)
class Signals:
    """What training leaves behind for the scorers. Every field is optional (None: not recorded).

    Raises ValueError when a field has the wrong number of axes or two fields disagree on a shared axis.
    """

    correct: NDArray[np.bool_] | None = None  # (R, E, N) prediction right in run r after epoch e
    margin: NDArray[np.floating] | None = None  # (R, E, N) label logit minus largest other logit
    error: NDArray[np.floating] | None = None  # (R, E, N) length of softmax minus one-hot, in the training forward
    probs: NDArray[np.floating] | None = None  # (R, P, N, K) softmax at the epochs `prob_epochs`
    prob_epochs: NDArray[np.integer] | None = None  # (P,) 1-based
    grad_norm: NDArray[np.floating] | None = None  # (R, N) norm of the gradient in all parameters
    grad_norm_last: NDArray[np.floating] | None = None  # (R, N) norm of the gradient in the last layer
    embedding: NDArray[np.floating] | None = None  # (N, D) penultimate features of the last run
    subset_correct: NDArray[np.bool_] | None = None  # (S, N) subset model s right on sample n
    trained: NDArray[np.bool_] | None = None  # (S, N) subset model s was trained on sample n
    view_difficulty: NDArray[np.floating] | None = (
        None  # (R, N) cross-entropy after training, mean over augmented views
    )
    released: NDArray[np.floating] | None = None  # (N,) a published table's scores, high = keep

    def __post_init__(self) -> None:
        seen: dict[str, tuple[int, str]] = {}
        for field, axes in AXES.items():
            value = getattr(self, field)
            if value is None:
                continue
            if value.ndim != len(axes):
                raise ValueError(f"signal {field!r} must have axes ({', '.join(axes)}), got shape {value.shape}")
            for axis, length in zip(axes, value.shape, strict=True):
                if axis in FREE_AXES:
                    continue
                other, first = seen.setdefault(axis, (length, field))
                if other != length:
                    raise ValueError(f"signals disagree on axis {axis}: {first!r} has {other}, {field!r} has {length}")

    def require(self, *names: str) -> None:
        """ValueError naming the fields among `names` that were not recorded."""
        missing = [name for name in names if getattr(self, name) is None]
        if missing:
            have = [f.name for f in fields(self) if getattr(self, f.name) is not None]
            raise ValueError(f"signals lack {', '.join(missing)}; recorded: {', '.join(have) or 'none'}")


@dataclass(frozen=True)
class Scorer:
    """A named difficulty: `scorer(signals, labels, rng, **options) -> (N,) float64`, higher = harder.

    fn:     the function behind it, same arguments; its keyword-only arguments are the scorer's options
    needs:  the fields of `Signals` it reads; a missing one raises ValueError
    centre: the window it is meant for, 1 the hardest samples (default), 0.5 the medium ones
    of:     whose training it reads: "scored", trainings made for the scores, or "teacher", the run's own teacher
    """

    fn: Callable[..., NDArray[np.float64]]
    needs: tuple[str, ...] = ()
    centre: float = 1.0
    of: str = "scored"

    def __call__(
        self, signals: Signals, labels: NDArray[np.integer], rng: np.random.Generator, **options: Any
    ) -> NDArray[np.float64]:
        signals.require(*self.needs)
        labels = np.asarray(labels)
        scores = np.asarray(self.fn(signals, labels, rng, **options), dtype=np.float64)
        if scores.shape != labels.shape:
            raise ValueError(f"{labels.shape[0]} labels but scores of shape {scores.shape}")
        return scores
