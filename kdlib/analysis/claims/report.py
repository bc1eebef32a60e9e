"""Verdicts as text: a line for each, the reasons behind one, and a Markdown table."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import pandas as pd

from kdlib.analysis.claims.specification import Claim
from kdlib.analysis.claims.verdict import NOT_MEASURED, Effect, Verdict
from kdlib.analysis.statistics import shown_digits


def line(verdict: Verdict) -> str:
    """`D6  holds in direction, not in size, given this teacher: +7.11 ± 3.11, ...`."""
    text = verdict.reading.replace(f", {verdict.given}", "") if verdict.given else verdict.reading
    return f"{verdict.claim:<4}{text}: {verdict.numbers}"


def explained(verdict: Verdict, claim: Claim, numbers: pd.DataFrame) -> str:
    """Everything behind a verdict: the claim, the rule, the runs, the effects point by point, and the paper's numbers.

    numbers: the rows of data/paper/reported.csv.
    """
    parts = [
        f"{claim.id}: {claim.claim} ({'DKDP' if claim.paper == 'dkdp' else 'MD'}, {claim.where})",
        f"verdict: {verdict.reading}",
        f"rule: {verdict.rule or claim.holds_if}",
        *([f"threshold: {_thresholds(verdict)}"] if verdict.effects else []),
        f"runs: {verdict.runs}{', ' + verdict.given if verdict.given else ''}",
        *(["effects (95% interval):"] if verdict.effects else []),
        *(f"  {_effect(effect)}" for effect in verdict.effects),
        *(f"left out: {text}" for text in verdict.left_out),
        *(f"note: {text}" for text in verdict.notes),
        *_paper_numbers(claim, numbers),
    ]
    return "\n".join(parts)


def _thresholds(verdict: Verdict) -> str:
    sizes = sorted({effect.size for effect in verdict.effects if effect.size is not None})
    text = ", ".join(f"{value:g}" for value in verdict.thresholds)
    return f"{text}; the paper's size: {', '.join(f'{size:g}' for size in sizes)}" if sizes else text


def _effect(effect: Effect) -> str:
    found, digits = effect.estimate, shown_digits(effect.estimate.half, 2)
    spread = "no interval" if math.isnan(found.half) else f"± {found.half:.{digits}f}"
    side = "above" if effect.above else "below" if effect.below else "neither"
    teachers = f", {found.teachers} teachers" if found.teachers > 1 else ""
    paper = f"; paper {effect.paper:+g}" if effect.paper is not None else ""
    return f"{found.mean:+8.{digits}f} {spread} (n = {found.n}{teachers}) {side}: {effect.where}{paper}"


def _paper_numbers(claim: Claim, numbers: pd.DataFrame) -> list[str]:
    """What the paper prints in the places that the claim names."""
    places = [place.strip().replace("Tables", "Table") for place in claim.where.split(";")]
    wanted = [place for text in places for place in _tables(text)]
    found = numbers[
        (numbers.paper == claim.paper)
        & numbers["where"].str.replace(" ", "").isin([p.replace(" ", "") for p in wanted])
    ]
    named = [p.split("/")[-1] for p in claim.prunings if p != "*"]
    of_these = found[found.pruning.isin(named)] if found.pruning.isin(named).any() else found
    told = [
        f"  {row.value:g} {row.metric}: {row.dataset}, {row.student}, {row.pruning}, {row.loss}, f = {row.fraction:g}"
        f" ({row.where})"
        for row in of_these.itertuples()
    ]
    return (
        [f"the paper prints (in {', '.join(wanted)}):", *told]
        if told
        else ["the paper prints no numbers in data/paper/reported.csv"]
    )


def _tables(place: str) -> list[str]:
    """`Table 7-9` as its three tables."""
    found = re.fullmatch(r"Table (\d+)-(\d+)", place)
    return [f"Table {k}" for k in range(int(found[1]), int(found[2]) + 1)] if found else [place]


def as_markdown(found: Mapping[str, Sequence[Verdict]], claims: Mapping[str, str]) -> str:
    """A table of verdicts: a line for each claim (its text without brackets), a column for each set of rows.

    Each cell has the verdict and its numbers, and below the table stands each claim's rule. Claims that no column has
    measured are named in one line.
    """
    rows = [
        same for same in zip(*found.values(), strict=True) if any(v.verdict != NOT_MEASURED or v.effects for v in same)
    ]
    absent = [same[0].claim for same in zip(*found.values(), strict=True) if same not in rows]
    lines = [f"| claim | {' | '.join(found)} |", "|:---" * (len(found) + 1) + "|"]
    for same in rows:
        cells = " | ".join(f"**{v.reading}**: {'; '.join(dict.fromkeys([v.numbers, v.runs]))}" for v in same)
        text = re.sub(r" \([^)]*\)", "", claims[same[0].claim])
        lines.append(f"| **{same[0].claim}** {text} | {cells} |")
    told = [f"Rule of {same[0].claim}: {same[0].rule}." for same in rows if same[0].rule]
    told += [f"Not measured here: {', '.join(absent)}."] if absent else []
    return "\n".join(lines) + "\n\n" + "\n\n".join(told)
