"""Students and teachers as networks, lists of kept samples, and what a run costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kdlib import Run, Store, run
from kdlib.experiments import teachers
from kdlib.experiments.checks import _warn_of_slow_arithmetic
from kdlib.experiments.fingerprint import dataset_of, describe, teacher_runs
from kdlib.experiments.run import (
    check,
    kept_samples,
    load_student,
    load_teacher,
    student_of,
    train_together,
    workshop,
)
from kdlib.training.evaluate import accuracy, predict
from kdlib.training.reference_runs import networks
from tests.experiments.short_runs import SHORT, without_costs


def test_a_kept_student_comes_back_with_its_curves(store: Store) -> None:
    r = Run(**SHORT, seed=21)
    row, student = run(r, store), load_student(r, store)
    data = dataset_of(r)
    assert float(accuracy(predict(student, data.test_x, data), data.test_y)) == pytest.approx(row["test_acc"])
    curves = student_of(r, store)
    assert curves["curve/loss"].shape == curves["curve/rate"].shape == (1, 2)
    assert curves["curve/loss"][0, -1] == pytest.approx(row["train_loss"], rel=1e-4)


def test_a_teacher_comes_back(store: Store) -> None:
    r = Run(**SHORT, seed=21)
    data = dataset_of(r)
    found = accuracy(predict(load_teacher(r, store), data.test_x, data), data.test_y)
    assert float(found) == pytest.approx(run(r, store)["teacher_acc"])


def test_a_shipped_teacher_is_found_before_one_is_trained(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    r = Run(**SHORT, seed=22)
    expected = run(r, store)
    shop = workshop(r, store)
    monkeypatch.setenv("KDLIB_ROOT", str(tmp_path))
    teachers.ship(
        "digits_mlp_s0", networks(teacher_runs(r), shop), shop.data, shop.describe(teacher_runs(r)), {"commit": "none"}
    )
    monkeypatch.setattr(
        "kdlib.training.reference_runs.train_batched", lambda *a, **k: pytest.fail("a teacher was trained")
    )
    row = run(r, Store(tmp_path / "store"))
    assert {**without_costs(row)} == {**without_costs(expected)} and row["teacher_images"] == expected["teacher_images"]


def test_a_shipped_teacher_of_another_precision_will_do(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which precision a machine is fast in must not decide whether it trains a teacher that lies there already."""
    r = Run(**SHORT, seed=23)
    run(r, store)
    shop = workshop(r, store)
    arrays, description = networks(teacher_runs(r), shop), shop.describe(teacher_runs(r))
    monkeypatch.setenv("KDLIB_ROOT", str(tmp_path))
    in_bfloat16 = {**description, "recipe": {**description["recipe"], "precision": "bfloat16"}}
    teachers.ship("in_bfloat16", {**arrays, "test_acc": np.array([11.0])}, shop.data, in_bfloat16, {"commit": "none"})
    assert teachers.shipped(shop.data, description)["test_acc"] == [11.0]
    teachers.ship("same", {**arrays, "test_acc": np.array([12.0])}, shop.data, description, {"commit": "none"})
    assert teachers.shipped(shop.data, description)["test_acc"] == [12.0]
    other = {**description, "recipe": {**description["recipe"], "lr": 0.5}}
    assert teachers.shipped(shop.data, other) is None


@pytest.mark.parametrize(("there", "precision"), [(True, "bfloat16"), (False, "auto")])
def test_the_fast_precision_is_that_of_the_processor(
    there: bool, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdlib.experiments.config.processor_has_bfloat16", lambda: there)
    assert Run(precision="fast").precision == precision


def test_imitated_arithmetic_is_named_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("kdlib.experiments.checks.processor_has_bfloat16", lambda: False)
    _warn_of_slow_arithmetic.cache_clear()
    for seed in (0, 1):
        check(Run(precision="bfloat16", device="cpu", seed=seed))
    check(Run(device="cpu"))
    assert [record.message.partition(":")[2].strip() for record in caplog.records] == [
        "precision=fast takes what it is good at"
    ]
    _warn_of_slow_arithmetic.cache_clear()


def test_a_list_of_samples_takes_the_place_of_a_selection(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "kept.csv"
    file.write_text("row\n" + "\n".join(str(i) for i in range(0, 1347, 5)))
    r = Run(epochs=2, lr=0.02, kept_file=str(file))
    assert kept_samples(r, store).tolist() == list(range(0, 1347, 5))
    assert run(r, store)["kept"] == 270
    moved = file.rename(tmp_path / "elsewhere.csv")
    assert describe(Run(epochs=2, lr=0.02, kept_file=str(moved))) == {**describe_of(moved)}
    for text, message in (("id\n1", "row"), ("row\n5000", "no training sample"), ("row\n1\n1", "twice")):
        file.write_text(text)
        with pytest.raises(ValueError, match=message):
            check(Run(kept_file=str(file)))


def describe_of(file: Path) -> dict:
    return describe(Run(epochs=2, lr=0.02, kept_file=str(file)))


def test_costs_stand_in_columns_of_their_own(tmp_path: Path) -> None:
    rows = [run(Run(**SHORT, scorer="el2n", score_runs=2, seed=s), Store(tmp_path)) for s in (0, 1)]
    for row in rows:
        assert row["student_images"] == 2 * 269 and row["teacher_images"] == 2 * 1347
        assert row["score_images"] == 2 * 2 * 1347
        assert row["student_seconds"] + row["cache_seconds"] == pytest.approx(row["seconds"], abs=0.01)
    assert rows[0]["cache_images"] >= 269 > 0
    both = [Run(**SHORT, loss=loss, seed=9) for loss in ("kd", "cross_entropy")]
    taught, plain = train_together(both, Store(tmp_path), [describe(r) for r in both])
    assert taught["seconds"] == plain["seconds"] and taught["student_seconds"] == plain["student_seconds"] > 0
    assert taught["student_seconds"] + taught["cache_seconds"] == pytest.approx(taught["seconds"], abs=0.01)
    assert taught["cache_images"] > 0 == plain["cache_images"] == plain["cache_seconds"]
    alone = run(Run(**SHORT, loss="cross_entropy"), Store(tmp_path))
    assert alone["teacher_images"] == alone["score_images"] == alone["cache_images"] == 0
