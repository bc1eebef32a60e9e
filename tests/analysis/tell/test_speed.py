"""Sentences of lesson 07 follow the numbers they are given, also when these turn round."""

from __future__ import annotations

import pandas as pd
import pytest

from kdlib.analysis.tell import speed as tell

NAN = float("nan")


def ladder(cached: float = 100.0, low: float = 150.0) -> pd.DataFrame:
    rates = {"conventional loop": 50.0, "engine, teacher asked anew": 80.0, "cached logits": cached, "in bfloat16": low}
    found = pd.DataFrame({"rung": list(rates), "rate": list(rates.values()), "limit": [NAN, 160.0, 200.0, 300.0]})
    ratio = found.rate / 50
    found = found.assign(low=0.9 * found.rate, high=1.1 * found.rate)
    return found.assign(ratio=ratio, ratio_low=0.98 * ratio, ratio_high=1.02 * ratio)


@pytest.mark.parametrize(("low", "words"), [(150.0, "3.0 times (in bfloat16)"), (60.0, "2.0 times (cached logits)")])
def test_the_fastest_rung_is_named(low: float, words: str) -> None:
    text = tell.ladder({"resnet8": ladder(low=low)}, {"cpu": "a chip", "cores": "2", "gpu": "None"})
    assert (
        f"ResNet-8 {words}" in text
        and "| ResNet-8 | cached logits | 100 (90 to 110) | 2.00 (1.96 to 2.04) | 50% |" in text
    )
    assert "| ResNet-8 | conventional loop | 50 (45 to 55) | 1.00 |  |" in text
    assert "(a chip, 2 cores, GPU: None)" in text


@pytest.mark.parametrize(
    ("cached", "words"),
    [
        (100.0, "1.25 times (1.20 to 1.30 by the ranges), within the 1.33"),
        (108.0, "1.35 times (1.30 to 1.41 by the ranges), whose range includes the 1.33"),
        (120.0, "1.50 times (1.44 to 1.56 by the ranges), more than the 1.33"),
    ],
)
def test_a_gain_is_held_against_what_counting_allows(cached: float, words: str) -> None:
    assert f"ResNet-20 {words}" in tell.cache_gain({"resnet20": ladder(cached)}, {"resnet20": 4 / 3})


def test_arithmetic_and_bytes() -> None:
    assert "| ResNet-8 | 10.0 | 30.0 | 25% | 1.33 |" in tell.arithmetic({"resnet8": (10e6, 30e6)})
    assert "| floats | 4.0 |" in tell.bytes_table({"floats": 4e6})


def test_the_device_decides_what_is_said() -> None:
    assert "There is no GPU here" in tell.device(False, "", 7) and "With a GPU" in tell.device(False, "", 7)
    assert "On this H100" in tell.device(True, "H100", 7) and "no GPU" not in tell.device(True, "H100", 7)


@pytest.mark.parametrize(("again", "words"), [(0, "ask 0 times"), (3, "ask 3 times")])
def test_later_students_may_have_to_ask(again: int, words: str) -> None:
    text = tell.cache({1: (20, 15), 2: (20, again)}, 162, 1.62e9)
    assert words in text and "| student 1 | 20 | 15 | 75% |" in text and "1.62 GB" in text


def test_tables() -> None:
    assert "| pi | 3.141593 | 3.140625 |" in tell.rounding({"pi": (3.14159265, 3.140625)})
    assert tell.equivalence(["a", "b"]).endswith("- a\n- b")
    assert "| `epochs` | 240 |" in tell.preset({"epochs": 240})
    names = ["figure", "engine", "conventional", "ratio", "ratio_low", "ratio_high", "note"]
    found = [
        ("sweep of 8", 9.65, 23.1, 2.39, 2.3, 2.4, "640 images each, s"),
        ("sweep, open", *[NAN] * 5, ""),
        ("peak", *[1.0] * 5, ""),
    ]
    rows = pd.DataFrame(found, columns=names)
    text = tell.side_by_side(rows)
    assert text.splitlines()[2] == "| sweep of 8 | 640 images each | 9.65 | 23.1 | 2.39 (2.30 to 2.40) |"
    assert text.endswith("not measured here.")
    busy = rows.assign(figure=rows.figure + ", one kept busy by another")
    assert tell.side_by_side(busy).endswith("In 1 of the rows another process keeps one of the cores busy.")
    assert "| 8 | 1.50 | 83% |" in tell.makespans({8: 1.5}, 10.0)


@pytest.mark.parametrize(("students", "words"), [(30e15, "in *students*: 75%"), (5e15, "in *scores*: 67%")])
def test_the_largest_part_of_the_work_is_named(students: float, words: str) -> None:
    work = pd.DataFrame(
        {"part": ["students", "scores"], "trainings": [240, 10], "images": [1e9, 1e8], "flops": [students, 10e15]}
    )
    text = tell.work(work, 1.0, 0.1, 7.2e15)
    assert "to their last epoch: 7 PFLOP more, 2.0 GPU-hours" in text
    assert words in text and f"takes {work.flops.sum() / 1e12 / 3600:.1f} GPU-hours" in text
    assert (
        f"at the 100 GFLOP/s that one core sustained in section 1 (measured), {work.flops.sum() / 8.64e15:.0f} core-days"
        in text
    )


def test_a_guess_is_answered_behind_a_click() -> None:
    text = tell.trick_guess("compiled", {"resnet8": ladder()})
    assert text.startswith("<details>") and "cached logits 1.25 and in bfloat16 1.50 times, so *in bfloat16*" in text
    close = tell.trick_guess("compiled", {"resnet8": ladder(low=102.0)})
    assert "in bfloat16 1.02 (ranges overlap) times, so *cached logits*" in close
