"""Figures of the papers: every one has an entry, its runs have one place each, and what is printed stands beside ours."""

from __future__ import annotations

import itertools
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from kdlib.analysis import reproduction
from kdlib.analysis.reproduction import FIGURES, PaperFigure, Plan, Setting, costs
from kdlib.analysis.reproduction.costs import Cost
from kdlib.analysis.reproduction.dkdp import SPATIAL
from kdlib.analysis.reproduction.settings import OF_PRESET, teacher_of
from kdlib.analysis.tell import reproduction as tell
from kdlib.experiments.config import Run
from kdlib.experiments.fingerprint import needs_teacher
from kdlib.experiments.run import check
from kdlib.experiments.study import identity, runs_of
from kdlib.store.artefacts import Store
from kdlib.utils import paths

DRAWABLE = [name for name, figure in FIGURES.items() if figure.groups is not None]
OF_ACCURACY = [name for name in DRAWABLE if not FIGURES[name].students]
NOT_MEASURED = {"imagenet": "rows of ImageNet come from `python -m kdlib imagenet`, not from `Run`"}
SMOKE, PAPER = reproduction.setting("smoke"), reproduction.setting("paper")


def reported() -> pd.DataFrame:
    return pd.read_csv(paths.data() / "paper" / "reported.csv")


def made_up(figure: PaperFigure, setting: Setting, store: Store) -> Plan:
    """A plan whose runs have made-up rows, in which every place has another accuracy."""
    found = Plan(figure, setting, store, figure.runs(setting))
    rng = np.random.default_rng(0)
    level = {place: 20 + 60 * rng.random() for places in found.runs.values() for place in places}
    for r, places in found.runs.items():
        accuracy = level[places[0]] + rng.standard_normal() / 10
        found.rows[r] = {"test_acc": accuracy, "teacher_acc": 70.0, "student_images": 1000 * r.fraction * r.epochs}
    return found


# ------------------------------------------------------------------------------------ the registry


def test_every_figure_and_table_of_both_papers_has_an_entry() -> None:
    dkdp = [f"dkdp-fig{k}" for k in range(1, 11)] + ["dkdp-table1"]
    medium = [f"md-fig{k}" for k in range(1, 13)] + [f"md-table{k}" for k in range(1, 14)]
    assert set(FIGURES) == {*dkdp, *medium} and all(name == figure.name for name, figure in FIGURES.items())
    assert FIGURES["md-table10"].where == "MD Table 10" and FIGURES["dkdp-fig7"].where == "DKDP Fig. 7"


@pytest.mark.parametrize("name", FIGURES)
def test_an_entry_is_drawn_or_says_what_it_needs(name: str) -> None:
    figure = FIGURES[name]
    assert bool(figure.needs) != (figure.groups is not None and figure.place is not None and figure.draw is not None)
    assert figure.title and figure.data
    if figure.needs:
        with pytest.raises(ValueError, match="cannot be made from rows of runs; it needs"):
            reproduction.find(name)


def test_an_unknown_figure_is_named_with_its_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'dkdp-fig7'"):
        reproduction.find("dkdp-fg7")


@pytest.mark.parametrize(("preset", "dataset"), [(p, d) for p, names in OF_PRESET.items() for d in names])
def test_runs_of_one_place_seed_and_teacher_are_one_training(preset: str, dataset: str) -> None:
    setting = reproduction.setting(preset, dataset)
    for name in DRAWABLE:
        found: dict[tuple, Run] = {}
        runs = FIGURES[name].runs(setting)
        assert runs, name
        for r, places in runs.items():
            for place in places:
                other = found.setdefault((place, r.seed, teacher_of(r)), r)
                assert other is r or identity(other) == identity(r), f"{name}: {place} is two trainings"


def test_settings_name_what_fits() -> None:
    assert reproduction.setting("laptop").dataset == "cifar100"
    with pytest.raises(ValueError, match="preset class is for digits, not for cifar100"):
        reproduction.setting("class", "cifar100")
    with pytest.raises(ValueError, match="did you mean 'cifar10'"):
        reproduction.setting("paper", "cifar11")
    with pytest.raises(ValueError, match="did you mean 'smoke'"):
        reproduction.setting("smke")


