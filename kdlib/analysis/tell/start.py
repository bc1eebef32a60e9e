"""Sentences and tables of the first two lessons, worded from the numbers that they report.

A sentence that could turn false with another preset, seed or processor is made here, its form included: "higher",
"lower" or "no difference detected" follows from a 95% interval, and without an interval there is no verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from kdlib.analysis.plots.frames import addresses, drawn
from kdlib.analysis.statistics import Interval, interval
from kdlib.analysis.tell import checked as checked

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


def cause(values: Mapping[str, ArrayLike], baseline: str, treatment: str, controls: Mapping[str, str]) -> Markdown:
    """What the gain of `treatment` over `baseline` is not due to: every control that falls short rules something out.

    `values`: name -> (seeds,) accuracies in percent, paired by position; `controls`: name -> what it has in common with
    the treatment, and so rules out if it falls short.
    """
    by_name = {name: np.asarray(found, dtype=np.float64) for name, found in values.items()}
    gain = interval(by_name[treatment] - by_name[baseline])
    start = f"**What we see.** {treatment} minus {baseline}: {amount(gain)} points, n = {gain.n}: {direction(gain)}."
    lines, open_questions = [], []
    for name, shared in controls.items():
        lead = interval(by_name[treatment] - by_name[name])
        fails = np.isfinite(lead.half) and lead.low > 0
        open_questions += [] if fails else [shared]
        what = "is not enough" if fails else "may be enough"
        lines.append(f"- {treatment} minus {name}: {amount(lead)} points ({direction(lead)}): {shared} {what}.")
    if direction(gain) != "higher":
        end = "There is no gain to explain."
    elif open_questions:
        end = f"So the cause is open between the teacher's word on this sample and {', '.join(open_questions)}."
    else:
        end = "None of these alone gives the whole gain. What no control has is what *this* teacher says of *this* sample."
    return Markdown("\n\n".join([start, "\n".join(lines), end]))


def change(name: str, first: ArrayLike, last: ArrayLike, span: str) -> str:
    """A sentence on the way from `first` (seeds,) to `last` (seeds,), paired by seed, in percent; `span` names the way."""
    start, end = (np.asarray(v, dtype=np.float64) for v in (first, last))
    gap = interval(end - start)
    what = direction(gap, "rises", "falls", "no change detected")
    return f"{name}, {span}: {start.mean():.1f}% to {end.mean():.1f}%, {amount(gap)} points: {what}."


def training(losses: Sequence[float], accuracies: Sequence[float]) -> Markdown:
    """What one training shows: mean loss (nats) of the first and of the last epoch, accuracy (percent) in the end."""
    way = "falls" if losses[-1] < losses[0] else "does not fall"
    return Markdown(
        f"**What we see.** The loss {way}: {losses[0]:.3g} nats in the first epoch, {losses[-1]:.2g} in the last. The network "
        f"ends at {accuracies[-1]:.1f}% of the test images. kdlib's `train` agrees with the loop by hand."
    )


def agreement(mine: Mapping[str, ArrayLike], theirs: Mapping[str, ArrayLike]) -> Markdown:
    """The largest difference (points) between two sets of accuracies of equal names and seeds, and both means."""
    pairs = {name: (np.asarray(mine[name], dtype=np.float64), np.asarray(theirs[name])) for name in mine}
    worst = max(float(np.abs(a - b).max()) for a, b in pairs.values())
    means = "; ".join(f"{name} {a.mean():.2f}% and {b.mean():.2f}%" for name, (a, b) in pairs.items())
    return Markdown(
        f"**What we see.** Mean accuracy by hand and by `sweep`: {means}. "
        f"The largest difference for one seed is {worst:.2f} points."
    )


def longer(
    curves: Mapping[str, ArrayLike], steps: Sequence[int], kept: int, before: Mapping[str, ArrayLike]
) -> Markdown:
    """What more steps give to students on the same `kept` samples: name -> (seeds, steps) in percent.

    `before`: name -> (seeds,) the same students after steps[0], as section 1's `sweep` trained them.
    """
    by_name = {name: np.asarray(found, dtype=np.float64) for name, found in curves.items()}
    span = f"from {steps[0]:,} to {steps[-1]:,} steps"
    lines = [f"- {change(name, found[:, 0], found[:, -1], span)}" for name, found in by_name.items()]
    gaps = [interval(by_name["KD"][:, place] - by_name["no KD"][:, place]) for place in (0, -1)]
    ends = " and ".join(
        f"{amount(gap)} points after {steps[place]:,} steps" for gap, place in zip(gaps, (0, -1), strict=True)
    )
    growth = interval((by_name["KD"][:, -1] - by_name["KD"][:, 0]) - (by_name["no KD"][:, -1] - by_name["no KD"][:, 0]))
    what = direction(growth, "it grows", "it shrinks", "no change of the lead detected")
    closing = f"KD leads by {ends}; the change of the lead is {amount(growth)} points: {what}."
    off = max(float(np.abs(found[:, 0] - np.asarray(before[name])).max()) for name, found in by_name.items())
    same = (
        f"After {steps[0]:,} steps these are section 1's students, trained by hand; the largest difference for one seed is "
        f"{off:.1f} points."
    )
    head = f"**What we see.** The same {kept} samples, n = {growth.n} seeds:"
    return Markdown("\n\n".join([head, "\n".join(lines), closing, same]))


def running_out(gradients: Mapping[str, Sequence[ArrayLike]], steps: Sequence[int]) -> Markdown:
    """How long the gradient of each student's loss still is: name -> for each step the lengths (n,) for its samples."""
    first, second = gradients
    lines = []
    for step in steps:
        without, taught = (float(np.mean(np.asarray(gradients[name][step - 1]))) for name in (first, second))
        lines.append(f"| {step:,} | {without:.2g} | {taught:.2g} | {taught / without:.3g} |")
    head = f"| step | {first} | {second} | times as long |\n|---|---|---|---|\n"
    return Markdown(
        f"Mean length of the gradient over the kept samples, one pair of students:\n\n{head}" + "\n".join(lines)
    )


