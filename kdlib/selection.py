"""From scores to kept samples: windows of the difficulty ranking, with exact class quotas."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray


def keep_indices(
    scores: ArrayLike,
    fraction: float,
    *,
    centre: float = 1.0,
    labels: ArrayLike | None = None,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Sorted ids of the kept samples: a window of the ranking from easiest to hardest.

    scores:   (N,), higher = harder; ties are ordered by `rng`
    fraction: kept fraction f in (0, 1]; n = f N rounded half up are kept
    centre:   0 the easiest n, 0.5 the medium n, 1 the hardest n; any value between slides the window
    labels:   (N,) integers; given, the window is taken inside each class and holds `class_quotas` samples

    Out of N ranked samples the window starts at rank centre * (N - n), rounded half up (ranks count from 0 at the
    easiest). One more kept sample therefore moves exactly one end of the window by one: with the same state of `rng`
    the kept sets are nested as f grows, at every centre and within every class.
    Raises ValueError for scores that are not finite, f or centre out of range, or a set or class left empty.
    """
    scores = _checked_scores(scores)
    exact_centre = _exact(centre)
    if not 0 <= exact_centre <= 1:
        raise ValueError(f"centre must lie in [0, 1], not {centre}")
    shuffled = rng.permutation(len(scores))
    order = shuffled[np.argsort(scores[shuffled], kind="stable")]
    if labels is None:
        n = kept_count(len(scores), fraction)
        start = _half_up(exact_centre * (len(scores) - n))
        return np.sort(order[start : start + n])
    labels = np.asarray(labels)
    if labels.shape != scores.shape:
        raise ValueError(f"{len(scores)} scores but labels of shape {labels.shape}")
    classes, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    quotas = _quotas(classes, counts, fraction)
    starts = np.array([_half_up(exact_centre * int(gap)) for gap in counts - quotas])
    by_class = order[np.argsort(inverse[order].astype(_small_int(len(classes))), kind="stable")]
    rank = np.arange(len(scores)) - np.repeat(
        np.cumsum(counts) - counts, counts
    )  # within the class, 0 easiest
    first = np.repeat(starts, counts)
    return np.sort(by_class[(rank >= first) & (rank < first + np.repeat(quotas, counts))])


def kept_count(total: int, fraction: float) -> int:
    """n = f N rounded half up; ValueError for f outside (0, 1] or when nothing would be kept."""
    exact = _exact(fraction)
    if not 0 < exact <= 1:
        raise ValueError(f"the kept fraction must lie in (0, 1], not {fraction}")
    n = _half_up(exact * total)
    if n == 0:
        raise ValueError(
            f"fraction {fraction} of {total} samples keeps none; the smallest is {0.5 / max(total, 1)}"
        )
    return n


def class_quotas(labels: ArrayLike, fraction: float) -> dict[int, int]:
    """Kept samples per class: each class's share of its own count, summing exactly to `kept_count`.

    The shares are settled by the rule of Webster (Sainte-Lague): the k-th sample of a class of m samples is due at
    (k - 1/2) / m, and the n samples that are due first are kept (ties: the lower class first). A class of m samples
    so gets about f m, rounded half up, and its quota never shrinks as f grows; the method of largest remainders sums
    exactly too but can take a sample back from a class as f grows.
    Raises ValueError naming the classes that would be left empty and the smallest fraction that keeps every class.
    """
    classes, counts = np.unique(np.asarray(labels), return_counts=True)
    return {int(c): int(q) for c, q in zip(classes, _quotas(classes, counts, fraction), strict=True)}


def _quotas(classes: NDArray, counts: NDArray, fraction: float) -> NDArray[np.int64]:
    total = int(counts.sum())
    n = kept_count(total, fraction)
    owner = np.repeat(np.arange(len(counts)), counts)
    rank = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
    due = np.argsort((rank + 0.5) / counts[owner], kind="stable")
    quotas = np.bincount(owner[due[:n]], minlength=len(counts))
    if (quotas == 0).any():
        empty = ", ".join(str(c) for c in classes[quotas == 0][:10])
        needed = int(np.flatnonzero(rank[due] == 0)[-1]) + 1
        smallest = next(
            f for d in range(1, 12) if kept_count(total, f := _ceil_at((needed - 0.5) / total, d)) >= needed
        )
        raise ValueError(
            f"fraction {fraction} would leave class(es) {empty} empty; the smallest workable fraction is {smallest}"
        )
    return quotas


def _ceil_at(x: float, digits: int) -> float:
    return float(np.ceil(x * 10**digits) / 10**digits)


def _checked_scores(scores: ArrayLike) -> NDArray[np.float64]:
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 1 or len(scores) == 0:
        raise ValueError(f"scores must be a non-empty vector (N,), got shape {scores.shape}")
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise ValueError(f"{len(bad)} of {len(scores)} scores are not finite, first at sample {bad[0]}")
    return scores


def _exact(x: float) -> Fraction:
    """The decimal a user typed rather than its nearest binary double, so that 0.3 of 5 is exactly 1.5."""
    if not np.isfinite(x):
        raise ValueError(f"expected a finite number, not {x}")
    return Fraction(float(x)).limit_denominator(10**9)


def _half_up(x: Fraction) -> int:
    return int((x + Fraction(1, 2)) // 1)


def _small_int(classes: int) -> type:
    return np.int16 if classes < 2**15 else np.int64  # 16-bit integers take numpy's linear-time radix sort
