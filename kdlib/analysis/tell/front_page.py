"""The claims of both papers in short: how many hold, and the answer to "random or medium?", from the verdicts of studies.

`judged` is what `kdlib.analysis.claims.studies.judged` returns: the verdicts on every claim, by the study's name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from kdlib.analysis.claims import FAILS, HOLDS, NOT_MEASURED, UNDECIDED, Effect, Verdict
from kdlib.analysis.statistics import Interval
from kdlib.analysis.tell import SAME, direction, listed, number

Judged = Mapping[str, Sequence[Verdict]]
SPLIT = "studies differ"
OF_THEORY = "D13"  # needs no rows: every study says the same


class Line(NamedTuple):
    """One line of the scoreboard: what a study says about a claim."""

    verdict: Verdict
    study: str


def lines(judged: Judged) -> list[Line]:
    """What was decided or measured, in the claims' order: a line for each claim and study, theory once."""
    by_claim: dict[str, list[Line]] = {}
    for study, verdicts in judged.items():
        for verdict in verdicts:
            found = by_claim.setdefault(verdict.claim, [])
            theory = verdict.claim == OF_THEORY
            if (verdict.verdict != NOT_MEASURED or verdict.effects) and not (theory and found):
                found.append(Line(verdict, "" if theory else study))
    return [line for found in by_claim.values() for line in found]


def status(judged: Judged) -> dict[str, str]:
    """Each claim's verdict over all studies: "holds", "fails", "undecided", "not measured", or that studies differ."""
    found: dict[str, set[str]] = {}
    for verdicts in judged.values():
        for verdict in verdicts:
            found.setdefault(verdict.claim, set()).add(verdict.verdict)
    return {claim: _over_studies(said) for claim, said in found.items()}


def _over_studies(said: set[str]) -> str:
    if {HOLDS, FAILS} <= said:
        return SPLIT
    return next(verdict for verdict in (HOLDS, FAILS, UNDECIDED, NOT_MEASURED) if verdict in said)


def tally(judged: Judged) -> str:
    """One sentence: `Of 26 claims, each on the data that it speaks of, 1 holds, 2 fail and 23 are not measured yet.`"""
    counts = list(status(judged).values())
    words = {
        HOLDS: ("holds", "hold"),
        FAILS: ("fails", "fail"),
        SPLIT: ("holds in one study and fails in another", "hold in one study and fail in another"),
        UNDECIDED: ("is undecided", "are undecided"),
        NOT_MEASURED: ("is not measured yet", "are not measured yet"),
    }
    told = [f"{counts.count(kind)} {texts[counts.count(kind) > 1]}" for kind, texts in words.items() if kind in counts]
    return f"Of {len(counts)} claims, each on the data that it speaks of, {listed(told)}."


def teacher_adds(gains: pd.DataFrame) -> str:
    """One sentence on students of random samples (columns pruning, fraction, mean, half, n; mean and half in points)."""
    random = gains[gains.pruning == "random"].sort_values("fraction")
    told = [
        f"{number(Interval(row['mean'], row.half, int(row.n)))} at f = {row.fraction:g}" for _, row in random.iterrows()
    ]
    return f"On samples kept at random the teacher adds, in points of test accuracy, {listed(told)} (95% intervals)."


def medium_adds(leads: pd.DataFrame) -> str:
    """One sentence on medium minus random samples with KD, from `against_random` (random minus each); empty without any."""
    medium = leads[leads.pruning == "medium"].sort_values("fraction")
    found = {row.fraction: Interval(-row["mean"], row.half, int(row.n)) for _, row in medium.iterrows()}
    if not found:
        return ""
    told = listed([f"{number(difference)} at f = {fraction:g}" for fraction, difference in found.items()])
    seen = "; no difference detected" if all(direction(d) == SAME for d in found.values()) else ""
    return (
        "In the study of the figure, with the KD weight α = 0.5, medium minus random is, in points of test accuracy, "
        f"{told} (95% intervals){seen}."
    )


ANSWERS = {
    HOLDS: "Medium: with a teacher, samples of medium difficulty give more accuracy than random ones",
    FAILS: "Not medium: with a teacher, samples of medium difficulty give less accuracy than random ones at one kept "
    "fraction at least",
    UNDECIDED: "Undecided: with a teacher, neither random samples nor those of medium difficulty are shown to be better "
    "at every kept fraction",
}
NOTHING = (
    "Not measured yet: on the data and at the kept fractions that the claim speaks of, no study here has trained students "
    "with a teacher on random samples and on samples of medium difficulty; lesson 11 compares them on digits."
)


def random_or_medium(judged: Judged) -> str:
    """One sentence on claim M1 (medium against random samples, with KD), with the interval at every fraction measured.

    Of several studies the one counts that decides; else the first that measured something.
    """
    found = [Line(v, study) for study, verdicts in judged.items() for v in verdicts if v.claim == "M1"]
    measured = [line for line in found if any(not math.isnan(effect.estimate.mean) for effect in line.verdict.effects)]
    if not measured:
        return NOTHING
    best = min(measured, key=lambda line: [HOLDS, FAILS, UNDECIDED, NOT_MEASURED].index(line.verdict.verdict))
    verdict = best.verdict
    answer = ANSWERS.get(verdict.verdict, f"Only on other data than the claim's ({verdict.reading})")
    differences = listed([_at(effect) for effect in verdict.effects])
    given = f", {verdict.given}" if verdict.given else ""
    return (
        f"{answer}; medium minus random, in points of test accuracy: {differences} (95% intervals{given}), measured on "
        f"{best.study}."
    )


def _at(effect: Effect) -> str:
    """`-0.7 ± 0.5 (n = 3) at f = 0.3`."""
    return f"{number(effect.estimate)} at {effect.where.rsplit(', ', 1)[-1]}"
