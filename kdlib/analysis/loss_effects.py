"""What a loss adds to plain KD: differences between losses with their intervals, and how far the best of many is luck.

The comparison of "Distilling the Knowledge in Data Pruning", Sec. 4.4: each student is trained with CE + KD + beta R, where R
is a loss on features or relations, and is measured against a student with CE + 2 KD, so that the teacher weighs as much.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from kdlib.analysis.statistics import Estimate, estimate, holm, paired, tidy
from kdlib.experiments.groups import TABLE_1
from kdlib.losses import FEATURE_LOSSES

PLAIN_ALPHA = 2.0  # KD weight of the student that every other one is compared with
COLUMNS = ["feature_loss", "beta", "fraction", "mean", "half", "n", "p", "p_holm"]


def published_effects(numbers: pd.DataFrame) -> pd.DataFrame:
    """The paper's Table 1 as differences to its row KD, in points: columns of `added`, half NaN, n 0, p NaN.

    numbers: the rows of `data/paper/reported.csv`. The paper gives neither a spread nor the number of seeds.
    """
    rows = numbers[(numbers.paper == "dkdp") & (numbers["where"] == "Table 1")]
    by_loss = rows.pivot(index="loss", columns="fraction", values="value")
    found = by_loss.loc[list(TABLE_1)].sub(by_loss.loc["kd"]).rename_axis("feature_loss").reset_index()
    found = found.melt("feature_loss", var_name="fraction", value_name="mean")
    blank = float("nan")
    return found.assign(beta=1.0, half=blank, n=0, p=blank, p_holm=blank)[COLUMNS]


def differences_to_kd(rows: pd.DataFrame) -> pd.DataFrame:
    """Accuracy minus that of plain KD with weight 2, paired by seed and teacher, of every loss that is added to KD.

    rows: what `sweep` returns, with weighting additive. Columns pruning, fraction, seed, teacher_id, feature_loss, beta,
    difference (points); empty for rows that hold no such comparison. The feature loss "none" is the control: KD with
    weight 1 and nothing added to it, which is what a loss that does not act leaves of its student's objective.
    """
    columns = ["pruning", "fraction", "seed", "teacher_id", "feature_loss", "beta", "difference"]
    if rows.empty or "feature_loss" not in rows or "weighting" not in rows:
        return pd.DataFrame(columns=columns)
    taught = rows[(rows.loss == "kd") & (rows.weighting == "additive")]
    if taught.empty:
        return pd.DataFrame(columns=columns)
    table = tidy(taught, dimensions=("feature_loss", "beta"))
    plain = table[(table.feature_loss == "none") & np.isclose(table.alpha, PLAIN_ALPHA)]
    added = table[np.isclose(table.alpha, PLAIN_ALPHA / 2)]
    parts = [
        paired(part, plain, ("pruning", "fraction")).assign(feature_loss=name, beta=beta)
        for (name, beta), part in added.groupby(["feature_loss", "beta"])
    ]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def added(differences: pd.DataFrame) -> pd.DataFrame:
    """Mean difference to plain KD for each loss, beta and f, with its interval, p-value, and p-value after Holm.

    differences: what `differences_to_kd` returns, of one pruning. Columns feature_loss, beta, fraction, mean, half, n, p
    (two-sided, Student's t) and p_holm, Holm's correction over all rows of this table.
    """
    found = []
    for (name, beta, fraction), part in differences.groupby(["feature_loss", "beta", "fraction"]):
        values = {
            (int(t), int(s)): float(d) for t, s, d in zip(part.teacher_id, part.seed, part.difference, strict=True)
        }
        at = estimate(values)
        found.append((name, beta, fraction, at.mean, at.half, at.n, two_sided(at)))
    table = pd.DataFrame(found, columns=COLUMNS[:-1])
    return table.assign(p_holm=holm(list(table.p)))


def two_sided(found: Estimate) -> float:
    """The two-sided p-value of a difference; NaN without an interval."""
    return float(np.minimum(1.0, 2 * np.minimum(found.p_above(), found.p_below())))


def with_weight(found: pd.DataFrame, tuned: bool) -> pd.DataFrame:
    """The rows at beta = 1, or those at the public code's weight of each loss (VID, RKD, AB: the same; the control: both)."""
    own = {name: entry.tuned_beta for name, entry in FEATURE_LOSSES.items() if tuned}
    return found[found.beta == found.feature_loss.map(lambda name: own.get(name.split("(")[0], 1.0))]


class Winner(NamedTuple):
    """The best of M methods, chosen on half of the seeds: its mean difference there, and on the other half.

    chosen, fresh: (splits,) in points; method: (splits,) place of the winner in the columns.
    """

    chosen: NDArray
    fresh: NDArray
    method: NDArray


def winner_on_halves(values: ArrayLike) -> Winner:
    """Choose the method with the largest mean on each half of the seeds, and measure it on the seeds that did not choose.

    values: (S, M) differences of M methods for S seeds. All splits into S // 2 choosing seeds and the others are made, so
    the result needs no random numbers; they share seeds and are no independent sample. ValueError for fewer than 2 seeds.
    """
    v = np.asarray(values, dtype=np.float64)
    if len(v) < 2:
        raise ValueError(f"splitting seeds needs at least 2 of them, got {len(v)}")
    found = []
    for choosing, others in _halves(len(v)):
        best = int(v[choosing].mean(axis=0).argmax())
        found.append((v[choosing, best].mean(), v[others, best].mean(), best))
    chosen, fresh, method = (np.array(column) for column in zip(*found, strict=True))
    return Winner(chosen, fresh, method)


def _halves(count: int) -> Iterator[tuple[list[int], list[int]]]:
    for choosing in combinations(range(count), count // 2):
        yield list(choosing), [seed for seed in range(count) if seed not in choosing]


def by_seed(differences: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """Differences as a table, seeds x methods, of one f and one weight; seeds without all the methods are left out."""
    return differences.pivot_table(index="seed", columns="feature_loss", values="difference")[list(methods)].dropna()