def test_the_losses_left_out_on_digits_are_those_that_a_perceptron_cannot_have() -> None:
    refused = set()
    for name in ("fitnets", "ab", "at", "ft", "fsp", "nst", "pkt", "rkd", "sp", "vid"):
        try:
            check(Run(feature_loss=name, fraction=0.1))
        except ValueError:
            refused.add(name)
    assert refused == set(SPATIAL)


# ------------------------------------------------------------------------------------ what the papers print


def test_every_printed_number_has_a_place_in_a_figure_or_is_listed_as_not_measured() -> None:
    numbers, open_rows = reported(), []
    for place, record in numbers.iterrows():
        figures = [figure for figure in FIGURES.values() if place in figure.numbers(numbers).index]
        assert figures, f"no figure shows {record.to_dict()}"
        if record.dataset in NOT_MEASURED:
            continue
        if not any(_is_measured(figure, record.to_dict()) for figure in figures):
            open_rows.append(record.to_dict())
    assert not open_rows


@cache
def _lines(name: str, dataset: str) -> set[tuple]:
    """(line, x) of all runs that the figure has in the papers' setting."""
    runs = FIGURES[name].runs(reproduction.setting("paper", dataset))
    lines: set[tuple] = {(p.line, p.x) for places in runs.values() for p in places}
    return lines | ({("the teacher itself", r.teacher) for r in runs} if FIGURES[name].axis == "teacher" else set())


def _is_measured(figure: PaperFigure, record: dict[str, Any]) -> bool:
    """Whether the figure's runs, in the papers' setting, have a run at the place of the number."""
    place, lines = figure.published(record), _lines(figure.name, record["dataset"])
    reference = place and figure.reference(place.line)
    paired = reference is None or record["loss"] != "kd-none" or (reference, place.x) in lines
    return place is not None and (place.line, place.x) in lines and paired


WITH_NUMBERS = [n for n in DRAWABLE if "cifar100" in FIGURES[n].data and len(FIGURES[n].numbers(reported()))]


@pytest.mark.parametrize("name", WITH_NUMBERS)
def test_the_printed_numbers_stand_beside_ours(name: str, tmp_path: Any) -> None:
    figure, numbers = FIGURES[name], reported()
    drawn = made_up(figure, PAPER, Store(tmp_path)).drawn()
    text = tell.compared(drawn, numbers)
    mine = figure.numbers(numbers)
    assert text.count("\n|") == len(mine) + 2, "a header, its rule, and a line for each number"
    assert "not measured" not in text
    for value, loss in zip(mine.value, mine.loss, strict=True):
        assert (f"| {value:+.1f} |" if loss == "kd-none" else f"| {value:g} |") in text
    gone = figure.published(mine.iloc[0].to_dict())
    assert gone is not None
    found = made_up(figure, PAPER, drawn.store)
    for r, places in found.runs.items():
        if gone[:2] in {place[:2] for place in places} or gone.x == r.teacher:
            del found.rows[r]
    assert "not measured" in tell.compared(found.drawn(), numbers)


def test_tables_whose_body_was_lost_say_so_and_find_a_place_once_they_are_written_down(tmp_path: Any) -> None:
    """A line for every option that the table's figure has, as somebody with the paper would add it."""
    options = {
        "md-table1": [("easy", "kd"), ("hard", "kd"), ("random", "kd"), ("medium", "kd"), ("medium+reshape", "kd")],
        "md-table3": [("medium", "kd"), *(("medium", name) for name in ("skd", "normkd", "lskd", "classwise_std"))],
        "md-table10": [("random", "kd"), ("adaptive", "kd"), ("medium+reshape", "kd")],
        "md-table12": [("medium+reshape", "kd"), ("medium+reshape", "dkd")],
    }
    for name, lines in options.items():
        figure, column = (
            FIGURES[name],
            {"paper": "medium", "where": f"Table {name[8:]}", "dataset": FIGURES[name].data[0]},
        )
        drawn = made_up(figure, PAPER, Store(tmp_path)).drawn()
        assert "has only the table's caption" in tell.compared(drawn, reported())
        rows = [{**column, "pruning": p, "loss": loss, "fraction": 0.7, "value": 50.0} for p, loss in lines]
        assert len(figure.numbers(pd.DataFrame(rows))) == len(rows)
        places = [figure.published(row) for row in rows]
        assert len(set(places)) == len(rows) and {p and p[:2] for p in places} <= set(_lines(name, "cifar100"))
    drawn = made_up(FIGURES["dkdp-fig6"], SMOKE, Store(tmp_path)).drawn()
    text = tell.compared(drawn, reported())
    assert "holds no numbers for this figure" in text and "judged as D6, D7 and D8 in lesson 16" in text
    assert "samples that forgetting keeps" in tell.about(FIGURES["dkdp-fig6"], SMOKE)


