"""Relations between classes: known groups are found again, chance is not, and the committed tables are whole."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster

from kdlib.analysis import classes
from kdlib.utils import paths

GROUPS = ["a", "a", "b", "b", "c", "c"]


def grouped(n: int = 120, strength: float = 2.0, seed: int = 0) -> tuple[NDArray, NDArray]:
    """Logits (n, 6) that are high for the label, and by `strength` higher for the class of the same group."""
    rng = np.random.default_rng(seed)
    labels = np.tile(np.arange(6), n // 6)
    logits = rng.standard_normal((n, 6))
    logits[np.arange(n), labels] += 6
    logits[np.arange(n), labels ^ 1] += strength
    return logits, labels


def test_confusions_and_shares() -> None:
    counts = classes.confusions(np.array([0, 1, 1, 2, 0]), np.array([0, 0, 0, 2, 2]), 3)
    assert counts.tolist() == [[0, 2, 0], [0, 0, 0], [1, 0, 0]]
    assert classes.shares(counts).tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 0]]


def test_pairs_take_both_directions() -> None:
    assert classes.pairs(np.array([[0.0, 0.2, 0.4], [0.6, 0.0, 0.0], [0.0, 0.2, 0.0]])) == pytest.approx(
        [0.4, 0.2, 0.1]
    )


def test_the_tree_joins_the_groups_first() -> None:
    relations = classes.class_relations(*grouped())
    found = fcluster(classes.tree(relations), 3, "maxclust")
    assert len({(group, cluster) for group, cluster in zip(GROUPS, found, strict=True)}) == 3


def test_the_tree_begins_with_the_most_related_pair_and_ends_with_the_largest_mean_distance() -> None:
    relations = np.array([[0.0, 0.6, 0.1], [0.4, 0.0, 0.2], [0.1, 0.4, 0.0]])  # pairs: 0.5, 0.1, 0.3
    np.testing.assert_allclose(classes.tree(relations), [[0, 1, 0.0, 2], [2, 3, 0.3, 3]])


def test_agreement_is_found_where_it_is() -> None:
    first, second = (classes.class_relations(*grouped(seed=s)) for s in (0, 1))
    found = classes.agreement(first, second, np.random.default_rng(0), permutations=500)
    assert found.correlation > 0.3 and found.p < 0.05 and found.pairs == 15


def test_agreement_of_chance_is_seldom_found() -> None:
    rng = np.random.default_rng(0)
    draws = [classes.agreement(*rng.random((2, 8, 8)), rng, permutations=99).p for _ in range(100)]
    assert np.mean(np.array(draws) <= 0.05) <= 0.12
    assert np.mean(draws) == pytest.approx(0.5, abs=0.1)


def test_nearest_in_group_counts_classes_without_relations_as_misses() -> None:
    relations = np.zeros((6, 6))
    assert classes.nearest_in_group(relations, GROUPS) == 0
    relations[0, 1] = relations[2, 4] = 1
    assert classes.nearest_in_group(relations, GROUPS) == pytest.approx(1 / 6)


def test_hierarchy_cuts_each_class_into_disjoint_parts() -> None:
    found = classes.hierarchy(*grouped(strength=4.0), GROUPS, images=(1, 5))
    assert Counter(zip(found.images, found.source, strict=True)) == {
        (1, "soft targets"): 20,
        (1, "predicted classes"): 20,
        (5, "soft targets"): 4,
        (5, "predicted classes"): 4,
    }
    shares = found.groupby(["images", "source"]).share.mean()
    assert shares[5, "soft targets"] == 1 and shares[1, "soft targets"] > shares[1, "predicted classes"]


def test_superclasses_are_twenty_of_five() -> None:
    groups = classes.superclass_of()
    assert len(groups) == 100 and set(Counter(groups.values()).values()) == {5}
    assert groups["girl"] == "people" and groups["maple_tree"] == "trees"


def test_the_committed_relations_are_whole() -> None:
    table = pd.read_csv(paths.data() / "results" / "cifar100_teacher_relations.csv", index_col="class")
    assert list(table.columns[1:]) == list(table.index) == sorted(classes.superclass_of())
    assert dict(table.superclass) == classes.superclass_of()
    values = table.drop(columns="superclass").to_numpy(dtype=float)
    np.testing.assert_allclose(values.sum(axis=1), 1, atol=1e-3)
    assert (np.diag(values) == 0).all() and (values >= 0).all()


def test_the_committed_hierarchy_is_whole() -> None:
    found = pd.read_csv(paths.data() / "results" / "cifar100_teacher_hierarchy.csv")
    parts = found.groupby(["images", "source"]).part.nunique()
    assert all(parts[size, source] == 100 // size for size, source in parts.index)
    assert found.share.between(0, 1).all() and np.allclose(found.share * 100, (found.share * 100).round())
