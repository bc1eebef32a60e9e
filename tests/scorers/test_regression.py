"""Scores of a regression: formulas on small arrays, and that every scorer is accounted for."""

import dataclasses

import numpy as np
import pytest
import torch

from kdlib.models import build
from kdlib.scorers import SCORERS, regression
from kdlib.scorers.regression import NEEDS_CLASSES, REGRESSION_SCORERS, RegressionSignals


def signals(n=12):
    rng = np.random.default_rng(0)
    return RegressionSignals(
        early=rng.standard_normal((3, n)),
        gradient=rng.random((3, n)),
        gradient_last=rng.random((3, n)),
        teacher=rng.standard_normal(n),
        embedding=rng.standard_normal((n, 4)),
        trained=rng.random((8, n)) < 0.5,
        subset=rng.standard_normal((8, n)),
    )


def test_every_scorer_keeps_a_meaning_or_has_a_reason():
    assert set(REGRESSION_SCORERS) | set(NEEDS_CLASSES) == set(SCORERS)
    assert not set(REGRESSION_SCORERS) & set(NEEDS_CLASSES)


@pytest.mark.parametrize("name", REGRESSION_SCORERS)
def test_every_score_is_finite_and_has_a_value_for_each_sample(name):
    y = np.random.default_rng(1).standard_normal(12)
    found = REGRESSION_SCORERS[name](signals(), y, np.random.default_rng(2))
    again = REGRESSION_SCORERS[name](signals(), y, np.random.default_rng(2))
    assert found.shape == (12,) and np.isfinite(found).all() and len(set(found.round(9))) > 3
    np.testing.assert_array_equal(found, again)


def test_errors_of_one_component():
    np.testing.assert_allclose(
        regression.error_length(np.array([[1.0, 2.0], [3.0, 2.0]]), np.array([0.0, 5.0])), [2, 3]
    )
    np.testing.assert_allclose(regression.squared_difficulty(np.array([1.0, 2.0]), np.array([0.0, 5.0])), [1, 9])


def test_gradient_lengths_are_those_of_autograd():
    net = build("mlp", 1, 5, 1)
    x, y = torch.randn(4, 5, 1, 1, generator=torch.Generator().manual_seed(0)), torch.tensor([0.5, -1.0, 2.0, 0.0])
    whole, last = [], []
    for sample, target in zip(x, y, strict=True):
        net.zero_grad()
        ((net(sample[None])[0, 0] - target) ** 2).backward()
        parts = {name: p.grad.flatten() for name, p in net.named_parameters()}
        whole.append(float(torch.cat(list(parts.values())).norm()))
        last.append(float(torch.cat([parts["head.weight"], parts["head.bias"]]).norm()))
    np.testing.assert_allclose(regression.gradient_length(net, x, y), whole, rtol=1e-5)
    with torch.no_grad():
        closed = regression.last_layer_length(net.features(x).embedding, net(x)[:, 0], y)
    np.testing.assert_allclose(closed, last, rtol=1e-5)


def test_memorization_is_the_error_without_minus_with():
    trained = np.array([[True, False, True], [False, True, True]])
    predictions = np.array([[1.0, 3.0, 9.0], [2.0, 1.0, 9.0]])
    np.testing.assert_allclose(regression.memorization(trained, predictions, np.zeros(3)), [4 - 1, 9 - 1, 0])


def test_craig_starts_with_the_sample_that_stands_for_most():
    found = signals()
    y = np.asarray(found.teacher) + 1.0  # equal errors: distances are those of the features
    embedding = np.array(found.embedding)
    embedding[:6] = embedding[0] + 0.001 * np.arange(6)[:, None]  # six samples close together
    first = int(np.argmax(regression.craig(dataclasses.replace(found, embedding=embedding), y)))
    assert first < 6


def test_signals_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="'gradient' must have 12 columns"):
        dataclasses.replace(signals(), gradient=np.zeros((3, 5)))
    with pytest.raises(ValueError, match="shape of subset"):
        dataclasses.replace(signals(), trained=np.zeros((2, 12), dtype=bool))
