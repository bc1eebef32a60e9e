"""Selection: sizes, windows, ties, nesting, class quotas, strata, InfoBatch."""

from __future__ import annotations

import numpy as np
import pytest

from kdlib.selection.infobatch import InfoBatch, soft_prune
from kdlib.selection.rules import (
    ROUNDINGS,
    class_quotas,
    falling_quotas,
    keep_indices,
    keep_moderate,
    keep_quotas,
    keep_range,
    keep_stratified,
    kept_count,
    strata_of,
    stratum_budgets,
)

FRACTIONS = (0.05, 0.1, 0.2, 0.3, 0.37, 0.5, 0.7, 0.9, 1.0)
CENTRES = (0.0, 0.25, 0.5, 0.8, 1.0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def imbalanced(total: int = 400, seed: int = 1) -> np.ndarray:
    return rng(seed).choice(5, total, p=[0.5, 0.2, 0.15, 0.1, 0.05])


def test_windows_of_a_ranking_known_by_hand() -> None:
    scores = np.array([5.0, 0.0, 9.0, 2.0, 7.0])  # easiest to hardest: 1, 3, 0, 4, 2
    keep = {c: keep_indices(scores, 0.4, centre=c, rng=rng()).tolist() for c in (0.0, 0.5, 1.0)}
    assert keep == {0.0: [1, 3], 0.5: [0, 3], 1.0: [2, 4]}  # 3 left out: the odd one at the hard end
    assert keep_indices(scores, 1.0, centre=0.5, rng=rng()).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("total", "fraction", "kept"), [(5, 0.3, 2), (5, 0.5, 3), (7, 0.5, 4), (10, 0.25, 3), (3, 1, 3)]
)
def test_kept_count_rounds_half_up(total: int, fraction: float, kept: int) -> None:
    assert kept_count(total, fraction) == kept
    ids = keep_indices(rng().random(total), fraction, rng=rng())
    assert ids.dtype == np.int64 and len(np.unique(ids)) == kept and (np.diff(ids) > 0).all()


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("centre", CENTRES)
def test_kept_sets_are_nested_as_the_fraction_grows(centre: float, balanced: bool) -> None:
    labels = imbalanced() if balanced else None
    scores = rng().poisson(2, 400)  # many ties
    sets = [set(keep_indices(scores, f, centre=centre, labels=labels, rng=rng(7)).tolist()) for f in FRACTIONS]
    assert all(small <= large for small, large in zip(sets, sets[1:], strict=False))
    assert [len(s) for s in sets] == [kept_count(400, f) for f in FRACTIONS]


def test_falling_quotas_are_the_imbalanced_cifar_of_the_medium_difficulty_paper() -> None:
    labels = np.repeat(np.arange(100), 500)
    assert list(falling_quotas(labels, 0.505, 100).values()) == [5 * (100 - c) for c in range(100)]
    assert set(falling_quotas(labels, 0.1, 1).values()) == {50}


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.37])
def test_falling_quotas_sum_to_the_budget_and_keep_their_ratio(fraction: float) -> None:
    labels = imbalanced(2000)
    quotas, counts = falling_quotas(labels, fraction, 4), np.bincount(labels)
    shares = np.array([quotas[c] for c in range(5)]) / counts
    assert sum(quotas.values()) == kept_count(2000, fraction) and (np.diff(shares) < 0).all()
    np.testing.assert_allclose(shares / shares[0], [1, 13 / 16, 10 / 16, 7 / 16, 4 / 16], atol=0.03)


def test_falling_quotas_name_the_fractions_and_classes_that_cannot_work() -> None:
    labels = np.repeat(np.arange(10), 20)
    with pytest.raises(ValueError, match="largest workable fraction is 0.55"):
        falling_quotas(labels, 0.6, 10)
    with pytest.raises(ValueError, match=r"class\(es\) 8, 9 empty"):
        falling_quotas(labels, 0.1, 100)


@pytest.mark.parametrize("total", [1, 2, 9, 10])
def test_every_budget_is_nested_in_the_next_at_any_centre(total: int) -> None:
    scores = rng().random(total)
    for centre in np.linspace(0, 1, 21):
        sets = [set(keep_indices(scores, n / total, centre=centre, rng=rng(3)).tolist()) for n in range(1, total + 1)]
        assert [len(s) for s in sets] == list(range(1, total + 1))
        assert all(a < b for a, b in zip(sets, sets[1:], strict=False))


