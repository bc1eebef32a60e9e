"""The claims of both papers, each decided by a pure function from rows to a `Verdict`.

    verdict("D3", rows)           one claim; CLAIMS["D3"](rows) is the same
    all_verdicts(rows)            all of them, in the order of data/paper/claims.csv

`rows` are those of one study on one dataset: what `sweep` or `load_rows` returns, or a table of `tidy`. Which runs count
comes from the claim's row in claims.csv. To add a claim: a row in claims.csv, a function, an entry in `JUDGES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd

from kdlib.analysis.claims import objectives, pruning, records, teachers, weights
from kdlib.analysis.claims.records import COLUMNS as RECORDS
from kdlib.analysis.claims.records import recorded
from kdlib.analysis.claims.report import as_markdown, explained, line
from kdlib.analysis.claims.specification import Claim, specification, specifications
from kdlib.analysis.claims.verdict import (
    FAILS,
    HOLDS,
    NOT_MEASURED,
    UNDECIDED,
    Effect,
    Verdict,
    conclude,
    elsewhere,
    reasons,
)
from kdlib.analysis.claims.weights import best_alphas
from kdlib.analysis.tables import MixedRows
from kdlib.utils.errors import choose

__all__ = [
    "CLAIMS", "FAILS", "HOLDS", "JUDGES", "NOT_MEASURED", "RECORDS", "UNDECIDED",
    "Claim", "Effect", "Verdict", "all_verdicts", "as_markdown", "best_alphas", "explained", "gain_at_small_f",
    "gain_everywhere", "line", "reasons", "recorded", "robust_at_large_f", "specification", "specifications", "verdict",
]  # fmt: skip

JUDGES: dict[str, Callable[[pd.DataFrame, Claim], Verdict]] = {
    "D1": pruning.gain_everywhere,
    "D2": pruning.gain_at_small_f,
    "D3": pruning.random_beats_scorers,
    "D4": pruning.robust_at_large_f,
    "D5": pruning.part_is_enough,
    "D6": weights.one_weight_beats_another,
    "D7": weights.one_weight_beats_another,
    "D8": weights.best_alpha_falls,
    "D9": teachers.larger_teacher_hurts,
    "D10": teachers.smaller_teacher_helps,
    "D11": teachers.at_every_temperature,
    "D12": objectives.vid_is_best,
    "D13": records.theorem,
    "D14": records.teacher_relations,
    "D15": records.ambiguous_samples,
    "D16": pruning.pruned_beats_all,
    "M1": pruning.medium_beats_random,
    "M2": pruning.easy_to_hard,
    "M3": objectives.reshaping_adds,
    "M4": objectives.only_classwise_adds,
    "M5": pruning.medium_beats_random_features,
    "M6": records.stable_and_aligned,
    "M7": records.hard_samples_widen_the_gap,
    "M8": objectives.reshaping_on_imbalanced,
    "M9": pruning.faster_and_better,
    "M10": weights.adaptive_is_no_better,
}
OF_THEORY = "theory"


def verdict(claim: str, rows: pd.DataFrame) -> Verdict:
    """The verdict on one claim; a claim about other datasets than the rows' is reported and not decided.

    rows: the runs of one study on one dataset; for the claims of `RECORDS`, a table with the columns named there.
    ValueError for an unknown claim, and for rows of several datasets. Rows that differ in a column that the claim does
    not speak of (two recipes, say) are "not measured", with the reason.
    """
    judge = choose("claim", claim, JUDGES)
    datasets = sorted(set(rows.dataset)) if "dataset" in rows else []
    if len(datasets) > 1:
        raise ValueError(f"the rows are of several datasets ({', '.join(datasets)}); a verdict is on one")
    dataset = datasets[0] if datasets else "these rows"
    known = specification(claim, dataset)
    if OF_THEORY in known.datasets:
        return judge(rows, known)
    if rows.empty:
        return conclude(claim, [])
    if lacking := records.lacking(claim, rows):
        return lacking
    try:
        found = judge(rows, known)
    except MixedRows as mixed:
        return conclude(claim, [], left_out=[str(mixed)])
    found = replace(found, rule=f"{_tested(judge)}; {found.rule}")
    return found if dataset in known.datasets else elsewhere(found, dataset)


def _tested(judge: Callable) -> str:
    """What a function tests, from the first sentence of its docstring: `D3: random minus each scorer ...`."""
    sentence = " ".join((judge.__doc__ or "").split("\n\n")[0].split())
    return sentence.split(": ", 1)[-1].rstrip(".")


CLAIMS: dict[str, Callable[[pd.DataFrame], Verdict]] = {claim: partial(verdict, claim) for claim in JUDGES}
gain_everywhere, gain_at_small_f, robust_at_large_f = CLAIMS["D1"], CLAIMS["D2"], CLAIMS["D4"]


def all_verdicts(
    rows: pd.DataFrame, full: Any = None, tables: Mapping[str, pd.DataFrame] | None = None
) -> list[Verdict]:
    """The verdicts on every claim.

    full:   the runs on all the data, where `rows` does not hold them. Only a table of runs can be paired with the others;
            with anything else (an interval) the claims that compare with all the data stay "not measured".
    tables: the records of the claims of `RECORDS`, by claim.
    """
    runs = pd.concat([rows, full], ignore_index=True) if isinstance(full, pd.DataFrame) else rows
    return [verdict(claim, (tables or {}).get(claim, runs)) for claim in specifications()]