def detective(
    guess: str,
    sizes: Mapping[int, Sequence[Sequence[int]]],
    curves: Mapping[str, ArrayLike],
    bare: Mapping[int, Sequence[ArrayLike]],
    figure: Figure,
) -> Markdown:
    """The answer of lesson 00's detective exercise, folded: sizes of batches, the gain of cutting evenly, the figure.

    Two ways of cutting, the usual one first. `sizes`: count -> the sizes of the batches each way; `curves`: way ->
    (seeds, counts) accuracies in percent with KD; `bare`: count -> (seeds,) each way for students without a teacher.
    """
    usual, evenly = (np.asarray(found, dtype=np.float64) for found in curves.values())
    gained = {count: evenly[:, place] - usual[:, place] for place, count in enumerate(sizes)}
    lines, alone = [], []
    for count, (old, new) in sizes.items():
        if list(old) == list(new):
            lines.append(f"- {count} samples: the same batches")
            continue
        cut = " against ".join(" + ".join(map(str, found)) for found in (new, old))
        gap = interval(gained[count])
        lines.append(f"- {count} samples, {cut}: {amount(gap)} points ({direction(gap)})")
        if count in bare:
            without = np.subtract(*reversed([np.asarray(found, dtype=np.float64) for found in bare[count]]))
            gap, more = interval(without), interval(gained[count] - without)
            alone.append(
                f"- {count} samples: {amount(gap)} points ({direction(gap)}); with KD minus without: {amount(more)} points "
                f"({direction(more)})"
            )
    (address,) = addresses([drawn(figure)], 32)
    picture = f'<img alt="accuracy against kept samples, for two ways of cutting batches" src="{address}">'
    plt.close(figure)
    text = f"You guessed *{guess}*. What cutting evenly changes, with the same samples and teacher:"
    last = ["The same without a teacher:", "\n".join(alone)] if alone else []
    return folded("\n\n".join([text, "\n".join(lines), picture, *last]))


def against(name: str, found: ArrayLike, other: str, base: ArrayLike) -> Markdown:
    """One sentence, folded: accuracy of `name` minus that of `other`, both (seeds,) in percent and paired by seed."""
    gap = interval(np.asarray(found, dtype=np.float64) - np.asarray(base, dtype=np.float64))
    if name == other:
        return folded(f"{name} is the lesson's own value. Change it first.")
    return folded(f"{name} minus {other}: {amount(gap)} points, n = {gap.n}: {direction(gap)}.")


def folded(text: str, summary: str = "Open after you have written down your guess") -> Markdown:
    """Text behind a click, in the committed notebook as well."""
    return Markdown(f"<details><summary>{summary}</summary>\n\n{text}\n\n</details>")
