"""Tables of records from trained students: the columns that verdicts need, and a table that was begun is gone on with."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kdlib.__main__ import main
from kdlib.analysis import claims, measurements
from kdlib.experiments.config import PRESETS, Run
from kdlib.experiments.groups import PRUNINGS
from kdlib.store.artefacts import Store
from kdlib.utils import paths

SHORT = {**PRESETS["smoke"].fixed, "epochs": 2}
WINDOWS = ("easy", "medium", "hard")
RUNS: dict[str, list[dict[str, Any]]] = {
    "D14": [{"fraction": 0.25, "loss": loss, "seed": s} for loss in ("kd", "cross_entropy") for s in range(3)],
    "D15": [
        {"fraction": 0.1, "loss": "cross_entropy", "scorer": "forgetting", "label_noise": 0.2, "seed": s}
        for s in range(3)
    ],
    "M6": [{"fraction": 0.3, "alpha": 0.9, **PRUNINGS[name], "seed": s} for name in WINDOWS for s in range(3)],
    "M7": [{"alpha": 0.9, "seed": s} for s in range(3)],
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the tables, a store of its own, and the studies' runs on digits."""
    monkeypatch.setattr(measurements, "file_of", lambda claim: tmp_path / "records" / f"{claim}.csv")
    monkeypatch.setenv("KDLIB_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(measurements, "runs_of", lambda claim: [Run(**SHORT, **fields) for fields in RUNS[claim]])
    return tmp_path


@pytest.mark.parametrize("claim", measurements.MEASURED)
def test_a_table_answers_its_claim(claim: str, project: Path) -> None:
    done = list(measurements.measure(claim, Store()))
    count = len(RUNS[claim])
    assert done == [(k + 1, count) for k in range(count)]
    table = pd.read_csv(measurements.file_of(claim))
    assert {*claims.RECORDS[claim], "dataset"} <= set(table.columns) and set(table.dataset) == {"digits"}
    found = claims.verdict(claim, table)
    assert found.effects and all(effect.estimate.n == 3 for effect in found.effects)


def test_what_is_in_the_table_is_not_measured_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = measurements.measure("M7", Store())
    next(steps), next(steps)
    begun = measurements.file_of("M7").read_text()
    asked: list[int] = []
    name, group, belongs, taken = measurements.MEASURED["M7"]
    noted = lambda r, store: asked.append(r.seed) or taken(r, store)  # noqa: E731
    monkeypatch.setitem(measurements.MEASURED, "M7", (name, group, belongs, noted))
    assert list(measurements.measure("M7", Store()))[-1] == (3, 3)
    assert asked == [2] and measurements.file_of("M7").read_text().startswith(begun)


def test_the_gap_is_between_teacher_and_student(project: Path) -> None:
    (r, *_) = measurements.runs_of("M7")
    easy, _, hard = measurements.gaps(r, Store())
    assert easy["teacher_acc"] > hard["teacher_acc"] and 0 <= hard["student_acc"] <= 100


@pytest.mark.parametrize("claim", measurements.MEASURED)
def test_the_studies_have_the_runs(claim: str) -> None:
    runs = measurements.runs_of(claim)
    assert {r.seed for r in runs} == {0, 1, 2} and {r.dataset for r in runs} == {"cifar100"}


def test_a_table_counts_for_the_students_that_were_measured(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    list(measurements.measure("M7", Store()))
    monkeypatch.setattr(paths, "given", lambda name: project)
    rows = pd.DataFrame([asdict(r) for r in measurements.runs_of("M7")])
    assert len(claims.recorded(rows)["M7"]) == 3 * len(rows)
    for other in ({"epochs": 60}, {"student": "resnet20"}, {"dataset": "cifar100"}):
        assert claims.recorded(rows.assign(**other)) == {}
    assert len(claims.recorded(pd.DataFrame())["M7"]) == 3 * len(rows)  # a study without rows tells nothing apart


def test_one_rate_of_noise_is_measured() -> None:
    assert {r.label_noise for r in measurements.runs_of("D15")} == {0.2}


@pytest.mark.parametrize(
    ("args", "said"), [(["--measure", "D1"], "D14"), (["--measure", "M7", "--why", "M7"], "--measure stands alone")]
)
def test_a_wrong_call_ends_before_anything_is_trained(
    args: list[str], said: str, capsys: pytest.CaptureFixture
) -> None:
    assert main(["claims", *args]) == 2
    assert said in capsys.readouterr().err
