"""The runs of each study, in groups: one group for each figure or table of the papers.

The order is that of what a verdict hangs on: a study that is stopped early has answered the first questions.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kdlib.experiments.config import PRESETS, Run
from kdlib.losses import FEATURE_LOSSES

Fields = dict[str, Any]

# Which samples are kept, as fields of a run; the key is the name in figures.
PRUNINGS: dict[str, Fields] = {
    "random": {"scorer": "random"},
    "forgetting": {"scorer": "forgetting", **PRESETS["laptop"].scorers["forgetting"]},
    "el2n": {"scorer": "el2n"},
    "grand_last": {"scorer": "grand_last"},
    "medium": {"scorer": "difficulty", "centre": 0.5},
    "easy": {"scorer": "difficulty", "centre": 0.0},
    "hard": {"scorer": "difficulty", "centre": 1.0},
}
NO_KD: Fields = {"loss": "cross_entropy"}
MD_KD: Fields = {"loss": "kd", "alpha": 0.9}
ADAPTIVE = {0.3: 0.9, 0.4: 0.85, 0.5: 0.8, 0.7: 0.5}  # KD weight by f, as MD reads DKDP's rule
# Where the papers keep 30% of the data and more, a ResNet-20 is slow on a CPU: smaller students, and as many epochs as
# the teacher's; so it is where each seed has a teacher of its own, and where a table has dozens of methods. MD's students
# have a larger teacher, DKDP's one of their own architecture, and so have those with a teacher for each seed. `large` has
# small f, too, so that a curve over f is one of the same students.
MD_STUDENT: Fields = {"student": "resnet8", "epochs": 30}
DKDP_STUDENT: Fields = {**MD_STUDENT, "teacher": "resnet8"}
# The losses that DKDP's Table 1 adds to KD.
TABLE_1 = ("fitnets", "ab", "at", "ft", "fsp", "nst", "pkt", "rkd", "sp", "vid")


@dataclass(frozen=True)
class Group:
    """One figure or table of a study: every combination of the values in `grid`, with the fields of `fixed`."""

    name: str
    grid: Mapping[str, Sequence[Fields]]
    fixed: Fields

    def runs(self, base: Fields) -> Iterator[Run]:
        """The runs of the group, in the order of the grid; `base` gives what the group leaves open."""
        for chosen in itertools.product(*self.grid.values()):
            fields: Fields = {**base, **self.fixed}
            for part in chosen:
                fields |= part
            yield Run(**fields)


def values(name: str, *options: Any) -> list[Fields]:
    """`values("seed", 0, 1)` -> [{"seed": 0}, {"seed": 1}]."""
    return [{name: option} for option in options]


THREE: dict[str, list[Fields]] = {"seed": values("seed", 0, 1, 2)}


def paired_seeds(count: int) -> list[Fields]:
    """Seeds of the students: three under each teacher, so that one teacher alone has an interval already."""
    return [{"seed": seed, "teacher_seed": seed // 3} for seed in range(count)]


def kd(*alphas: float) -> list[Fields]:
    """No KD, and KD at each alpha."""
    return [NO_KD, *({"loss": "kd", "alpha": alpha} for alpha in alphas)]


def _prunings(*names: str) -> list[Fields]:
    return [PRUNINGS[name] for name in names]


def laptop() -> list[Group]:
    """The papers' main questions on CIFAR-100 with ResNet-20."""
    fig4 = {"loss": kd(0.5, 1.0), "pruning": _prunings("random", "forgetting", "medium", "el2n", "grand_last")}
    random = {"seed": paired_seeds(6), "loss": kd(0.5, 1.0)}
    return [
        Group("DKDP Fig. 4, random", {"fraction": values("fraction", 0.1, 0.05, 0.3), **random}, PRUNINGS["random"]),
        Group("All data without KD", THREE, {"fraction": 1.0, **NO_KD}),
        *(
            Group(f"DKDP Fig. 4, f = {f:g}", {"seed": paired_seeds(4), **fig4}, {"fraction": f})
            for f in (0.1, 0.05, 0.3)
        ),
        *_capacity_and_weights(),
    ]


def _capacity_and_weights() -> list[Group]:
    capacity = {
        "fraction": values("fraction", 0.1, 0.3),
        "tau": values("tau", 4.0, 2.0, 7.0),
        "teacher": values("teacher", "resnet8", "resnet20", "resnet14", "resnet32", "resnet56"),
        **THREE,
    }
    fig6 = {
        **THREE,
        "fraction": values("fraction", 0.05, 0.1, 0.3, 0.7),
        "alpha": kd(0.25, 0.5, 0.75, 1.0),
        "pruning": _prunings("forgetting", "random"),
    }
    return [
        Group("DKDP Fig. 7 and 10", capacity, PRUNINGS["random"]),
        Group("DKDP Fig. 6", fig6, {}),
    ]


