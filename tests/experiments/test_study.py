"""Studies: their runs, the file of their rows, and what is left of them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from kdlib.__main__ import main
from kdlib.analysis import claims, effects
from kdlib.analysis.loss_effects import differences_to_kd
from kdlib.analysis.statistics import gain_points, interval, tidy
from kdlib.experiments import study
from kdlib.experiments.grid import load_rows
from kdlib.experiments.groups import STUDIES
from kdlib.experiments.run import run
from kdlib.store.artefacts import Store
from kdlib.utils import paths


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder, so that the rows of this one stay as they are."""
    monkeypatch.setenv("KDLIB_ROOT", str(tmp_path))
    monkeypatch.setenv("KDLIB_STORE", str(tmp_path / "store"))
    return tmp_path


def made_up(name: str) -> pd.DataFrame:
    """A row for each run of the study, with an accuracy of its own."""
    runs = study.runs_of(name)
    return pd.DataFrame([{**vars(r), "test_acc": 40 + 0.01 * k, "status": "ok"} for k, r in enumerate(runs)])


@pytest.mark.parametrize("name", STUDIES)
def test_no_configuration_of_a_study_has_fewer_than_two_seeds(name: str) -> None:
    without = Counter()
    for r in study.runs_of(name):
        fields = {k: v for k, v in vars(r).items() if k not in ("seed", "teacher_seed")}
        without[json.dumps(fields, sort_keys=True)] += 1
    assert min(without.values()) >= (2 if name == "smoke" else 3)


@pytest.mark.parametrize("name", ["cifar10", "steps"])
def test_rows_of_a_study_make_one_table(name: str) -> None:
    gains = gain_points(tidy(made_up(name)), 0.5)
    assert (gains.n == 3).all() and len(gains) == (3 if name == "cifar10" else 1)


def test_the_losses_are_paired_with_plain_kd() -> None:
    found = differences_to_kd(made_up("losses"))
    assert (
        set(found.feature_loss) >= {"none", "vid", "at"}
        and (found.groupby(["feature_loss", "beta", "fraction"]).size() == 3).all()
    )


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("laptop", "D1 D2 D3 D4 D5 D6 D7 D8"),
        ("large", "D1 D2 D3 D4 D5 D6 D7 D8"),
        ("windows", "M1 M2 M10"),
        ("losses", "D12"),
        ("teachers", "D9 D11"),
        ("reshapes", "M3 M4"),
        ("features", "M5"),
        ("imbalance", "M8"),
    ],
)
def test_a_finished_study_answers_its_claims(name: str, ids: str) -> None:
    rows = effects.self_distilled(made_up(name)) if name == "laptop" else made_up(name)
    assert [c for c in ids.split() if claims.verdict(c, rows).verdict == "not measured"] == []


def test_a_study_goes_on_where_it_was_stopped(project: Path) -> None:
    store = Store(project / "store")
    assert study.carry_out("smoke", store, at_most=1) == 1
    first = study.results("smoke").read_text().splitlines()
    assert len(first) == 1 and len(study.missing("smoke")) == 3
    assert study.carry_out("smoke", store) == 3
    rows = study.results("smoke").read_text().splitlines()
    assert first[0] in rows and len(rows) == 4 and not study.missing("smoke")
    assert study.carry_out("smoke", store) == 0
    assert study.status("smoke")[0]["done"] == 4


def test_a_study_knows_the_rows_of_an_installed_package(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not study.committed("laptop")
    monkeypatch.setattr(paths, "SHIPPED", Path(__file__).parents[2])
    assert len(study.committed("laptop")) > 30


def test_a_row_of_the_store_is_written_and_not_trained(project: Path) -> None:
    """Studies share trainings: what one has made is in the store when the next one asks for it."""
    store = Store(project / "store")
    first, *_, last = study.runs_of("smoke")
    rows = [run(r, store) for r in (last, first)]
    assert study.carry_out("smoke", store, at_most=1) == 1
    known = study.committed("smoke")
    assert [known[study.identity(r)]["test_acc"] for r in (last, first)] == [row["test_acc"] for row in rows]
    assert len(known) == 3 and study.carry_out("smoke", store) == 1


def test_a_study_goes_on_in_another_precision(project: Path) -> None:
    """Machines differ in what they are fast in; a study is one all the same."""
    first, *others = study.runs_of("smoke")
    study.add("smoke", first, {**vars(first), "precision": "bfloat16", "test_acc": 50.0})
    assert list(study.missing("smoke")) == others


def test_the_precision_makes_no_difference_beyond_that_of_seeds() -> None:
    """The ground on which rows of machines with and without bfloat16 make one table: the same students in both."""
    key = ["scorer", "fraction", "loss", "alpha", "seed", "teacher_seed"]
    low, exact = load_rows("cifar100_study"), load_rows(study.results("precision"))
    pairs = exact.merge(low[low.precision == "bfloat16"], on=key, suffixes=("", "_low"))
    assert set(pairs.precision) == {"float32"} and len(pairs) == len(exact) >= 3
    difference = interval(pairs.test_acc - pairs.test_acc_low)
    assert abs(difference.mean) < difference.half and abs(difference.mean) < 1.0


def test_rows_stand_in_the_studys_order(project: Path) -> None:
    runs = list(study.runs_of("smoke"))
    for r in reversed(runs):
        study.add("smoke", r, {**vars(r), "test_acc": 1.0})
    seeds = [json.loads(line)["seed"] for line in study.results("smoke").read_text().splitlines()]
    assert seeds == [r.seed for r in runs]


def test_the_command_says_what_is_left_and_what_it_costs(project: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["study", "smoke", "--status"]) == 0
    line = capsys.readouterr().out.splitlines()[1].split()
    assert line[:3] == ["smoke", "4", "0"] and float(line[-1]) >= 0
    assert main(["study"]) == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]} == set(STUDIES)


def test_an_unknown_study_is_named(capsys: pytest.CaptureFixture) -> None:
    assert main(["study", "laptp"]) == 2
    assert "did you mean 'laptop'" in capsys.readouterr().err


def test_rows_of_other_code_stay_committed_and_name_it(project: Path) -> None:
    """A study goes on from its file: an edited loss would else throw away weeks of training."""
    first, *others = study.runs_of("smoke")
    study.add("smoke", first, {**vars(first), "test_acc": 50.0, "rules": "aaaaaaaaaaaa"})
    assert [row["rules"] for row in study.committed("smoke").values()] == ["aaaaaaaaaaaa"]
    assert list(study.missing("smoke")) == others


@pytest.mark.parametrize(
    "file", sorted((Path(__file__).parents[2] / "data" / "results").rglob("*.jsonl")), ids=lambda file: file.stem
)
def test_every_committed_row_names_the_code_that_made_it(file: Path) -> None:
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert rows and all(row["rules"] for row in rows)