def test_differences_are_paired_and_taken_to_the_reference(tmp_path: Any) -> None:
    figure = FIGURES["dkdp-fig4"]
    found = Plan(figure, PAPER, Store(tmp_path), figure.runs(PAPER))
    for r in found.runs:
        found.rows[r] = {"test_acc": 10.0 * r.seed + (5.0 if r.loss == "kd" else 0.0), "teacher_acc": 70.0}
    text = tell.compared(found.drawn(), reported())
    assert "| +22.4 | +5.0 ± 0.0 (n = 3) | forgetting, no KD |" in text
    assert "| random, KD | 0.1 | 56.8 | 15.0 ± 24.8 | +17.0 | +5.0 ± 0.0 (n = 3) | random, no KD |" in text


def test_other_data_are_not_compared(tmp_path: Any) -> None:
    text = tell.compared(made_up(FIGURES["dkdp-table1"], SMOKE, Store(tmp_path)).drawn(), reported())
    assert text == "The paper's 48 numbers are of cifar100; we measured digits."
    assert "stand in for the paper's" in tell.about(FIGURES["dkdp-table1"], SMOKE)
    assert "stand in for the paper's" not in tell.about(FIGURES["dkdp-table1"], PAPER)


# ------------------------------------------------------------------------------------ the drawings


@pytest.mark.parametrize(("name", "setting"), list(itertools.product(OF_ACCURACY, (SMOKE, PAPER))))
def test_every_line_is_drawn_and_named(name: str, setting: Setting, tmp_path: Any) -> None:
    figure = FIGURES[name]
    if setting is PAPER and "cifar100" not in figure.data and "imagenet" not in figure.data:
        setting = reproduction.setting("paper", figure.data[0])
    drawn = made_up(figure, setting, Store(tmp_path)).drawn()
    assert figure.draw is not None
    picture = figure.draw(drawn)
    axes = [axis for axis in picture.axes if axis.get_visible()]
    assert len(axes) == drawn.table.panel.nunique()
    legends = [axis.get_legend() for axis in axes] + list(picture.legends)
    named = {text.get_text().rsplit(" (n", 1)[0] for legend in legends if legend for text in legend.get_texts()}
    assert named == set(drawn.table.line)
    assert all(axis.get_xlabel() for axis in axes) and axes[0].get_ylabel() == "test accuracy (%)"
    picture.canvas.draw()
    plt.close(picture)


def test_teachers_stand_in_the_order_of_their_size(tmp_path: Any) -> None:
    figure = FIGURES["dkdp-fig7"]
    assert figure.draw is not None
    picture = figure.draw(made_up(figure, PAPER, Store(tmp_path)).drawn())
    axis = picture.axes[0]
    names = [text.get_text() for text in axis.get_xticklabels()]
    assert names == ["resnet14", "resnet20", "resnet32", "resnet56", "resnet110", "wrn_40_2"]
    for container in axis.containers:
        x = np.asarray(container.lines[0].get_xdata())
        assert (np.diff(x) > 0).all(), "a line runs from the left to the right"
    plt.close(picture)


# ------------------------------------------------------------------------------------ rows, training, costs


def test_a_figure_trains_what_is_missing_once(tmp_path: Any) -> None:
    figure, store = FIGURES["md-table12"], Store(tmp_path)
    first = reproduction.plan(figure, SMOKE, store)
    price = first.cost()
    assert (price.students, price.teachers, price.scored) == (len(first.runs), 1, 0) and price.seconds > 0
    with pytest.raises(ValueError, match="there are no rows for md-table12"):
        first.drawn()
    steps = sum(round(r.fraction * 1347) * r.epochs for r in first.runs) + 4 * 1347
    assert price.images == {"mlp": pytest.approx(steps, abs=len(first.runs))}
    first.carry_out(progress=False)
    again = reproduction.plan(figure, SMOKE, store)
    assert again.rows == first.rows and len(again.rows) == len(again.runs) and again.cost() == Cost()
    table = again.drawn().table
    assert len(table) == len(again.runs) and set(table.line) == {"KD", "DKD"} and set(table.teacher_id) == {0}