def losses() -> list[Group]:
    """The twelve losses of DKDP's Table 1, those on features with weight 1 and with the weight of the public code.

    One fraction after the other, all seeds of a loss before the next one, and the paper's best loss before the others.
    """
    added = [
        {"alpha": 1.0, "feature_loss": name, "beta": beta}
        for name in sorted(TABLE_1, key=lambda name: name != "vid")
        for beta in sorted({1.0, FEATURE_LOSSES[name].tuned_beta})
    ]
    # The first one is the control: nothing in place of the feature loss.
    objectives: list[Fields] = [{"alpha": 1.0}, added[0], {"alpha": 2.0}, *added[1:], NO_KD]
    grid = {"fraction": values("fraction", 0.05, 0.1, 0.3), "objective": objectives, **THREE}
    return [Group("DKDP Table 1", grid, {**DKDP_STUDENT, "weighting": "additive", **PRUNINGS["forgetting"]})]


def teachers() -> list[Group]:
    """ResNet-8 students under teachers of several sizes: three sizes at every temperature first, then the larger ones."""
    names = ("resnet8", "resnet20", "resnet14", "resnet32", "resnet56")
    grid = {"teacher": values("teacher", *names[:3]), "tau": values("tau", 4.0, 2.0, 7.0), **THREE}
    larger = {"fraction": values("fraction", 0.1, 0.3), **grid, "teacher": values("teacher", *names)}
    fixed = {**MD_STUDENT, **PRUNINGS["random"]}
    return [
        Group("Teachers up to ResNet-20", grid, {**fixed, "fraction": 0.1}),
        Group("Teachers up to ResNet-56", larger, fixed),
    ]


def large() -> list[Group]:
    """DKDP's questions from small f to large: the KD weight, the choice of samples, a part against all of the data."""
    fractions = values("fraction", 0.1, 0.05, 0.3, 0.7, 0.5)
    weights = {"fraction": fractions, **THREE, "loss": kd(0.5, 1.0)}
    compared = {"fraction": fractions, **THREE, "pruning": _prunings("random", "el2n", "grand_last"), "loss": kd(0.5)}
    relations = {**THREE, "fraction": values("fraction", 0.25), "loss": kd(0.5), "kept": values("keep_student", True)}
    return [
        Group("Class relations", relations, {**DKDP_STUDENT, **PRUNINGS["random"]}),
        Group("KD weight", weights, {**DKDP_STUDENT, **PRUNINGS["forgetting"]}),
        Group("All data without KD", THREE, {**DKDP_STUDENT, **NO_KD, "fraction": 1.0}),
        Group("Prunings", compared, DKDP_STUDENT),
    ]


def windows() -> list[Group]:
    """MD's windows of the ranking against random samples, one fraction after the other, and its adaptive KD weight.

    All with MD's KD weight but the last group: random samples with the weight that MD adapts to the fraction.
    """
    grid = {"seed": paired_seeds(5), "pruning": _prunings("medium", "random", "easy", "hard")}
    adapted = [{"fraction": f, "alpha": alpha} for f, alpha in ADAPTIVE.items() if alpha != MD_KD["alpha"]]
    fixed = {**MD_STUDENT, **MD_KD}
    return [
        *(
            Group(f"MD Table 1, f = {f:g}", {"fraction": values("fraction", f), **grid}, fixed)
            for f in (0.3, 0.7, 0.5, 0.4)
        ),
        Group("MD Fig. 5, adaptive KD weight", {"weight": adapted, **THREE}, {**fixed, **PRUNINGS["random"]}),
    ]


def reshapes() -> list[Group]:
    """What reshaping the logits adds on MD's medium samples, and whether 70% of the data then match all of them.

    With MD's weights on CIFAR-100, 0.1 on the cross-entropy and 0.9 on KD.
    """
    medium, ways = PRUNINGS["medium"], values("reshape", "none", "classwise_std", "skd", "normkd", "lskd")
    data = [{"fraction": 1.0, "keep_student": True}, {"fraction": 0.7, **medium, "reshape": "classwise_std"}]
    return [
        Group("MD Table 3", {**THREE, "reshape": ways}, {**MD_STUDENT, **medium, **MD_KD, "fraction": 0.3}),
        Group("MD, 70% with the method against KD on all data", {**THREE, "data": data}, {**MD_STUDENT, **MD_KD}),
    ]


