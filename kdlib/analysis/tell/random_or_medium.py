"""What a lesson says about random against medium samples: who leads where, what could be seen, what would be printed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kdlib.analysis.claims import specification
from kdlib.analysis.design import Ratio
from kdlib.analysis.names import named
from kdlib.analysis.statistics import Interval, interval, intervals
from kdlib.analysis.tell import FALLS, FEW, RISES, SAME, SEEN, SIDES, comparison, direction, listed, number
from kdlib.analysis.tell import table as as_table

PAPERS = {"dkdp": "first paper", "medium": "second paper"}
NUMBERS = r"(?<=\d)-(?=\d)"  # the sign in "Tables 7-9"
WINNERS = {RISES: "medium", FALLS: "random", SAME: "not decided", FEW: "too few pairs"}


def one_pair(random: Mapping[str, Any], medium: Mapping[str, Any]) -> str:
    """Two rows of `run` that differ in the kept samples alone."""
    gap = medium["test_acc"] - random["test_acc"]
    said = "equal" if gap == 0 else f"{abs(gap):.1f} points {'for medium' if gap > 0 else 'for random'}"
    return (
        f"One teacher ({medium['teacher_acc']:.1f}%), {medium['kept']} samples, {medium['steps']} steps, the same initial "
        f"weights: random **{random['test_acc']:.1f}%**, medium **{medium['test_acc']:.1f}%**, so {said}. Is that an answer?"
    )


def sentences(claims: Sequence[str]) -> str:
    """What the papers claim and where: a table of `data/paper/claims.csv`."""
    rows = []
    for name in claims:
        claim = specification(name)
        where = f"{PAPERS.get(claim.paper, claim.paper)}, {re.sub(NUMBERS, ' to ', claim.where)}"
        compared = listed([named(pruning.split("/")[-1]) for pruning in claim.prunings])
        rows.append([f"**{name}**", claim.claim, where, fractions(claim.fractions), compared])
    return as_table(["claim", "in words", "source", "f", "samples compared"], rows)


def fractions(text: str) -> str:
    """The fractions of a claim in words: "<=0.4" -> "up to 40%", "0.3|0.7|*" -> "30%, 70% and others"."""
    if text.startswith("<="):
        return f"up to {float(text[2:]):.0%}"
    return listed(["others" if part == "*" else f"{float(part):.0%}" for part in text.split("|")])


def pairs(random: NDArray, medium: NDArray, unpaired: Interval, p: float) -> str:
    """Accuracies (S,) of both arms, seed by seed: the paired interval beside the unpaired one; p of the sign-flip test."""
    differences = medium - random
    found = interval(differences)
    widths = ""
    if not np.isnan(found.half):
        narrower = "narrower" if found.half < unpaired.half else "not narrower"
        together = np.corrcoef(random, medium)[0, 1]
        widths = (
            f" The paired interval is {narrower} than the unpaired one (± {unpaired.half:.1f}): pairing pays as far as a "
            f"seed's luck is shared by both arms, and their correlation over the seeds is {together:+.2f} here."
        )
    return (
        f"{SEEN}Medium is ahead in {int((differences > 0).sum())} of {len(differences)} pairs. "
        f"{comparison('Medium', 'random', found)}{widths} "
        f"If the sign of each difference were random, a mean as large as this would come up in {p:.1%} of all cases."
    )


def fixed_subset(redrawn: NDArray, fixed: NDArray, medium: NDArray, ratio: Ratio) -> str:
    """How far students spread with a redrawn and with one random subset, in points; `ratio`: redrawn over fixed."""
    if ratio.low > 1:
        said = "so one subset for all trials hides a part of the spread"
    else:
        said = (
            "so these students do not show that one subset hides a part of the spread"
            if ratio.high > 1
            else "a surprise"
        )
    return (
        f"{SEEN}The students' standard deviation is {redrawn.std(ddof=1):.2f} points where each draws its own random subset, "
        f"{fixed.std(ddof=1):.2f} where all share one, {medium.std(ddof=1):.2f} on medium samples. The first is "
        f"{ratio.value:.1f} times the second (95% interval {ratio.low:.1f} to {ratio.high:.1f}): {said}."
    )


def who_leads(found: pd.DataFrame, teachers: int) -> str:
    """A table of winners: columns teacher, line, fraction, mean, half, n (medium minus random)."""
    fractions = sorted(found.fraction.unique())
    rows = []
    for (teacher, line), group in found.groupby(["teacher", "line"], sort=False):
        at = intervals(group, ["fraction"])
        rows.append([teacher, line, *(_cell(at[f]) if f in at else "" for f in fractions)])
    header = ["teacher", "medium minus random, with", *(f"f = {f:.0%}" for f in fractions)]
    note = f"points, 95% interval; n = {int(found.n.min())} pairs in each cell, {teachers} teachers of each kind"
    return f"{SEEN}Who leads ({note}):\n\n{as_table(header, rows)}"


def _cell(found: Interval) -> str:
    """`-0.52 ± 0.49 random`; a winner's name is bold."""
    winner = WINNERS[direction(found)]
    size = f"{found.mean:+.2f}" + ("" if np.isnan(found.half) else f" ± {found.half:.2f}")
    return f"{size} **{winner}**" if winner in ("medium", "random") else f"{size} {winner}"


