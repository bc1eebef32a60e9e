"""What a loss adds to plain KD: the pairs, Holm's correction, and the winner on seeds that did not choose it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from kdlib.analysis import loss_effects
from kdlib.losses import FEATURE_LOSSES
from kdlib.utils import paths


def rows(gains: dict[str, float], seeds: int = 5, noise: float = 0.5, beta: float = 1.0) -> pd.DataFrame:
    """Students with CE + 2 KD at 50 + seed percent, and with each loss `gains` above that, plus noise."""
    rng = np.random.default_rng(0)
    shared = {"scorer": "forgetting", "centre": None, "selection": "window", "fraction": 0.1, "loss": "kd", "tau": 4.0}
    shared |= {"weighting": "additive", "teacher_seed": 0, "dataset": "digits"}
    plain = [
        {**shared, "alpha": 2.0, "feature_loss": "none", "beta": 1.0, "seed": s, "test_acc": 50.0 + s}
        for s in range(seeds)
    ]
    added = [
        {
            **shared,
            "alpha": 1.0,
            "feature_loss": n,
            "beta": beta,
            "seed": s,
            "test_acc": 50 + s + g + noise * rng.normal(),
        }
        for n, g in gains.items()
        for s in range(seeds)
    ]
    return pd.DataFrame(plain + added)


def test_differences_are_paired_by_seed_with_kd_of_twice_the_weight() -> None:
    found = loss_effects.differences_to_kd(rows({"vid": 3.0}, noise=0.0))
    np.testing.assert_allclose(found.difference, 3.0)
    assert list(found.seed) == [0, 1, 2, 3, 4]


def test_kd_with_weight_1_is_the_control_at_both_weights() -> None:
    table = rows({"none": -2.0, "at": 1.0}, noise=0.0)
    found = loss_effects.added(loss_effects.differences_to_kd(table))
    for tuned, names in ((False, {"none", "at"}), (True, {"none"})):
        assert set(loss_effects.with_weight(found, tuned).feature_loss) == names
    assert found.set_index("feature_loss").loc["none", "mean"] == pytest.approx(-2.0)


def test_a_student_with_another_weighting_is_no_comparison() -> None:
    table = rows({"vid": 3.0}).assign(weighting="convex", alpha=0.5)
    assert loss_effects.differences_to_kd(table).empty
    assert loss_effects.differences_to_kd(pd.DataFrame()).empty
    assert loss_effects.added(loss_effects.differences_to_kd(pd.DataFrame())).empty


def test_added_corrects_over_the_whole_table() -> None:
    gains = {"vid": 10.0, "at": 0.0, "sp": 0.0, "pkt": 0.0}
    found = loss_effects.added(loss_effects.differences_to_kd(rows(gains))).set_index("feature_loss")
    assert found.loc["vid", "mean"] == pytest.approx(10.0, abs=1.0)
    assert found.loc["vid", "p_holm"] == pytest.approx(4 * found.loc["vid", "p"])
    assert (found.p_holm >= found.p).all()
    assert abs(found.loc["at", "mean"]) < found.loc["at", "half"] * 2


def test_two_seeds_have_no_p_value() -> None:
    found = loss_effects.added(loss_effects.differences_to_kd(rows({"vid": 3.0}, seeds=2)))
    assert found.p.isna().all() and found.p_holm.isna().all() and (found.n == 2).all()


def test_with_weight_takes_the_codes_weight_or_one() -> None:
    parts = [rows({"at": 1.0}), rows({"at": 2.0}, beta=FEATURE_LOSSES["at"].tuned_beta), rows({"rkd": 1.0})]
    table = pd.concat([parts[0], *(part[part.feature_loss != "none"] for part in parts[1:])])
    found = loss_effects.added(loss_effects.differences_to_kd(table))
    assert set(loss_effects.with_weight(found, tuned=True).beta) == {1000.0, 1.0}  # RKD's own weight is 1
    assert set(loss_effects.with_weight(found, tuned=False).beta) == {1.0}


def test_published_effects_are_differences_to_the_papers_kd_row() -> None:
    numbers = pd.read_csv(paths.data() / "paper" / "reported.csv")
    found = loss_effects.published_effects(numbers).set_index(["feature_loss", "fraction"])["mean"]
    assert len(found) == 40
    assert found["vid", 0.05] == pytest.approx(32.5 - 28.62)
    assert found["fsp", 0.1] == pytest.approx(37.16 - 46.27)


def test_the_winner_of_equal_methods_loses_its_lead_on_other_seeds() -> None:
    found = [loss_effects.winner_on_halves(v) for v in np.random.default_rng(3).normal(size=(40, 6, 10))]
    assert len(found[0].chosen) == 20  # splits of six seeds in halves
    chosen, fresh = (np.mean([getattr(one, side).mean() for one in found]) for side in ("chosen", "fresh"))
    assert chosen > 0.6 and abs(fresh) < 0.15


def test_a_true_winner_keeps_its_lead() -> None:
    values = np.random.default_rng(3).normal(size=(8, 10))
    values[:, 4] += 10
    found = loss_effects.winner_on_halves(values)
    assert (found.method == 4).all()
    assert found.fresh.mean() == pytest.approx(found.chosen.mean())  # every seed chooses as often as it measures
    with pytest.raises(ValueError, match="at least 2"):
        loss_effects.winner_on_halves(values[:1])


def test_by_seed_has_a_column_for_each_method() -> None:
    found = loss_effects.by_seed(
        loss_effects.differences_to_kd(rows({"vid": 3.0, "at": 1.0}, noise=0.0)), ["vid", "at"]
    )
    np.testing.assert_allclose(found, np.tile([3.0, 1.0], (5, 1)))
