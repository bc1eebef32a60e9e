"""The command line: one process and several, rows in the store, mistakes in one line."""

from __future__ import annotations

import json
import re
import shlex
import sys
from dataclasses import asdict, fields
from pathlib import Path

import pytest
import torch

from kdlib.__main__ import main
from kdlib.cli.arguments import parse
from kdlib.cli.imagenet_commands import ACTIONS, ScoreOptions, TrainOptions, with_settings
from kdlib.experiments.config import Run
from kdlib.imagenet.config import RECIPES, Machine, Settings
from kdlib.imagenet.networks import read_weights
from kdlib.imagenet.shrinking import read_checksums
from kdlib.store.artefacts import Store
from tests.imagenet.folder import TRAIN, UNREADABLE, VAL
from tests.imagenet.jobs import run_processes

SHORT = ["--student", "tiny", "--epochs", "2", "--batch-size", "16", "--image-size", "32", "--device", "cpu"]


def train_args(root: Path, store: Path, *more: str) -> list[str]:
    return ["imagenet", "train", "--root", str(root), "--store", str(store), *SHORT, *more]


def test_score_train_and_transfer_one_after_the_other(
    root: Path, weights: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """A teacher's scores choose the medium images, the student learns from it, a new classifier from the student."""
    scores, student, store = tmp_path / "scores.csv", tmp_path / "student.safetensors", tmp_path / "store"
    teacher = ["--teacher", "tiny", "--teacher-weights", weights, "--image-size", "32", "--device", "cpu"]
    assert main(["imagenet", "score", "--root", str(root), *teacher, "--out", str(scores)]) == 0
    assert f"{TRAIN - len(UNREADABLE)} of {TRAIN} images scored" in capsys.readouterr().err
    chosen = ["--scorer", "difficulty", "--scores", str(scores), "--fraction", "0.5", "--centre", "0.5"]
    kd = ["--reshape", "classwise_std", "--loss", "kd", *teacher]
    assert main(train_args(root, store, "--recipe", "md", *kd, *chosen, "--save", str(student), "--json")) == 0
    row = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (row["kept"], row["weighting"], row["weight_decay"]) == (79, "free(ce=0.5, kd=0.9)", 1e-4)
    assert row["teacher_acc"] is not None and row["val_images"] == VAL and row["skipped"] == 0
    moved = ["--recipe", "budget", "--student-weights", str(student), "--loss", "cross_entropy"]
    args = ["imagenet", "transfer", *train_args(root, store, *moved)[2:], "--json"]
    assert main(args) == 0
    other = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert other["task"] == "transfer" and other["test_top5"] == 100
    stored = Store(store).rows()
    assert all(re.fullmatch("[0-9a-f]{12}", r["rules"]) for r in stored) and stored[0]["rules"] != stored[1]["rules"]
    assert len(stored) == 2 and all({f.name for f in fields(Run)} <= row.keys() for row in stored)


def test_transfer_trains_the_classifier_only(root: Path, weights: str, tmp_path: Path) -> None:
    student = tmp_path / "moved.safetensors"
    moved = ["--student-weights", weights, "--loss", "cross_entropy", "--save", str(student)]
    assert main(["imagenet", "transfer", *train_args(root, tmp_path / "store", *moved)[2:]]) == 0
    (_, before), (_, after) = read_weights(Path(weights)), read_weights(student)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"head.weight", "head.bias"}


def test_processes_of_torchrun_share_one_command(root: Path, tmp_path: Path) -> None:
    ended = run_processes(command, train_args(root, tmp_path / "store", "--loss", "cross_entropy"), folder=tmp_path)
    assert ended.codes == [0, 0], ended.said
    assert "test_top5" in ended.said[0] and "epoch" not in ended.said[1]
    (row,) = Store(tmp_path / "store").rows()
    assert row["devices"] == 2


def test_a_mistake_is_said_once(tmp_path: Path) -> None:
    ended = run_processes(command, train_args(tmp_path / "nowhere", tmp_path / "store"), folder=tmp_path)
    assert ended.codes == [2, 2]
    assert ended.said[0].count("\n") == 1 and "must hold one folder of images" in ended.said[0] and not ended.said[1]


def test_an_image_that_must_not_be_skipped_is_named_by_whoever_meets_it(root: Path, tmp_path: Path) -> None:
    more = ["--loss", "cross_entropy", "--unreadable", "fatal"]
    ended = run_processes(command, train_args(root, tmp_path / "store", *more), folder=tmp_path)
    assert set(ended.codes) <= {1} and "cannot read the image" in "".join(ended.said)