def turns(found: Mapping[str, Mapping[float, Interval]]) -> str:
    """What changes the lead of medium: name of the change -> f -> difference of two leads, in points."""
    rows = []
    for name, at in found.items():
        moved = [f"{f:.0%}" for f, value in at.items() if direction(value) in (RISES, FALLS)]
        rows.append([name, *(number(value, 2) for value in at.values()), listed(moved) or "nowhere"])
    fractions = list(next(iter(found.values())))
    header = ["what changes the lead", *(f"f = {f:.0%}" for f in fractions), "detected at f ="]
    count = sum(len(at) for at in found.values())
    return (
        f"{SEEN}The lead of medium with the change minus the lead without, in points:\n\n{as_table(header, rows)}\n\n"
        f"Of {count} differences about {0.05 * count:.1f} would be detected by chance alone if nothing differed."
    )


def ends(found: Mapping[str, Interval], smallest: float, largest: float) -> str:
    """The lead of medium at the smallest f minus that at the largest, by the kind of teacher, in points."""
    told = [f"{name} {number(value)}, {SIDES.get(way := direction(value), way)}" for name, value in found.items()]
    return f"The lead of medium at f = {smallest:.0%} minus that at f = {largest:.0%}, in points: {'; '.join(told)}."


def by_teachers(found: Interval, teachers: int) -> str:
    """Medium against random with an interval over the means of the teachers, whose n counts the pairs."""
    said = comparison("Medium", "random", found)
    counted = f"{found.n} pairs, {teachers} teacher{'s' * (teachers > 1)}"
    return said.replace(f"n = {found.n}", f"n = {counted}")


def first_protocol(found: pd.DataFrame) -> str:
    """The distillation paper's protocol: random minus each scorer by f, by means; columns pruning, fraction, mean, half, n.

    The means are taken as the table shows them, to a tenth of a point.
    """
    worst = found.groupby("fraction")["mean"].min().round(1)
    wins, ties, losses = (worst.index[sign] for sign in (worst > 0, worst == 0, worst < 0))
    said = [f"random beats each scorer at f = {_percents(wins)}" if len(wins) else "random beats all scorers nowhere"]
    said += [f"is level with the best one at f = {_percents(ties)}"] if len(ties) else []
    said += [f"loses to at least one at f = {_percents(losses)}"] if len(losses) else []
    signs = {"above": found["mean"] > found.half, "below": found["mean"] < -found.half}
    sure = [
        f"{way} it at {sign.sum()}" + (f" (f = {_percents(found.fraction[sign])})" if sign.any() else "")
        for way, sign in signs.items()
    ]
    return (
        f"**The first paper's protocol** (own kind of teacher, scorers' hardest samples, means): {listed(said)}. Of the "
        f"{len(found)} intervals below, those that leave out zero lie {listed(sure)}. The medium window is not among the "
        "candidates, so nothing is said about it."
    )


