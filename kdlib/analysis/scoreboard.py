"""All claims of both papers at once: which runs decide which claim, the verdicts on several sets of rows, their power."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from kdlib.analysis import claims
from kdlib.analysis.claims import Verdict, studies
from kdlib.analysis.reproduction import FIGURES, Setting
from kdlib.experiments.config import Run
from kdlib.experiments.grid import sweep_runs
from kdlib.store.artefacts import Store
from kdlib.utils import paths

SMALL_F = 0.1  # where DKDP's claims about teachers are made
Rows = Mapping[str, pd.DataFrame]
"""The rows that count for each claim, by its id."""


def _few(r: Run, setting: Setting) -> bool:
    return {"seed": r.seed} in setting.few


def _small(r: Run, setting: Setting) -> bool:
    return _few(r, setting) and r.fraction == SMALL_F


def _random(r: Run, setting: Setting) -> bool:
    return _few(r, setting) and r.scorer == "random" and r.fraction < 1


# A figure, the claims that its runs speak of, and which of its runs are enough.
DECIDED_BY: dict[str, tuple[tuple[str, ...], Callable[[Run, Setting], bool]]] = {
    "dkdp-fig4": (("D1", "D2", "D3", "D4", "D5", "D16"), _few),
    "dkdp-fig6": (("D6", "D7", "D8"), _few),
    "dkdp-fig7": (("D9", "D10"), _small),
    "dkdp-fig10": (("D11",), _small),
    "md-table1": (("M1", "M2", "M3"), _few),
    "md-fig5": (("M10",), _random),
}


def runs_of(figure: str, setting: Setting) -> list[Run]:
    """The runs of a figure that the scoreboard trains."""
    enough = DECIDED_BY[figure][1]
    return [r for r in FIGURES[figure].runs(setting) if enough(r, setting)]


def live(setting: Setting, workers: int = 1, store: Store | None = None) -> dict[str, pd.DataFrame]:
    """Train the runs of every figure in `DECIDED_BY`, or read them; the rows of each claim."""
    wanted = {figure: runs_of(figure, setting) for figure in DECIDED_BY}
    everything = list(dict.fromkeys(r for runs in wanted.values() for r in runs))
    table = sweep_runs(everything, names=("scorer", "fraction", "loss", "alpha", "seed"), workers=workers, store=store)
    place = {r: k for k, r in enumerate(everything)}
    found: dict[str, pd.DataFrame] = {}
    for figure, runs in wanted.items():
        rows = table.iloc[[place[r] for r in runs]].reset_index(drop=True)
        found |= dict.fromkeys(DECIDED_BY[figure][0], rows)
    return found


def committed() -> dict[str, dict[str, pd.DataFrame]]:
    """The studies in data/results on data that the claims speak of: name -> claim -> its rows, or its table of records.

    Studies of the same students on the same data are told apart by the names of their files.
    """
    known = {name for claim in claims.specifications().values() for name in claim.datasets}
    found: dict[str, list[tuple[str, pd.DataFrame]]] = {}
    for file in studies.files():
        for k, (_, rows) in enumerate(studies.measured([file])):
            first = rows.iloc[0]
            if first.dataset in known and not studies.former(rows):
                own = file.stem.removeprefix(f"{first.dataset}_") + (f" ({k + 1})" if k else "")
                found.setdefault(f"{first.dataset}, {first.student}, {first.epochs} epochs", []).append((own, rows))
    return {
        f"{name}, {own}" if len(several) > 1 else name: {**dict.fromkeys(claims.CLAIMS, rows), **claims.recorded(rows)}
        for name, several in found.items()
        for own, rows in several
    }


def left_out() -> dict[str, tuple[int, str]]:
    """The studies in data/results that `committed` leaves out: name -> (rows, the reason)."""
    known = {name for claim in claims.specifications().values() for name in claim.datasets}
    found = {}
    for name, rows in studies.measured(studies.files()):
        if studies.former(rows):
            found[name] = (len(rows), "made before the protocols were mended")
        elif rows.dataset.iloc[0] not in known:
            found[name] = (len(rows), "no claim speaks of these data")
    return found


def verdicts(rows: Rows) -> dict[str, Verdict]:
    """The verdict on every claim; a claim without rows is not measured."""
    return {claim: claims.verdict(claim, rows.get(claim, pd.DataFrame())) for claim in claims.CLAIMS}


def power() -> pd.DataFrame:
    """How often each verdict holds and fails on made-up tables, from benchmarks/results; see that folder's report.

    Columns claim, seeds, teachers, scenario ("no effect", "paper's effect", "opposite effect"), tables, holds, direction,
    fails (shares in [0, 1]), effect (the paper's effect in words).
    """
    return pd.read_csv(paths.measured() / "verdict_power.csv")


def short(found: Verdict) -> str:
    """One word for a verdict: holds, in direction, undecided, fails or not measured; on any dataset."""
    reading = found.reading.split(": ", 1)[1] if found.reading.startswith("on ") else found.reading
    if reading.startswith("holds in direction"):
        return "in direction"
    return next(word for word in (*WORDS, "") if reading.startswith(word)) or "not measured"


WORDS: Sequence[str] = ("holds", "in direction", "undecided", "fails", "not measured")
