"""Intervals, paired differences and verdicts: against formulas, and on tables whose answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from kdlib.analysis import claims as verdicts
from kdlib.analysis import statistics
from kdlib.analysis.claims import FAILS, HOLDS, OPEN
from kdlib.utils import paths

FRACTIONS, ALPHAS = (0.05, 0.1, 0.3, 0.7), (0.0, 0.25, 0.5, 1.0)


def make(accuracy, prunings=("random", "forgetting", "el2n"), alphas=ALPHAS, seeds=6, noise=0.05) -> pd.DataFrame:
    """A table with accuracy(pruning, f, alpha) plus a shift that all runs of a seed share, plus a little noise."""
    rng = np.random.default_rng(0)
    shift = 3 * rng.standard_normal(seeds)
    points = [(p, f, a, s) for p in prunings for f in FRACTIONS for a in alphas for s in range(seeds)]
    rows = [(p, f, a, s, accuracy(p, f, a) + shift[s] + noise * rng.standard_normal()) for p, f, a, s in points]
    return pd.DataFrame(rows, columns=["pruning", "fraction", "alpha", "seed", "test_acc"])


def as_in_the_paper(pruning: str, f: float, alpha: float) -> float:
    """KD helps most at small f, random wins there, and the best alpha falls with f."""
    best = 1.0 if f <= 0.1 else 0.5
    lead = 5 * max(0.0, 0.5 - f) * (pruning == "random") + (0.0 if alpha else 2 * (pruning == "random"))
    return 60 + 30 * f + (20 * (1 - f) * (1 - 0.5 * abs(alpha - best)) if alpha else 0) + lead


def test_interval_is_the_t_interval() -> None:
    values = [1.0, 2.0, 4.0, 8.0]
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    found = statistics.interval(values)
    np.testing.assert_allclose((found.low, found.high), (low, high))
    assert found.n == 4 and str(found).startswith("+3.8 ±")
    assert np.isnan(statistics.interval([1.0, 2.0]).half)
    with pytest.raises(ValueError, match="at least one"):
        statistics.interval([])


def test_tidy_names_what_is_kept_and_drops_what_diverged() -> None:
    rows = pd.DataFrame(
        {
            "scorer": ["random", "forgetting", "difficulty", "forgetting", "el2n"],
            "centre": [0.5, 1.0, 0.5, 0.0, 0.25],
            "loss": ["kd", "cross_entropy", "kd", "kd", "kd"],
            "alpha": [0.5, 0.5, 1.0, 0.5, 0.5],
            "fraction": 0.1,
            "seed": 0,
            "test_acc": [90.0, 80.0, 70.0, 60.0, np.nan],
        }
    )
    table = statistics.tidy(rows)
    assert table.pruning.tolist() == ["random", "forgetting", "medium", "forgetting easiest"]
    assert table.alpha.tolist() == [0.5, 0.0, 1.0, 0.5]
    assert rows.alpha.tolist()[1] == 0.5, "the rows stay as they were"
    with pytest.raises(ValueError, match="'centre'"):
        statistics.tidy(rows.drop(columns="centre"))


def test_pairing_removes_what_seeds_share() -> None:
    table = make(lambda p, f, a: 70 + 10 * (a == 0.5), noise=0.0)
    gains = statistics.gain_points(table)
    np.testing.assert_allclose(gains["mean"], 10)
    np.testing.assert_allclose(gains.half, 0, atol=1e-9)
    assert (gains.n == 6).all()


def test_pairing_ignores_seeds_that_only_one_side_has() -> None:
    table = make(lambda p, f, a: 70 + 10 * (a == 0.5), noise=0.0)
    table = table[(table.alpha > 0) | (table.seed < 4)]
    assert (statistics.gain_points(table).n == 4).all()


def test_against_random_has_the_sign_of_random() -> None:
    table = make(lambda p, f, a: 70 + 3 * (p == "random"), noise=0.0)
    found = statistics.against_random(table, 0.5)
    np.testing.assert_allclose(found["mean"], 3)
    assert set(found.pruning) == {"forgetting", "el2n"} and (found.n == 6).all()
    assert statistics.intervals(found, ("pruning", "fraction"))["el2n", 0.1].n == 6


def test_split_half_tells_a_signal_from_noise() -> None:
    rng = np.random.default_rng(0)
    signal = rng.standard_normal(200)
    noisy = signal + rng.standard_normal((6, 200))
    found = statistics.split_half(noisy, np.random.default_rng(1), splits=8)
    assert list(found) == [1, 2, 3] and all(len(values) == 8 for values in found.values())
    assert 0.3 < np.mean(found[1]) < np.mean(found[2]) < np.mean(found[3]) < 1
    assert abs(np.mean(statistics.split_half(rng.standard_normal((6, 200)), rng)[3])) < 0.15
    assert statistics.split_half(np.stack([signal] * 4), rng)[2] == pytest.approx([1.0] * 20)
    with pytest.raises(ValueError, match="at least 2 runs"):
        statistics.split_half(signal[None], rng)


def test_last_or_best_keeps_both_gains() -> None:
    table = make(lambda p, f, a: 70 + 10 * (a == 0.5), noise=0.0)
    table["test_acc_best"] = table.test_acc + (table.alpha == 0)
    found = statistics.last_or_best(table)
    np.testing.assert_allclose(found["gain, last epoch"], 10)
    np.testing.assert_allclose(found["gain, best epoch"], 9)


def test_the_table_of_verdicts_has_a_line_for_each_claim() -> None:
    found = verdicts.all_verdicts(make(as_in_the_paper), None)
    claims = pd.read_csv(paths.data() / "paper" / "claims.csv").set_index("id").claim
    lines = verdicts.as_markdown({"digits": found, "other": found}, claims).splitlines()
    assert len(lines) == 10 and all(line.count("|") == 4 for line in lines)


@pytest.mark.parametrize(
    ("values", "expected"), [((2, 2.1, 2.2), HOLDS), ((-2, -2.1, -2.2), FAILS), ((-2, 0, 2.1), OPEN)]
)
def test_decide(values: tuple, expected: str) -> None:
    assert verdicts.decide(statistics.interval(values)) == expected
    assert verdicts.decide(statistics.interval(values[:2])) == OPEN, "two seeds decide nothing"


def test_all_claims_hold_on_a_table_made_to_hold() -> None:
    full = statistics.interval(np.full(5, 60.0))
    found = {v.claim: v.verdict for v in verdicts.all_verdicts(make(as_in_the_paper), full)}
    assert list(found) == [f"D{k}" for k in range(1, 9)]
    assert set(found.values()) == {HOLDS}, found


def test_all_claims_fail_on_the_opposite() -> None:
    def opposite(pruning: str, f: float, alpha: float) -> float:
        best = 0.25 if f <= 0.1 else 1.0
        robbed = -5 * f - 2 * abs(alpha - best) if alpha else 0
        return 60 + robbed - 4 * (pruning == "random") * (1 + 2 * (alpha > 0)) * (1 - 0.2 * f)

    table = make(opposite)
    half = table[table.fraction == 0.3].assign(fraction=0.5)
    found = {v.claim: v for v in verdicts.all_verdicts(pd.concat([table, half]), statistics.interval(np.full(5, 80.0)))}
    # A gain that falls from -1 to -4 is largest at small f, even where it is a loss; and alpha = 0 is best at every f.
    expected_open = {"D2", "D8"}
    assert {c for c, v in found.items() if v.verdict == FAILS} == set(found) - expected_open, found


def test_missing_runs_are_open_not_an_error() -> None:
    empty = make(as_in_the_paper).iloc[:0]
    assert {v.verdict for v in verdicts.all_verdicts(empty, None)} == {OPEN}
    no_seeds = make(as_in_the_paper, seeds=1)
    assert {v.verdict for v in verdicts.all_verdicts(no_seeds, statistics.interval([90.0]))} == {OPEN}


def test_the_largest_gain_may_lie_between_the_two_fractions_compared() -> None:
    table = make(lambda p, f, a: 60 + 20 * f + (10 - 40 * abs(f - 0.3)) * (a > 0))
    verdict = verdicts.gain_at_small_f(table)
    assert verdict.verdict == HOLDS and verdict.numbers.endswith("; largest on average at f = 0.3")


def test_small_f_is_not_compared_with_itself() -> None:
    table = make(as_in_the_paper)
    found = verdicts.gain_at_small_f(table[table.fraction <= 0.1])
    assert found == verdicts.Verdict("D2", OPEN, "no runs at f = 0.1 and a larger f")


def test_the_medium_window_has_no_part_in_the_claims() -> None:
    table = make(as_in_the_paper)
    better = table[table.pruning == "random"].assign(pruning="medium", test_acc=lambda t: t.test_acc + 5)
    full = statistics.interval(np.full(5, 60.0))
    assert verdicts.all_verdicts(pd.concat([table, better]), full) == verdicts.all_verdicts(table, full)


def test_best_alpha_averages_ties() -> None:
    table = make(lambda p, f, a: 70 + (a >= 0.5), prunings=("forgetting",), seeds=1, noise=0.0)
    assert verdicts.best_alphas(table).best.tolist() == [0.75] * len(FRACTIONS)


def test_one_best_alpha_for_all_fractions_decides_nothing() -> None:
    verdict = verdicts.best_alpha_falls(make(lambda p, f, a: 70 + 5 * a, prunings=("forgetting",)))
    assert verdict.verdict == verdicts.OPEN and "the best is 1 at every f" in verdict.numbers


def test_paper_beside_ours_subtracts_the_paper() -> None:
    paper = statistics.reported(pd.read_csv(paths.data() / "paper" / "reported.csv"))
    gain = paper[(paper.pruning == "random") & (paper.fraction == 0.1)].set_index("alpha").test_acc
    assert gain.to_dict() == {0.0: 39.8, 0.5: 56.8}
    assert paper.fraction.max() < 1
    ours = make(lambda p, f, a: 20.0, noise=0.0)
    near = statistics.beside(paper, ours)
    np.testing.assert_allclose(near.difference, near.ours - near.paper)
    assert set(near.pruning) == {"random", "forgetting"} and set(near.fraction) == {0.05, 0.1, 0.3}
