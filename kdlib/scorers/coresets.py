"""Coresets as scores: samples in the order in which a greedy method picks them, class by class.

A coreset of fraction f is the head of every class's order, `keep_indices(scores, f, labels=labels)` at the default
centre 1, as for herding: "harder" reads "more useful" here.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from kdlib.scorers.geometry import by_class
from kdlib.utils.errors import choose

Floats = NDArray[np.floating]

# Which sample k-center greedy takes first, given the features (N, D) and a generator.
STARTS: dict[str, Callable[[Floats, np.random.Generator], int]] = {
    "random": lambda x, rng: int(rng.integers(len(x))),
    "centre": lambda x, rng: int(np.square(x - x.mean(axis=0)).sum(axis=1).argmin()),
}


def k_center(
    embedding: Floats, labels: NDArray[np.integer], rng: np.random.Generator, start: str = "random"
) -> NDArray[np.float64]:
    """Minus the share of its class picked before each sample by k-center greedy, (N,), in (-1, 0].

    embedding: (N, D); start: the first pick of each class, "random" (default, as in DeepCore) or "centre", the sample
    nearest the class mean. Sener & Savarese 2018, "Active learning for convolutional neural networks: a core-set
    approach", Algorithm 1. Raises ValueError for another `start`.
    """
    first = choose("start", start, STARTS)
    x = np.asarray(embedding, dtype=np.float64)
    return by_class(labels, lambda members: k_center_order(x[members], first(x[members], rng)))


def k_center_order(x: Floats, first: int) -> NDArray[np.int64]:
    """Positions (N,) in the order of picking: after `first`, always the sample farthest from its nearest pick.

    x: (N, D); distances are Euclidean; ties: the lower position. Float64.
    """
    x = np.asarray(x, dtype=np.float64)
    square = np.square(x).sum(axis=1)
    nearest, picked = np.full(len(x), np.inf), np.empty(len(x), dtype=np.int64)
    best = first
    for t in range(len(x)):
        picked[t] = best
        nearest = np.minimum(nearest, np.maximum(square - 2 * (x @ x[best]) + square[best], 0))
        nearest[best] = -np.inf
        best = int(nearest.argmax())
    return picked


def craig(probs: Floats, embedding: Floats, labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Minus the share of its class picked before each sample by CRAIG, (N,), in (-1, 0].

    probs: (N, K), embedding: (N, D) of one trained network. Inside each class the greedy maximum of the facility location
    sum_i max_{j picked} s_ij, where s_ij falls with the distance of the last layer's gradients: the picks stand for the
    gradients of all. Mirzasoleiman et al. 2020, "Coresets for data-efficient training of machine learning models",
    Algorithm 1; its weights of the picks are not used. DeepCore's code takes the gradient of a cross-entropy of
    probabilities (softmax twice); here it is the gradient of the loss that is trained.
    """
    error = np.array(probs, dtype=np.float64)
    error[np.arange(len(labels)), labels] -= 1.0
    features = np.asarray(embedding, dtype=np.float64)

    def order(members: NDArray) -> NDArray[np.int64]:
        distance = gradient_distances(error[members], features[members])
        return facility_order(distance.max() - distance)

    return by_class(labels, order)


def gradient_distances(error: Floats, embedding: Floats) -> NDArray[np.float64]:
    """Euclidean distances (N, N) between the samples' gradients of the cross-entropy in the last layer.

    error: (N, K), p - onehot(y); embedding h: (N, D). A sample's gradient is error h^T in the weights and error in the
    bias, so that the product of two is (e_i . e_j) (h_i . h_j + 1): the gradients need not be written out.
    """
    products = (error @ error.T) * (embedding @ embedding.T + 1.0)
    square = np.diag(products)
    return np.sqrt(np.maximum(square[:, None] + square - 2 * products, 0.0))


def facility_order(similarity: Floats) -> NDArray[np.int64]:
    """Positions (N,) in the order of greedy facility location: always the largest gain of sum_i max_{j picked} s_ij.

    similarity: symmetric (N, N), not negative. Two samples that are each other's nearest gain the same, so gains are
    compared to a billionth of their sum, and ties go to the lower position. A gain never grows as more is picked, so a
    gain computed earlier is an upper bound, and only the candidates on top of a heap are computed again (lazy greedy).
    """
    reached, unit = np.zeros(len(similarity)), 1e-9 * max(similarity.sum(), 1e-300)
    heap = [(-round(gain / unit), j) for j, gain in enumerate(similarity.sum(axis=0))]
    heapq.heapify(heap)
    fresh, picked = np.zeros(len(similarity), dtype=np.int64), np.empty(len(similarity), dtype=np.int64)
    for t in range(len(similarity)):
        while fresh[best := heap[0][1]] < t:  # computed before the last pick
            fresh[best] = t
            gain = np.maximum(similarity[best] - reached, 0.0).sum()
            heapq.heapreplace(heap, (-round(gain / unit), best))
        picked[t] = heapq.heappop(heap)[1]
        reached = np.maximum(reached, similarity[picked[t]])
    return picked
