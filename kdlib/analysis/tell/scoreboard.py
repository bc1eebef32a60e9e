"""What the last lesson says about verdicts: how often they are right, what the board shows, and what stands behind each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from kdlib.analysis.claims import Effect, Verdict, reasons, specifications
from kdlib.analysis.plots.scoreboard import LIMIT, design
from kdlib.analysis.scoreboard import WORDS, short
from kdlib.analysis.statistics import Interval
from kdlib.analysis.tell import SEEN, folded, listed, number
from kdlib.analysis.tell import table as as_table

MOST = 30  # effects that an unfolded claim lists; the rest is counted
MOST_REASONS = 4  # reasons for which a claim is not measured
PERCENT = 100
OFTEN = 80.0  # percent of tables: a usual power


def first(found: Verdict, rows: pd.DataFrame) -> str:
    """The verdict of the first section, and the runs it rests on."""
    claim = specifications()[found.claim]
    return (
        f"**{found.claim}**, {claim.claim}. On {len(rows)} rows of {rows.dataset.iloc[0]} ({rows.student.iloc[0]}, "
        f"{rows.epochs.iloc[0]} epochs): **{found.reading}**. {found.numbers}; {found.runs}."
    )


def power_by_hand(effects: ArrayLike, rule: Mapping[int, ArrayLike], looser: ArrayLike) -> str:
    """From which effect on the rule mostly holds: seeds -> percent of tables at each effect; the looser rule without one."""
    at = np.asarray(effects)
    said = []
    for n, values in rule.items():
        often = at[np.asarray(values) >= OFTEN]
        said.append(f"{f'{often[0]:g}' if len(often) else 'none of these'} with {n} seeds")
    wrong = [float(np.asarray(values)[0]) for values in rule.values()]
    loose = float(np.asarray(looser)[0])
    return (
        f"{SEEN}The smallest effect, in points, at which the rule holds in at least {OFTEN:g}% of the tables: {listed(said)}. "
        f"Without an effect it holds in {max(wrong):.1f}% at most. The looser rule holds in {loose:.1f}% of the tables without "
        f"an effect, {_against_the_limit(loose)}."
    )


def _against_the_limit(percent: float) -> str:
    return f"{'more than' if percent > LIMIT else 'within'} the {LIMIT:g}% allowed"


def many_points(gain: float, points: ArrayLike, single: ArrayLike, corrected: ArrayLike) -> str:
    """How often a claim with a true gain fails, at the fewest and the most points: percent, one by one and after Holm."""
    at, first, second = np.asarray(points), np.asarray(single), np.asarray(corrected)
    return (
        f"{SEEN}The true gain is {gain:g} points everywhere: each *fails* is wrong. At {at[-1]} points {first[-1]:.1f}% "
        f"of the tables fail one by one, {_against_the_limit(first[-1])}; after Holm {second[-1]:.1f}%, "
        f"{_against_the_limit(second[-1])}. At {at[0]} the shares are {first[0]:.1f}% and {second[0]:.1f}%."
    )


def repetitions(students: ArrayLike, alarms: Mapping[str, ArrayLike]) -> str:
    """How many intervals miss a true zero, at the fewest and the most students of each teacher: sample -> percent."""
    at = np.asarray(students)
    most = [f"{np.asarray(values)[-1]:.1f}% over {name}" for name, values in alarms.items()]
    fewest = [f"{np.asarray(values)[0]:.1f}%" for values in alarms.values()]
    return (
        f"{SEEN}There is no effect, and 95% intervals should miss zero in {LIMIT:g}% of the tables. With {at[-1]} students of "
        f"each teacher they do so in {listed(most)}; with {at[0]} in {listed(fewest)}."
    )


def left_out(found: Mapping[str, tuple[int, str]]) -> str:
    """The studies that no verdict here rests on: name -> (rows, the reason)."""
    said = "; ".join(f"{rows} row{'' if rows == 1 else 's'} of {name}: {why}" for name, (rows, why) in found.items())
    return f"Left out: {said}. No verdict here rests on them." if said else "All rows in `data/results` are judged."


def power(table: pd.DataFrame, designs: Sequence[tuple[int, int]]) -> str:
    """Which verdicts would mostly hold and which hardly ever, were the paper right; and the largest rate of error."""
    parts = []
    for seeds, teachers in designs:
        at = table[(table.seeds == seeds) & (table.teachers == teachers)]
        right = at[at.scenario == "paper's effect"].set_index("claim").holds
        none = at[at.scenario == "no effect"]
        often = [claim for claim, share in right.items() if share >= 0.8]
        rarely = [claim for claim, share in right.items() if share < 0.2]
        worst = PERCENT * max(none.holds.max(), none.fails.max())
        parts.append([design(seeds, teachers), listed(often) or "none", listed(rarely) or "none", f"{worst:.1f}%"])
    header = [
        "design",
        "holds in at least 80% of the tables",
        "holds in less than 20%",
        "largest rate of error without an effect",
    ]
    sizes = table.groupby("claim").effect.first()
    return (
        f"{SEEN}If effects of the paper's size are true (for {sizes.str.contains('assumed').sum()} of {len(sizes)} claims at "
        f"least part of the size had to be assumed):\n\n{as_table(header, parts)}"
    )


def counts(found: Mapping[str, Mapping[str, Verdict]]) -> str:
    """How many claims each set of rows leaves with each verdict."""
    rows = []
    for name, verdicts in found.items():
        words = [short(v) for v in verdicts.values()]
        rows.append([name, *(str(words.count(word)) for word in WORDS)])
    return f"{SEEN}Of {len(specifications())} claims:\n\n{as_table(['rows', *WORDS], rows)}"


def unfolded(claim: str, verdicts: Mapping[str, Mapping[str, Verdict]], table: pd.DataFrame) -> str:
    """One claim behind its title: on each set of rows the verdict, its effects, runs and rule; and the verdict's power."""
    known, found = specifications()[claim], {name: several[claim] for name, several in verdicts.items()}
    words = "; ".join(f"{name}: {short(v)}" for name, v in found.items() if short(v) != "not measured")
    parts = [f"The claim ({'DKDP' if known.paper == 'dkdp' else 'MD'}, {known.where}): {known.claim}."]
    parts += [_behind(name, v) for name, v in found.items() if v.effects or short(v) != "not measured"]
    if len(parts) == 1:
        lacks = [
            f"{name}: {reasons(v.left_out, MOST_REASONS) if v.left_out else 'no runs'}." for name, v in found.items()
        ]
        parts.append(f"Not measured. {' '.join(lacks)}")
    parts.append(_power_of(claim, table))
    return folded(f"{claim} · {words or 'not measured'}", "\n\n".join(parts))


