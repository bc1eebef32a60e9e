"""Scorers: how hard is each training sample? Pure functions of recorded signals; higher = harder.

    score = SCORERS["el2n"](signals, labels, rng)                            # (N,) float64
    score = SCORERS["forgetting"](signals, labels, rng, never_learned="hardest")

The formulas live in the module of their family, as functions of arrays; `entries` gives each a name and its signals.
"""

from __future__ import annotations

from kdlib.scorers.entries import SCORERS
from kdlib.scorers.signals import Scorer, Signals

__all__ = ["SCORERS", "Scorer", "Signals"]
