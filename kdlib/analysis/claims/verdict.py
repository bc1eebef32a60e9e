"""Verdicts, the effects they rest on, and the rules that lead from the one to the other.

Every effect is oriented so that the claim says: it lies above its threshold. A rule looks at 95% intervals: an effect is
certain where its whole interval lies on one side of the threshold (a one-sided error of 2.5%).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kdlib.analysis.statistics import Estimate, holm, with_half

HOLDS, FAILS, UNDECIDED, NOT_MEASURED = "holds", "fails", "undecided", "not measured"
MISSING = "missing: "
LEVEL = 0.025  # one end of a 95% interval


@dataclass(frozen=True)
class Effect:
    """One estimate that a claim speaks of. `where` names the point.

    size:   the number that the claim prints: "by more than 8 points", or "by 1.6 points" (then `more` is False, and the
            size is borne out unless the whole interval lies below it).
    paper:  what the paper measured at this point.
    """

    where: str
    estimate: Estimate
    threshold: float = 0.0
    size: float | None = None
    paper: float | None = None
    more: bool = True

    @property
    def above(self) -> bool:
        """The whole interval lies above the threshold."""
        return self.estimate.low > self.threshold

    @property
    def below(self) -> bool:
        """The whole interval lies below the threshold."""
        return self.estimate.high < self.threshold

    @property
    def large(self) -> bool:
        """The interval bears out the size that the claim prints, if it prints one."""
        if self.size is None:
            return True
        return self.estimate.low > self.size if self.more else self.estimate.high >= self.size


@dataclass(frozen=True)
class Verdict:
    """What the rows say about one claim.

    verdict:   "holds", "fails", "undecided" or "not measured"; a claim about other data stays "not measured".
    reading:   the verdict in words, such as "holds in direction, not in size" or "on digits: holds".
    effects:   point by point, in points of test accuracy unless `where` says otherwise.
    rule, runs, left_out, notes: what decided, which runs counted, what was left out and why, and what else matters.
    given:     "given this teacher" where all runs share one.
    """

    claim: str
    verdict: str
    reading: str
    rule: str
    effects: tuple[Effect, ...] = ()
    runs: str = "no runs"
    given: str = ""
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The thresholds of the effects, each once."""
        return tuple(sorted({effect.threshold for effect in self.effects}))

    @property
    def _usable(self) -> list[Effect]:
        return [effect for effect in self.effects if not math.isnan(effect.estimate.mean)]

    @property
    def deciding(self) -> Effect | None:
        """The effect that the verdict hangs on: the lowest from its threshold, those above it last; None without any.

        Where one point is enough it is the highest, those above their threshold first.
        """
        choose = max if self.rule.endswith(RULE_TEXTS[some]) else min
        return choose(self._usable, key=lambda e: (e.above, e.estimate.mean - e.threshold), default=None)

    @property
    def numbers(self) -> str:
        """The effects in one line: how many are certain, and the one that decides."""
        shown, decides = self._usable, self.deciding
        if decides is None:
            wanted = [text for text in self.left_out if not text.startswith("pruning ")] or list(self.notes)
            return reasons(wanted, most=3) or "no runs"
        told = f"{_number(decides)} ({decides.where})"
        if len(shown) > 1:
            told = f"{_counted(shown, self.rule.endswith(RULE_TEXTS[every]))}; deciding: {told}"
        return f"{told}, {self.given}" if self.given and self.given not in self.reading else told


def reasons(left_out: Sequence[str], most: int | None = None) -> str:
    """What was left out, in one line: `KD weight 0.5 where ...; missing: EL2N; f = 0.7`, the missing points in one list."""
    parts = [text.removeprefix(MISSING) for text in left_out[:most] if text.startswith(MISSING)]
    others = [text for text in left_out[:most] if not text.startswith(MISSING)]
    more = len(left_out) - len(left_out[:most])
    said = [*others, *([MISSING + "; ".join(parts)] if parts else []), *([f"and {more} more"] if more else [])]
    return "; ".join(said)


