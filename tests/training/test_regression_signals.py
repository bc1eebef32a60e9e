"""Signals of a regression, recorded on the diabetes data."""

import numpy as np
import pytest

from kdlib.experiments.config import Run
from kdlib.experiments.fingerprint import scored_runs, teacher_runs
from kdlib.experiments.run import workshop
from kdlib.scorers.regression import REGRESSION_SCORERS
from kdlib.store.artefacts import Store
from kdlib.training.regression_signals import record_regression

RUN = Run(dataset="diabetes", loss="squared_error", epochs=3, lr=0.005)


def test_signals_have_a_column_for_each_patient_and_are_those_of_their_seeds(tmp_path):
    shop = workshop(RUN, Store(tmp_path))
    found, again = (record_regression(scored_runs(RUN), teacher_runs(RUN), shop, subsets=3) for _ in range(2))
    count = len(shop.data.train_y)
    assert found.early.shape == (1, count) and found.trained.shape == (3, count)
    assert found.trained.sum(axis=1).tolist() == [round(0.7 * count)] * 3
    assert len({tuple(row) for row in found.trained}) == 3, "each subset model has samples of its own"
    np.testing.assert_array_equal(found.subset, again.subset)
    y = shop.data.train_y.numpy()
    for score in REGRESSION_SCORERS.values():
        assert np.isfinite(score(found, y, np.random.default_rng(0))).all()


def test_subset_models_know_their_own_samples_better(tmp_path):
    long = Run(dataset="diabetes", loss="squared_error", epochs=60, lr=0.02)
    shop = workshop(long, Store(tmp_path))
    found = record_regression(scored_runs(long), teacher_runs(long), shop, subsets=4)
    errors = (found.subset - shop.data.train_y.numpy()) ** 2
    assert errors[found.trained].mean() < 0.5 * errors[~found.trained].mean()


def test_classes_are_refused(tmp_path):
    r = Run()
    with pytest.raises(ValueError, match="digits has classes"):
        record_regression(scored_runs(r), teacher_runs(r), workshop(r, Store(tmp_path)))