def features() -> list[Group]:
    """Medium against random samples under a loss on features."""
    grid = {**THREE, "fraction": values("fraction", 0.4, 0.7), "pruning": _prunings("medium", "random")}
    pefd = {"feature_loss": "pefd", "beta": FEATURE_LOSSES["pefd"].tuned_beta, "weighting": "additive", "alpha": 0.0}
    return [Group("MD Table 4, PEFD", grid, {**MD_STUDENT, **pefd})]


def noise() -> list[Group]:
    """Wrong labels, drawn anew for each seed; teacher and scored network are trained on them as well, hence small ones."""
    rates, kept = values("label_noise", 0.2, 0.4), _prunings("forgetting", "random")
    grid = {"rate": rates, **THREE, "pruning": kept, "loss": kd(0.5, 1.0)}
    return [Group("Label noise", grid, {**DKDP_STUDENT, "fraction": 0.1})]


def imbalance() -> list[Group]:
    """MD's imbalanced samples, from all of the first class down to 1% of the last, under the teacher of all data."""
    ways = values("reshape", "none", "classwise_std", "classwise_std_dataset_mean")
    kept = {"fraction": 0.505, "selection": "imbalanced(ratio=100)"}
    return [Group("MD Table 11", {"reshape": ways, **THREE}, {**MD_STUDENT, **MD_KD, **kept})]


def cifar10() -> list[Group]:
    """Random samples of CIFAR-10, with and without KD."""
    grid = {**THREE, "fraction": values("fraction", 0.05, 0.1, 0.3), "loss": kd(0.5)}
    return [Group("DKDP Fig. 4, CIFAR-10", grid, {"dataset": "cifar10"})]


def steps() -> list[Group]:
    """Students of a tenth of the samples that take as many steps as students of all of them."""
    return [Group("As many steps as on all data", {**THREE, "loss": kd(0.5)}, {"fraction": 0.1, "budget": "steps"})]


def precision() -> list[Group]:
    """Students of the main study trained in float32, whatever the machine is fast in."""
    return [Group("In float32", THREE, {"fraction": 0.05, "precision": "float32"})]


def scores() -> list[Group]:
    """Students on the samples that are forgotten most in a training with the students' own augmentation."""
    augmented = {"scorer": "forgetting", "score_recipe": PRESETS["laptop"].fixed["score_recipe"]}
    return [Group("Forgetting under augmentation", {"loss": kd(0.5), **THREE}, {**augmented, "fraction": 0.05})]


def nested() -> list[Group]:
    """Teachers of a part of the data that contains the student's, as in DKDP's Theorem 1."""
    shares = values("teacher_fraction", 0.1, 0.3, 1.0)
    return [Group("Teachers on a part of the data", {**THREE, "share": shares}, {"fraction": 0.1})]


def paper() -> list[Group]:
    """DKDP Fig. 4 on CIFAR-100 with the papers' recipe, for a GPU."""
    scorers = [
        {"scorer": name, **PRESETS["paper"].scorers.get(name, {})} for name in ("forgetting", "grand_last", "el2n")
    ]
    return [
        Group(
            "DKDP Fig. 4",
            {
                "seed": values("seed", *PRESETS["paper"].seeds),
                "fraction": values("fraction", *PRESETS["paper"].fractions),
                "pruning": [{"scorer": "random"}, *scorers],
                "loss": kd(0.5),
            },
            {},
        )
    ]


def smoke() -> list[Group]:
    """The same machinery on digits, in seconds."""
    return [Group("smoke", {"seed": values("seed", 0, 1), "loss": kd(0.5)}, {"fraction": 0.1})]


# name -> (its groups, the preset that fixes the rest, the file of its rows in data/results). What varies another knob
# than the main study has a file of its own, so that no table of the main study has to tell it apart.
STUDIES: dict[str, tuple[Callable[[], list[Group]], str, str]] = {
    "laptop": (laptop, "laptop", "cifar100_study"),
    "losses": (losses, "laptop", "cifar100_losses"),
    "teachers": (teachers, "laptop", "cifar100_teachers"),
    "large": (large, "laptop", "cifar100_large"),
    "windows": (windows, "laptop", "cifar100_windows"),
    "reshapes": (reshapes, "laptop", "cifar100_reshapes"),
    "features": (features, "laptop", "cifar100_features"),
    "noise": (noise, "laptop", "cifar100_noise"),
    "imbalance": (imbalance, "laptop", "cifar100_imbalance"),
    "cifar10": (cifar10, "laptop", "cifar10_study"),
    "precision": (precision, "laptop", "controls/cifar100_precision"),
    "scores": (scores, "laptop", "controls/cifar100_scores"),
    "nested": (nested, "laptop", "cifar100_nested"),
    "steps": (steps, "laptop", "cifar100_steps"),
    "paper": (paper, "paper", "cifar100_paper"),
    "smoke": (smoke, "smoke", "smoke_study"),
}
