"""Scorers: how hard is each training sample? Pure functions of recorded signals; higher = harder.

    score = SCORERS["el2n"](signals, labels, rng)      # (N,) float64

To add one: write its function in the module of its family and add an entry to SCORERS.
"""

from __future__ import annotations

from kdlib.scorers.dynamics import forgetting
from kdlib.scorers.errors import el2n
from kdlib.scorers.signals import Scorer, Signals

SCORERS: dict[str, Scorer] = {
    "random": Scorer(lambda s, y, rng: rng.random(len(y))),
    "forgetting": Scorer(lambda s, y, rng: forgetting(s.correct), ("correct",)),
    "el2n": Scorer(lambda s, y, rng: el2n(s.probs[:, 0], y), ("probs",)),
}

__all__ = ["SCORERS", "Scorer", "Signals"]
