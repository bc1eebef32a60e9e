"""`follow`: the trainings are those of `run`, and each is looked at after each epoch."""

import time

import pytest
import torch

from kdlib.experiments.config import Run
from kdlib.experiments.fingerprint import dataset_of, describe
from kdlib.experiments.follow import follow
from kdlib.experiments.run import kept_samples, run
from kdlib.store.artefacts import Store
from kdlib.training.evaluate import accuracy, predict

FIXED = {"dataset": "digits", "epochs": 2, "fraction": 0.1}


def test_follow_sees_the_students_of_run(tmp_path):
    store = Store(tmp_path)
    taught = [Run(**FIXED, seed=s) for s in (0, 1)]
    runs = [taught[0], Run(**FIXED, loss="cross_entropy", seed=0), taught[1], Run(**{**FIXED, "fraction": 0.2})]
    data, order = dataset_of(runs[0]), []

    def look(i, epoch, student):
        order.append((i, epoch))
        return float(accuracy(predict(student, data.test_x, data), data.test_y))

    seen = follow(runs, look, store)
    assert [len(found) for found in seen] == [2, 2, 2, 2] and len(set(order)) == 8
    for r, found in zip(runs, seen, strict=True):
        assert found[-1] == pytest.approx(run(r, store)["test_acc"], abs=0.23)  # one test image of 450
    assert len({found[-1] for found in seen}) > 1


def test_follow_trains_on_given_samples(tmp_path):
    store, plain = Store(tmp_path), {"dataset": "digits", "epochs": 2, "loss": "cross_entropy"}
    pruned, data = Run(**plain, fraction=0.1), dataset_of(Run(**plain))

    def look(i, epoch, student):
        return predict(student, data.test_x[:9], data)

    ids = kept_samples(pruned, store)
    own, given = follow([pruned], look, store)[0], follow([Run(**plain)], look, store, kept=[ids])[0]
    torch.testing.assert_close(own[-1], given[-1])
    with pytest.raises(ValueError, match="each of 1 runs, got 2"):
        follow([pruned], look, store, kept=[ids, ids])


def test_follow_stores_no_student(tmp_path):
    store = Store(tmp_path)
    r = Run(**FIXED, loss="cross_entropy")
    follow([r], lambda i, epoch, student: epoch, store)
    assert store.row(describe(r)) is None
    run(r, store)
    assert store.row(describe(r)) is not None


def test_follow_stores_rows_if_asked(tmp_path):
    store, other = Store(tmp_path / "followed"), Store(tmp_path / "plain")
    r = Run(**FIXED)
    follow([r], lambda i, epoch, student: time.sleep(0.5), store, rows=True)
    seen, plain = store.row(describe(r)), run(r, other)
    costs = {name for name in plain if name.endswith("seconds")}
    assert {**seen, **dict.fromkeys(costs)} == {**plain, **dict.fromkeys(costs)}
    assert 0 < seen["student_seconds"] < 1.0  # two epochs, after each of which `look` takes half a second
    with pytest.raises(ValueError, match="leave out kept, or rows"):
        follow([r], lambda i, epoch, student: epoch, store, kept=[kept_samples(r, store)], rows=True)