def _counted(effects: Sequence[Effect], corrected: bool) -> str:
    """`2 of 3 above, 1 below (0 after Holm)`; a threshold other than 0 is named. corrected: the rule heeds Holm's p-values."""
    thresholds = {effect.threshold for effect in effects}
    named = f" {thresholds.pop():+g}" if len(thresholds) == 1 and thresholds != {0.0} else ""
    below = sum(effect.below for effect in effects)
    left = sum(p <= LEVEL for p in holm([effect.estimate.p_below(effect.threshold) for effect in effects]))
    after = f" ({left} after Holm)" if corrected and left != below else ""
    return f"{sum(e.above for e in effects)} of {len(effects)} above{named}, {below} below{after}"


def _number(effect: Effect) -> str:
    printed = "" if effect.size is None else f" (paper: {'more than ' if effect.more else ''}{effect.size:g})"
    return f"{with_half(effect.estimate.mean, effect.estimate.half, 2)}, n = {effect.estimate.n}{printed}"


Rule = Callable[[Sequence[Effect], bool], str]


def every(effects: Sequence[Effect], complete: bool) -> str:
    """Holds if each effect is above its threshold and none that is needed is missing; fails if one is below it.

    "At each" needs no correction. "Below at one" is a search over many points, so its p-values are Holm's.
    """
    below = holm([effect.estimate.p_below(effect.threshold) for effect in effects])
    if any(p <= LEVEL for p in below):
        return FAILS
    return HOLDS if complete and effects and all(effect.above for effect in effects) else UNDECIDED


def some(effects: Sequence[Effect], complete: bool) -> str:
    """Holds if one effect is above its threshold (Holm's p-values); fails if all are there, and each is below."""
    above = holm([effect.estimate.p_above(effect.threshold) for effect in effects])
    if any(p <= LEVEL for p in above):
        return HOLDS
    return FAILS if complete and effects and all(effect.below for effect in effects) else UNDECIDED


RULE_TEXTS: dict[Rule, str] = {
    every: "holds if every point that the claim names was measured and every 95% interval lies above the threshold; "
    "fails if at least one lies below it, after Holm's correction for many points",
    some: "holds if at least one 95% interval lies above the threshold, after Holm's correction for many points; "
    "fails if every point that the claim names was measured and every interval lies below",
}


def conclude(
    claim: str,
    effects: Sequence[Effect],
    missing: Sequence[str] = (),
    rule: Rule = every,
    given: str = "",
    left_out: Sequence[str] = (),
    notes: Sequence[str] = (),
    runs: str = "no runs",
) -> Verdict:
    """The verdict that the rule draws from the effects; `missing` names points that the claim needs."""
    outs = (*left_out, *(f"{MISSING}{name}" for name in missing))
    usable = tuple(effect for effect in effects if effect.estimate.n)
    found = rule(usable, not missing) if usable else NOT_MEASURED
    if found == HOLDS and not all(effect.large for effect in usable):
        found = UNDECIDED
    reading = _reading(found, usable, missing)
    if given and reading.startswith((HOLDS, FAILS)):
        reading = f"{reading}, {given}"
    return Verdict(claim, found, reading, RULE_TEXTS[rule], usable, runs, given, outs, tuple(notes))


def _reading(found: str, effects: Sequence[Effect], missing: Sequence[str]) -> str:
    """The verdict in words: what is undecided may hold in direction, lack points, or lack trainings."""
    if found != UNDECIDED:
        return found
    if all(math.isnan(effect.estimate.error) for effect in effects):
        return "undecided: fewer than 3 trainings"
    certain = all(effect.above for effect in effects)
    if certain and missing:
        return "undecided: holds at every point measured, others are missing"
    if certain and not all(effect.large for effect in effects):
        return "holds in direction, not in size"
    return found


def elsewhere(verdict: Verdict, dataset: str) -> Verdict:
    """The same numbers from a dataset that the claim does not speak of: reported, and nothing is decided."""
    if verdict.verdict == NOT_MEASURED:
        return verdict
    return replace(verdict, verdict=NOT_MEASURED, reading=f"on {dataset}: {verdict.reading}")
