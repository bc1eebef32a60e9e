"""`plot`, `show`, `export`, `completion`: from a sweep to files that others can use."""

from __future__ import annotations

import argparse
import re
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from kdlib.__main__ import COMMANDS, main
from kdlib.data import datasets
from kdlib.experiments.config import choices
from kdlib.models import build

TINY = ["--epochs", "2", "--fraction", "0.1"]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder and a store of one's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KDLIB_STORE", str(tmp_path / "store"))
    return tmp_path


def said(capsys: pytest.CaptureFixture) -> str:
    return capsys.readouterr().err.strip()


def test_from_a_sweep_to_its_plot(place: Path, capsys: pytest.CaptureFixture) -> None:
    grid = ["--grid", "fraction=0.05,0.1", "loss=cross_entropy,kd", "seed=0,1,2"]
    assert main(["sweep", *grid, "--epochs", "2", "--out", "rows.csv"]) == 0
    assert main(["plot", "rows.csv", "--hue", "loss"]) == 0
    assert (place / "plot.png").stat().st_size > 5_000
    assert main(["plot", "rows.csv", "--x", "loss"]) == 2
    assert "differ in 'fraction' (0.05, 0.1); name it as x, hue or style" in said(capsys)


def test_columns_of_a_sweep(capsys: pytest.CaptureFixture) -> None:
    sweep = ["sweep", "--grid", "seed=0", *TINY]
    assert main([*sweep, "--columns", "kept,student_images"]) == 0
    header = capsys.readouterr().out.splitlines()[0].split()
    assert header == ["seed", "test_acc", "test_acc_best", "teacher_acc", "status", "kept", "student_images"]
    assert main([*sweep, "--columns", "all"]) == 0
    assert len(capsys.readouterr().out.splitlines()[0].split()) > 50
    assert main([*sweep, "--columns", "kepd"]) == 2
    assert "did you mean 'kept'" in said(capsys)


def test_the_data_is_described_before_training(capsys: pytest.CaptureFixture) -> None:
    assert main(["run", *TINY]) == 0
    assert said(capsys).splitlines()[0] == "digits: train 1,347, test 450, 10 classes, 8x8 grey"


def test_curves_of_a_run_in_all_forms(place: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["show", *TINY, "--csv", "curves.csv", "--tensorboard", "scalars"]) == 0
    table = pd.read_csv("curves.csv")
    assert list(table) == ["epoch", "loss", "test_acc", "rate"] and list(table.epoch) == [1, 2]
    assert (place / "curves.png").stat().st_size > 5_000 and list((place / "scalars").glob("events.*"))
    assert capsys.readouterr().out.splitlines()[2].split()[0] == "2"


