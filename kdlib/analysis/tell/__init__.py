"""What the numbers say, in words: sentences whose form (rises, falls, no difference) follows from the interval.

Every function is pure and returns plain text or Markdown; none rounds a direction into being. A difference is detected
where its whole 95% interval lies on one side of zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
from IPython.display import Markdown

from kdlib.analysis.claims import Verdict, as_markdown, reasons, specifications
from kdlib.analysis.statistics import FEWEST, Interval, with_half


class Spread(Protocol):
    """A mean with half the width of its 95% interval and the number of trainings (Interval and Estimate are such)."""

    @property
    def mean(self) -> float: ...
    @property
    def half(self) -> float: ...
    @property
    def n(self) -> int: ...


SEEN = "**What we see.** "
RISES, FALLS, SAME, FEW = "rises", "falls", "no difference detected", "too few for an interval"
SIDES = {RISES: "above zero", FALLS: "below zero"}  # of a difference between two kinds of training


def direction(found: Spread) -> str:
    """ "rises", "falls", "no difference detected", or "too few for an interval" for a difference."""
    if math.isnan(found.half):
        return FEW
    if found.mean - found.half > 0:
        return RISES
    return FALLS if found.mean + found.half < 0 else SAME


def enough_digits(found: Spread, digits: int = 1) -> int:
    """`digits`, or one more where an interval rounded to them would seem to end at zero."""
    return digits + (round(abs(found.mean), digits) == round(found.half, digits))


def number(found: Spread, digits: int = 1, sign: bool = True) -> str:
    """`+3.1 ± 0.4 (n = 5)`; without an interval `+3.1 (n = 2)`."""
    return f"{with_half(found.mean, found.half, digits, sign)} (n = {found.n})"


def change(what: str, found: Spread, unit: str = "points", digits: int = 1) -> str:
    """One sentence about a difference: `The accuracy rises by 3.1 ± 0.4 points (n = 5)`, as its interval says."""
    way = direction(found)
    size = f"{abs(found.mean):.{digits}f} ± {found.half:.{digits}f} {unit} (n = {found.n})"
    if way in (RISES, FALLS):
        return f"{what} {way} by {size}."
    if way == FEW:
        return f"{what} differs by {found.mean:+.{digits}f} {unit} (n = {found.n}; an interval needs {FEWEST})."
    return f"{what}: no difference detected ({found.mean:+.{digits}f} ± {found.half:.{digits}f} {unit}, n = {found.n})."


def comparison(first: str, second: str, found: Spread, unit: str = "points", digits: int = 1) -> str:
    """One sentence about first - second: `KD lies above no KD by ...`, `below`, or that no difference was detected."""
    way = direction(found)
    if way in (RISES, FALLS):
        size = f"{abs(found.mean):.{digits}f} ± {found.half:.{digits}f} {unit} (n = {found.n})"
        return f"{first} lies {'above' if way == RISES else 'below'} {second} by {size}."
    return change(f"{first} against {second}", found, unit, digits)


def trend(what: str, along: str, found: Mapping[Any, Spread], words: Mapping[str, str] | None = None) -> str:
    """One sentence about differences at several places: at which it rises, at which it falls, at which neither.

    words: other words for the directions, such as `SIDES`.
    """
    groups: dict[str, list[str]] = {}
    for place, value in found.items():
        groups.setdefault(direction(value), []).append(f"{place:g}" if isinstance(place, float) else str(place))
    ways = [way for way in (RISES, FALLS, SAME, FEW) if way in groups]
    told = [f"{(words or {}).get(way, way)} at {along} = {listed(groups[way])}" for way in ways]
    return f"{what}: {'; '.join(told)}."


def listed(parts: Sequence[object]) -> str:
    """`a, b and c`."""
    texts = [str(part) for part in parts]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}" if texts else ""


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; a vertical bar inside a cell is escaped."""
    lines = [list(header), *([str(cell).replace("|", "\\|") for cell in row] for row in rows)]
    shown = [f"| {' | '.join(cells)} |" for cells in lines]
    return "\n".join([shown[0], "|" + ":---|" * len(header), *shown[1:]])


def differences(
    found: pd.DataFrame, by: Sequence[str], digits: int = 1, unit: str = "points", what: str = "difference"
) -> str:
    """A Markdown table of differences: the columns `by`, the difference with its interval, and what it says.

    found: columns `by`, mean, half, n, as `kdlib.analysis.statistics.points` makes them.
    """
    shown: dict[str, Callable[[Any], str]] = {"fraction": "{:.0%}".format, "alpha": "{:g}".format}
    rows = []
    for record in found.to_dict("records"):
        value = Interval(float(record["mean"]), float(record["half"]), int(record["n"]))
        way, place = direction(value), [shown.get(name, str)(record[name]) for name in by]
        rows.append([*place, number(value, digits), SIDES.get(way, way)])
    return table([*("f" if name == "fraction" else name for name in by), f"{what} ({unit})", "reading"], rows)


def verdicts(found: Mapping[str, Sequence[Verdict]]) -> str:
    """A Markdown table of verdicts, a column for each set of rows; see `kdlib.analysis.claims.as_markdown`."""
    return as_markdown(found, {name: claim.claim for name, claim in specifications().items()})


def verdict(found: Verdict) -> str:
    """One paragraph about one claim: its text, the verdict, the numbers, the runs, the rule and what was left out."""
    claim = specifications()[found.claim]
    left_out = f" Left out: {reasons(found.left_out)}." if found.left_out else ""
    notes = f" Note: {'; '.join(found.notes)}." if found.notes else ""
    return (
        f"**{found.claim}**, {claim.claim}: **{found.reading}**. {found.numbers}; {found.runs}. "
        f"Rule: {found.rule or claim.holds_if}.{left_out}{notes}"
    )


def folded(title: str, text: str) -> str:
    """`text` behind a title that a reader has to open."""
    return f"<details><summary><b>{title}</b></summary>\n\n{text}\n\n</details>"


def percent(found: Interval) -> str:
    """A share in percent as `61 ± 4%`, with n where there are too few values for an interval."""
    spread = f" ± {found.half:.0f}%" if np.isfinite(found.half) else f"% (n = {found.n})"
    return f"{found.mean:.0f}{spread}"


def level(found: Interval) -> str:
    """An accuracy in percent, `77.1 ± 2.9`; without an interval, where n is too small for one."""
    return with_half(found.mean, found.half, sign=False) + ("" if np.isfinite(found.half) else f" (n = {found.n})")


def guess(word: str, question: str, found: Mapping[str, Interval], hint: str) -> str:
    """The result of a *predict* exercise: intervals in points, folded, since the guess comes first."""
    said = listed([f"{name} {number(value)}" for name, value in found.items()])
    return folded("Result", f"You guessed *{word}*. {question}: {said}. {hint}")


def checked(mine: Callable[..., Any], original: Callable[..., Any], *arguments: Any) -> Markdown:
    """Checks an exercise's function on `arguments`; a stub that is still the library's function is named as such.

    AssertionError where the two functions differ.
    """
    if mine is original:
        return Markdown(f"`{original.__name__}` is still kdlib's. Replace it by a function of your own.")
    np.testing.assert_allclose(mine(*arguments), original(*arguments), rtol=1e-5, atol=1e-7)
    return Markdown(f"Your function agrees with kdlib's `{original.__name__}`.")
