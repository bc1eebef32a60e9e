"""Tables of rows: what is told apart, what counts once, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from kdlib.analysis.tables import MixedRows, own_rows, studies, tidy
from kdlib.experiments.grid import load_rows


def rows(count: int = 3, **columns: Any) -> pd.DataFrame:
    """`count` runs with KD that differ in their seeds; `columns` replace or add."""
    common = {
        "dataset": "digits", "student": "mlp", "teacher": "mlp", "scorer": "random", "centre": 1.0, "fraction": 0.1,
        "selection": "window", "loss": "kd", "alpha": 0.5, "tau": 4.0, "feature_loss": "none", "beta": 1.0, "reshape": "none",
        "weighting": "convex", "budget": "epochs", "label_noise": 0.0, "teacher_seed": 0, "epochs": 60, "score_runs": 1,
        "seconds": 1.0, "device": "cpu", "version": "0.1", "rules": "abc", "student_images": 7,
        "used_share": 1.0, "eval_every": 1, "precision": "float32",
    }  # fmt: skip
    table = pd.DataFrame([{**common, "seed": seed, "test_acc": 90.0 + seed} for seed in range(count)])
    return table.assign(**columns)


def test_names_of_what_is_kept() -> None:
    kinds = [
        ("random", 0.5, "window", 0.1), ("forgetting", 1.0, "window", 0.1), ("difficulty", 0.5, "window", 0.1),
        ("forgetting", 0.0, "window", 0.1), ("el2n", 0.25, "window", 0.1), ("moderate", None, "window", 0.1),
        ("moderate", 1.0, "window", 0.1), ("aum", None, "ccs(hard_cut=0.2)", 0.1), ("random", 1.0, "infobatch", 0.5),
        ("forgetting", 1.0, "window", 1.0),
    ]  # fmt: skip
    made = [rows(1, scorer=s, centre=c, selection=how, fraction=f) for s, c, how, f in kinds]
    names = [tidy(table).pruning[0] for table in made]
    assert names == [
        "random", "forgetting", "medium", "forgetting easiest", "el2n centre 0.25", "moderate", "moderate hardest",
        "aum ccs(hard_cut=0.2)", "infobatch", "full",
    ]  # fmt: skip


def test_diverged_runs_are_left_out_and_the_rows_stay_as_they_were() -> None:
    table = rows(3, loss="cross_entropy", test_acc=[90.0, np.nan, 91.0])
    found = tidy(table)
    assert found.seed.tolist() == [0, 2] and found.alpha.tolist() == [0.0, 0.0]
    assert table.alpha.tolist() == [0.5] * 3
    with pytest.raises(ValueError, match="'centre'"):
        tidy(table.drop(columns="centre"))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("feature_loss", "vid"), ("reshape", "lskd"), ("budget", "steps"), ("student", "resnet8"), ("label_noise", 0.2),
        ("dataset", "cifar10"), ("tau", 2.0), ("epochs", 30), ("teacher", "resnet8"), ("loss", "dkd"),
        ("weighting", "additive"),
        ("score_runs", 5), ("teacher_recipe", "lr=0.01"), ("imbalance", 100.0),
    ],
)  # fmt: skip
def test_rows_that_differ_in_a_column_are_refused_unless_it_is_named(column: str, value: Any) -> None:
    base = rows(scorer="forgetting")
    if column not in base:
        base[column] = "other" if isinstance(value, str) else 1.0
    mixed = pd.concat([base, base.assign(**{column: value})], ignore_index=True)
    with pytest.raises(MixedRows, match=f"'{column}'.*{value}"):
        tidy(mixed)
    assert len(tidy(mixed, dimensions=(column,))) == 6
    averaged = tidy(mixed, averaged=(column,))
    assert averaged.seed.tolist() == [0, 1, 2], "averaged runs are no seeds"


@pytest.mark.parametrize(
    "column", ["seconds", "device", "version", "rules", "student_images", "used_share", "eval_every", "precision"]
)
def test_reports_are_no_dimensions(column: str) -> None:
    one = rows(2)
    other = rows(2, seed=[2, 3], **{column: "other" if one[column].dtype == object else 99})
    assert len(tidy(pd.concat([one, other], ignore_index=True))) == 4


def test_selections_are_told_apart_as_prunings() -> None:
    mixed = pd.concat([rows(scorer="aum"), rows(scorer="aum", selection="ccs")], ignore_index=True)
    assert tidy(mixed).groupby("pruning").size().to_dict() == {"aum": 3, "aum ccs": 3}


def test_copies_of_one_training_count_once() -> None:
    plain = [
        rows(loss="cross_entropy", alpha=a, tau=t, teacher_seed=k)
        for a in (0.25, 0.5, 1.0)
        for t in (2.0, 4.0)
        for k in (0, 1)
    ]
    found = tidy(pd.concat(plain, ignore_index=True))
    assert found.seed.tolist() == [0, 1, 2] and set(found.teacher_id) == {-1}


@pytest.mark.parametrize("scorer", ["difficulty", "difficulty(views=2)"])
def test_a_teacher_who_scores_has_a_part_without_kd(scorer: str) -> None:
    plain = [rows(loss="cross_entropy", scorer=scorer, teacher_seed=k) for k in (0, 1)]
    found = tidy(pd.concat(plain, ignore_index=True))
    assert len(found) == 6 and set(found.teacher_id) == {0, 1}


def test_alpha_is_the_weight_of_the_kd_term() -> None:
    on_ce = rows(alpha=0.1, weighting="alpha_on_ce")
    found = tidy(pd.concat([on_ce, rows(alpha=0.9, seed=[3, 4, 5])], ignore_index=True))
    assert set(found.alpha) == {0.9} and len(found) == 6
    assert set(tidy(found).alpha) == {0.9}, "a table stays a table"


def test_methods_may_be_scored_in_their_own_way_and_old_rows_have_the_defaults() -> None:
    own = pd.concat([rows(scorer="el2n", score_runs=5), rows(scorer="forgetting")], ignore_index=True)
    assert len(tidy(own)) == 6
    old = rows(seed=[3, 4, 5]).drop(columns="budget")
    assert len(tidy(pd.concat([rows(), old], ignore_index=True))) == 6
    with pytest.raises(MixedRows, match="budget"):
        tidy(pd.concat([rows(budget="steps"), old], ignore_index=True))


def test_the_committed_rows_are_one_study() -> None:
    found = load_rows("cifar100_laptop")
    assert len(tidy(found)) == len(found) and len(studies(found)) == 1
    two = pd.concat([rows(), rows(epochs=30), rows(dataset="cifar10", count=4)], ignore_index=True)
    assert [len(part) for part in studies(two)] == [4, 3, 3]


def test_rows_put_together_may_share_their_index() -> None:
    both = pd.concat([rows(fraction=0.1), rows(fraction=0.3), rows(fraction=0.1, loss="cross_entropy", alpha=1.0)])
    assert tidy(both).groupby("fraction").size().to_dict() == {0.1: 6, 0.3: 3}
    assert len(studies(both)) == 1


def test_own_rows_leaves_other_studies_out() -> None:
    store = pd.concat(
        [rows(), rows(dataset="cifar10"), rows(alpha=1.0), rows(loss="cross_entropy", alpha=1.0, tau=2.0)],
        ignore_index=True,
    )
    found = own_rows(store.to_dict("records"), dataset="digits", alpha=0.5, tau=4.0, scorer="random")
    assert [row["loss"] for row in found] == ["kd"] * 3 + ["cross_entropy"] * 3, "alpha has no part without a teacher"
    assert not own_rows(found, epochs=30) and len(own_rows(found, milestones=())) == 6