def _percents(fractions: Iterable[float]) -> str:
    return listed([f"{f:.0%}" for f in sorted(set(fractions))])


def second_protocol(shares: Mapping[str, pd.DataFrame], trials: int, theirs: Sequence[float]) -> str:
    """The medium paper's protocol: shares of all studies of `trials` seeds, over its fractions `theirs`."""
    lines = []
    for name, found in shares.items():
        at = found.dropna(subset="fraction").set_index("fraction")
        told = [
            f"{at.first_higher[f]:.0%} at f = {f:.0%} (mean ± SD of the two lie apart, whichever leads, in {at.apart[f]:.0%})"
            for f in theirs
            if f in at.index
        ]
        every = found[found.fraction.isna()].iloc[0]
        lines.append(
            f"- {name}: medium has the higher mean in {listed(told)}; at every f, small ones included, in "
            f"{every.first_higher:.0%}, and random in {every.second_higher:.0%}"
        )
    return (
        f"**The second paper's protocol** (means of {trials} trials): of all studies that could be made of our seeds,\n\n"
        + "\n".join(lines)
    )


def by_simulation(simulated: Mapping[float, float], exact: Mapping[float, float], n: int) -> str:
    """Power by hand beside kdlib's, as a table: effect in points -> probability."""
    rows = [[f"{e:g}", f"{simulated[e]:.0%}", f"{exact[e]:.0%}"] for e in simulated]
    return f"With n = {n} pairs:\n\n" + as_table(
        ["true difference (points)", "detected, simulated", "detected, formula"], rows
    )


def seen_by(
    spread: Mapping[float, float], effects: Mapping[float, float], needed: Mapping[float, int], n: int, size: float
) -> str:
    """What n pairs could detect at each f, and how many pairs an effect of `size` points needs."""
    rows = [[f"{f:.0%}", f"{spread[f]:.2f}", f"{effects[f]:.2f}", str(needed[f])] for f in spread]
    header = ["f", "spread of the differences (points)", f"n = {n} detect (points)", f"pairs for {size:.1f} points"]
    return f"{SEEN}Detected with probability 80%:\n\n" + as_table(header, rows)


def cifar(found: Mapping[str, pd.DataFrame], teacher: str = "") -> str:
    """Medium minus random on CIFAR-100 in each study of ours: name -> fraction, mean, half, n; teacher: as `medium.given`."""
    lines = []
    for name, part in found.items():
        if part.empty:
            lines.append(f"- {name}: not measured yet.")
            continue
        at = intervals(part, ["fraction"])
        lines.append(
            f"- {name}: {listed([f'{number(v)} at f = {f:.0%} ({WINNERS[direction(v)]})' for f, v in at.items()])}."
        )
    return f"Medium minus random in points, CIFAR-100{teacher}:\n\n" + "\n".join(lines)


def answer(found: pd.DataFrame) -> str:
    """Who is right where, in one paragraph: columns teacher, line, fraction, mean, half, n."""
    ways = [direction(Interval(r["mean"], r["half"], r["n"])) for r in found.to_dict("records")]
    at = found.assign(winner=[WINNERS[way] for way in ways])
    sentences = {"medium": "medium leads", "random": "random leads", "not decided": "neither is detected ahead"}
    said = []
    for winner, sentence in sentences.items():
        cells = at[at.winner == winner]
        where = listed([f"{f:.0%}" for f in sorted(cells.fraction.unique())])
        said.append(f"{sentence} in {len(cells)} of {len(at)} cells" + (f" (f = {where})" if len(cells) else ""))
    few = int((at.winner == WINNERS[FEW]).sum())
    rest = f"; {few} of {len(at)} cells have too few pairs" if few else ""
    return (
        f"**On these students:** {listed(said)}{rest}. A cell is one f with one kind of teacher and one loss; of {len(at)} "
        f"cells about {0.05 * len(at):.1f} would be detected by chance alone if nothing differed."
    )
