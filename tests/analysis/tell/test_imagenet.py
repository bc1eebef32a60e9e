"""Sentences of lesson 15 follow the numbers they are given, also when these turn round."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from kdlib.analysis.claims import verdict
from kdlib.analysis.tell import imagenet as tell
from kdlib.imagenet.costs import Cluster, Cost, Measured


def tiny(kd: float) -> pd.DataFrame:
    common = {"kept": 10, "steps": 5, "student_images": 50, "test_top5": 80.0, "seed": 0, "epochs": 6, "student": "net"}
    common |= {"dataset": "cifar100_20", "image_size": 64, "val_images": 2400}
    return pd.DataFrame(
        [
            {**common, "fraction": 0.3, "loss": "kd", "test_acc": kd},
            {**common, "fraction": 1.0, "loss": "cross_entropy", "test_acc": 40.0},
            {**common, "fraction": 0.3, "loss": "cross_entropy", "test_acc": 35.0},
        ]
    )


@pytest.mark.parametrize(
    ("kd", "words"),
    [(45.0, "10.0 points above the one without, and 5.0 points above"),
     (30.0, "5.0 points below the one without, and 10.0 points below")],
)  # fmt: skip
def test_one_pair_of_students_may_go_either_way_and_proves_nothing(kd: float, words: str) -> None:
    rows = tell.tiny_names(tiny(kd))
    assert list(rows.name) == ["teacher, all images", "student, no KD, f = 30%", "student, KD, f = 30%"]
    text = tell.tiny_run(rows)
    assert words in text and "(n = 1) there is no interval" in text
    assert (
        "is a net, on 20 classes at 64 pixels. 2400 validation images alone" in text and "by up to 2.0 points" in text
    )


def test_sizes_and_the_stream() -> None:
    text = tell.sizes({"files": 140.9e9}, 19.3e6)
    assert "| files | 140.9 |" in text and "takes 19.3 MB" in text
    assert "read 1347 of 1348 training files; 1 could not be read" in tell.streamed(1347, 1348, 89.777, 450)


def test_padding_counts_who_gets_another_accuracy() -> None:
    text = tell.padded_accuracy({1: (10, 50.0), 3: (12, 58.3333)}, 50.0, 10)
    assert "| 3 | 12 | 2 | 58.3333 | +8.3333 |" in text and "1 of the 2 numbers of processes" in text


def test_gradients_name_the_uneven_shares() -> None:
    good, bad = {"mean": 1e-8, "sum": 1e-8}, {"mean": 0.1, "sum": 1e-8}
    assert "uneven: for (4, 3)." in tell.gradients({"(4, 4)": good, "(4, 3)": bad})
    assert "for none of them" in tell.gradients({"(4, 4)": good})


def test_resumed_names_what_is_exact() -> None:
    assert "only if weights and step are restored." in tell.resumed({"weights": 0.1, "weights, step": 0.0})
    assert "In no case" in tell.resumed({"weights": 0.1})


def test_a_live_run_says_nothing_of_the_clock() -> None:
    row = {
        "devices": 2,
        "student": "net",
        "kept": 5,
        "skipped": 1,
        "test_acc": 50.0,
        "test_top5": 90.0,
        "val_images": 9,
    }
    first = ["epoch 1/2 step 1/5 loss 2 22 images/s, 0:00:10 left", "epoch 1/2 loss 2.1 top-1 10%"]
    text = tell.live_run(first, ["skipped a.png: torn", "going on from step 5 of epoch 2", "{}"], row)
    assert "images/s" not in text and "{}" not in text and "epoch 1/2 loss 2.1" in text and "skipped a.png" in text
    assert "*going on from step 5 of epoch 2*" in text
    assert "(nothing yet)" in tell.live_run([], first, row) and "it began anew" in tell.live_run([], first, row)


def test_shared_scores_add_up() -> None:
    assert "scored 4, 3 and 3 images, 10 in all" in tell.shared_scores([4, 3, 3], 0, "b", "a")


@pytest.mark.parametrize(("copy", "words"), [(200.0, "paid for itself after 2.0 epochs"), (90.0, "it never pays")])
def test_a_copy_may_pay_or_not(copy: float, words: str) -> None:
    found = {"rates": {"full": 100.0, "shrunken copy": copy}, "copies_per_second": 100.0, "size": 224, "images": 9}
    assert words in tell.decoding(found)


@pytest.mark.parametrize(
    ("load", "words"), [([0.2, 1.9], "a core of its own"), ([0.2, 2.1], "may have waited for a core")]
)
def test_a_ratio_from_a_busy_machine_is_called_one(load: list[float], words: str) -> None:
    found = {
        "load": load,
        "cores": 4,
        "ratio": 1.8,
        "ratios": [1.7, 1.8, 1.9],
        "ratio_without_waiting": 1.76,
        "target": 1.7,
    }
    text = tell.two_processes({**found, "when": "today"})
    assert words in text and "1.76 times (aim 1.7)" in text and "(1.70 to 1.90 in 3 turns)" in text


CORE = Measured("a core", 224, 3.0, 10.0, 10.0, 350.0, 1, 1, 86e6)
COST = Cost(10.0, 80.0, 0.3, 1.4e9, 2e12, "reading")


def test_numbers_are_told_apart() -> None:
    gpu = dataclasses.replace(CORE, device="an assumed one", train_rate=2000.0)
    text = tell.kinds_of_numbers({"dkdp": CORE}, {"dkdp": gpu}, Cluster(1, cores=8), 401.0)
    assert "| dkdp | measured | 3 training, 10 teacher images/s (a core) |" in text
    assert (
        "| dkdp | counted, assumed | 2000 training" in text and "| all | assumed | 8 GPUs a host, 8 cores a GPU" in text
    )
    assert "That run gave 401 images/s" in text


def costs(bounds: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame(
        [{"fraction": f, "gpus": 8, **vars(COST), "bound": b} for f, b in zip((0.1, 1.0), bounds, strict=True)]
    )


def test_the_cost_table_says_that_it_is_extrapolated_and_what_is_waited_for() -> None:
    text = tell.cost_table({"md": costs(("reading", "reading")), "dkdp": costs(("compute", "reading"))}, "md")
    assert "**extrapolated**" in text and "| 10% | 8 | 10.00 | 80 | 0.30 | 1.4 | 2.0 | reading |" in text
    assert "`md`: reading on 8 GPUs; `dkdp`: compute or reading on 8 GPUs" in text


def test_ratios_of_times() -> None:
    half = dataclasses.replace(COST, hours=5.0, bound="compute")
    text = tell.time_ratios({"half": (half, COST, "halved")})
    assert "| half | 0.50 | halved | compute / reading |" in text and "only count images" not in text
    waiting = dataclasses.replace(half, bound="reading")
    text = tell.time_ratios({"half": (waiting, COST, "halved"), "whole": (COST, waiting, "doubled")})
    assert "only count images" in text and "the inverse of the first" in text


def test_nothing_is_claimed_about_imagenet() -> None:
    numbers = pd.DataFrame(
        [
            {"paper": "dkdp", "where": "Sec. 1", "dataset": d, "student": "s", "teacher": "t", "pruning": "random",
             "loss": "kd", "fraction": 0.1, "metric": "top5", "value": 87.19}
            for d in ("imagenet", "cifar100")
        ]
    )  # fmt: skip
    text = tell.published(numbers)
    assert (
        text.count("not measured") == 1
        and "| DKDP, Sec. 1 | s from t | random | KD | 10% | top-5 (%) | 87.19 |" in text
    )
    assert "| D16 | not measured | no runs |" in tell.undecided([verdict("D16", pd.DataFrame())])


def test_exercises() -> None:
    assert tell.bound_guess("compute", {"files": "reading"}).startswith("<details>")
    text = tell.cores_needed({"md": {1: "decoding", 2: "reading"}, "dkdp": {1: "decoding"}})
    assert "md: from 2 cores a GPU on" in text and "dkdp: more than 1" in text
