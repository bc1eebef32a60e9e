"""Costs in image steps: operations as counted by hand, and when a price that is paid once comes in."""

import math

import pytest

from kdlib.analysis.costs import Cost, break_even, cost, spent, work
from kdlib.analysis.tell import costs as tell
from kdlib.experiments import shipped, study
from kdlib.experiments.groups import STUDIES

DIGITS = (10, 1, 8)
ROW = {
    "student": "mlp", "teacher": "mlp", "score_model": "", "loss": "kd", "augment": "none", "epochs": 3, "kept": 100,
    "student_images": 300, "teacher_images": 4000, "score_images": 0,
}  # fmt: skip


def test_operations_of_a_perceptron_are_those_of_its_matrix_products() -> None:
    weights = 64 * 128 + 128 * 128 + 128 * 10
    found = work("mlp", *DIGITS)
    assert found.forward == 2 * weights  # a product and a sum for each weight
    assert found.step == 3 * 2 * weights - 2 * 64 * 128  # no gradient of the images is needed


def test_a_forward_pass_of_the_teacher_costs_less_than_a_step() -> None:
    found = cost(ROW, *DIGITS)
    assert (found.student, found.teacher, found.scoring) == (300, 4000, 0)
    assert found.cache == pytest.approx(100 * work("mlp", *DIGITS).forward / work("mlp", *DIGITS).step)
    assert found.once == found.teacher + found.cache and found.total(2) == found.once + 600


def test_a_student_without_a_teacher_asks_for_no_logits() -> None:
    assert cost({**ROW, "loss": "cross_entropy", "teacher_images": 0}, *DIGITS).once == 0


def test_views_are_asked_for_once_each() -> None:
    pairs = cost({**ROW, "augment": "crop", "epochs": 1}, *DIGITS).cache
    many = cost({**ROW, "augment": "crop", "epochs": 10_000}, *DIGITS).cache
    assert many == pytest.approx(9 * pairs)  # 3 x 3 places of an 8x8 image; one epoch asks for one of them


def test_a_larger_teacher_counts_by_its_operations() -> None:
    small, large = (cost({**ROW, "teacher": name}, *DIGITS).teacher for name in ("mlp", "resnet8"))
    assert large / small == pytest.approx(work("resnet8", *DIGITS).step / work("mlp", *DIGITS).step)


def test_a_price_comes_in_after_as_many_students_as_it_takes() -> None:
    plain = Cost(1000, 0, 0, 0)
    assert break_even(Cost(500, 1000, 0, 0), plain) == 2
    assert break_even(Cost(700, 0, 0, 0), plain) == 0
    assert math.isinf(break_even(Cost(1000, 1000, 0, 0), plain)) and math.isinf(break_even(Cost(1100, 0, 0, 0), plain))
    method = Cost(300, 900, 400, 100)
    there = break_even(method, plain)
    assert method.total(there) == pytest.approx(plain.total(there))


def test_what_the_project_has_cost_counts_every_training_once() -> None:
    found = spent().set_index("what")
    accuracies = [row["test_acc"] for name in STUDIES for row in study.committed(name).values()]
    rows = found.rows.drop(["teachers", "scores"]).sum()
    assert len(set(accuracies)) <= rows < len(accuracies), "studies share trainings"
    assert found.rows["teachers"] == len(shipped.cards("teachers"))
    assert 0 < found.rows["scores"] < len(shipped.cards("scores")), "several tables come from one training"
    assert (found.hours > 0).all()
    assert tell.spent(spent()).splitlines()[-1].startswith("| **all of it** | ")