def _behind(name: str, v: Verdict) -> str:
    given = f", {v.given}" if v.given else ""
    other = v.reading.startswith("on ")  # the claim is about other data, and so is the paper's effect
    reading = v.reading.split(": ", 1)[1] if other else v.reading
    lines = [f"**{name}: {reading}.** {v.runs}{given}. Rule: {v.rule}."]
    if v.effects:
        shown = v.effects[:MOST]
        rows = [
            [e.where, number(e.estimate, 2), side(e), "" if other or e.paper is None else f"{e.paper:+g}"]
            for e in shown
        ]
        lines.append(as_table(["effect", "points", "against its threshold", "paper"], rows))
        lines += [f"{len(v.effects) - MOST} more effects."] if len(v.effects) > MOST else []
    lines += [f"Left out: {reasons(v.left_out)}."] if v.left_out else []
    lines += [f"Note: {'; '.join(v.notes)}."] if v.notes else []
    return "\n\n".join(lines)


def side(effect: Effect) -> str:
    """Where the interval lies: above, below or on both sides of the threshold, which is named."""
    where = "above" if effect.above else "below" if effect.below else "on both sides"
    return f"{where} ({effect.threshold:g})"


def _power_of(claim: str, table: pd.DataFrame) -> str:
    mine = table[table.claim == claim]
    if mine.empty:
        return "Power: none to state; no rows take part."
    right = mine[mine.scenario == "paper's effect"]
    said = [f"{PERCENT * r.holds:.1f}% ({design(r.seeds, r.teachers)})" for r in right.itertuples()]
    return (
        f"Power: with the paper's effect ({mine.effect.iloc[0]}) the verdict holds in {listed(said)} of made-up tables."
    )


def beside(found: Mapping[str, Verdict]) -> str:
    """Where the paper prints an effect that our rows measured: its number, ours, and the difference with our interval."""
    rows = []
    for claim, v in found.items():
        for effect in v.effects:
            if effect.paper is not None:
                apart = effect.estimate.mean - effect.paper
                found_here = Interval(apart, effect.estimate.half, effect.estimate.n)
                rows.append([claim, effect.where, f"{effect.paper:+g}", number(effect.estimate), number(found_here)])
    if not rows:
        return "No effect that the papers print is measured in these rows yet."
    return as_table(["claim", "effect", "paper", "ours", "ours minus paper"], rows)


def guessed(word: str, share: float, strict: float, n: int) -> str:
    """The result of the *predict* exercise: shares of tables without an effect whose means, or intervals, lie above zero."""
    return folded(
        "Result",
        f"You guessed *{word}*. It was {PERCENT * share:.1f}% of {n} tables. The rule that asks each interval to lie above "
        f"zero holds in {PERCENT * strict:.1f}% of the same tables (section 3).",
    )


def needed(table: Mapping[int, float], wanted: float) -> str:
    """The smallest number of seeds with the power that is wanted: seeds -> share of tables that hold."""
    enough = [n for n, share in table.items() if share >= wanted]
    said = f"{min(enough)} seeds are enough" if enough else f"{max(table)} seeds are not enough"
    shares = listed([f"{PERCENT * share:.0f}% with {n}" for n, share in table.items()])
    return f"The verdict holds in {shares}. For a power of {wanted:.0%}, {said}."


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Which claims have another verdict after a change of the rows."""
    moved = [
        f"{claim} from {short(before[claim])} to {short(after[claim])}"
        for claim in before
        if short(before[claim]) != short(after[claim])
    ]
    return f"These verdicts change: {listed(moved)}." if moved else "No verdict changes."
