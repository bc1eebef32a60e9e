"""What a claim speaks of, read from its row in `data/paper/claims.csv`: datasets, fractions, prunings, KD weights, sizes.

Lists are written with `|`. Where datasets differ (`cifar100;svhn`), the fractions have a part for each (`<=0.4;<=0.08`):

    0.1|0.7         these fractions, each of them needed
    0.1|0.7|*       these, and every other fraction below 1 that was measured
    <=0.4, >=0.5    every measured fraction in the range (below 1), 0.3..0.7 likewise
    any             every measured fraction, all the data included

`prunings` are those that the claim needs; "a/b" is either of two names for one method. `alphas` are KD weights in
(1 - alpha) CE + alpha KD: the first is the paper's, and where it was not measured the next one stands in, which the
verdict says; D6 and D7 compare the first with the second, and `*` takes the largest. `threshold` is the size that the
claim prints (D4, M9, M10: its bound), `paper_effect` what the paper measured, `options` what else the claim names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import pandas as pd

from kdlib.utils import paths
from kdlib.utils.errors import choose


@dataclass(frozen=True)
class Claim:
    """One row of claims.csv; `fractions` is the text of the dataset that is judged."""

    id: str
    paper: str
    where: str
    claim: str
    quantity: str
    holds_if: str
    datasets: tuple[str, ...] = ()
    fractions: str = "*"
    prunings: tuple[str, ...] = ()
    alphas: tuple[str, ...] = ()
    threshold: float = 0.0
    paper_effect: str = ""
    options: str = ""

    def effects(self) -> dict[str, float]:
        """The paper's effects in points, by pruning or fraction; "" for a single one."""
        return {name: float(value) for name, value in _pairs(self.paper_effect)}

    def option(self, name: str) -> tuple[str, ...]:
        """The values of an option; KeyError if the claim has none of that name."""
        return tuple(dict(part.split("=") for part in self.options.split(","))[name].split("|"))

    def chosen(self, measured: Iterable[float]) -> tuple[list[float], list[float]]:
        """The measured fractions that the claim speaks of, and those that it needs but nobody measured."""
        there = sorted({round(float(f), 6) for f in measured})
        below = [f for f in there if f < 1]
        text = self.fractions
        if text == "any":
            return there, []
        if text.startswith(("<=", ">=")) or ".." in text:
            low, high = _range(text)
            return [f for f in below if low <= f <= high], []
        parts = text.split("|")
        needed = [float(part) for part in parts if part != "*"]
        found = below if "*" in parts else [f for f in below if f in needed]
        return found, [f for f in needed if f not in there]


def _range(text: str) -> tuple[float, float]:
    if text.startswith("<="):
        return 0.0, float(text[2:])
    if text.startswith(">="):
        return float(text[2:]), 1.0
    low, high = text.split("..")
    return float(low), float(high)


def _pairs(text: str) -> list[tuple[str, str]]:
    parts = [part.split("=") if "=" in part else ["", part] for part in text.split("|") if part]
    return [(name, value) for name, value in parts]


@lru_cache
def specifications() -> dict[str, Claim]:
    """Every claim of claims.csv by its id, with the fractions of its first dataset."""
    frame = pd.read_csv(paths.given("paper") / "claims.csv", dtype=str).fillna("")
    return {row["id"]: _claim(row) for row in frame.to_dict("records")}


def specification(claim: str, dataset: str = "") -> Claim:
    """The claim, with the fractions it names for the dataset; ValueError for an unknown id names the nearest."""
    found = choose("claim", claim, specifications())
    parts = _fraction_texts(found.id)
    if dataset in found.datasets and len(parts) == len(found.datasets):
        return Claim(**{**found.__dict__, "fractions": parts[found.datasets.index(dataset)]})
    return found


@lru_cache
def _fraction_texts(claim: str) -> tuple[str, ...]:
    frame = pd.read_csv(paths.given("paper") / "claims.csv", dtype=str).fillna("").set_index("id")
    return tuple(str(frame.fractions[claim]).split(";"))


def _claim(row: dict[str, str]) -> Claim:
    texts = {
        name: row[name] for name in ("id", "paper", "where", "claim", "quantity", "holds_if", "paper_effect", "options")
    }
    return Claim(
        **texts,
        datasets=tuple(row["dataset"].split(";")),
        fractions=row["fractions"].split(";")[0],
        prunings=_parts(row["prunings"]),
        alphas=_parts(row["alphas"]),
        threshold=float(row["threshold"] or 0),
    )


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split("|") if part)
