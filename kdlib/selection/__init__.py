"""From scores to kept samples: windows of the difficulty ranking, class quotas, strata, imbalance, and InfoBatch.

`SELECTIONS` maps a name to a rule. A static rule is a function `rule(scores (N,), fraction, *, ...) -> ids (n,)`, called
once before training; it takes what it heeds of `centre`, `labels`, `signals` and `rng`, and its further keyword-only
arguments are its options. A dynamic rule draws every epoch anew: `rule(num_samples, fraction, *, epochs, rng, ...)` returns
a sampler with `epoch_order`, `weights` and `update`. To add a rule: write the function and add one entry.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kdlib.selection.infobatch import LEAST_KEPT, InfoBatch
from kdlib.selection.rules import (
    Ids,
    class_quotas,
    falling_quotas,
    keep_indices,
    keep_moderate,
    keep_quotas,
    keep_range,
    keep_stratified,
    kept_count,
)

__all__ = [
    "SELECTIONS", "InfoBatch", "Selection", "class_quotas", "falling_quotas", "keep_indices", "keep_moderate", "keep_quotas",
    "keep_range", "keep_stratified", "kept_count", "selection",
]  # fmt: skip


@dataclass(frozen=True)
class Selection:
    """An entry of `SELECTIONS` that says more than its function does.

    fn:      the rule
    needs:   fields of `Signals` that it reads
    dynamic: whether it draws every epoch anew
    by_class: whether it cannot do without the classes
    valid:   raises ValueError for a fraction and options that cannot work, before anything is trained
    """

    fn: Callable[..., Any]
    needs: tuple[str, ...] = ()
    dynamic: bool = False
    by_class: bool = False
    valid: Callable[..., None] | None = None

    @property
    def arguments(self) -> tuple[str, ...]:
        """The names of the rule's arguments."""
        return _arguments(self.fn)

    def check(self, fraction: float, **options: Any) -> None:
        """ValueError where the fraction and the options cannot work."""
        if self.valid is not None:
            self.valid(fraction, **options)


@functools.lru_cache(maxsize=256)
def _arguments(rule: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(rule).parameters)


def window(
    scores: ArrayLike,
    fraction: float,
    *,
    centre: float,
    labels: ArrayLike | None,
    rng: np.random.Generator,
    rounding: str = "total",
) -> Ids:
    """A window of the ranking, inside each class where labels are given; see `keep_indices`.

    rounding: how class quotas are rounded, see `class_quotas`.
    """
    if labels is None or rounding == "total":
        return keep_indices(scores, fraction, centre=centre, labels=labels, rng=rng)
    return keep_quotas(scores, class_quotas(labels, fraction, rounding), labels=labels, centre=centre, rng=rng)


def ccs(
    scores: ArrayLike,
    fraction: float,
    *,
    signals: Any,
    rng: np.random.Generator,
    hard_cut: float = 0.1,
    strata: int = 50,
) -> Ids:
    """Coverage-centric selection: the share `hard_cut` that is hardest by AUM goes, the rest is stratified by score.

    Zheng et al. 2023, Algorithm 1; see `keep_stratified`. At f = 1 all samples are kept.
    """
    if fraction == 1:
        return np.arange(np.size(scores), dtype=np.int64)
    aum = -signals.margin.mean((0, 1))
    return keep_stratified(scores, fraction, cut=hard_cut, cut_scores=aum, strata=strata, rng=rng)


def _valid_ccs(fraction: float, hard_cut: float = 0.1, strata: int = 50) -> None:
    if not 0 <= hard_cut < 1:
        raise ValueError(f"hard_cut must lie in [0, 1), got {hard_cut:g}")
    if strata < 1:
        raise ValueError(f"strata must be at least 1, got {strata}")
    if fraction + hard_cut > 1 and fraction < 1:
        raise ValueError(f"hard_cut {hard_cut:g} leaves fewer samples than fraction {fraction:g} keeps")


def imbalanced(
    scores: ArrayLike,
    fraction: float,
    *,
    centre: float,
    labels: ArrayLike,
    rng: np.random.Generator,
    ratio: float = 100.0,
) -> Ids:
    """A window of the ranking inside each class; the classes keep less and less of themselves, the last 1 / ratio of the first.

    At ratio 100 and f = 0.505 of CIFAR-100 the student has all of class 0, 99% of class 1, ..., 1% of class 99, as in
    "Medium-difficulty samples constitute smoothed decision boundary ...", Appendix A.6. The teacher's data stay balanced;
    with the option `imbalance` of a run they are not. See `falling_quotas`.
    """
    return keep_quotas(scores, falling_quotas(labels, fraction, ratio), labels=labels, centre=centre, rng=rng)


def _valid_imbalanced(fraction: float, ratio: float = 100.0) -> None:
    if not (np.isfinite(ratio) and ratio > 1):
        raise ValueError(f"ratio, the first class over the last, must be a number above 1, got {ratio:g}")
    if fraction == 1:
        raise ValueError("selection imbalanced leaves samples out; choose a fraction below 1")


def infobatch(
    num_samples: int,
    fraction: float,
    *,
    epochs: int,
    rng: np.random.Generator,
    delta: float = 0.875,
    exact: bool = True,
) -> InfoBatch:
    """A sampler that keeps the share `fraction` of the samples with a loss below the mean; see `InfoBatch`."""
    return InfoBatch(num_samples, epochs, prune_ratio=1 - fraction, delta=delta, exact=exact, rng=rng)


def _valid_infobatch(fraction: float, delta: float = 0.875, exact: bool = True) -> None:
    if fraction < LEAST_KEPT:
        raise ValueError(f"selection infobatch keeps at least {LEAST_KEPT:g} of the easy samples, got {fraction:g}")
    if not 0 <= delta <= 1:
        raise ValueError(f"delta must lie in [0, 1], got {delta:g}")


SELECTIONS: dict[str, Selection | Callable[..., Ids]] = {
    "window": window,
    "median": keep_moderate,
    "ccs": Selection(ccs, needs=("margin",), valid=_valid_ccs),
    "imbalanced": Selection(imbalanced, by_class=True, valid=_valid_imbalanced),
    "infobatch": Selection(infobatch, dynamic=True, valid=_valid_infobatch),
}


def selection(name: str) -> Selection:
    """The entry `name` of `SELECTIONS`; a plain function is a static rule without needs."""
    entry = SELECTIONS[name]
    return entry if isinstance(entry, Selection) else Selection(entry)
