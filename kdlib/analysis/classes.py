"""Relations between classes: read off soft targets and off confusions, as a tree, and against a known grouping.

A matrix of relations (K, K) has a row for each class: how a network shares out what it does not give to the class itself,
as `kdlib.analysis.claims.records.class_relations` makes it from logits. `data/results/cifar100_teacher_relations.csv` and
`cifar100_teacher_hierarchy.csv` hold those of the shipped CIFAR-100 teacher on the test images, so that they can be shown
without the images: `relations_table` and `hierarchy` of `predict(load_teacher(r), data.test_x, data)` with
`r = Run(**PRESETS["laptop"].fixed)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform

from kdlib.analysis.claims.records import class_relations

# The superclasses of CIFAR-100 (Krizhevsky 2009), five classes each.
SUPERCLASSES = {
    "aquatic mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "food containers": "bottle bowl can cup plate",
    "fruit and vegetables": "apple mushroom orange pear sweet_pepper",
    "household electrical devices": "clock keyboard lamp telephone television",
    "household furniture": "bed chair couch table wardrobe",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large carnivores": "bear leopard lion tiger wolf",
    "large man-made outdoor things": "bridge castle house road skyscraper",
    "large natural outdoor scenes": "cloud forest mountain plain sea",
    "large omnivores and herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium-sized mammals": "fox porcupine possum raccoon skunk",
    "non-insect invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles 1": "bicycle bus motorcycle pickup_truck train",
    "vehicles 2": "lawn_mower rocket streetcar tank tractor",
}


def superclass_of() -> dict[str, str]:
    """CIFAR-100: class name -> superclass."""
    return {name: group for group, names in SUPERCLASSES.items() for name in names.split()}


def confusions(predicted: NDArray, labels: NDArray, classes: int) -> NDArray:
    """How often each class (row) is taken for each other (column): counts (K, K), the diagonal 0."""
    found = np.zeros((classes, classes))
    np.add.at(found, (labels, predicted), 1)
    np.fill_diagonal(found, 0)
    return found


def shares(counts: NDArray) -> NDArray:
    """Each row divided by its sum, as `class_relations` does; a row without confusions stays 0."""
    totals = counts.sum(axis=1, keepdims=True)
    return np.divide(counts, totals, out=np.zeros_like(counts, dtype=float), where=totals > 0)


def pairs(relations: NDArray) -> NDArray:
    """The relation of each pair of different classes, mean of both directions: (K (K-1) / 2,)."""
    both = (relations + relations.T) / 2
    return both[np.triu_indices(len(both), 1)]


def tree(relations: NDArray) -> NDArray:
    """Agglomerative clustering of the classes (average linkage) as scipy's linkage matrix (K-1, 4).

    The distance of two classes is the largest relation of any pair minus theirs.
    """
    near = pairs(relations)
    return linkage(near.max() - near, "average")


class Agreement(NamedTuple):
    """Rank correlation of two relations over the pairs of classes, with its one-sided permutation p-value."""

    correlation: float
    p: float
    pairs: int


def agreement(first: NDArray, second: NDArray, rng: np.random.Generator, permutations: int = 2000) -> Agreement:
    """Mantel's test: are classes that are near in `first` near in `second`, more than under renamed classes?

    Both (K, K). The pairs of a class are not independent, so the permutations rename whole classes of `second`. Spearman's
    correlation, since a few large relations would decide Pearson's.
    """
    one, other = (pd.Series(pairs(m)).rank().to_numpy() for m in (first, second))
    ranks = squareform(other)
    observed = float(np.corrcoef(one, other)[0, 1])
    places = np.triu_indices(len(first), 1)
    drawn = []
    for _ in range(permutations):
        order = rng.permutation(len(first))
        drawn.append(np.corrcoef(one, ranks[np.ix_(order, order)][places])[0, 1])
    p = (1 + int(np.sum(np.array(drawn) >= observed - 1e-12))) / (permutations + 1)
    return Agreement(observed, p, len(one))


def nearest_in_group(relations: NDArray, groups: Sequence[str]) -> float:
    """Share of the classes whose most related class is of their own group; a class without relations counts as a miss."""
    named, found = np.asarray(groups), np.asarray(relations, dtype=float)
    hit = (named[found.argmax(axis=1)] == named) & (found.max(axis=1) > 0)
    return float(hit.mean())


def relations_table(logits: NDArray, labels: NDArray, classes: Sequence[str], tau: float = 4.0) -> pd.DataFrame:
    """`class_relations` at temperature tau as a table: a row and a column for each class, with the row's superclass.

    logits (N, 100) and labels (N,) of CIFAR-100; relations are rounded to five digits.
    """
    groups = [superclass_of()[name] for name in classes]
    found = pd.DataFrame(class_relations(logits / tau, labels).round(5), index=list(classes), columns=list(classes))
    found.insert(0, "superclass", groups)
    return found.rename_axis("class")


def hierarchy(
    logits: NDArray,
    labels: NDArray,
    groups: Sequence[str],
    tau: float = 4.0,
    images: Sequence[int] = (1, 2, 5, 10, 20, 50),
) -> pd.DataFrame:
    """How many images it takes to read the groups off a network: columns images, part, source, share.

    The samples of each class, in their order, are cut into disjoint parts of `images` each. From each part come the
    relations by soft targets at temperature tau and by the predicted classes alone, and `nearest_in_group` of both.
    """
    rank = np.zeros(len(labels), dtype=int)
    for k in range(logits.shape[1]):
        rank[labels == k] = np.arange((labels == k).sum())
    fewest, rows = np.bincount(labels, minlength=logits.shape[1]).min(), []
    for size in images:
        for part in range(fewest // size):
            chosen = rank // size == part
            z, y = logits[chosen], labels[chosen]
            soft, hard = class_relations(z / tau, y), confusions(z.argmax(axis=1), y, z.shape[1])
            rows += [(size, part, "soft targets", nearest_in_group(soft, groups))]
            rows += [(size, part, "predicted classes", nearest_in_group(hard, groups))]
    return pd.DataFrame(rows, columns=["images", "part", "source", "share"])
