"""The words about decision boundaries follow their numbers."""

import numpy as np
import pandas as pd

from kdlib.analysis.statistics import Interval
from kdlib.analysis.tell import boundaries as tell


def drifts(**means):
    rows = [
        {"group": name, "seed": s, "drift": mean + 0.1 * s, "test_acc": 99 - mean - 0.1 * s, "width": 5}
        for name, mean in means.items()
        for s in range(4)
    ]
    return pd.DataFrame(rows)


def test_students_names_the_best_and_the_worst():
    rows = {
        name: {"kept": 30, "test_acc": acc, "teacher_acc": 99.0}
        for name, acc in {"easy": 90.0, "hard": 95.5, "all": 99.5}.items()
    }
    said = tell.students(rows)
    assert "Between the hard and the easy samples lie 5.5 points" in said and "99.0%" in said


def test_widths_names_only_widths_whose_interval_leaves_out_zero():
    narrow, wide = drifts(easy=20.0, medium=10.0, hard=15.0), drifts(easy=20.0, medium=10.0, hard=5.0).assign(width=64)
    said = tell.widths(pd.concat([narrow, wide]))
    assert "larger than medium ones with 5 units" in said and "above zero" in said and "below zero" in said
    assert "With neither width" in tell.widths(wide) and "The draw in the figure" not in tell.widths(wide, 0)
    odd = drifts(easy=20.0, medium=10.0, hard=5.0)
    odd.loc[(odd.group == "hard") & (odd.seed == 0), "drift"] = 30.0
    text = tell.widths(odd, drawn=0)
    assert "(seed 0) has a drift of 30% on hard samples, the others between 5 and 5%" in text and "opposite" in text
    assert "opposite" not in tell.widths(odd, drawn=1) and "opposite" not in tell.widths(odd)


def test_drifts_are_paired_with_all_data():
    table = drifts(easy=15.0, hard=10.0, all=10.0)
    said = tell.drifts(table, ["easy", "hard"])
    assert "+5.0 ± 0.0 (n = 4) | above zero" in said and "+0.0 ± 0.0 (n = 4) | no difference detected" in said


def test_paper_order_counts_signs():
    pairs = [("hard", "medium"), ("hard", "easy"), ("hard", "random")]
    said = tell.paper_order(drifts(hard=10.0, medium=5.0, easy=15.0, random=10.0), pairs, 0.3)
    assert said.startswith("At f = 30%, given this teacher: the drift on hard lies above that on medium by 5.0")
    assert "1 differ with the paper's sign, 1 with the opposite one, and 1 cannot be told from no difference" in said


def test_accuracy_goes_along_has_the_sign_of_the_numbers():
    assert "-1.00" in tell.accuracy_goes_along(drifts(hard=10.0, easy=15.0, all=5.0))


def test_epochs_compares_at_the_epochs_asked_for():
    hard, easy = np.full((4, 3), [30.0, 20.0, 5.0]), np.full((4, 3), [20.0, 20.0, 10.0])
    noise = np.arange(4)[:, None] * [[0.1, 0.0, 0.1]]
    said = tell.epochs({"hard": hard + noise, "easy": easy}, [1, 2, 3], "hard", "easy")
    lines = said.splitlines()[-3:]
    assert [line.split("|")[-2].strip() for line in lines] == ["above zero", "no difference detected", "below zero"]


def test_map_seeds_counts_the_maps():
    table = pd.DataFrame(
        {"group": ["easy", "hard"] * 3, "map_seed": [0, 0, 1, 1, 2, 2], "drift": [2.0, 1.0, 2.0, 3.0, 4.0, 1.0]}
    )
    said = tell.map_seeds(table, [0.5, 0.7], 10)
    assert "in 2 of 3 maps" in said and "easy from 2.0 to 4.0%" in said and "60%" in said


def test_nearest_kept_is_one_for_a_turned_map_and_small_for_another():
    xy = np.random.default_rng(0).standard_normal((60, 2))
    turned = xy @ np.array([[0.0, 1.0], [-1.0, 0.0]])
    assert tell.nearest_kept(xy, turned) == 1
    assert tell.nearest_kept(xy, np.random.default_rng(1).standard_normal((60, 2))) < 0.5


def test_beside_says_what_each_step_says():
    rows = []
    for s in range(4):
        for name, spread, nats in (("easy", 3.0, 1.0), ("medium", 2.0, 2.0), ("hard", 1.0, 2.0)):
            shift = 0.01 * s * (name != "medium")
            rows.append({"group": name, "seed": s, "gradient_sd": spread + shift, "mutual_information": nats - shift})
    said = tell.beside(pd.DataFrame(rows))
    assert (
        said.count("as in the paper") == 3
        and "easy − hard: +2.000" in said
        and "the opposite" in said
        and "no difference detected" in said
    )
    few = tell.beside(pd.DataFrame(rows)[lambda t: t.seed < 2])
    assert "too few for an interval" in few and "as in the paper" not in few


def test_at_places_and_same_maps_show_their_numbers():
    said = tell.at_places({"easy": {0.0: Interval(2.0, 0.5, 4), 0.5: Interval(30.0, 1.0, 4)}})
    assert "2.0 ± 0.5" in said and "place 0.5" in said
    assert "easy 12%" in tell.same_maps({"easy": 12.0, "hard": 3.0}, 3600)
