"""No verdict by construction: on made-up tables without an effect a claim rarely holds or fails, and effects are found.

The benchmark `verdict_power` does the same with 1,000 tables and prints the power. Here a claim passes where the count of
wrong verdicts is one that a true rate of 5% exceeds once in a thousand; the seeds are fixed.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmarks import verdict_power
from benchmarks.simulated_claims import SIMULATIONS
from kdlib.analysis import claims

TABLES = 120
ALLOWED = stats.binom.ppf(0.999, TABLES, 0.05) / TABLES
ABOUT_TEACHERS = ("D9", "D10", "D11")


def test_every_claim_that_reads_rows_is_simulated() -> None:
    assert set(SIMULATIONS) == set(claims.CLAIMS) - {"D13"}


@pytest.mark.parametrize("claim", SIMULATIONS)
def test_without_an_effect_a_claim_neither_holds_nor_fails(claim: str) -> None:
    for seeds, teachers in verdict_power.DESIGNS:
        holds, direction, fails = verdict_power.rates(claim, 0, seeds, teachers, TABLES)
        assert max(holds, direction) <= ALLOWED and fails <= ALLOWED, (seeds, teachers)


@pytest.mark.parametrize("claim", SIMULATIONS)
def test_an_effect_is_not_taken_for_its_opposite(claim: str) -> None:
    tables = 30
    allowed = stats.binom.ppf(0.999, tables, 0.05) / tables
    seeds, teachers = (5, 2) if claim in ABOUT_TEACHERS else (5, 1)
    _, direction, fails = verdict_power.rates(claim, 1, seeds, teachers, tables)
    holds, _, opposite = verdict_power.rates(claim, -1, seeds, teachers, tables)
    assert fails <= allowed and holds <= allowed and direction + opposite > 0, "neither effect is ever seen"


def test_rows_selected_once_give_the_same_verdicts() -> None:
    made = SIMULATIONS["M9"].tables(1, 5, 2, 3, np.random.default_rng(0))
    plain = [claims.verdict("M9", table).numbers for table in made]
    with verdict_power.selected_once():
        assert [claims.verdict("M9", table).numbers for table in made] == plain


def test_the_report_has_a_line_for_each_claim_and_design(tmp_path) -> None:  # type: ignore[no-untyped-def]
    found = verdict_power.main(
        ["--tables", "4", "--claims", "D6", "D15", "--workers", "1", "--out", str(tmp_path / "a.csv")]
    )
    again = verdict_power.main(
        ["--tables", "4", "--claims", "D6", "D15", "--workers", "1", "--out", str(tmp_path / "b.csv")]
    )
    assert found.equals(again) and len(found) == 2 * 3 * len(verdict_power.DESIGNS)
    text = (tmp_path / "a.md").read_text()
    assert text.count("| D6 |") == len(verdict_power.DESIGNS) == text.count("## ") and "more than 8" in text
