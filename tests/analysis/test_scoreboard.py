"""The scoreboard: which rows decide which claim, verdicts in a word, and what stands behind them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from kdlib.analysis import claims, reproduction, scoreboard
from kdlib.analysis.claims import Effect, Verdict
from kdlib.analysis.claims.verdict import RULE_TEXTS, some
from kdlib.analysis.plots import scoreboard as plots
from kdlib.analysis.statistics import Estimate
from kdlib.analysis.tell import scoreboard as tell
from kdlib.store.artefacts import Store

from .test_claims import gain, make

SMOKE = reproduction.setting("smoke")


def verdict(claim: str, word: str, reading: str = "", *effects: Effect, **more: Any) -> Verdict:
    return Verdict(claim, word, reading or word, "a rule", effects, **more)


def effect(where: str, mean: float, error: float = 0.1, **more: Any) -> Effect:
    return Effect(where, Estimate(mean, error, 4, 5), **more)


# ------------------------------------------------------------------------------------ rows and verdicts


def test_each_figure_decides_claims_of_its_paper_and_no_claim_twice() -> None:
    named = [claim for found, _ in scoreboard.DECIDED_BY.values() for claim in found]
    assert len(named) == len(set(named)) and set(named) <= set(claims.CLAIMS)
    for figure, (found, _) in scoreboard.DECIDED_BY.items():
        assert {claim[0] for claim in found} == {figure[0].upper()}
        assert scoreboard.runs_of(figure, reproduction.setting("class"))


def test_live_rows_reach_their_claims_once(tmp_path: Any) -> None:
    """The runs of the claims on the adaptive KD weight, trained for real; a second call trains nothing."""
    only = {"md-fig5": scoreboard.DECIDED_BY["md-fig5"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoreboard, "DECIDED_BY", only)
        rows = scoreboard.live(SMOKE, store=Store(tmp_path))
        again = scoreboard.live(SMOKE, store=Store(tmp_path))
    assert set(rows) == {"M10"} and set(rows["M10"].scorer) == {"random"}
    pd.testing.assert_frame_equal(rows["M10"], again["M10"])
    found = scoreboard.verdicts(rows)
    assert list(found) == list(claims.CLAIMS) and scoreboard.short(found["D1"]) == "not measured"
    assert scoreboard.short(found["D13"]) == "fails", "a theorem needs no rows"


def test_committed_studies_have_rows_for_every_claim() -> None:
    found = scoreboard.committed()
    assert found and all(set(claims.CLAIMS) <= set(rows) for rows in found.values())
    assert all(len(rows["D1"]) and rows["D1"].dataset.nunique() == 1 for rows in found.values())


def test_studies_of_the_same_students_are_told_apart_by_their_files(tmp_path: Any, monkeypatch: Any) -> None:
    row = {"dataset": "cifar100", "student": "resnet8", "epochs": 30, "lr": 0.1, "rules": "", "test_acc": 50.0}
    for name, rates in (("windows", (0.1, 0.2)), ("reshapes", (0.1,)), ("study", (0.1,))):
        students = [{**row, "lr": lr} | ({"student": "resnet20"} if name == "study" else {}) for lr in rates]
        (tmp_path / f"cifar100_{name}.jsonl").write_text("\n".join(json.dumps(one) for one in students))
    monkeypatch.setattr(scoreboard.studies, "files", lambda: sorted(tmp_path.glob("*.jsonl")))
    same = "cifar100, resnet8, 30 epochs"
    assert set(scoreboard.committed()) == {
        f"{same}, windows",
        f"{same}, windows (2)",
        f"{same}, reshapes",
        "cifar100, resnet20, 30 epochs",
    }


@pytest.mark.parametrize(
    ("reading", "word"),
    [
        ("holds, given this teacher", "holds"),
        ("on digits: holds, given this teacher and these scores", "holds"),
        ("holds in direction, not in size", "in direction"),
        ("on digits: holds in direction, not in size", "in direction"),
        ("undecided: holds at every point measured, others are missing", "undecided"),
        ("on svhn: undecided: fewer than 3 trainings", "undecided"),
        ("fails", "fails"),
        ("not measured", "not measured"),
    ],
)
def test_a_verdict_in_a_word(reading: str, word: str) -> None:
    assert scoreboard.short(verdict("D1", "holds", reading)) == word


def test_the_power_table_has_a_rate_of_error_within_bounds_for_every_claim_on_rows() -> None:
    table = scoreboard.power()
    assert set(claims.CLAIMS) - set(table.claim) == {"D13"}
    none = table[table.scenario == "no effect"]
    assert none.holds.max() <= 0.05 and none.fails.max() <= 0.05


# ------------------------------------------------------------------------------------ words


def test_the_deciding_effect_lies_lowest_from_its_own_threshold() -> None:
    found = verdict(
        "D4", "holds", "", effect("a", 2.0), effect("b", 0.5, threshold=-1.0), effect("c", 1.6, threshold=1.0)
    )
    lowest = found.deciding
    assert lowest is not None and lowest.where == "c"
    highest = replace(found, rule=f"at some fraction; {RULE_TEXTS[some]}").deciding
    assert highest is not None and highest.where == "a", "where one point is enough, the best one decides"
    assert verdict("D1", "not measured").deciding is None


def test_counts() -> None:
    words = {claim: verdict(claim, "holds" if claim in ("D1", "M1") else "fails") for claim in claims.CLAIMS}
    text = tell.counts({"digits": words})
    assert "| digits | 2 | 0 | 0 | 24 | 0 |" in text and "Of 26 claims" in text


def test_an_unfolded_claim_names_rule_runs_effects_and_power() -> None:
    rows = make(gain)
    here, there = scoreboard.verdicts(dict.fromkeys(claims.CLAIMS, rows)), scoreboard.verdicts({})
    text = tell.unfolded("D1", {"cifar100": here, "nothing": there}, scoreboard.power())
    assert text.startswith("<details><summary><b>D1 · cifar100: holds</b>") and text.rstrip().endswith("</details>")
    assert "| forgetting, f = 0.1 |" in text and "| above (0) | +22.4 |" in text
    assert here["D1"].rule in text and here["D1"].runs in text and "Power: with the paper's effect" in text
    digits = scoreboard.verdicts(dict.fromkeys(claims.CLAIMS, rows.assign(dataset="digits")))
    text = tell.unfolded("D1", {"digits": digits}, scoreboard.power())
    assert "**digits: holds, given" in text and "+22.4" not in text, "the paper's effect is of other data"


def test_what_is_not_measured_says_what_is_missing() -> None:
    text = tell.unfolded("D14", {"rows": {"D14": claims.verdict("D14", make(gain))}}, scoreboard.power())
    assert "D14 · not measured" in text and "needs a table of records" in text
    assert "no rows take part" in tell.unfolded("D13", {"x": scoreboard.verdicts({})}, scoreboard.power())


def test_effects_of_the_paper_stand_beside_ours() -> None:
    text = tell.beside({"D1": verdict("D1", "holds", "", effect("random, f = 0.1", 9.0, paper=17.0), effect("b", 1.0))})
    assert "| D1 | random, f = 0.1 | +17 | +9.0 ± 0.3 (n = 5) | -8.0 ± 0.3 (n = 5) |" in text and "| b |" not in text
    assert tell.beside({"D1": verdict("D1", "not measured")}).startswith("No effect that the papers print")


def test_power_in_words() -> None:
    rows = [
        ["A", 5, 2, "paper's effect", 0.9, 0.0, "1.6"],
        ["B", 5, 2, "paper's effect", 0.1, 0.0, "2 (assumed)"],
        ["A", 5, 2, "no effect", 0.01, 0.034, "1.6"],
    ]
    table = pd.DataFrame(rows, columns=["claim", "seeds", "teachers", "scenario", "holds", "fails", "effect"])
    text = tell.power(table, [(5, 2)])
    assert "| 5 seeds, 2 teachers | A | B | 3.4% |" in text and "for 1 of 2 claims at least part" in text


def test_exercises_in_words() -> None:
    assert "For a power of 80%, 8 seeds are enough." in tell.needed({3: 0.1, 8: 0.85, 12: 0.99}, 0.8)
    assert "12 seeds are not enough" in tell.needed({3: 0.1, 12: 0.5}, 0.8)
    before = {"D1": verdict("D1", "holds"), "D2": verdict("D2", "fails")}
    after = {**before, "D1": replace(before["D1"], reading="undecided")}
    assert tell.changed(before, after) == "These verdicts change: D1 from holds to undecided."
    assert tell.changed(before, before) == "No verdict changes."
    text = tell.guessed("few", 0.0625, 0.001, 2000)
    assert "*few*. It was 6.2% of 2000 tables" in text and "holds in 0.1% of the same tables" in text


def test_calibration_in_words() -> None:
    text = tell.power_by_hand([0, 1, 2], {3: [0.0, 10.0, 50.0], 5: [0.1, 81.0, 100.0]}, [6.6, 90.0, 100.0])
    assert "of the tables: none of these with 3 seeds and 1 with 5 seeds" in text and "in 0.1% at most" in text
    assert "in 6.6% of the tables without an effect, more than the 5% allowed" in text
    text = tell.many_points(0.1, [1, 40], [1.3, 44.8], [1.3, 1.4])
    assert "At 40 points 44.8% of the tables fail one by one, more than" in text and "after Holm 1.4%, within" in text
    text = tell.repetitions([1, 20], {"all students": [4.7, 58.9], "means of teachers": [4.7, 5.7]})
    assert "With 20 students of each teacher they do so in 58.9% over all students and 5.7% over means" in text


def test_what_no_verdict_rests_on_is_named() -> None:
    found = scoreboard.left_out()
    assert any("cifar100_laptop" in name for name in found) and all(rows for rows, _ in found.values())
    assert "Left out: 3 rows of a: old. No verdict" in tell.left_out({"a": (3, "old")})
    assert tell.left_out({}).startswith("All rows")


# ------------------------------------------------------------------------------------ pictures


def test_the_board_marks_every_claim_on_every_set_of_rows() -> None:
    words = {name: dict.fromkeys(claims.CLAIMS, "holds") for name in ("digits", "cifar100")}
    words["digits"]["D2"] = "not measured"
    figure = plots.board(words)
    (axis,) = figure.axes
    assert [text.get_text() for text in axis.get_xticklabels()] == list(claims.CLAIMS)
    marks = [line.get_marker() for line in axis.lines]
    assert len(marks) == 52 and marks.count(".") == 1
    plt.close(figure)


def test_deciding_effects_are_drawn_from_their_thresholds_in_the_colour_of_their_side() -> None:
    figure = plots.deciding({"D4": effect("a", 2.0, threshold=-1.0), "D2": effect("b", -3.0), "D3": effect("c", 0.05)})
    (axis,) = figure.axes
    containers = [c for c in axis.containers if c.lines[0] is not None]
    assert [float(c.lines[0].get_ydata()[0]) for c in containers] == [3.0, -3.0, 0.05]
    assert [c.lines[0].get_color() for c in containers] == [plots.GREEN, plots.ORANGE, plots.YELLOW]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(plots.SIDES)
    plt.close(figure)


def test_power_and_rates_are_percentages() -> None:
    table = scoreboard.power()
    designs = [(int(s), int(t)) for s, t in dict.fromkeys(zip(table.seeds, table.teachers, strict=True))]
    figure = plots.power(table, designs)
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in figure.axes[0].lines])
    assert np.nanmax(values) > 50 and len(figure.axes[0].lines) == len(designs)
    rates = plots.rates({"a": ([1, 2], [3, 4]), "b": ([1, 2], [5, 6])}, "x", "y (%)")
    assert [text.get_text() for text in rates.legends[0].get_texts()] == ["a", "b", "5%"]
    plt.close("all")
