"""Sizes of experiment: what the lessons and studies fix, and how the papers score."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Preset:
    """A size of experiment: fixed fields, the seeds and the kept fractions of a figure.

    `scorers` holds further fields for single scorers, where a paper's protocol scores in another way than it trains.
    """

    fixed: dict[str, Any]
    seeds: tuple[int, ...]
    fractions: tuple[float, ...]
    scorers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def fields_for(self, scorer: str) -> dict[str, Any]:
        """The fixed fields of runs with this scorer."""
        return {**self.fixed, **self.scorers.get(scorer, {})}


# DKDP, supplement 6.1: scores of CIFAR and SVHN come from ResNet-34 by the default recipes of DeepCore, which trains for
# 40 epochs at batch size 256, learning rate 0.1 falling along a cosine, without augmentation, and averages GraNd's
# last-layer norms over 10 trainings at their end. DeepCore has no EL2N; Paul et al. 2021 average 10 trainings after 20 of
# 200 epochs. Differences that stay: our momentum is not Nesterov's; our gradient is that of the cross-entropy of the
# logits, where DeepCore applies softmax twice; every score averages over samples of its own batch-independent norm.
DEEPCORE_RECIPE = "augment=none, batch_size=256, epochs=40, lr=0.1, milestones=[], schedule=cosine"
DEEPCORE = {"score_model": "resnet34", "score_recipe": DEEPCORE_RECIPE}

PRESETS: dict[str, Preset] = {
    "smoke": Preset({"dataset": "digits", "epochs": 4}, (0, 1), (0.1, 0.5)),
    "class": Preset(  # with few samples an epoch takes less time than a test of the network
        {"dataset": "digits", "epochs": 60, "eval_every": 10, "score_runs": 5},
        tuple(range(10)),
        (0.02, 0.05, 0.1, 0.2, 0.4, 0.7),
    ),
    "laptop": Preset(
        {
            "dataset": "cifar100", "student": "resnet20", "teacher": "resnet20", "epochs": 60, "batch_size": 64, "lr": 0.1,
            "augment": "crop_flip", "augment_seed": 0, "eval_every": 10, "precision": "fast", "teacher_recipe": "epochs=30",
            "score_recipe": "epochs=30",
        },
        (0, 1, 2),
        (0.05, 0.1, 0.3),
        # As in DeepCore, but for the network. Under augmentation a small network never learns some of the hardest samples,
        # which then count no forgetting event: that is another score (the study "scores").
        {"forgetting": {"score_recipe": DEEPCORE_RECIPE}},
    ),
    "paper": Preset(
        {
            "dataset": "cifar100", "student": "resnet32", "teacher": "resnet32", "epochs": 240, "batch_size": 64, "lr": 0.05,
            "schedule": "steps", "milestones": (150, 180, 210), "augment": "crop_flip", "tau": 4.0, "alpha": 0.5,
            "augment_seed": 0, "eval_every": 10,
        },
        (0, 1, 2),
        (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
        {
            "forgetting": DEEPCORE,
            "grand_last": {**DEEPCORE, "score_runs": 10, "scorer": "grand_last(at=1)"},
            "el2n": {"score_model": "resnet34", "score_runs": 10},
        },
    ),
}  # fmt: skip
