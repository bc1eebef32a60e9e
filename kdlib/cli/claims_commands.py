"""The command `claims`: the verdicts on the papers' claims, from the rows in data/results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from kdlib.analysis import claims
from kdlib.analysis.claims import studies
from kdlib.analysis.measurements import MEASURED, file_of, measure
from kdlib.cli.arguments import UsageError, note, option, parse, usage
from kdlib.experiments.config import PRESETS
from kdlib.store.artefacts import Store
from kdlib.utils import paths, progress
from kdlib.utils.errors import choose


@dataclass(frozen=True)
class ClaimsOptions:
    """What the rows in data/results say about each claim of the papers: a line for each claim and study."""

    dataset: str = option("", "rows of this dataset only")
    preset: str = option("", "rows of this preset's recipe only: smoke, class, laptop, paper")
    why: str = option("", f"a claim's rule, runs, effects and the paper's numbers. One of: {', '.join(claims.CLAIMS)}")
    measure: str = option(
        "",
        f"measure on CIFAR-100 what no accuracy says, one of: {', '.join(MEASURED)}; trains what is missing, for hours",
    )
    rows: tuple[str, ...] = option((), "files of rows (JSON lines); default: all of data/results")


def claims_command(args: list[str]) -> int:
    """`python -m kdlib claims`."""
    flags = parse(ClaimsOptions, args, "claims")
    if flags.measure:
        return _measure(flags)
    with usage():
        if flags.why:
            choose("claim", flags.why, claims.CLAIMS)
        fixed = choose("preset", flags.preset, PRESETS).fixed if flags.preset else {}
        found = list(studies.measured(_files(flags.rows), flags.dataset, fixed))
    if not found and flags.why != "D13":
        raise UsageError(
            f"no rows{f' of {flags.dataset}' if flags.dataset else ''}; there are: {_there(_files(flags.rows))}"
        )
    for name, rows in found or [("no rows", pd.DataFrame())]:
        print(f"{name}: {len(rows)} rows")
        with progress.working("judging them"):
            tables = claims.recorded(rows)
            if flags.why:
                said = _why(flags.why, tables.get(flags.why, rows))
            else:
                said = "\n".join(map(claims.line, claims.all_verdicts(rows, tables=tables)))
        print(f"{said}\n")
    return 0


def _measure(flags: ClaimsOptions) -> int:
    """Make the claim's table of records, one run after the other."""
    with usage():
        choose("claim with a table of records", flags.measure, MEASURED)
    if flags.why or flags.dataset or flags.preset or flags.rows:
        raise UsageError("--measure stands alone: it has the runs of a study and judges nothing")
    for done, wanted in measure(flags.measure, Store()):
        note(f"{done} of {wanted} runs are in {file_of(flags.measure)}")
    return 0


def _files(named: Sequence[str]) -> list[Path]:
    files = [Path(name) for name in named] or studies.files()
    for file in files:
        if not file.is_file():
            raise UsageError(f"there is no file {file}")
    return files


def _there(files: Sequence[Path]) -> str:
    known = sorted({str(row.get("dataset")) for file in files for row in studies.read_rows(file)})
    return ", ".join(known) or "none at all"


def _why(claim: str, rows: pd.DataFrame) -> str:
    numbers = pd.read_csv(paths.given("paper") / "reported.csv")
    datasets = set(rows.dataset) if "dataset" in rows else {""}
    return claims.explained(claims.verdict(claim, rows), claims.specification(claim, datasets.pop()), numbers)
