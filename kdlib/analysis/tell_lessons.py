"""Sentences and tables of the first two lessons, worded from the numbers that they report.

A sentence that could turn false with another preset, seed or processor is made here, its form included: "higher",
"lower" or "no difference detected" follows from a 95% interval, and without an interval there is no verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from IPython.display import Markdown
from numpy.typing import ArrayLike

from kdlib.analysis.statistics import Interval, interval

NO_VERDICT = "no verdict from fewer than three seeds"


def direction(found: Interval, up: str = "higher", down: str = "lower", flat: str = "no difference detected") -> str:
    """`up`, `down` or `flat`, as the interval lies above, below or around 0; `NO_VERDICT` without an interval."""
    if not np.isfinite(found.half):
        return NO_VERDICT
    return up if found.low > 0 else down if found.high < 0 else flat


def amount(found: Interval, signed: bool = True, digits: int = 1) -> str:
    """Mean and half width, such as "+6.6 ± 1.0"; without an interval the mean alone."""
    spread = f" ± {found.half:.{digits}f}" if np.isfinite(found.half) else ""
    return f"{found.mean:{'+' if signed else ''}.{digits}f}{spread}"


def comparison(values: Mapping[str, ArrayLike], baseline: str, unit: str = "percent") -> Markdown:
    """A table: each entry's mean with its 95% interval, and its difference to `baseline`, paired by position (seed).

    `values`: name -> (seeds,), in `unit`; differences are in points. KeyError if `baseline` is no entry.
    """
    base = np.asarray(values[baseline], dtype=np.float64)
    lines = [f"| student | test accuracy ({unit}) | minus {baseline} (points) | verdict |", "|---|---|---|---|"]
    for name, found in values.items():
        gap = interval(np.asarray(found, dtype=np.float64) - base)
        beside = "| |" if name == baseline else f"{amount(gap)} | {direction(gap)} |"
        lines.append(f"| {name} | {amount(interval(found), signed=False)} | {beside}")
    return Markdown(f"Mean of n = {len(base)} seeds ± 95% interval:\n\n" + "\n".join(lines))


def gain_table(cases: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> Markdown:
    """A table of accuracies without and with KD: name -> ((seeds,), (seeds,)) in percent; the gain is paired by seed."""
    lines = ["| samples kept | no KD (percent) | KD (percent) | KD minus no KD (points) | verdict |", "|---" * 5 + "|"]
    for name, (without, taught) in cases.items():
        gap = interval(np.asarray(taught, dtype=np.float64) - np.asarray(without, dtype=np.float64))
        levels = " | ".join(amount(interval(v), signed=False) for v in (without, taught))
        lines.append(f"| {name} | {levels} | {amount(gap)} | {direction(gap)} |")
    count = len(np.asarray(next(iter(cases.values()))[0]))
    return Markdown(f"**What we see.** Test accuracy, mean of n = {count} seeds ± 95% interval:\n\n" + "\n".join(lines))


def cause(values: Mapping[str, ArrayLike], baseline: str, treatment: str, controls: Sequence[str]) -> Markdown:
    """Whether the gain of `treatment` over `baseline` may be ascribed to it: every control has to fall short of it.

    `values`: name -> (seeds,) accuracies in percent, paired by position.
    """
    by_name = {name: np.asarray(found, dtype=np.float64) for name, found in values.items()}
    gain = interval(by_name[treatment] - by_name[baseline])
    leads = {name: interval(by_name[treatment] - by_name[name]) for name in controls}
    listed = "; ".join(f"over {name} {amount(lead)}" for name, lead in leads.items())
    start = f"**What we see.** The lead of {treatment}, in points: over {baseline} {amount(gain)}; {listed}. "
    if not all(np.isfinite(lead.half) for lead in (gain, *leads.values())):
        return Markdown(start + f"({NO_VERDICT[0].upper()}{NO_VERDICT[1:]}.)")
    if gain.low <= 0:
        return Markdown(start + f"There is no gain over {baseline} to explain.")
    rivals = [name for name, lead in leads.items() if lead.low <= 0]
    if rivals:
        return Markdown(start + f"The gain cannot be ascribed to it: {', '.join(rivals)} may do as well.")
    return Markdown(start + "No control reaches it, so the gain is due to what the teacher says of *this* sample.")


def change(name: str, first: ArrayLike, last: ArrayLike, span: str) -> str:
    """A sentence on the way from `first` (seeds,) to `last` (seeds,), paired by seed, in percent; `span` names the way."""
    start, end = (np.asarray(v, dtype=np.float64) for v in (first, last))
    gap = interval(end - start)
    what = direction(gap, "rises", "falls", "no change detected")
    return f"{name}, {span}: {start.mean():.1f}% to {end.mean():.1f}%, {amount(gap)} points: {what}."


def folded(text: str, summary: str = "Open after you have written down your guess") -> Markdown:
    """Text behind a click, in the committed notebook as well."""
    return Markdown(f"<details><summary>{summary}</summary>\n\n{text}\n\n</details>")


def checked(mine: Callable[..., Any], original: Callable[..., Any], *arguments: Any) -> Markdown:
    """Checks an exercise's function on `arguments`; a stub that is still the library's function is named as such.

    AssertionError where the two functions differ.
    """
    if mine is original:
        return Markdown(f"`{original.__name__}` is still kdlib's. Replace it by a function of your own.")
    np.testing.assert_allclose(mine(*arguments), original(*arguments), rtol=1e-5, atol=1e-7)
    return Markdown(f"Your function agrees with kdlib's `{original.__name__}`.")
