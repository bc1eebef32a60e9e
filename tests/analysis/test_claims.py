"""Verdicts: on tables whose answer is known, and on the cases that once were judged wrongly."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kdlib.analysis import claims
from kdlib.analysis.claims import FAILS, HOLDS, NOT_MEASURED, UNDECIDED, records
from kdlib.analysis.claims.verdict import Effect, conclude, every, some
from kdlib.analysis.statistics import Estimate
from kdlib.experiments.grid import load_rows
from kdlib.theory.counterexamples import Counterexample
from kdlib.utils import paths

SCORERS = ("random", "forgetting", "el2n", "grand_last")
FRACTIONS = (0.1, 0.3, 0.5, 0.7)


def make(
    accuracy: Callable[[str, float, float], float], scorers=SCORERS, fractions=FRACTIONS, alphas=(0.0, 0.5), seeds=5, noise=0.1,
    dataset="cifar100", teachers=1, **columns: Any,
) -> pd.DataFrame:  # fmt: skip
    """Runs with accuracy(scorer, f, alpha) and a little noise; alpha 0 is a student without a teacher."""
    rng = np.random.default_rng(0)
    points = itertools.product(scorers, fractions, alphas, range(seeds), range(teachers))
    rows = [
        {
            "dataset": dataset, "student": "resnet32", "teacher": "resnet32", "scorer": s, "centre": 1.0, "fraction": f,
            "loss": "kd" if a else "cross_entropy", "alpha": a or 0.5, "seed": seed, "teacher_seed": t,
            "test_acc": accuracy(s, f, a) + noise * rng.standard_normal(), **columns,
        }
        for s, f, a, seed, t in points
        if a or t == 0
    ]  # fmt: skip
    return pd.DataFrame(rows)


def gain(scorer: str, f: float, alpha: float) -> float:
    """KD helps everywhere, most at small f."""
    return 50 + 20 * f + (10 - 10 * f) * (alpha > 0)


def test_every_claim_has_one_entry_and_a_row_that_can_be_read() -> None:
    table = pd.read_csv(paths.data() / "paper" / "claims.csv")
    assert list(claims.CLAIMS) == list(claims.specifications()) == table.id.tolist() and len(table) == 26
    assert claims.specification("D3", "svhn").fractions == "<=0.08" and claims.specification("D3").fractions == "<=0.4"
    with pytest.raises(ValueError, match="did you mean 'D1'"):
        claims.verdict("D1x", make(gain))


UNEVEN = [({"imbalance": 10.0}, "5 teachers", ""), ({"selection": "imbalanced"}, "1 teacher", "given this teacher")]


@pytest.mark.parametrize(("uneven", "teachers", "given"), UNEVEN)
def test_data_that_are_drawn_anew_for_each_seed_have_a_teacher_each(uneven: dict, teachers: str, given: str) -> None:
    """Which is trained on them; samples that are imbalanced for the student alone have one teacher of all data."""
    levels = {"none": 50.0, "classwise_std": 51.0, "classwise_std_dataset_mean": 52.0}
    fixed = {"scorers": ("random",), "fractions": (0.5,), "alphas": (0.9,), **uneven}
    parts = [make(lambda *_, v=v: v, **fixed, reshape=name) for name, v in levels.items()]
    found = claims.verdict("M8", pd.concat(parts, ignore_index=True))
    assert found.verdict == HOLDS and teachers in found.runs and found.given == given
    assert "1 teacher" in claims.verdict("D1", make(gain)).runs


@pytest.mark.parametrize("claim", [c for c in claims.CLAIMS if c != "D13"])
def test_without_its_runs_a_claim_is_not_measured(claim: str) -> None:
    assert claims.verdict(claim, pd.DataFrame()).verdict == NOT_MEASURED
    one_run = make(gain, scorers=("random",), fractions=(0.9,), alphas=(0.3,), seeds=1)
    found = claims.verdict(claim, one_run)
    assert found.verdict == NOT_MEASURED and found.left_out, "it says what is missing"


def test_a_gain_everywhere_holds_and_names_what_decided() -> None:
    found = claims.verdict("D1", make(gain))
    assert found.verdict == HOLDS and found.reading == "holds, given this teacher and these scores"
    assert len(found.effects) == 16 and all(effect.estimate.n == 5 for effect in found.effects)
    assert (
        "160 trainings" in found.runs
        and "95% interval lies above" in found.rule
        and "acc(KD) - acc(no KD)" in found.rule
    )
    assert next(e for e in found.effects if e.where == "forgetting, f = 0.1").paper == 22.4
    assert claims.verdict("D1", make(gain, teachers=3)).given == "given these scores"


@pytest.mark.parametrize("claim", ["D1", "D3"])
def test_a_claim_about_every_method_does_not_hold_with_methods_missing(claim: str) -> None:
    table = make(lambda s, f, a: gain(s, f, a) + 5 * (s == "random"), scorers=("random", "forgetting"))
    found = claims.verdict(claim, table)
    assert found.verdict == UNDECIDED and "holds at every point measured" in found.reading
    assert "missing: EL2N" in found.left_out
    whole = make(lambda s, f, a: gain(s, f, a) + 5 * (s == "random"))
    assert claims.verdict(claim, whole).verdict == HOLDS


def test_one_point_below_zero_fails_and_many_points_by_chance_do_not() -> None:
    one_loss = make(lambda s, f, a: gain(s, f, a) - 20 * (s == "el2n") * (f == 0.3) * (a > 0))
    assert claims.verdict("D1", one_loss).verdict == FAILS
    fails, tables = 0, 60
    for seed in range(tables):  # a true gain of 0.1 at 40 points, spread 0.5, three seeds: 42% failed once
        rng = np.random.default_rng(seed)
        table = make(lambda s, f, a: 0.1 * (a > 0), fractions=np.linspace(0.05, 0.95, 10).round(3), seeds=3, noise=0.0)
        table["test_acc"] += 0.35 * rng.standard_normal(len(table))
        fails += claims.verdict("D1", table).verdict == FAILS
    assert fails <= 8  # the 99.9% point of a binomial with 60 tries and 5%


def test_the_largest_gain_is_compared_with_every_other() -> None:
    assert claims.verdict("D2", make(gain)).verdict == HOLDS
    between = make(lambda s, f, a: 50 + 20 * f + (10 - 40 * abs(f - 0.3)) * (a > 0))
    found = claims.verdict("D2", between)
    assert found.verdict == FAILS and len(found.effects) == 12
    assert claims.verdict("D2", make(gain, fractions=(0.1,))).verdict == NOT_MEASURED


def test_random_must_beat_every_scorer_with_and_without_kd() -> None:
    def lead(scorer: str, f: float, alpha: float) -> float:
        return 50 + 3 * (scorer == "random") - 4 * (scorer == "el2n") * (alpha > 0)

    assert claims.verdict("D3", make(lead)).verdict == HOLDS
    even = make(lambda s, f, a: lead(s, f, a) + 3 * (s == "forgetting"))
    found = claims.verdict("D3", even)
    assert found.verdict == UNDECIDED, "a scorer that is as good as random is not beaten"
    assert {e.where for e in found.effects} >= {"random - EL2N, f = 0.1, KD", "random - forgetting, f = 0.3, no KD"}
    assert claims.verdict("D3", make(lambda s, f, a: -lead(s, f, a))).verdict == FAILS


def windows_of_difficulty(levels: dict[str, tuple[float, float]], fractions: tuple[float, ...]) -> pd.DataFrame:
    """Rows of easy, random and hard samples with the levels at f = 0.3 and 0.7, and KD."""
    places = {"easy": ("difficulty", 0.0), "random": ("random", 0.5), "hard": ("difficulty", 1.0)}
    return pd.concat(
        make(lambda s, f, a, at=levels[name]: at[f > 0.5], (scorer,), fractions, (0.9,)).assign(centre=centre)
        for name, (scorer, centre) in places.items()
    )


def test_easy_to_hard_is_judged_where_it_was_measured() -> None:
    as_claimed = {"easy": (50.0, 60.0), "random": (48.0, 61.0), "hard": (46.0, 62.0)}
    whole = claims.verdict("M2", windows_of_difficulty(as_claimed, (0.3, 0.7)))
    assert whole.verdict == HOLDS and len(whole.effects) == 3
    small = claims.verdict("M2", windows_of_difficulty(as_claimed, (0.3,)))
    assert small.reading == "undecided: holds at every point measured, others are missing" and len(small.effects) == 2
    large = claims.verdict("M2", windows_of_difficulty(as_claimed, (0.7,)))
    assert [effect.where for effect in large.effects] == ["hard - easy, f = 0.7"] and large.verdict == UNDECIDED
    reverse = {"easy": (46.0, 60.0), "random": (48.0, 61.0), "hard": (50.0, 62.0)}
    assert claims.verdict("M2", windows_of_difficulty(reverse, (0.3,))).verdict == FAILS


def test_the_whole_data_has_no_part_in_the_spread_over_methods() -> None:
    def spread(scorer: str, f: float, alpha: float) -> float:
        return 50 + (0.1 if alpha else 3.0) * (scorer == "forgetting") * (f < 1)

    table = make(spread, fractions=(0.5, 0.7, 1.0))
    found = claims.verdict("D4", table)
    assert found.verdict == HOLDS and not any("f = 1" in effect.where for effect in found.effects)
    wide = make(lambda s, f, a: 50 + 3 * (s == "forgetting"), fractions=(0.5, 0.7))
    assert claims.verdict("D4", wide).verdict == FAILS
    same = make(lambda s, f, a: 50.0, fractions=(0.5, 0.7), noise=0.1)
    assert claims.verdict("D4", same).verdict == UNDECIDED, "without a spread there is none to narrow"


def test_a_part_is_enough_where_the_difference_to_all_data_says_so() -> None:
    def reach(scorer: str, f: float, alpha: float) -> float:
        return 70 if f == 1 else 71.5 * (alpha > 0) - 10 * (f < 0.5)

    fractions = (0.3, 0.5, 1.0)
    found = claims.verdict("D5", make(reach, fractions=fractions))
    assert found.verdict == HOLDS and len(found.effects) == 2
    assert (
        claims.verdict("D5", make(lambda s, f, a: reach(s, f, a) - 3 * (f < 1), fractions=fractions)).verdict == FAILS
    )
    small_only = make(reach, fractions=(0.3, 1.0))
    assert claims.verdict("D5", small_only).verdict == UNDECIDED, "f = 0.5 may still reach it"
    assert claims.verdict("D5", make(reach, fractions=fractions, seeds=2)).verdict == UNDECIDED, (
        "no run on all data is exact"
    )


def test_a_smaller_effect_holds_in_direction() -> None:
    rows = load_rows("cifar100_laptop").replace(
        {"scorer": {"forgetting_hardest": "forgetting"}}
    )  # an effect of 7 points
    found = claims.verdict("D6", rows)
    assert found.verdict == UNDECIDED and found.reading.startswith("holds in direction, not in size")
    assert (
        found.effects[0].size == 8 and "(paper: more than 8)" in found.numbers and "given this teacher" in found.reading
    )
    large = make(lambda s, f, a: 60 + 12 * (a == 1), alphas=(0.5, 1.0))
    assert claims.verdict("D6", large).verdict == HOLDS and claims.verdict("D7", large).verdict == FAILS


def test_flat_curves_are_no_evidence_for_a_falling_alpha() -> None:
    flat = make(lambda s, f, a: 50 + 20 * f, alphas=(0.25, 0.5, 0.75, 1.0), seeds=3)
    assert claims.verdict("D8", flat).verdict == UNDECIDED
    falls = make(lambda s, f, a: 50 + 10 * (0.4 - f) * a, alphas=(0.25, 0.5, 0.75, 1.0))
    found = claims.verdict("D8", falls)
    assert found.verdict == HOLDS and "1 at f = 0.1" in found.notes[0] and "0.25 at f = 0.7" in found.notes[0]
    assert "rank correlation of the best alpha with f -" in found.notes[1]
    one_best = make(lambda s, f, a: 50 + 10 * (1 - f) * a, alphas=(0.25, 0.5, 0.75, 1.0))
    assert claims.verdict("D8", one_best).reading == "undecided: the slope falls, the best alpha does not"
    assert claims.verdict("D8", make(lambda s, f, a: 50 + 10 * f * a, alphas=(0.25, 0.5, 1.0))).verdict == FAILS


def of_teachers(
    slope: float, teachers: int, names: tuple[str, ...] = ("resnet14", "resnet32", "resnet110")
) -> pd.DataFrame:
    parts = [
        make(lambda s, f, a, k=k: 50 + slope * k, ("random",), (0.1,), (0.5,), teachers=teachers).assign(teacher=name)
        for k, name in enumerate(names)
    ]
    return pd.concat(parts, ignore_index=True)


def test_a_claim_about_teachers_needs_two_of_each_size() -> None:
    assert claims.verdict("D9", of_teachers(-3, 2)).verdict == HOLDS
    assert claims.verdict("D9", of_teachers(3, 2)).verdict == FAILS
    lone = claims.verdict("D9", of_teachers(-3, 1))
    assert lone.verdict == UNDECIDED and "at least 2 of each size" in lone.reading
    assert claims.verdict("D9", of_teachers(-3, 2, ("resnet14", "resnet32"))).verdict == NOT_MEASURED
    assert (
        claims.verdict("D10", of_teachers(-3, 2)).verdict == HOLDS
        and claims.verdict("D10", of_teachers(3, 2)).verdict == FAILS
    )


def test_every_temperature_counts() -> None:
    taus = pd.concat([of_teachers(-3, 2).assign(tau=tau) for tau in (2.0, 4.0, 7.0)], ignore_index=True)
    assert claims.verdict("D11", taus).verdict == HOLDS
    assert claims.verdict("D11", taus[taus.tau < 7]).verdict == UNDECIDED, "two temperatures are not a range"
    other = pd.concat([taus[taus.tau < 7], of_teachers(3, 2).assign(tau=7.0)], ignore_index=True)
    assert claims.verdict("D11", other).verdict == FAILS


def test_theorem_1_is_refuted_by_its_counterexample_alone() -> None:
    found = claims.verdict("D13", pd.DataFrame())
    assert found.verdict == FAILS and "208657/2393209" in found.notes[0] and "%" in found.notes[1]
    harmless = Counterexample(np.array([[1, 0, 1], [0, 1, 0]]), 2, np.array([1, 0]), 1, 1)
    assert records.theorem(pd.DataFrame(), claims.specification("D13"), harmless).verdict == UNDECIDED


def test_mostly_means_more_than_half() -> None:
    def table(share: float, scorer: str = "forgetting") -> pd.DataFrame:
        return pd.DataFrame(
            {
                "dataset": "cifar100",
                "scorer": scorer,
                "seed": range(5),
                "base_rate": 0.1,
                "share": share + 0.01 * np.arange(5),
            }
        )

    assert claims.verdict("D15", table(0.6)).verdict == HOLDS
    assert claims.verdict("D15", table(0.45)).reading == "holds in direction, not in size"
    assert claims.verdict("D15", table(0.02)).verdict == FAILS
    other = claims.verdict("D15", pd.concat([table(0.6), table(0.9, "el2n")]))
    assert "scorer EL2N: the claim does not name it" in other.left_out and other.effects[0].estimate.n == 5


def test_class_relations_forget_how_sure_a_network_is() -> None:
    labels = np.repeat(np.arange(3), 4)
    teacher = np.eye(3)[labels] * 5 + np.array([[0, 2, 1], [2, 0, 0], [0, 1, 0]])[labels]
    relations = records.class_relations(teacher, labels)
    np.testing.assert_allclose(relations.sum(axis=1), 1)
    assert (np.diag(relations) == 0).all() and relations[0, 1] > relations[0, 2]
    softer = records.class_relations(teacher - 3 * np.eye(3)[labels], labels)
    assert records.relation_similarity(softer, relations) == pytest.approx(1)
    assert records.class_relations(teacher[:4], labels[:4])[1].sum() == 0


def test_a_claim_about_other_data_is_reported_and_not_decided() -> None:
    found = claims.verdict("D1", make(gain, dataset="digits"))
    assert found.verdict == NOT_MEASURED and found.reading.startswith("on digits: holds") and found.effects
    both = pd.concat([make(gain), make(gain, dataset="digits")])
    with pytest.raises(ValueError, match="several datasets"):
        claims.verdict("D1", both)


def test_mixed_recipes_are_not_measured_and_other_methods_left_out() -> None:
    mixed = pd.concat([make(gain, epochs=60), make(gain, epochs=240)], ignore_index=True)
    found = claims.verdict("D1", mixed)
    assert found.verdict == NOT_MEASURED and "'epochs' (240, 60)" in found.left_out[0]
    table = pd.concat([make(gain, feature_loss="none"), make(gain, feature_loss="vid(samples=2)")], ignore_index=True)
    kept = claims.verdict("D1", table)
    assert kept.verdict == HOLDS and "feature_loss" in kept.left_out[0]


def test_copies_are_no_seeds() -> None:
    table = make(gain, alphas=(0.0, 0.5), seeds=2)
    copies = pd.concat([table, *(table[table.loss == "cross_entropy"].assign(alpha=a) for a in (0.25, 1.0))])
    found = claims.verdict("D1", copies)
    assert found.verdict == UNDECIDED and found.reading == "undecided: fewer than 3 trainings"
    assert {effect.estimate.n for effect in found.effects} == {2}


def test_no_better_needs_an_interval_that_excludes_the_margin() -> None:
    def adaptive(lead: float, noise: float, seeds: int = 5) -> pd.DataFrame:
        weights = {0.4: 0.85, 0.5: 0.8, 0.7: 0.5}
        parts = [
            make(lambda s, f, a: 70 + lead * (a < 0.9), ("random",), (f,), (0.9, a), seeds, noise)
            for f, a in weights.items()
        ]
        return pd.concat(parts, ignore_index=True)

    assert claims.verdict("M10", adaptive(-0.2, 0.1)).verdict == HOLDS
    assert claims.verdict("M10", adaptive(0.0, 2.0)).verdict == UNDECIDED, "noise is no evidence for equality"
    assert claims.verdict("M10", adaptive(2.0, 0.1)).verdict == FAILS


def test_the_rules() -> None:
    def effect(mean: float, threshold: float = 0.0) -> Effect:
        return Effect("", Estimate(mean, 0.1, 4.0, 5), threshold)

    assert every([effect(1), effect(1)], True) == HOLDS and every([effect(1), effect(1)], False) == UNDECIDED
    assert every([effect(1), effect(-1)], False) == FAILS and every([effect(1), effect(0.1)], True) == UNDECIDED
    assert some([effect(1), effect(-1)], False) == HOLDS and some([effect(-1), effect(-1)], True) == FAILS
    assert some([effect(-1)], False) == UNDECIDED and every([effect(1, 2.0)], True) == FAILS
    just = Effect("", Estimate(0.3, 0.1, 4.0, 5))  # above 0 alone, not as the best of twenty
    assert some([just], True) == HOLDS and some([just, *[effect(0)] * 19], True) == UNDECIDED
    assert conclude("D1", []).verdict == NOT_MEASURED


def test_the_table_of_verdicts_shows_the_rule_and_the_runs() -> None:
    found = claims.all_verdicts(make(gain))
    assert [v.claim for v in found] == list(claims.CLAIMS)
    text = claims.as_markdown({"ours": found}, {name: claim.claim for name, claim in claims.specifications().items()})
    assert "| **D1** KD improves" in text and "trainings of" in text and "Rule of D1:" in text
    assert "Not measured here: " in text and "M9" in text.split("Not measured here: ")[1]
    why = claims.explained(found[0], claims.specification("D2"), pd.read_csv(paths.data() / "paper" / "reported.csv"))
    assert "22.4 top1 gain" in why and "rule: " in why and why.count("(n = 5) above") == 16


def test_verdicts_on_all_data_take_a_second_table() -> None:
    part = make(lambda s, f, a: 71.5 if a else 60, fractions=(0.5,))
    full = make(lambda s, f, a: 70.0, scorers=("random",), fractions=(1.0,), alphas=(0.0,))
    assert {v.claim: v for v in claims.all_verdicts(part, full)}["D5"].verdict == HOLDS
    assert {v.claim: v for v in claims.all_verdicts(part)}["D5"].verdict == NOT_MEASURED


def test_best_alpha_averages_ties() -> None:
    table = make(lambda s, f, a: 70 + (a >= 0.5), ("forgetting",), alphas=(0.25, 0.5, 1.0), seeds=1, noise=0.0)
    assert claims.best_alphas(table).best.tolist() == [0.75] * len(FRACTIONS)
