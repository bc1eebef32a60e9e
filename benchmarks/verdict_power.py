"""How often each verdict is right: `python -m benchmarks.verdict_power [--tables 1000] [--workers 2]`.

For each claim, made-up tables with no effect, the paper's effect and the opposite one (`benchmarks.simulated_claims`) are
judged. A verdict may hold or fail in at most 5% of the tables without an effect; how often it holds where the paper is right
is its power. The results go to benchmarks/results/verdict_power.csv and .md. The same seeds give the same numbers.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.simulated_claims import SIMULATIONS, SPREAD
from kdlib.analysis import tell
from kdlib.analysis.claims import FAILS, HOLDS, JUDGES, Claim, cells, specification

RESULTS = Path(__file__).parent / "results" / "verdict_power.csv"
DESIGNS = ((5, 2), (5, 5), (3, 1))  # seeds, teachers; as many teachers as seeds: each seed has its own
SIZES = {"no effect": 0, "paper's effect": 1, "opposite effect": -1}
DATASET = "cifar100"
COLUMNS = ["claim", "seeds", "teachers", "scenario", "tables", "holds", "direction", "fails", "effect"]


@contextmanager
def selected_once() -> Iterator[None]:
    """Inside, the rows of a claim are selected once: the tables of one design differ in their accuracies alone."""
    select, known = cells.layout, {}

    def layout(rows: pd.DataFrame, claim: Claim, free: tuple[str, ...], fixed: Mapping[str, object]) -> cells.Layout:
        wanted = (claim.id, free, repr(fixed))
        if wanted not in known:
            known[wanted] = select(rows, claim, free, fixed)
        return known[wanted]

    cells.layout = layout
    try:
        yield
    finally:
        cells.layout = select


def rates(claim: str, size: int, seeds: int, teachers: int, tables: int) -> tuple[float, float, float]:
    """The shares of tables in which the verdict is "holds", "holds" at least in direction, and "fails"."""
    rng = np.random.default_rng([list(SIMULATIONS).index(claim), size + 1, seeds, teachers])
    known = specification(claim, DATASET)
    with selected_once():
        found = [JUDGES[claim](table, known) for table in SIMULATIONS[claim].tables(size, seeds, teachers, tables, rng)]
    holds = [verdict.verdict == HOLDS for verdict in found]
    direction = [verdict.reading.startswith(HOLDS) for verdict in found]
    fails = [verdict.verdict == FAILS for verdict in found]
    return float(np.mean(holds)), float(np.mean(direction)), float(np.mean(fails))


def measured(point: tuple[str, str, int, int, int]) -> list:
    """One row of the results."""
    claim, scenario, seeds, teachers, tables = point
    found = rates(claim, SIZES[scenario], seeds, teachers, tables)
    return [claim, seeds, teachers, scenario, tables, *found, SIMULATIONS[claim].effect]


def as_markdown(found: pd.DataFrame) -> str:
    """The report: what was simulated, and a table for each design."""
    parts = [
        "# How often each verdict is right",
        f"{found.tables.iloc[0]} made-up tables for each number, in percent of the tables. Students spread by {SPREAD:.2f} "
        "points over seeds, as in data/results/cifar100_laptop.jsonl (pooled); those rows share one teacher, so teachers get "
        "the same spread. With one teacher a verdict is given this teacher, and there is no spread over teachers. "
        '"In direction" counts the verdicts that hold without the size that the paper prints. D13 is decided by a '
        "counterexample, without rows. Without an effect, a verdict may hold or fail in 5% of the tables.",
    ]
    for (seeds, teachers), design in found.groupby(["seeds", "teachers"], sort=False):
        own = ", each seed with its own" if seeds == teachers else ""
        parts.append(f"## {seeds} seeds, {teachers} teacher{'s' if teachers > 1 else ''}{own}")
        header = ["claim", "no effect: holds", "fails", "paper's effect: holds", "in direction", "fails",
                  "opposite: holds", "fails", "the paper's effect, in points"]  # fmt: skip
        parts.append(tell.table(header, [_line(claim, rows) for claim, rows in design.groupby("claim", sort=False)]))
    return "\n\n".join(parts) + "\n"


def _line(claim: object, rows: pd.DataFrame) -> Sequence[object]:
    at = rows.set_index("scenario")
    wanted = [("no effect", "holds"), ("no effect", "fails"), ("paper's effect", "holds"), ("paper's effect", "direction"),
              ("paper's effect", "fails"), ("opposite effect", "holds"), ("opposite effect", "fails")]  # fmt: skip
    return [claim, *(f"{100 * at.loc[scenario, name]:.1f}" for scenario, name in wanted), at.effect.iloc[0]]


def main(argv: Sequence[str] | None = None) -> pd.DataFrame:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tables", type=int, default=1000, help="made-up tables for each number")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--claims", nargs="+", default=list(SIMULATIONS), help="these claims only")
    parser.add_argument("--out", type=Path, default=RESULTS, help="table to write; the report lies beside it")
    given = parser.parse_args(argv)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    rows: list[list] = []
    with ProcessPoolExecutor(given.workers) as pool:
        for design in DESIGNS:
            rows += pool.map(measured, [(c, s, *design, given.tables) for c in given.claims for s in SIZES])
            found = pd.DataFrame(rows, columns=COLUMNS)
            found.to_csv(given.out, index=False)
            given.out.with_suffix(".md").write_text(as_markdown(found))
    return found


if __name__ == "__main__":
    main()