def command(args: list[str]) -> None:
    code = main(args)
    sys.stdout.flush()
    sys.exit(code)


def test_shrink_copies_and_checks(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    places = ["--source", str(root / "val"), "--target", str(tmp_path / "copy")]
    assert main(["imagenet", "shrink", *places, "--side", "48", "--workers", "1"]) == 0
    assert f"{VAL} images ({VAL} new)" in capsys.readouterr().err
    assert main(["imagenet", "shrink", *places, "--check"]) == 0
    first = next(iter(read_checksums(tmp_path / "copy")))
    (tmp_path / "copy" / first).write_bytes(b"")
    assert main(["imagenet", "shrink", *places, "--check"]) == 1 and capsys.readouterr().out.strip() == first


def test_cost_prints_what_is_measured_and_what_is_not(root: Path, capsys: pytest.CaptureFixture) -> None:
    sizes = ["--student", "tiny", "--teacher", "tiny", "--image-size", "32", "--seconds", "0.01"]
    assert main(["imagenet", "cost", *sizes, "--folder", str(root / "val")]) == 0
    said = capsys.readouterr().out
    places = [said.index(word) for word in ("measured here:", "assumed of the machines:", "extrapolated from both:")]
    assert places == sorted(places) and said.count("extrapolated") == 16


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["scoring"], "unknown action 'scoring'; did you mean 'score'"),
        (["train"], "--root is missing"),
        (["train", "--root", "x", "--recipe", "mdd"], "unknown recipe 'mdd'; did you mean 'md'"),
        (["train", "--root", "x", "--student", "resnet5"], "unknown student 'resnet5'; did you mean 'resnet50'"),
        (["train", "--root", "x", "--epoch", "3"], "did you mean '--epochs'"),
        (["train", "--root", "x", "--micro-batch", "1"], "micro_batch must be 0 or at least 2"),
        (["train", "--root", "x", "--alpha", "1.5"], "alpha 1.5 with weighting convex makes a weight negative"),
        (["train", "--root", "x", "--weighting", "free(ces=1)"], "option of weighting free 'ces'; did you mean 'ce'"),
        (["train", "--root", "x", "--loss", "dkd(beta=8)"], "unknown option of loss dkd 'beta'"),
        (["train", "--root", "x", "--schedule", "cosinus"], "did you mean 'cosine'"),
        (["shrink", "--source", "nowhere-at-all", "--target", "y"], "is not a folder"),
    ],
)
def test_mistakes_end_in_one_line(args: list[str], message: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["imagenet", *args]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_defaults_that_flags_override(name: str) -> None:
    args = ["--recipe", name, "--epochs", "3"]
    flags = parse(with_settings(TrainOptions, args), args, "imagenet train")
    expected = asdict(Settings(**{**RECIPES[name], "epochs": 3}))
    assert {key: getattr(flags, key) for key in expected} == expected


def test_recipes_are_the_papers() -> None:
    """DKDP, supplementary: 240 epochs, batch 128, rate 0.1, momentum 0.9, decay 5e-4, cosine, tau 4, alpha 0.5.
    MD, App. A.1 and Sec. 4: 100 epochs, batch 256, 0.1 divided by 10 at 30, 60, 90, decay 1e-4, weights 0.5 and 0.9."""
    dkdp, md = (Settings(**RECIPES[name]).recipe(Machine()) for name in ("dkdp", "md"))
    shared = ("epochs", "batch_size", "lr", "momentum", "weight_decay", "schedule", "milestones")
    assert [getattr(dkdp, name) for name in shared] == [240, 128, 0.1, 0.9, 5e-4, "cosine", ()]
    assert [getattr(md, name) for name in shared] == [100, 256, 0.1, 0.9, 1e-4, "steps", (30, 60, 90)]
    assert (Settings().tau, Settings().weights, Settings(**RECIPES["md"]).weights) == (4, (0.5, 0.5), (0.5, 0.9))
    rates = [md.rate(share) for share in (0.29, 0.31, 0.61, 0.91)]
    assert rates == pytest.approx([0.1, 0.01, 0.001, 0.0001])


def test_help_names_every_action(capsys: pytest.CaptureFixture) -> None:
    assert main(["imagenet", "--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"  {name} " in said for name in ACTIONS)


def test_the_readmes_commands_are_understood() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text().replace("\\\n", " ")
    found = re.findall(r"kdlib imagenet (train|score) (--[^\n`#]*)", readme)
    assert len(found) >= 2
    for action, rest in found:
        args = shlex.split(rest)
        options = TrainOptions if action == "train" else ScoreOptions
        parse(with_settings(options, args), args, f"imagenet {action}")
