"""Small folders for a first run, and the programs in `benchmarks/` that use them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import imagenet_costs, imagenet_decode, imagenet_tiny, imagenet_two_processes
from kdlib.cli.arguments import parse
from kdlib.cli.imagenet_commands import ScoreOptions, TrainOptions, with_settings
from kdlib.data import datasets
from kdlib.imagenet.config import RECIPES, settings
from kdlib.imagenet.example import link_classes, write_digits
from kdlib.imagenet.folders import Images, read_splits


def test_digits_become_files(tmp_path: Path) -> None:
    data = datasets.load("digits")
    train, val = read_splits(write_digits(tmp_path, 32))
    assert (len(train), len(val)) == (len(data.train_y), len(data.test_y)) and train.classes == data.classes
    assert sorted(train.labels.tolist()) == sorted(data.train_y.tolist())
    assert Images(val, 32)[0, 0].image.float().std() > 10
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.png")}
    write_digits(tmp_path, 32)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.png")} == before


def test_some_classes_of_a_folder(root: Path, tmp_path: Path) -> None:
    train, val = read_splits(link_classes(root, tmp_path, 2, val="val"))
    assert train.classes == val.classes == ("ant", "bee") and len(train) == 80
    link_classes(root, tmp_path, 2, val="val")
    with pytest.raises(ValueError, match="has 4 classes, fewer than 5"):
        link_classes(root, tmp_path, 5, val="val")


def test_the_tiny_run_says_what_the_commands_understand(tmp_path: Path) -> None:
    commands = imagenet_tiny.commands(tmp_path / "cifar100_20", tmp_path)
    assert [command[:2] for command in commands] == [["imagenet", a] for a in ("train", "score", "train", "train")]
    for _, action, *args in commands:
        options = TrainOptions if action == "train" else ScoreOptions
        parse(with_settings(options, args), args, f"imagenet {action}")


def test_decoding_is_timed_on_all_its_ways(tmp_path: Path) -> None:
    found = imagenet_decode.measure(imagenet_decode.make_images(tmp_path, 3), 3, 1, 64)
    assert set(found["rates"]) == set(imagenet_decode.WAYS) and min(found["rates"].values()) > 0
    assert found["bytes"] > 4 * found["bytes_of_copy"] > 0


def test_the_program_of_two_processes_is_a_program() -> None:
    compile(imagenet_two_processes.PROGRAM, "program", "exec")


def test_costs_are_measured_for_both_papers(tmp_path: Path) -> None:
    sizes = ["--seconds", "0.01", "--images", "2", "--size", "32", "--batch", "2"]
    found = imagenet_costs.main([*sizes, "--json", str(tmp_path / "costs.json")])
    assert set(imagenet_costs.PAIRS) == {name for name in RECIPES if name != "budget"}
    for name, pair in imagenet_costs.PAIRS.items():
        recipe = settings(name)
        assert pair == (recipe.student, recipe.teacher)
        assert min(found[name][rate] for rate in ("train_rate", "teacher_rate", "decode_rate")) > 0
    assert json.loads((tmp_path / "costs.json").read_text()) == found