def test_ties_follow_the_seed_and_nothing_else() -> None:
    scores = np.zeros(1000)
    kept = [keep_indices(scores, 0.5, rng=rng(seed)) for seed in (0, 0, 1)]
    assert np.array_equal(kept[0], kept[1]) and not np.array_equal(kept[0], kept[2])
    assert 200 < len(np.intersect1d(kept[0], kept[2])) < 300  # about a quarter of all, as for independent draws
    untied = rng().permutation(1000)
    assert np.array_equal(*(keep_indices(untied, 0.5, rng=rng(seed)) for seed in (0, 1)))


def test_permuting_samples_permutes_the_kept_set() -> None:
    scores, labels, order = rng().random(300), imbalanced(300), rng(2).permutation(300)
    kept = keep_indices(scores, 0.3, centre=0.5, labels=labels, rng=rng())
    moved = keep_indices(scores[order], 0.3, centre=0.5, labels=labels[order], rng=rng(5))
    assert np.array_equal(np.sort(order[moved]), kept)


def test_a_balanced_window_is_the_window_inside_each_class() -> None:
    scores, labels = rng().random(400), imbalanced()
    quotas = class_quotas(labels, 0.3)
    kept = keep_indices(scores, 0.3, labels=labels, rng=rng())
    for c, quota in quotas.items():
        members = np.flatnonzero(labels == c)
        hardest = members[np.argsort(scores[members])[len(members) - quota :]]
        assert set(kept[labels[kept] == c]) == set(hardest)


def test_quotas_sum_exactly_follow_class_sizes_and_never_shrink() -> None:
    for seed in range(20):
        labels = imbalanced(seed=seed)
        counts, last = np.bincount(labels), np.zeros(5)
        for fraction in FRACTIONS:
            quotas = np.array(list(class_quotas(labels, fraction).values()))
            assert quotas.sum() == kept_count(400, fraction)
            assert (np.abs(quotas - fraction * counts) <= 1).all() and (quotas >= last).all()
            last = quotas


def test_equal_classes_get_equal_quotas_whatever_their_names() -> None:
    assert class_quotas(np.repeat([3, -1, 900], 10), 0.3) == {-1: 3, 3: 3, 900: 3}


def test_a_class_of_one_sample_stays_or_is_named() -> None:
    labels = np.array([0] * 99 + [7])
    assert class_quotas(labels, 0.6) == {0: 59, 7: 1}
    with pytest.raises(ValueError, match=r"class\(es\) 7 empty; the smallest workable fraction is") as caught:
        keep_indices(np.arange(100), 0.1, labels=labels, rng=rng())
    smallest = float(str(caught.value).rsplit(" ", 1)[1])
    assert class_quotas(labels, smallest)[7] == 1
    with pytest.raises(ValueError, match="empty"):
        class_quotas(labels, smallest - 0.01)


def test_roundings_of_public_code() -> None:
    labels = np.repeat([0, 1], [5, 11])
    assert class_quotas(labels, 0.5, "half_even") == {0: 2, 1: 6}
    assert class_quotas(labels, 0.5, "floor") == {0: 2, 1: 5}
    assert class_quotas(labels, 0.5) == {0: 3, 1: 5}
    with pytest.raises(ValueError, match="half_even"):
        class_quotas(labels, 0.5, "half-even")
    assert "total" in ROUNDINGS


@pytest.mark.parametrize(
    ("scores", "fraction", "options", "message"),
    [
        ([1.0, np.nan, 2.0], 0.5, {}, "1 of 3 scores are not finite, the first at sample 1"),
        ([1.0, np.inf], 0.5, {}, "not finite"),
        ([[1.0]], 0.5, {}, "vector"),
        ([], 0.5, {}, "non-empty"),
        ([1.0, 2.0], 0.0, {}, r"\(0, 1\]"),
        ([1.0, 2.0], 1.5, {}, r"\(0, 1\]"),
        ([1.0, 2.0], np.nan, {}, "finite"),
        ([1.0, 2.0], 0.1, {}, "keeps none"),
        ([1.0, 2.0], 0.5, {"centre": -0.1}, "centre"),
        ([1.0, 2.0], 0.5, {"labels": [0]}, "integers"),
        ([1.0, 2.0], 0.5, {"labels": [0.5, 1.0]}, "integers"),
    ],
)
def test_bad_input_is_refused(scores: list, fraction: float, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        keep_indices(scores, fraction, rng=rng(), **options)


def test_keep_range_and_quotas_refuse_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="ranks"):
        keep_range(np.arange(5), 3, 3, rng=rng())
    with pytest.raises(ValueError, match="no quota"):
        keep_quotas(np.arange(2), {0: 1}, labels=[0, 1], rng=rng())
    with pytest.raises(ValueError, match="larger than the class"):
        keep_quotas(np.arange(2), {0: 2, 1: 1}, labels=[0, 1], rng=rng())


