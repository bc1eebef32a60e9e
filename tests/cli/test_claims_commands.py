"""`python -m kdlib claims`: a line for each claim, the reasons of one, and mistakes in one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kdlib.__main__ import main
from kdlib.analysis.claims import CLAIMS
from kdlib.utils import paths


@pytest.fixture
def file(tmp_path: Path) -> str:
    """The old CIFAR-100 rows, their forgetting scores taken for those of the paper's framework."""
    text = (paths.data() / "results" / "cifar100_laptop.jsonl").read_text().replace("forgetting_hardest", "forgetting")
    (tmp_path / "cifar100_laptop.jsonl").write_text(text)
    return str(tmp_path / "cifar100_laptop.jsonl")


def test_a_line_for_each_claim(file: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["claims", "--dataset", "cifar100", "--rows", file]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0].startswith("cifar100 (cifar100_laptop.jsonl; student resnet8") and lines[0].endswith("108 rows")
    assert [line.split()[0] for line in lines[1:27]] == list(CLAIMS)
    assert "holds in direction, not in size" in out and "given this teacher" in out


def test_why_gives_the_reasons(file: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["claims", "--why", "D6", "--rows", file]) == 0
    out = capsys.readouterr().out
    for part in (
        "rule: ",
        "threshold: 0; the paper's size: 8",
        "runs: 6 trainings",
        "alpha = 1 minus alpha = 0.5",
        "(n = 3) above",
    ):
        assert part in out


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--why", "D66"], "unknown claim 'D66'; did you mean 'D6'"),
        (["--dataset", "mnist"], "no rows of mnist; there are: "),
        (["--preset", "laptp"], "did you mean 'laptop'"),
        (["--rows", "nowhere.jsonl"], "there is no file nowhere.jsonl"),
    ],
)
def test_mistakes_are_one_line(args: list[str], said: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["claims", *args]) == 2
    error = capsys.readouterr().err
    assert said in error and len(error.strip().splitlines()) == 1


def test_a_file_that_holds_no_rows_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("no json\n")
    assert main(["claims", "--rows", str(file)]) == 2
    assert "does not hold JSON lines" in capsys.readouterr().err


def test_records_are_read_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    results = tmp_path / "results"
    (results / "records").mkdir(parents=True)
    shutil.copytree(paths.data() / "paper", tmp_path / "paper")
    shutil.copy(paths.data() / "results" / "cifar100_laptop.jsonl", results)
    lines = [
        "dataset,scorer,seed,base_rate,share",
        *(f"cifar100,forgetting,{seed},0.1,{0.6 + seed / 100}" for seed in range(4)),
    ]
    (results / "records" / "D15.csv").write_text("\n".join(lines))
    monkeypatch.setattr(paths, "data", lambda: tmp_path)
    assert main(["claims", "--why", "D15"]) == 0
    out = capsys.readouterr().out
    assert "verdict: holds" in out and "4 seeds of the scored trainings" in out