class Plain(nn.Module):
    """The digits' network in plain PyTorch, as somebody without kdlib would write it."""

    def __init__(self, weights: dict[str, torch.Tensor]) -> None:
        super().__init__()
        shapes = [value for name, value in weights.items() if name.endswith("weight")]
        self.layers = nn.ModuleList(nn.Linear(w.shape[1], w.shape[0]) for w in shapes)
        self.load_state_dict(dict(zip(self.state_dict(), weights.values(), strict=True)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(1)
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        return self.layers[-1](x)


def _accuracy(network: nn.Module) -> float:
    data = datasets.load("digits")
    x = (data.test_x.float() / 255 - torch.tensor(data.mean)) / torch.tensor(data.std)
    return 100 * float((network(x).argmax(1) == data.test_y).float().mean())


def test_an_exported_student_has_the_same_accuracy_in_plain_pytorch(capsys: pytest.CaptureFixture) -> None:
    import json

    assert main(["run", *TINY, "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert main(["export", "student", *TINY, "--out", "mine"]) == 0
    weights = load_file("mine.safetensors")
    order = sorted(weights, key=lambda name: (name.startswith("head"), name.split(".")[:-1], name.endswith("bias")))
    named = {name: weights[name] for name in order}
    with torch.no_grad():
        assert _accuracy(Plain(named)) == pytest.approx(row["test_acc"], abs=0.23)
        assert _accuracy(torch.export.load("mine.pt2").module()) == pytest.approx(row["test_acc"], abs=0.23)


def test_scores_and_kept_samples_come_back_the_way_they_went(capsys: pytest.CaptureFixture) -> None:
    import json

    run = [*TINY, "--scorer", "el2n", "--json"]
    assert main(["run", *run]) == 0
    row = json.loads(capsys.readouterr().out)
    assert main(["export", "kept", *run[:-1]]) == 0
    assert main(["export", "scores", *run[:-1]]) == 0
    scores, kept = pd.read_csv("scores.csv"), pd.read_csv("kept.csv")
    assert len(scores) == 1347 and len(kept) == row["kept"]
    inside = scores.score[kept.row]
    assert inside.mean() > np.delete(scores.score.to_numpy(), kept.row).mean(), "the hardest are kept"
    for back in (["--kept-file", "kept.csv"], ["--fraction", "0.1", "--scorer", "released(file=scores.csv)"]):
        assert main(["run", "--epochs", "2", *back, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["test_acc"] == row["test_acc"]


def test_a_teacher_from_a_file_teaches_as_the_one_it_came_from(place: Path, capsys: pytest.CaptureFixture) -> None:
    import json

    assert main(["run", *TINY, "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert main(["export", "teacher", *TINY, "--out", "teacher"]) == 0
    file = ["--teacher-file", "teacher.safetensors"]
    assert main(["run", *TINY, *file, "--json"]) == 0
    other = json.loads(capsys.readouterr().out)
    same = ("teacher_acc", "test_acc", "train_loss")
    assert [other[name] for name in same] == [row[name] for name in same] and other["teacher_seconds"] == 0
    assert main(["run", *TINY, *file, "--scorer", "difficulty", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["score_seconds"] == 0, "its own loss is the difficulty"


def _as_repdistiller_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    rules = [(r"^conv\.", "conv1."), (r"^bn\.", "bn1."), (r"^head\.", "fc."), (r"\.shortcut\.", ".downsample.")]
    named = {}
    for name, value in state.items():
        name = re.sub(r"^stages\.(\d+)\.", lambda match: f"layer{int(match[1]) + 1}.", name)
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        named[name] = value
    return named


def test_from_own_images_and_a_foreign_teacher_to_a_plot_and_a_student(
    place: Path, capsys: pytest.CaptureFixture
) -> None:
    """The teacher as RepDistiller saves it; the student runs in plain PyTorch, with the accuracy of its row."""
    for label, name in enumerate(("ant", "bee", "cat")):
        (place / "mine" / name).mkdir(parents=True)
        for i in range(30):
            pixels = np.random.default_rng([label, i]).integers(0, 90, (8, 8, 3)) + 80 * label
            Image.fromarray(pixels.astype(np.uint8)).save(place / "mine" / name / f"{i}.png")
    teacher = build("resnet8", 3, 3, 8, seed=5)
    torch.save({"opt": argparse.Namespace(lr=0.05), "model": _as_repdistiller_names(teacher.state_dict())}, "t.pth")
    fields = ["--dataset", "folder:mine", "--teacher", "resnet8", "--teacher-file", "t.pth", "--epochs", "4"]
    sweep = [*fields, "--grid", "fraction=0.3,1", "seed=0,1,2", "--out", "rows.csv"]
    assert main(["sweep", *sweep]) == 0
    assert said(capsys).splitlines()[0] == "folder:mine: train 72, test 18, 3 classes, 8x8 RGB"
    rows = pd.read_csv("rows.csv")
    data = datasets.load("folder:mine")
    x = (data.test_x.float() / 255 - torch.tensor(data.mean).view(3, 1, 1)) / torch.tensor(data.std).view(3, 1, 1)
    with torch.no_grad():
        measured = 100 * float((teacher.eval()(x).argmax(1) == data.test_y).float().mean())
    assert set(rows.teacher_acc.round(3)) == {round(measured, 3)}
    assert main(["plot", "rows.csv"]) == 0 and (place / "plot.png").is_file()
    assert main(["export", "student", *fields, "--fraction", "0.3", "--seed", "1"]) == 0
    row = rows[(rows.fraction == 0.3) & (rows.seed == 1)].iloc[0]
    found = torch.export.load("student.pt2").module()(x).argmax(1) == data.test_y
    assert 100 * float(found.float().mean()) == pytest.approx(row.test_acc, abs=6)  # one image of 18


@pytest.mark.parametrize("name", ["timm:resnet18", "torchvision:resnet18"])
def test_a_classifier_of_another_library_teaches(name: str, capsys: pytest.CaptureFixture) -> None:
    import json

    pytest.importorskip(name.split(":")[0], reason="an optional package that is not installed")
    torch.save(build(name, 10, 1, 8, seed=0).state_dict(), "t.pth")
    weights = {key.removeprefix("net."): value for key, value in torch.load("t.pth", weights_only=True).items()}
    torch.save(weights, "t.pth")
    assert main(["run", "--teacher", name, "--teacher-file", "t.pth", *TINY, "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["status"] == "ok" and row["teacher"] == name and 0 <= row["teacher_acc"] <= 30


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["run", "--teacher-file", "none.pth"], "none.pth cannot be read: No such file or directory; give the path"),
        (["run", "--teacher-file", "text.pth"], "is not opened; save torch.save(model.state_dict(), FILE) instead"),
        (["run", "--teacher-file", "text.pth", "--teacher-seed", "1"], "leave teacher_seed, teacher_fraction"),
        (["export"], "export needs one of: student, teacher, scores, kept"),
        (["export", "studnt"], "did you mean 'student'"),
        (["export", "scores", "--out", "scores.txt"], "name a file that ends in .csv"),
        (["export", "scores", "--selection", "infobatch"], "goes by no scores"),
        (["export", "kept", "--scorer", "el2m"], "did you mean 'el2n'"),
        (["show", "--out", "curves.pdf"], "name a file that ends in .png"),
        (["show", "--out", "nowhere.txt/curves.png"], "nowhere.txt"),
        (["plot"], "plot needs rows"),
        (["plot", "none.csv"], "no rows at none.csv"),
        (["plot", "text.txt"], "suffix of a file of rows"),
        (["completion"], "completion needs a shell: bash, "),
        (["completion", "ksh"], "shell"),
    ],
)
def test_mistakes_are_one_line(args: list[str], message: str, place: Path, capsys: pytest.CaptureFixture) -> None:
    for name in ("text.pth", "text.txt", "nowhere.txt"):
        (place / name).write_text("words")
    assert main(args) == 2
    lines = said(capsys).splitlines()
    assert len(lines) == 1 and message in lines[0], lines
    assert not (place / "store").exists() or not list((place / "store").rglob("*.safetensors"))


def test_completion_names_commands_flags_and_methods(capsys: pytest.CaptureFixture) -> None:
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    named = set(COMMANDS) - {"imagenet", "lab", "completion"}
    for word in (*named, "--teacher-file", *choices("scorer")):
        assert word in script, word