def test_moderate_keeps_the_middle_of_the_distances() -> None:
    distances = np.array([0.0, 9.0, 4.0, 5.0, 1.0, 8.0])
    assert keep_moderate(distances, 1 / 3, rng=rng()).tolist() == [2, 3]
    assert keep_indices(distances, 1 / 3, centre=0.5, rng=rng()).tolist() == [2, 3]


def test_strata_hold_every_score() -> None:
    for scores in (rng().normal(size=50) - 100, np.zeros(4), np.array([-3.0, 0.0]), np.array([2.0])):
        bins = strata_of(scores, 10)
        assert bins.min() == 0 and bins.max() <= 9 and len(bins) == len(scores)
    assert strata_of([0.0, 1.0, 2.0, 4.0], 2).tolist() == [0, 0, 0, 1]


def test_stratum_budgets_fill_small_strata_first() -> None:
    assert stratum_budgets([1, 0, 10, 4], 9).tolist() == [1, 0, 4, 4]
    assert stratum_budgets([5, 5], 10).tolist() == [5, 5]


def test_stratified_cuts_the_hardest_and_nests() -> None:
    scores, hardness = rng().normal(size=500), rng(1).normal(size=500)
    options = {"cut": 0.1, "cut_scores": hardness, "strata": 20}
    sets = [set(keep_stratified(scores, f, **options, rng=rng(4)).tolist()) for f in (0.1, 0.3, 0.6, 0.9)]
    assert [len(s) for s in sets] == [50, 150, 300, 450]
    assert all(a <= b for a, b in zip(sets, sets[1:], strict=False))
    assert not sets[-1] & set(np.argsort(hardness)[-50:].tolist())
    spread = np.bincount(strata_of(scores, 20)[sorted(sets[0])], minlength=20)
    assert spread.max() <= 4  # 50 over 20 strata, the thin ones empty or exhausted
    with pytest.raises(ValueError, match="fewer than"):
        keep_stratified(scores, 0.95, cut=0.1, rng=rng())


def test_infobatch_weights_are_unbiased() -> None:
    losses = rng().gamma(2.0, size=101)
    total = np.zeros(101)
    for seed in range(400):
        kept, weights = soft_prune(losses, 0.3, rng=rng(seed))
        assert weights[kept].sum() == pytest.approx(101)  # every epoch weighs as much as the whole set
        total[kept] += weights[kept]
    hard = losses >= losses.mean()
    assert (total[hard] == 400).all()
    assert np.abs(total[~hard] / 400 - 1).max() < 0.4 and total[~hard].mean() / 400 == pytest.approx(1)


def test_infobatch_prune_ratio_and_keep_ratio() -> None:
    losses = np.concatenate([np.zeros(60), np.ones(40)])
    kept, weights = soft_prune(losses, 0.3, rng=rng(), exact=False)
    assert len(kept) == 40 + 18 and weights.max() == pytest.approx(1 / 0.3)
    sampler = InfoBatch(100, 10, prune_ratio=0.7, rng=rng())
    assert len(list(sampler)) == 100
    sampler.update(np.arange(100), losses)
    assert len(list(sampler)) == 58
    assert InfoBatch(100, 10, prune_ratio=0.99, rng=rng()).keep_ratio == 0.1


@pytest.mark.parametrize(("epochs", "pruned"), [(8, 6), (10, 7), (100, 86), (1, 0)])
def test_infobatch_anneals_with_whole_epochs_of_weight_one(epochs: int, pruned: int) -> None:
    sampler, sizes = InfoBatch(50, epochs, rng=rng()), []
    for _ in range(epochs):
        order = sampler.epoch_order()
        assert len(np.unique(order)) == len(order)
        sizes.append(len(order))
        sampler.update(order, np.linspace(0, 1, 50)[order])
    assert [n < 50 for n in sizes] == [0 < e <= pruned for e in range(epochs)]
    assert (sampler.weights == 1).all() or pruned == epochs - 1


def test_infobatch_same_seed_same_epochs_and_global_state_untouched() -> None:
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    orders = []
    for _ in range(2):
        sampler = InfoBatch(30, 5, rng=rng(9))
        sampler.update(np.arange(30), np.arange(30.0))
        orders.append([sampler.epoch_order().tolist() for _ in range(5)])
    assert orders[0] == orders[1] and np.array_equal(np.random.get_state()[1], before)


def test_infobatch_refuses_bad_ratios_and_losses() -> None:
    with pytest.raises(ValueError, match="prune_ratio"):
        InfoBatch(10, 5, prune_ratio=1.0, rng=rng())
    with pytest.raises(ValueError, match="keep_ratio"):
        soft_prune(np.ones(3), 0.0, rng=rng())
    with pytest.raises(ValueError, match="NaN"):
        soft_prune(np.array([1.0, np.nan]), 0.5, rng=rng())