def test_a_figure_that_shows_students_trains_them_even_where_rows_are_stored(tmp_path: Any) -> None:
    figure, store = FIGURES["dkdp-fig2"], Store(tmp_path)
    for attempt in (1, 2):
        found = reproduction.plan(figure, SMOKE, store)
        assert len(found.missing) == (2 if attempt == 1 else 0)
        found.carry_out(progress=False)
    assert figure.draw is not None
    picture = figure.draw(found.drawn())
    assert [axis.get_title() for axis in picture.axes[1:]] == ["teacher", "student without KD", "student with KD"]
    plt.close(picture)


def test_committed_rows_are_taken_before_any_is_trained(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study's row stands for its run, on a machine without the dataset."""
    from kdlib.experiments import study

    monkeypatch.setattr(costs, "PROBE_SECONDS", 0.01)
    monkeypatch.setattr(study, "results", lambda name: tmp_path / f"{name}.jsonl")
    laptop = reproduction.setting("laptop")
    runs = [r for r in FIGURES["dkdp-fig7"].runs(laptop) if r.fraction == 0.1][:4]
    for r in runs:
        study.add("laptop", r, {**vars(r), "test_acc": 50.0, "teacher_acc": 60.0, "student_seconds": 1.0})
    monkeypatch.setenv("KDLIB_ROOT", str(tmp_path))
    found = reproduction.plan(FIGURES["dkdp-fig7"], laptop, Store(tmp_path / "store"))
    assert set(found.rows) == set(runs) and found.committed == 4
    assert found.cost().teachers >= 2 and not (tmp_path / "data").exists(), "nothing was downloaded"


def test_what_costs_too_much_is_not_trained() -> None:
    price = Cost(students=3, teachers=1, images={"mlp": 2_500_000}, seconds=7200.0)
    found = Plan(FIGURES["md-table12"], SMOKE, Store(), FIGURES["md-table12"].runs(SMOKE))
    assert not tell.allowed(price, 1.9) and tell.allowed(price, 2.0)
    text = tell.cost(found, price, 1.0)
    assert "3 students, and before them 1 teacher" in text and "2.5 million through `mlp`" in text
    assert "about 2.0 hours" in text and "nothing is trained" in text
    assert "It starts now." in tell.cost(found, price, 2.0)
    assert tell.cost(found, Cost(), 0.0).endswith("Nothing needs to be trained.")
    assert (
        tell.rows(found)
        == f"0 of {len(found.runs)} runs of the figure have a row; {len(found.runs)} are not measured yet. "
        "Students: mlp, 4 epochs; teachers: mlp."
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "about 1 s"), (600, "about 10 minutes"), (36000, "about 10.0 hours")]
)
def test_durations(seconds: float, text: str) -> None:
    assert tell.duration(seconds) == text


def test_the_template_names_the_networks_that_a_figure_trains(tmp_path: Path) -> None:
    plan = made_up(FIGURES["md-table1"], reproduction.setting("laptop"), Store(tmp_path))
    assert tell.networks(plan.runs) == "Students: resnet8, 30 epochs; teachers: resnet20."
    alone = [
        r
        for r in made_up(FIGURES["dkdp-fig6"], reproduction.setting("smoke"), Store(tmp_path)).runs
        if not needs_teacher(r)
    ]
    assert tell.networks(alone) == "Students: mlp, 4 epochs."


@pytest.mark.parametrize("name", ["md-table1", "md-table3", "md-table4", "md-table11"])
def test_the_template_takes_the_runs_of_the_studies(name: str) -> None:
    """So that rows which a study has are drawn, and not trained again with other students."""
    drawn = {identity(r) for r in FIGURES[name].runs(reproduction.setting("laptop"))}
    studied = [r for study in ("windows", "reshapes", "features", "imbalance") for r in runs_of(study)]
    assert len(drawn & {identity(r) for r in studied}) >= 9
