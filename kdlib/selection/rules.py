"""From scores to kept samples: windows of the difficulty ranking, class quotas, strata.

Every rule takes (N,) scores, higher = harder, and returns the sorted int64 ids of the samples to keep. Ties
are put in the order of a permutation drawn from `rng`: a count such as forgetting ties thousands of samples,
and an order left to the sorting routine would keep a different set on every platform.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kdlib.data.noise import imbalance_rates
from kdlib.utils.errors import choose

Ids = NDArray[np.int64]


def keep_indices(
    scores: ArrayLike,
    fraction: float,
    *,
    centre: float = 1.0,
    labels: ArrayLike | None = None,
    rng: np.random.Generator,
) -> Ids:
    """Keep a window of the ranking from easiest to hardest.

    scores:   (N,), higher = harder; ties are ordered by `rng`
    fraction: kept fraction f in (0, 1]; n = f N rounded half up are kept
    centre:   0 the easiest n, 0.5 the medium n, 1 the hardest n; any value between slides the window
    labels:   (N,) integers; given, the window is taken inside each class and holds `class_quotas` samples

    Of N ranked samples the window skips centre * (N - n) at the easy end, rounded half down. At centre 0.5
    the hardest ceil((N - n) / 2) are left out: the window of "Medium-difficulty samples constitute smoothed
    decision boundary ...", Sec. 3.2, read with indices from 0 (read from 1, its f = 1 would need an index below
    the first). One more kept sample moves one end of the window by one, so for one state of `rng` the kept
    sets are nested as f grows, at every centre and inside every class.
    Raises ValueError for scores that are not finite, f or centre out of range, and a set or class left empty.
    """
    scores = _finite(scores)
    if labels is None:
        n = kept_count(len(scores), fraction)
        return keep_range(scores, n, _skipped(len(scores) - n, centre), rng=rng)
    return keep_quotas(scores, class_quotas(labels, fraction), labels=labels, centre=centre, rng=rng)


def keep_range(scores: ArrayLike, size: int, offset: int, *, rng: np.random.Generator) -> Ids:
    """Keep the ranks [offset, offset + size) of the ranking from easiest (rank 0) to hardest.

    The subset-with-offset rule of Paul et al. 2021, "Deep learning on a data diet", Sec. 4. ValueError for a
    range that leaves the ranking.
    """
    scores = _finite(scores)
    if not (size >= 0 and 0 <= offset <= len(scores) - size):
        raise ValueError(f"ranks [{offset}, {offset + size}) do not lie within [0, {len(scores)})")
    return np.sort(_easiest_first(scores, rng)[offset : offset + size])


def keep_quotas(
    scores: ArrayLike,
    quotas: Mapping[int, int],
    *,
    labels: ArrayLike,
    centre: float = 1.0,
    rng: np.random.Generator,
) -> Ids:
    """Keep `quotas[c]` samples of every class c: the window of `keep_indices`, taken inside each class.

    scores: (N,); labels: (N,) integers; centre: default 1, the hardest of each class.
    ValueError for labels of another length than the scores, and quotas that miss a class or exceed its count.
    """
    scores = _finite(scores)
    inverse, names, counts = _classes(labels, len(scores))
    missing = [c for c in names.tolist() if c not in quotas]
    if missing:
        raise ValueError(f"no quota for class(es) {_few(missing)}")
    wanted = np.array([quotas[c] for c in names.tolist()])
    over = names[(wanted > counts) | (wanted < 0)]
    if len(over):
        raise ValueError(f"the quota of class(es) {_few(over)} is negative or larger than the class")
    skipped = np.array([_skipped(int(gap), centre) for gap in counts - wanted])
    order = _easiest_first(scores, rng)
    order = order[np.argsort(inverse[order], kind="stable")]  # class by class, easiest first
    rank, first = _rank_in_class(counts), np.repeat(skipped, counts)
    return np.sort(order[(rank >= first) & (rank < first + np.repeat(wanted, counts))])


def kept_count(total: int, fraction: float) -> int:
    """n = f N rounded half up; ValueError for f outside (0, 1] or when nothing would be kept."""
    exact = _exact(fraction)
    if not 0 < exact <= 1:
        raise ValueError(f"the kept fraction must lie in (0, 1], not {fraction}")
    n = int(exact * total + Fraction(1, 2))
    if n == 0:
        raise ValueError(f"fraction {fraction} of {total} samples keeps none; at least {0.5 / total:.3g} is needed")
    return n


def class_quotas(labels: ArrayLike, fraction: float, rounding: str = "total") -> dict[int, int]:
    """Kept samples per class, each from that class's own count m; rounding names the rule, see ROUNDINGS.

    "total" (default): the quotas sum exactly to `kept_count` and never shrink as f grows, by the rule of Webster
    (Sainte-Lague): the k-th sample of a class of m is due at (k - 1/2) / m, and the n samples due first are kept
    (ties: the smaller class first, then the lower label). A class gets about f m, rounded to the nearest. The method
    of largest remainders sums exactly too, but can take a sample back from a class as f grows, so that kept sets
    would not be nested.
    Raises ValueError naming the classes that would be left empty and the smallest fraction that keeps them all.

    "half_even": round(f m) in each class (DeepCore; MD's formula). "floor": int(f m) (CCS). Both follow
    public code: the sum may miss the budget, and a small class may vanish.
    """
    _, names, counts = _classes(labels, np.size(labels))
    quotas = choose("rounding", rounding, ROUNDINGS)(names, counts, fraction)
    return {int(c): int(q) for c, q in zip(names, quotas, strict=True)}


def _webster(names: NDArray, counts: NDArray, fraction: float) -> NDArray:
    small_first = np.argsort(counts, kind="stable")
    sizes, total = counts[small_first], int(counts.sum())
    rank, owner = _rank_in_class(sizes), np.repeat(small_first, sizes)
    due = np.argsort((rank + 0.5) / np.repeat(sizes, sizes), kind="stable")
    quotas = np.bincount(owner[due[: kept_count(total, fraction)]], minlength=len(counts))
    if (quotas == 0).any():
        needed = int(np.flatnonzero(rank[due] == 0)[-1]) + 1  # the budget that reaches every class's first sample
        raise ValueError(
            f"fraction {fraction} would leave class(es) {_few(names[quotas == 0])} empty; "
            f"the smallest workable fraction is {_fraction_for(total, needed)}"
        )
    return quotas


def _half_even(names: NDArray, counts: NDArray, fraction: float) -> NDArray:
    return np.array([round(fraction * m) for m in counts.tolist()])


def _floor(names: NDArray, counts: NDArray, fraction: float) -> NDArray:
    return np.array([int(fraction * m) for m in counts.tolist()])


ROUNDINGS: dict[str, Callable[[NDArray, NDArray, float], NDArray]] = {
    "total": _webster,
    "half_even": _half_even,
    "floor": _floor,
}


def falling_quotas(labels: ArrayLike, fraction: float, ratio: float) -> dict[int, int]:
    """Kept samples per class where the kept share falls linearly from class to class, in the order of the labels.

    The first class keeps `ratio` times the share of the last one; the quotas sum to `kept_count`, by the method of largest
    remainders (ties: the lower label first). ValueError for a fraction at which the first class would have to keep more
    than it has, and naming the classes that would be left empty.
    """
    _, names, counts = _classes(labels, np.size(labels))
    n, rates = kept_count(int(counts.sum()), fraction), imbalance_rates(len(names), ratio) * counts
    exact = n * rates / rates.sum()
    if (exact > counts * (1 + 1e-9)).any():
        raise ValueError(
            f"fraction {fraction} at ratio {ratio:g} asks for more than all of the first class; "
            f"the largest workable fraction is {math.floor(1000 * rates.sum() / counts.sum()) / 1000:g}"
        )
    quotas = np.floor(exact + 1e-9).astype(np.int64)
    quotas[np.argsort(quotas - exact, kind="stable")[: n - int(quotas.sum())]] += 1
    if (quotas == 0).any():
        raise ValueError(
            f"fraction {fraction} at ratio {ratio:g} would leave class(es) {_few(names[quotas == 0])} empty"
        )
    return {int(c): int(q) for c, q in zip(names, quotas, strict=True)}


def keep_moderate(distances: ArrayLike, fraction: float, *, rng: np.random.Generator) -> Ids:
    """Keep the samples whose distance to their class centre is nearest the median distance, all classes at once.

    distances: (N,) from `kdlib.scorers.geometry.class_distance`. The ranks kept are
    [round(N (1/2 - f/2)), round(N (1/2 + f/2))), halves to even, as in the code of Xia et al. 2023, "Moderate
    coreset". `keep_indices(distances, f, centre=0.5)` is the same rule up to that rounding, and can be
    class-balanced.
    """
    total = np.size(distances)
    kept_count(total, fraction)
    low, high = round(total * (0.5 - fraction / 2)), round(total * (0.5 + fraction / 2))
    return keep_range(distances, high - low, low, rng=rng)


def keep_stratified(
    scores: ArrayLike,
    fraction: float,
    *,
    cut: float = 0.0,
    cut_scores: ArrayLike | None = None,
    strata: int = 50,
    rng: np.random.Generator,
) -> Ids:
    """Coverage-centric selection: drop the hardest, then sample all of the remaining score range.

    First the fraction `cut` (default 0) of all samples that is hardest by `cut_scores` goes (None: by `scores`; the
    authors' code cuts by the accumulated margin whatever the score, so pass `aum` for that). The rest falls into
    `strata` (default 50, the authors') bins of equal width, and the budget n = f N is shared out by `stratum_budgets`;
    inside a bin samples are drawn at random. Nested as f grows for one state of `rng`. Zheng et al. 2023,
    "Coverage-centric coreset selection", Algorithm 1. Raises ValueError when the cut leaves fewer than n samples.
    """
    scores = _finite(scores)
    n, total = kept_count(len(scores), fraction), len(scores)
    removed = int(_exact(cut) * total + Fraction(1, 2)) if 0 <= cut < 1 else total
    if total - removed < n:
        raise ValueError(f"cut {cut} leaves {max(total - removed, 0)} of {total} samples, fewer than the {n} to keep")
    hardness = scores if cut_scores is None else _finite(cut_scores)
    if hardness.shape != scores.shape:
        raise ValueError(f"{total} scores but {len(hardness)} cut_scores")
    left = keep_range(hardness, total - removed, 0, rng=rng)
    stratum = strata_of(scores[left], strata)
    budgets = stratum_budgets(np.bincount(stratum, minlength=strata), n)
    order = rng.permutation(len(left))
    order = order[np.argsort(stratum[order], kind="stable")]
    sizes = np.bincount(stratum, minlength=strata)
    return np.sort(left[order[_rank_in_class(sizes) < np.repeat(budgets, sizes)]])


def strata_of(scores: ArrayLike, strata: int = 50) -> NDArray[np.int64]:
    """Bin of every score, (N,) in [0, strata): equal-width bins from the smallest to just above the largest score.

    The upper edge is max + 1e-4 |max|, so that the largest score falls inside (the authors' 1.0001 max loses
    it when it is not positive).
    """
    scores = _finite(scores)
    if strata < 1:
        raise ValueError(f"strata must be at least 1, not {strata}")
    low, high = scores.min(), scores.max()
    step = (high + 1e-4 * abs(high) - low) / strata
    edges = low + step * np.arange(strata)
    return np.searchsorted(edges, scores, side="right") - 1 if step > 0 else np.zeros(len(scores), dtype=np.int64)


def stratum_budgets(sizes: ArrayLike, budget: int) -> NDArray[np.int64]:
    """Samples to take from each stratum: from the smallest up, min(size, what is left // strata left).

    sizes: (S,), summing to at least `budget`. Bins of equal size are filled in order of their index.
    """
    sizes = np.asarray(sizes)
    budgets = np.zeros(len(sizes), dtype=np.int64)
    for done, s in enumerate(np.argsort(sizes, kind="stable")):
        budgets[s] = min(int(sizes[s]), (budget - int(budgets.sum())) // (len(sizes) - done))
    return budgets


def _easiest_first(scores: NDArray, rng: np.random.Generator) -> NDArray:
    shuffled = rng.permutation(len(scores))
    return shuffled[np.argsort(scores[shuffled], kind="stable")]


def _skipped(gap: int, centre: float) -> int:
    """Samples left out at the easy end: centre * gap, rounded half down."""
    exact = _exact(centre)
    if not 0 <= exact <= 1:
        raise ValueError(f"centre must lie in [0, 1], not {centre}")
    return math.ceil(exact * gap - Fraction(1, 2))


def _classes(labels: ArrayLike, total: int) -> tuple[NDArray, NDArray, NDArray]:
    """(class position of every sample, class labels, class counts)."""
    labels = np.asarray(labels)
    if total == 0 or labels.shape != (total,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"labels must be {total or 'one or more'} integers, got {labels.dtype} of shape {labels.shape}"
        )
    names, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    # 16-bit integers take numpy's linear-time sort, four times faster on a million samples
    return inverse.astype(np.int16 if len(names) < 2**15 else np.int64), names, counts


def _rank_in_class(counts: NDArray) -> NDArray:
    """0 .. m-1 for each class in turn, concatenated."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def _fraction_for(total: int, budget: int) -> float:
    """The shortest decimal f with kept_count(total, f) >= budget."""
    for digits in range(1, 12):
        f = float(np.ceil((budget - 0.5) / total * 10**digits) / 10**digits)
        if f <= 1 and kept_count(total, f) == budget:
            return f
    return budget / total


def _finite(scores: ArrayLike) -> NDArray[np.float64]:
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 1 or len(scores) == 0:
        raise ValueError(f"scores must be a non-empty vector (N,), got shape {scores.shape}")
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise ValueError(f"{len(bad)} of {len(scores)} scores are not finite, the first at sample {bad[0]}")
    return scores


def _exact(x: float) -> Fraction:
    """The decimal or ratio that was meant, not its nearest binary double: 0.3 of 5 is then exactly 1.5."""
    if not np.isfinite(x):
        raise ValueError(f"expected a finite number, not {x}")
    return Fraction(float(x)).limit_denominator(10**9)


def _few(names: ArrayLike, limit: int = 10) -> str:
    listed = [str(name) for name in np.asarray(names).tolist()]
    return ", ".join(listed[:limit]) + (f" and {len(listed) - limit} more" if len(listed) > limit else "")
