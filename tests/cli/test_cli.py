"""The command line: mistakes end in one line and exit code 2 before anything runs; results go to stdout."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kdlib.__main__ import COMMANDS, main

ROOT = Path(__file__).parent.parent.parent
FIXTURES = Path(__file__).parent.parent / "fixtures"
TINY = ["--epochs", "1", "--fraction", "0.05", "--loss", "cross_entropy"]


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLIB_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("KDLIB_FIGURES", str(tmp_path / "figures"))
    return tmp_path / "store"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("rnu", "unknown command 'rnu'; did you mean 'run'?"),
        ("run --fracton 0.3", "unknown flag '--fracton'; did you mean '--fraction'?"),
        ("run --fraction=0", "fraction must lie in (0, 1], got 0"),
        ("run --fraction 1.2", "fraction must lie in (0, 1], got 1.2"),
        ("run --fraction nan", "fraction must be float"),
        ("run --tau 0", "tau must lie in (0"),
        ("run --alpha -1", "alpha must lie in [0"),
        ("run --epochs many", "Error parsing --epochs: invalid literal for int()"),
        ("run --epochs 1.5", "epochs"),
        ("run --fraction", "argument '--fraction'"),
        ("run --dataset digit", "unknown dataset 'digit'; did you mean 'digits'?"),
        ("run --student resnet21", "unknown student 'resnet21'; did you mean 'resnet"),
        ("run --scorer forgeting", "did you mean 'forgetting'?"),
        (
            "run --loss dkd(target_wieght=2)",
            "unknown option of loss dkd 'target_wieght'; did you mean 'target_weight'?",
        ),
        ("run --loss kd(weight=2)", "loss kd has no options, got weight"),
        ("run --loss dkd(2)", "expected option=value, got '2'"),
        ("run --loss dkd(non_target_weight=many)", "non_target_weight of loss dkd must be a number, got 'many'"),
        ("run --scorer released(file=a.csv,high=kep)", "did you mean 'keep'?"),
        ("run --scorer difficulty(views=4) --fraction 0.5", "views need an augmentation"),
        ("run --teacher-recipe epoch=30", "unknown field of teacher_recipe 'epoch'; did you mean 'epochs'?"),
        ("run --score-recipe augment=corp", "score_recipe: unknown augmentation 'corp'; did you mean 'crop'?"),
        ("run --preset clas", "unknown preset 'clas'; did you mean 'class'?"),
        ("run digits", "Unrecognized options: digits"),
        ("sweep", "a sweep needs --grid"),
        ("sweep --grid fractoin=0.1", "unknown field of Run 'fractoin'; did you mean 'fraction'?"),
        ("sweep --grid fraction=0.1,2", "fraction must lie in (0, 1], got 2"),
        ("sweep --grid fraction=0.1 seed=a", "seed must be int, got 'a'"),
        ("sweep --grid fraction", "--grid takes name=value, not 'fraction'"),
        ("sweep --grid seed=0,1 seed=5", "--grid seed is given twice; join its values with commas: seed=0,1,5"),
        ("sweep --grid seed=0,1 --seed 9", "--seed is given as a flag and in --grid; leave one of them out"),
        ("sweep --grid seed=,", "--grid seed= names no value"),
        ("sweep --grid seed=0 --workers 0", "--workers must be at least 1"),
        ("lesson 99", "unknown lesson '99'"),
        ("lesson {good} --alpha 0.5", "'--alpha'; a parameter of the lesson is given as: --set alpha=VALUE"),
        ("lesson {good} --kept-share=2", "a parameter of the lesson is given as: --set kept_share=2"),
        ("lesson {good} --wokers 2", "unknown flag '--wokers'; did you mean '--workers'? a parameter of the lesson"),
        ("figures --alpha 1", "unknown flag '--alpha'; "),
        ("lesson {good} --set sed=1", "unknown parameter 'sed'; did you mean 'seed'?"),
        ("lesson {good} --set seed=one", "parameter 'seed' must be int"),
        ("lesson {good} --set seed", "--set takes name=value, not 'seed'"),
        ("lesson {good} --grid seed=1,x", "parameter 'seed' must be int"),
        ("lesson {good} --grid seed=,", "--grid seed has no values"),
        ("lesson {good} --grid seed=1,2 --set seed=3", "'seed' is both in the grid and fixed"),
        ("lesson all --grid sed=1,2", "no lesson has a parameter 'sed'"),
        ("lesson {good} --preset smok", "did you mean 'smoke'?"),
        ("lesson {good} --update --set seed=1", "--update runs a lesson as it is written"),
        ("lesson {good} --out {fixtures}", "is a folder; name a notebook file"),
        ("lesson {good} --student --out {fixtures}", "is a folder; name a notebook file"),
        ("lesson {good} --grid seed=1,2 --out {good}", "is a file; with --grid name a folder"),
        ("lesson all --out x.ipynb", "--out names one notebook; give one lesson"),
        ("lesson {good} --wokers 2", "unknown flag '--wokers'; did you mean '--workers'?"),
        ("lesson {good} seed=1", "Unrecognized options: seed=1"),
        ("figures --preset smok", "did you mean 'smoke'?"),
        ("figures --workers many", "Error parsing --workers: invalid literal for int()"),
        ("figures dkdp-fig7", "Unrecognized options: dkdp-fig7"),
        ("lab {good}", "write them there with: kdlib lessons copy"),
        ("store verfy", "unknown action 'verfy'; did you mean 'verify'?"),
        ("store ls --root no/where", "there is no store at"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(args, message, capsys, tmp_path):
    assert main(args.format(good=FIXTURES / "good.ipynb", fixtures=FIXTURES).split()) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1 and said.out == ""
    assert not any(tmp_path.rglob("*.*")), "nothing ran"


@pytest.mark.parametrize(
    "content",
    [b"no JSON", b"\xff\xfe", b"", b"{}", b"[1]", b'{"nbformat": 4, "cells": [{}]}'],
    ids=["text", "bytes", "empty", "object", "list", "no metadata"],
)
def test_a_file_that_is_no_notebook(content, capsys, tmp_path):
    (tmp_path / "x.ipynb").write_bytes(content)
    assert main(["lesson", str(tmp_path / "x.ipynb")]) == 2
    assert "x.ipynb is no notebook; name a .ipynb file that Jupyter opens\n" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["x.ipynb"]


def test_exit_codes_of_the_real_command():
    def code(*args):
        done = subprocess.run([sys.executable, "-m", "kdlib", *args], cwd=ROOT, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    returned, out, err = code("run", "--fraction", "2")
    assert (returned, out) == (2, "") and err == "kdlib: fraction must lie in (0, 1], got 2\n"
    returned, out, err = code("--help")
    assert returned == 0 and err == "" and all(re.search(rf"^  {name} ", out, re.M) for name in COMMANDS)
    assert code()[0] == 2


HEAVY = {"torch", "papermill", "pandas", "matplotlib", "nbconvert", "numpy"}


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        (["--help"], set()),
        (["lesson", "--help"], set()),
        (["figures", "--help"], set()),
        (["store", "--help"], {"numpy", "pandas"}),
        (["run", "--help"], {"numpy", "torch", "pandas"}),
    ],
    ids=["all", "lesson", "figures", "store", "run"],
)
def test_help_imports_only_what_it_lists(arguments, allowed):
    """`run --help` lists the words of every registry and needs torch for them; the others come without it."""
    program = (
        "import os, sys\nos.environ.pop('OMP_WAIT_POLICY', None)\nfrom kdlib.__main__ import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit as stop: assert not stop.code\n"
        f"print('LOADED', *sorted({HEAVY!r} & set(sys.modules)))\n"
        "import kdlib; print(os.environ['OMP_WAIT_POLICY'])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    *_, loaded, policy = done.stdout.splitlines()
    assert set(loaded.split()[1:]) <= allowed and policy == "PASSIVE"


def test_every_field_of_run_is_a_flag(capsys):
    from dataclasses import fields

    from kdlib.experiments.config import Run, choices

    with pytest.raises(SystemExit) as stop:
        main(["run", "--help"])
    assert not stop.value.code
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for f in fields(Run):
        assert f"--{f.name.replace('_', '-')}" in text
        assert f.metadata["help"][:20] in text
        assert all(word in text for word in choices(f.name)), f"a valid word of {f.name} is missing"


def test_the_help_of_a_method_shows_its_options(capsys):
    from kdlib.cli.experiment_commands import help_of

    assert "dkd(non_target_weight=8, target_weight=1, warmup_epochs=20)" in help_of("loss")
    assert "ccs(hard_cut=0.1, strata=50)" in help_of("selection")
    assert "views=0" in help_of("scorer") and "options" not in help_of("student")


def test_run(own_store, capsys):
    assert main(["run", *TINY, "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["epochs"] == 1 and row["fraction"] == 0.05 and 0 <= row["test_acc"] <= 100
    assert main(["run", *TINY, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == row, "seconds included: it was read, not trained again"
    assert main(["run", *TINY]) == 0
    shown = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert shown["fraction"] == "0.05" and shown["kept"] == str(row["kept"]) and "tau" not in shown


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ("export kept --fraction 0.1 --epochs 1", "export of kept"),
        ("export student --fraction 0.1 --epochs 1", "export of student · "),
        ("show --fraction 0.1 --epochs 1", "the run's curves"),
        ("run --fraction 0.1 --epochs 1", "looking for 1 runs in the store"),
        ("run --fraction 0.1 --epochs 1", "checking 1 runs"),
        ("store verify", "reading all of "),
        ("store ls", "looking through "),
        ("store gc --yes", "looking through "),
        ("figures --list", "looking for the rows of all figures"),
    ],
)
def test_long_commands_say_what_they_are_at(args, text, own_store, tmp_path, monkeypatch):
    from kdlib.utils import progress

    monkeypatch.setattr(progress, "REFRESH", 0.0)
    monkeypatch.chdir(tmp_path)
    said = []
    with progress.shown_by(lambda shown, milestone: said.append(shown)):
        main(["run", "--fraction", "0.1", "--epochs", "1"])
        said.clear()
        assert main(args.split()) == 0
    assert any(shown.startswith(text) for shown in said), said


def test_the_help_of_claims_names_them_all(capsys):
    from kdlib.analysis.claims import CLAIMS

    with pytest.raises(SystemExit):
        main(["claims", "--help"])
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert len(CLAIMS) == 26 and ", ".join(CLAIMS) in text


def test_a_training_that_diverges_ends_in_one_line_with_the_fix(capsys):
    assert main(["run", "--epochs", "2", "--lr", "1000", "--loss", "cross_entropy"]) == 1
    assert capsys.readouterr().err.splitlines()[1:] == [
        "kdlib: the training diverged: its loss is not finite; lower --lr (it was 1000)"
    ]


def test_sweep(tmp_path, capsys):
    args = [
        "sweep",
        *TINY[:2],
        *TINY[4:],
        "--grid",
        "fraction=0.05,0.1",
        "seed=0,1",
        "--out",
        str(tmp_path / "r.jsonl"),
    ]
    assert main(args) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split()[:3] == ["fraction", "seed", "test_acc"]
    assert [line.split()[:2] for line in lines] == [["0.05", "0"], ["0.05", "1"], ["0.1", "0"], ["0.1", "1"]]
    rows = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert [(r["fraction"], r["seed"]) for r in rows] == [(0.05, 0), (0.05, 1), (0.1, 0), (0.1, 1)]


def test_preset_gives_defaults_and_grid(capsys):
    from kdlib.experiments.config import PRESETS

    smoke = PRESETS["smoke"]
    assert main(["sweep", "--preset", "smoke", *TINY[:2], *TINY[4:]]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(smoke.fractions) * len(smoke.seeds)
    assert main(["run", "--preset=smoke", *TINY[4:], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["epochs"] == smoke.fixed["epochs"]


def test_lesson(tmp_path, capsys):
    good, failing = FIXTURES / "good.ipynb", FIXTURES / "failing.ipynb"
    assert main(["lesson", str(good), "--set", "seed=3", "--out", str(tmp_path / "o.ipynb")]) == 0
    assert (tmp_path / "o" / "toy.svg").read_text() == "<svg>3</svg>"
    assert main(["lesson", str(failing), "--out", str(tmp_path / "x.ipynb")]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert "ValueError: f must be in (0, 1]" in last and str(tmp_path / "x.failed.ipynb") in last
    assert main(["lesson", str(good), "--student", "--out", str(tmp_path / "s.ipynb")]) == 0
    assert "answer" not in (tmp_path / "s.ipynb").read_text()


def test_lesson_grid(tmp_path, capsys):
    good = FIXTURES / "good.ipynb"
    args = ["lesson", str(good), "--grid", "seed=1,2", "--set", "fraction=0.3", "--out", str(tmp_path / "grid")]
    assert main(args) == 0
    names = sorted(p.name for p in (tmp_path / "grid").glob("*.ipynb"))
    assert names == [f"good__fraction=0.3__seed={seed}.ipynb" for seed in (1, 2)]
    assert "index.html" in capsys.readouterr().err and (tmp_path / "grid" / "index.html").is_file()
    assert main(args) == 0
    assert "2 unchanged and kept" in capsys.readouterr().err


def test_every_lesson_at_every_point_of_a_grid(tmp_path, capsys, monkeypatch):
    """A lesson without one of the parameters runs without it; each lesson has a folder and an index of its own."""
    from kdlib.course import notebooks

    (tmp_path / "notebooks").mkdir()
    good = notebooks.read(FIXTURES / "good.ipynb")
    notebooks.write(good, tmp_path / "notebooks" / "01_good.ipynb")
    for cell in good.cells:
        cell.source = cell.source.replace("balanced", "even").replace("seeds", "draws")
    notebooks.write(good, tmp_path / "notebooks" / "02_other.ipynb")
    monkeypatch.setenv("KDLIB_ROOT", str(tmp_path))
    monkeypatch.setenv("KDLIB_FIGURES", str(tmp_path / "figures"))
    args = ["lesson", "all", "--preset", "smoke", "--workers", "2", "--grid", "seed=0,1,2", "balanced=false"]
    assert main(args) == 0
    said = capsys.readouterr().err
    made = {p.relative_to(tmp_path / "figures" / "runs").as_posix() for p in (tmp_path / "figures").rglob("*.ipynb")}
    assert len(made) == 6 and sum(name.startswith("01_good/") and "balanced" in name for name in made) == 3
    assert "02_other has no parameter balanced" in said and said.count("index: ") == 2


def test_the_list_of_figures(capsys):
    assert main(["figures", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 11 + 25 and lines[6].startswith("dkdp-fig7 ")
    assert "CUB-200" in next(line for line in lines if line.startswith("md-table13 "))
