"""Scorers: how hard is each training sample? Pure functions of recorded signals; higher = harder.

    score = SCORERS["el2n"](signals, labels, rng)      # (N,) float64

The functions behind the entries live in the module of their family and carry the switches (`never_learned`,
herding's rule, ...); the entries below are our defaults. To add one: write its function and add its entry.
"""

from __future__ import annotations

from kdlib.scorers import dynamics, errors, geometry, memorization
from kdlib.scorers.signals import Scorer, Signals

__all__ = ["SCORERS", "VIEW_SCORERS", "Scorer", "Signals"]

SCORERS: dict[str, Scorer] = {
    "random": Scorer(lambda s, y, rng: rng.random(len(y))),
    "forgetting": Scorer(lambda s, y, rng: dynamics.forgetting(s.correct), ("correct",)),
    "forgetting_easiest": Scorer(lambda s, y, rng: dynamics.forgetting(s.correct, "easiest"), ("correct",)),
    "aum": Scorer(lambda s, y, rng: dynamics.aum(s.margin), ("margin",)),
    "el2n": Scorer(lambda s, y, rng: errors.el2n(s.probs[:, 0], y), ("probs",)),  # the first recorded epoch
    "el2n_training": Scorer(lambda s, y, rng: dynamics.el2n_training(s.error), ("error",)),
    "difficulty": Scorer(lambda s, y, rng: errors.difficulty_from_probs(s.probs[:, -1], y), ("probs",)),  # the last
    "entropy": Scorer(lambda s, y, rng: errors.entropy(s.probs[:, -1]), ("probs",)),
    "margin": Scorer(lambda s, y, rng: errors.margin(s.probs[:, -1]), ("probs",)),
    "grand": Scorer(lambda s, y, rng: s.grad_norm.mean(axis=0), ("grad_norm",)),
    "grand_last": Scorer(lambda s, y, rng: s.grad_norm_last.mean(axis=0), ("grad_norm_last",)),
    "memorization": Scorer(
        lambda s, y, rng: memorization.memorization(s.trained, s.subset_correct), ("trained", "subset_correct")
    ),
    "herding": Scorer(lambda s, y, rng: geometry.herding(s.embedding, y), ("embedding",)),
    "herding_argmax": Scorer(lambda s, y, rng: geometry.herding(s.embedding, y, "argmax"), ("embedding",)),
    "herding_centre": Scorer(lambda s, y, rng: -geometry.class_distance(s.embedding, y, "mean"), ("embedding",)),
    "moderate": Scorer(lambda s, y, rng: geometry.class_distance(s.embedding, y), ("embedding",)),
    "released": Scorer(lambda s, y, rng: s.released, ("released",)),
}

# The same difficulty over augmented views instead of the clean image (`Run.score_views`), where there is such a form.
VIEW_SCORERS: dict[str, Scorer] = {
    "difficulty": Scorer(lambda s, y, rng: s.view_difficulty.mean(axis=0), ("view_difficulty",)),
}
