"""Short runs on digits."""

from __future__ import annotations

COSTS = ("seconds", "student_seconds", "teacher_seconds", "score_seconds", "cache_seconds", "cache_images")
SHORT = {"epochs": 2, "fraction": 0.2, "lr": 0.02}


def check_row(row: dict, kept: int) -> None:
    assert row["status"] == "ok" and row["kept"] == kept
    assert 0 <= row["test_acc"] <= row["test_acc_best"] <= 100
    assert row["steps"] > 0 and row["train_loss"] > 0


def without_costs(row: dict) -> dict:
    return {name: value for name, value in row.items() if name not in COSTS}
