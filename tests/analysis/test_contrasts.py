"""Contrasts are sums of paired accuracies; published differences carry Welch's interval."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_ind_from_stats

from kdlib.analysis import contrasts, statistics, tables
from kdlib.experiments import study
from kdlib.utils import paths


def table(seeds: int = 4) -> pd.DataFrame:
    """Accuracies by centre: a hump of 3 points at f = 0.1, a slope of 2 at f = 0.5; seeds shift all runs alike."""
    level = {(0.1, 0.0): 0, (0.1, 0.5): 3, (0.1, 1.0): 0, (0.5, 0.0): 0, (0.5, 0.5): 1, (0.5, 1.0): 2}
    rng = np.random.default_rng(0)
    shift, noise = rng.normal(0, 20, seeds), rng.normal(0, 0.01, (len(level), seeds))
    return pd.DataFrame(
        [
            {"centre": c, "fraction": f, "seed": s, "teacher_id": 0, "test_acc": 50 + high + shift[s] + noise[k, s]}
            for k, ((f, c), high) in enumerate(level.items())
            for s in range(seeds)
        ]
    )


def test_a_contrast_is_paired_so_that_the_seeds_shift_falls_out() -> None:
    found = contrasts.contrast(table(), "centre", {0.0: -0.5, 0.5: 1.0, 1.0: -0.5}).set_index("fraction")
    assert found.loc[0.1, "mean"] == pytest.approx(3, abs=0.05) and found.loc[0.1, "half"] < 0.1
    assert found.loc[0.5, "mean"] == pytest.approx(0, abs=0.05)
    assert set(found.n) == {4}


def test_against_subtracts_the_base_and_equals_the_paired_difference() -> None:
    runs = table()
    found = contrasts.against(runs, "centre", 0.0).set_index(["centre", "fraction"])
    assert found.loc[(1.0, 0.5), "mean"] == pytest.approx(2, abs=0.05)
    apart = statistics.paired(
        runs[runs.centre == 1.0].assign(centre=0), runs[runs.centre == 0].assign(centre=0), ("centre", "fraction")
    )
    same = statistics.points(apart, ("fraction",), "difference").set_index("fraction")
    np.testing.assert_allclose(found.loc[1.0][["mean", "half"]], same[["mean", "half"]])


def test_a_seed_without_a_partner_takes_no_part() -> None:
    runs = table()
    found = contrasts.contrast(runs[~((runs.seed == 0) & (runs.centre == 1.0))], "centre", {1.0: 1, 0.0: -1})
    assert set(found.n) == {3}
    assert contrasts.against(runs[runs.centre == 0.0], "centre", 0.0).empty


def test_published_differences_have_the_interval_of_welch() -> None:
    numbers = pd.read_csv(paths.data() / "paper" / "reported.csv")
    found = contrasts.published(numbers, "medium+reshape", "random")
    assert set(found["where"]) == {"Table 7", "Table 8", "Table 9"} and len(found) == 12
    row = found[(found["where"] == "Table 7") & (found.fraction == 0.3)].iloc[0]
    assert row["mean"] == pytest.approx(68.93 - 67.73)
    at_the_edge = ttest_ind_from_stats(row.half, 0.56, 3, 0.0, 0.07, 3, equal_var=False)
    assert at_the_edge.pvalue == pytest.approx(0.05)
    table_4 = contrasts.published(numbers, "medium", "random")
    assert list(table_4["mean"].round(2)) == [0.43, 0.42] and set(table_4.loss) == {"pefd"}
    assert contrasts.published(numbers, "medium", "random", trials=2).half.isna().all()


def study_rows(name: str = "laptop") -> pd.DataFrame:
    """Made-up rows of a whole study: medium lies 2 points above random for the students under every teacher."""
    rows = [asdict(r) for r in study.runs_of(name)]
    found = pd.DataFrame(rows)
    return found.assign(
        test_acc=50.0 + 0.01 * found.seed + 2.0 * ((found.scorer == "difficulty") & (found.centre == 0.5))
    )


@pytest.mark.parametrize(
    ("name", "student", "alpha", "fractions"),
    [("laptop", "resnet20", 0.5, {0.05, 0.1, 0.3}), ("windows", "resnet8", 0.9, {0.3, 0.4, 0.5, 0.7})],
)
def test_the_rows_of_a_whole_study_give_its_own_difference(
    name: str, student: str, alpha: float, fractions: set[float]
) -> None:
    """Each of the two papers' questions by its own KD weight; the students of the windows have a larger teacher."""
    rows = tables.studies(study_rows(name))[0]
    assert set(rows.student) == {student}
    found = contrasts.of_study(rows, "medium", "random", alpha, own_teacher=name == "laptop")
    assert set(found.fraction) == fractions and found["mean"].round(6).eq(2.0).all()
    assert contrasts.of_study(rows, "medium", "random", 0.123, own_teacher=name == "laptop").empty


def test_the_method_of_two_studies_is_compared_with_random_samples() -> None:
    """The reshaped students stand in a study of their own, at one fraction below 1, and one at which nothing is random."""
    found = contrasts.of_method(study_rows("windows"), study_rows("reshapes"), 0.9)
    assert found.fraction.tolist() == [0.3, 0.7] and found["mean"].round(6).eq(2.0).all() and found.n.eq(3).all()
    for rows, reshaped in ((pd.DataFrame(), study_rows("reshapes")), (study_rows("windows"), pd.DataFrame())):
        assert contrasts.of_method(rows, reshaped, 0.9).empty


@pytest.mark.parametrize("part", ["nothing", "random", "without KD"])
def test_a_study_that_has_only_begun_gives_an_empty_table(part: str) -> None:
    rows = study_rows()
    begun = {"nothing": pd.DataFrame(), "random": rows[rows.scorer == "random"], "without KD": rows[rows.loss != "kd"]}[
        part
    ]
    found = contrasts.of_study(tables.studies(begun)[0], "medium", "random", 0.5)
    assert found.empty and list(found) == ["fraction", "mean", "half", "n"]


def test_the_precision_counts_where_a_pair_differs_in_it() -> None:
    rows = tables.studies(study_rows())[0].assign(precision="bfloat16")
    assert contrasts.by_precision(rows, pd.DataFrame(), ("medium", "random"), 0.5) == {}
    other = rows.scorer.eq("difficulty") & rows.fraction.eq(0.05)
    mixed = rows.assign(precision=rows.precision.where(~other, "float32"))
    copies = rows[rows.scorer.eq("random") & rows.fraction.eq(0.05)].assign(precision="float32", test_acc=51.0)
    found = contrasts.by_precision(mixed, copies, ("medium", "random"), 0.5)
    means = {name: part["mean"].round(6).tolist() for name, part in found.items()}
    assert means["medium in float32 minus random in bfloat16"] == [2.0] and len(means) == 2
    assert means["medium in float32 minus random in float32"] == [1.015]
    assert contrasts.by_precision(pd.DataFrame(), pd.DataFrame(), ("medium", "random"), 0.5) == {}
