"""Coresets as orders: k-center and CRAIG against their definitions written out, and what their sets are worth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kdlib.scorers import SCORERS, Signals, coresets
from kdlib.selection.rules import keep_indices


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_k_center_follows_its_definition() -> None:
    """As in DeepCore's code: the distance to the nearest of all picks, the farthest sample next."""
    x = rng().normal(size=(20, 3))
    picked = [4]
    while len(picked) < 20:
        left = [i for i in range(20) if i not in picked]
        nearest = [min(np.linalg.norm(x[i] - x[p]) for p in picked) for i in left]
        picked.append(left[int(np.argmax(nearest))])
    assert coresets.k_center_order(x, 4).tolist() == picked


def test_k_center_covers_within_twice_the_best_radius() -> None:
    """The guarantee of the greedy order, on points whose best cover is known: clusters of radius 1, far apart."""
    g = rng()
    centres = np.array([[0, 0], [100, 0], [0, 100], [100, 100]])
    angle = g.uniform(0, 2 * np.pi, (4, 25))
    x = (centres[:, None] + np.stack([np.cos(angle), np.sin(angle)], -1) * g.random((4, 25, 1))).reshape(-1, 2)
    first = coresets.k_center_order(x, 17)[:4]
    assert sorted(first // 25) == [0, 1, 2, 3]
    assert np.linalg.norm(x[:, None] - x[first], axis=-1).min(axis=1).max() <= 2


def test_the_start_of_k_center() -> None:
    g, y = rng(), np.repeat([0, 1], 15)
    s = Signals(embedding=g.normal(size=(30, 4)))
    assert s.embedding is not None
    scores = SCORERS["k_center"](s, y, rng(), start="centre")
    for c in range(2):
        mine = s.embedding[y == c]
        assert scores[y == c].argmax() == np.linalg.norm(mine - mine.mean(0), axis=1).argmin()
    order = g.permutation(30)
    moved = SCORERS["k_center"](Signals(embedding=s.embedding[order]), y[order], rng(), start="centre")
    assert np.array_equal(moved, scores[order])
    draws = [SCORERS["k_center"](s, y, rng(seed)) for seed in range(8)]
    assert len({int(d[y == 0].argmax()) for d in draws}) > 2
    with pytest.raises(ValueError, match="unknown start 'center'; did you mean 'centre'"):
        SCORERS["k_center"](s, y, rng(), start="center")


def test_distances_are_those_of_the_last_layers_gradients() -> None:
    """By autograd, one sample at a time: weights and bias of the last layer, flattened together."""
    torch.manual_seed(0)
    head, h, y = nn.Linear(4, 3).double(), torch.randn(6, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2])
    gradients = []
    for i in range(6):
        parts = torch.autograd.grad(F.cross_entropy(head(h[i : i + 1]), y[i : i + 1]), [head.weight, head.bias])
        gradients.append(torch.cat([part.flatten() for part in parts]).numpy())
    expected = [[np.linalg.norm(a - b) for b in gradients] for a in gradients]
    error = (head(h).softmax(1) - F.one_hot(y, 3)).detach().numpy()
    assert np.allclose(coresets.gradient_distances(error, h.numpy()), expected, atol=1e-7)


def test_craig_follows_the_public_code() -> None:
    """DeepCore's craig.py on one class: last-layer gradients written out, minus their distances shifted, greedy picks."""
    g, count = rng(), 30
    probs, h = g.dirichlet(np.ones(4), count), g.normal(size=(count, 5))
    bias = probs - np.eye(4)[np.full(count, 2)]
    gradients = np.concatenate([bias, (h[:, None, :] * bias[:, :, None]).reshape(count, -1)], axis=1)
    similarity = -np.linalg.norm(gradients[:, None] - gradients, axis=-1)
    similarity -= similarity.min() - 1e-3
    scores = SCORERS["craig"](Signals(late_probs=probs[None], embedding=h), np.full(count, 2), rng())
    reached, picked = np.zeros(count), np.argsort(-scores).tolist()
    for t, pick in enumerate(picked):
        gains = {j: np.maximum(0.0, similarity[:, j] - reached).sum() for j in picked[t:]}
        assert gains[pick] >= max(gains.values()) - 1e-7, "two that are each other's nearest may come in either order"
        reached = np.maximum(reached, similarity[:, pick])


def similarities(seed: int, count: int = 25) -> np.ndarray:
    x = rng(seed).normal(size=(count, 3))
    distance = np.linalg.norm(x[:, None] - x, axis=-1)
    return distance.max() - distance


@pytest.mark.parametrize("seed", range(5))
def test_lazy_greedy_is_greedy(seed: int) -> None:
    """As in DeepCore's FacilityLocation: every pick has the largest gain of all that are left."""
    similarity = similarities(seed)
    found = coresets.facility_order(similarity).tolist()
    assert sorted(found) == list(range(25))
    reached = np.zeros(25)
    for t, pick in enumerate(found):
        gains = {j: np.maximum(0, similarity[:, j] - reached).sum() for j in found[t:]}
        assert gains[pick] >= max(gains.values()) - 2e-9 * similarity.sum()
        reached = np.maximum(reached, similarity[:, pick])


def test_the_worth_of_the_order_does_not_depend_on_the_samples_order() -> None:
    """Ties, two samples that are each other's nearest, may fall either way: the worth of each head does not change."""
    similarity, order = similarities(0), rng(1).permutation(25)

    def worth(s: np.ndarray) -> list[float]:
        picks = coresets.facility_order(s)
        return [s[:, picks[: n + 1]].max(axis=1).sum() for n in range(25)]

    assert np.allclose(worth(similarity), worth(similarity[np.ix_(order, order)]), rtol=1e-6)


def test_craig_stands_for_all_gradients_better_than_chance() -> None:
    """The facility location of its picks, class by class, is above that of random sets, and no score reads other classes."""
    g, y = rng(), np.repeat(np.arange(3), 40)
    s = Signals(late_probs=g.dirichlet(np.ones(3), (2, 120)), embedding=g.normal(size=(120, 5)))
    assert s.late_probs is not None and s.embedding is not None
    error = s.late_probs[-1] - np.eye(3)[y]
    distance = coresets.gradient_distances(error, s.embedding)

    def miss(kept: np.ndarray) -> float:
        return sum(distance[np.ix_(y == c, kept[y[kept] == c])].min(axis=1).sum() for c in range(3))

    scores = SCORERS["craig"](s, y, rng())
    ours = miss(keep_indices(scores, 0.1, labels=y, rng=rng()))
    chance = [miss(keep_indices(rng(seed).random(120), 0.1, labels=y, rng=rng(seed))) for seed in range(100)]
    assert ours < min(chance)
    moved = s.late_probs.copy()
    moved[:, y == 2] = g.dirichlet(np.ones(3), (2, 40))
    again = SCORERS["craig"](Signals(late_probs=moved, embedding=s.embedding), y, rng())
    assert np.array_equal(again[y != 2], scores[y != 2]) and not np.array_equal(again[y == 2], scores[y == 2])
