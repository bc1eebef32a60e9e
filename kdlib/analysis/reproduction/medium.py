"""The figures and tables of "Medium-difficulty samples constitute smoothed decision boundary ..." (MD)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kdlib.analysis.reproduction import boundaries, samples
from kdlib.analysis.reproduction.draw import lines
from kdlib.analysis.reproduction.figure import PaperFigure, by_name
from kdlib.analysis.reproduction.settings import Place, Setting
from kdlib.experiments.config import Run
from kdlib.experiments.fingerprint import needs_teacher
from kdlib.experiments.groups import ADAPTIVE, NO_KD, Fields, Group, values

KD: Fields = {"loss": "kd", "alpha": 0.9}  # the paper writes CE weight 0.1; on ImageNet CE 0.5 and KD 0.9
CIFAR, IMAGENET = ("cifar100",), ("imagenet",)
RANDOM, MEDIUM, ALL_DATA = "random", "medium", "all data"
RESHAPED = "medium, reshaped"
WINDOWS = {"easy": 0.0, MEDIUM: 0.5, "hard": 1.0}
RESHAPES = ("none", "skd", "normkd", "lskd", "classwise_std")
FRACTIONS = (0.3, 0.4, 0.5, 0.7)
PAIRS = {
    "md-table7": ("wrn_40_2", "wrn_16_2"),
    "md-table8": ("resnet32x4", "resnet8x4"),
    "md-table9": ("resnet32x4", "vgg8"),
    "md-table10": ("wrn_40_2", "vgg8"),
}
MAIN = ("resnet50", "mobilenetv2")


def window(name: str) -> Fields:
    """Easy, medium or hard samples by the teacher's cross-entropy (the paper's Eq. 3)."""
    return {"scorer": "difficulty", "centre": WINDOWS[name]}


def strategies(s: Setting, *names: str) -> list[Fields]:
    """Ways to prune by name: a window, a window with reshaped logits, or a scorer."""
    known = {**{name: window(name) for name in WINDOWS}, RESHAPED: {**window(MEDIUM), "reshape": "classwise_std"}}
    return [known.get(name) or s.scorer(name) for name in names]


def strategy(r: Run) -> str:
    """The name of a run's way to prune."""
    scorer = r.method("scorer")[0]
    if r.fraction == 1:
        return ALL_DATA if needs_teacher(r) else f"{ALL_DATA}, no KD"
    if scorer != "difficulty":
        return scorer
    name = next(name for name, centre in WINDOWS.items() if r.centre == centre)
    return RESHAPED if name == MEDIUM and r.reshape == "classwise_std" else name


def by_strategy(r: Run) -> Place | None:
    """A line for each way to prune, against f."""
    return Place(strategy(r), r.fraction) if r.imbalance == 1 and r.method("selection")[0] != "imbalanced" else None


def by_pair(r: Run) -> Place | None:
    """The same with a panel for each pair of networks."""
    return Place(strategy(r), r.fraction, f"{r.teacher} to {r.student}")


def published_strategy(record: Mapping[str, Any]) -> Place | None:
    """The rows of the tables of prunings."""
    names = {"medium+reshape": RESHAPED, "full": ALL_DATA if record["loss"] == "kd" else f"{ALL_DATA}, no KD"}
    if "full_none" in record["loss"]:  # a difference to all the data without KD, as the abstract states it
        return None
    return Place(names.get(record["pruning"], record["pruning"]), record["fraction"])


def to_random(line: str) -> str | None:
    """Differences are taken to random pruning; students on all data stand alone."""
    return None if line == RANDOM or line.startswith(ALL_DATA) else RANDOM


def full(s: Setting, pair: Fields, loss: Fields = KD) -> Group:
    """Students on all the data."""
    return Group("all data", {"seed": s.few}, {**pair, **loss, "fraction": 1.0})


# ------------------------------------------------------------------------------------ prunings against f

SIX = ("random", "herding", "forgetting", "el2n", "moderate", RESHAPED)
COMPARED = ("random", "herding", "el2n", "moderate", RESHAPED)


def compared(*pairs: tuple[str, str], names: tuple[str, ...] = COMPARED) -> Callable[[Setting], list[Group]]:
    """The comparison of static prunings for pairs of networks; outside the paper's preset for the preset's own pair."""

    def groups(s: Setting) -> list[Group]:
        found = []
        for teacher, student in pairs if s.preset == "paper" else pairs[:1]:
            own = s.pair(teacher, student)
            grid = {"seed": s.few, "fraction": s.at(*FRACTIONS), "pruning": strategies(s, *names)}
            found += [Group("prunings", grid, {**own, **KD}), adaptive(s, own), full(s, own)]
        return found

    return groups


def adaptive(s: Setting, pair: Fields) -> Group:
    """Random samples with a KD weight that falls with f; at the smallest f it is the fixed weight."""
    points = [{"fraction": f, "alpha": a} for f, a in ADAPTIVE.items() if {"fraction": f} in s.at(*FRACTIONS)]
    return Group("adaptive", {"seed": s.few, "point": points}, {**pair, "loss": "kd", "scorer": RANDOM})


def by_adaptive(r: Run) -> Place:
    """The line of the falling KD weight."""
    return Place("adaptive", r.fraction)


def by_adaptive_pair(r: Run) -> Place:
    """The same with a panel for each pair of networks."""
    return by_adaptive(r)._replace(panel=f"{r.teacher} to {r.student}")


def windows(s: Setting) -> list[Group]:
    """Easy, random, hard and medium samples, and medium ones with reshaped logits."""
    study = s.study("MD Table 1")
    fixed = study[0].fixed if study else {**s.pair(*MAIN), **KD}
    grid = {"seed": s.few, "fraction": s.at(*FRACTIONS), "pruning": strategies(s, "easy", "hard", RANDOM, MEDIUM)}
    reshaped = {**grid, "pruning": strategies(s, RESHAPED)}
    measured = study or [Group("MD Table 1", grid, fixed)]
    return [*measured, Group("MD Table 1, reshaped", reshaped, fixed), full(s, fixed, {})]


def reshapes(s: Setting) -> list[Group]:
    """Ways to reshape logits, on medium samples."""
    grid = {"seed": s.few, "fraction": s.at(*FRACTIONS), "reshape": values("reshape", *RESHAPES)}
    return s.study("MD Table 3") or [Group("MD Table 3", grid, {**s.pair(*MAIN), **KD, **window(MEDIUM)})]


def by_reshape(r: Run) -> Place | None:
    """A line for each way to reshape, against f."""
    return Place("KD" if r.reshape == "none" else r.reshape, r.fraction)


def feature_distillation(s: Setting) -> list[Group]:
    """Prunings under a loss on features (PEFD)."""
    names = strategies(s, RANDOM, "herding", "forgetting", "el2n", "moderate", MEDIUM)
    grid = {"seed": s.few, "fraction": s.at(0.4, 0.7), "pruning": names}
    return s.study("MD Table 4") or [
        Group("MD Table 4", grid, {**s.pair(*MAIN), "loss": "kd", "alpha": 0.9, "feature_loss": "pefd", "beta": 25.0})
    ]


def imbalanced(s: Setting) -> list[Group]:
    """Reshaping on imbalanced samples, with each class's own standard deviation and with the classes' mean."""
    options = values("reshape", "none", "classwise_std", "classwise_std_dataset_mean")
    ratio, f = (100, 0.505) if s.preset == "paper" else (10, 0.5)
    kept = {"selection": f"imbalanced(ratio={ratio})", "fraction": f}
    grid = {"seed": s.few, "reshape": options}
    return s.study("MD Table 11") or [Group("MD Table 11", grid, {**s.pair(*MAIN), **KD, **kept})]


def on_imagenet(s: Setting) -> list[Group]:
    """Static prunings and InfoBatch, on the setting's data."""
    dynamic = {"seed": s.few, "fraction": s.at(0.5, 0.7)}
    found = compared(MAIN)(s)
    return [*found, full(s, {}, NO_KD), Group("InfoBatch", dynamic, {**KD, "selection": "infobatch"})]


def by_strategy_or_dynamic(r: Run) -> Place | None:
    """`by_strategy`, and InfoBatch as a line of its own."""
    return Place("InfoBatch", r.fraction) if r.method("selection")[0] == "infobatch" else by_strategy(r)


def costs(s: Setting) -> list[Group]:
    """The method at several f, all data with KD, and all data without."""
    grid = {"seed": s.few, "fraction": s.at(*FRACTIONS), "pruning": strategies(s, RESHAPED)}
    return [Group("MD Fig. 6", grid, KD), full(s, {}), full(s, {}, NO_KD)]


def method_and_baseline(s: Setting) -> list[Group]:
    """The method on 70% of the data, and all data without KD."""
    return [
        Group("MD Table 6", {"seed": s.few}, {**KD, **strategies(s, RESHAPED)[0], "fraction": 0.7}),
        full(s, {}, NO_KD),
    ]


def distillation_losses(s: Setting) -> list[Group]:
    """KD and DKD on medium samples with reshaped logits."""
    fixed = {"alpha": 0.9, **strategies(s, RESHAPED)[0]}
    return [
        Group("MD Table 12", {"seed": s.few, "fraction": s.at(0.5, 0.7), "loss": values("loss", "kd", "dkd")}, fixed)
    ]


def by_logit_loss(r: Run) -> Place | None:
    """A line for each loss on logits, against f."""
    return Place(r.method("loss")[0].upper(), r.fraction)


def published_loss(record: Mapping[str, Any]) -> Place:
    """The rows of the tables whose lines are losses and ways to reshape: `kd`, `dkd`, `classwise_std` in the column loss."""
    loss = record["loss"]
    return Place(loss.upper() if loss in ("kd", "dkd") else loss, record["fraction"])


# ------------------------------------------------------------------------------------ the entries

STAND_IN = (
    "The paper's data are ImageNet (`python -m kdlib imagenet train`, a GPU); the setting's data stand in for it."
)
IN_IMAGES = "Cost is counted in images, which does not depend on the machine; the paper has hours."


def _table(name: str, title: str, groups: Any, **more: Any) -> PaperFigure:
    shown: dict[str, Any] = {
        "place": by_strategy,
        "draw": lines,
        "reference": to_random,
        "published": published_strategy,
        "places": (f"Table {name[8:]}",) if name.startswith("md-table") else (),
    }
    shown |= {"by_group": {"adaptive": by_adaptive}, **more}
    return PaperFigure(name, title, shown.pop("data", CIFAR), groups, **shown)


def _examples(name: str, kind: str) -> PaperFigure:
    note = "The paper shows images of ImageNet; these are the setting's."
    draw = samples.examples(WINDOWS[kind])
    title = f"Images of {kind} samples, by the teacher's cross-entropy"
    return PaperFigure(
        name, title, IMAGENET, samples.scored("difficulty"), samples.by_seed, draw=draw, students=True, note=note
    )


FIGURES = by_name(
    [
        boundaries.FIGURES["md-fig1"],
        boundaries.FIGURES["md-fig2"],
        PaperFigure(
            "md-fig3",
            "Training accuracy of teacher and student on easy, medium and hard samples",
            CIFAR,
            samples.distilled,
            samples.by_seed,
            draw=samples.training_accuracy,
            students=True,
        ),
        PaperFigure(
            "md-fig4",
            "What reshaping does to an under-confident and an over-confident vector of logits",
            CIFAR,
            samples.scored("difficulty"),
            samples.by_seed,
            draw=samples.reshaping,
            students=True,
        ),
        _table(
            "md-fig5",
            "Accuracy against f for the static prunings, with three pairs of networks",
            compared(MAIN, ("resnet50", "vgg8"), ("vgg13", "vgg8"), names=SIX),
            place=by_pair,
            by_group={"adaptive": by_adaptive_pair},
        ),
        _table(
            "md-fig6",
            "Accuracy against the cost of the training, for the method at several f and for all data",
            costs,
            data=IMAGENET,
            axis="cost",
            places=("Abstract", "Sec.4.5"),
            reference=lambda line: None,
            note=f"{STAND_IN} {IN_IMAGES}",
        ),
        *(boundaries.FIGURES[f"md-fig{k}"] for k in (7, 8, 9)),
        _examples("md-fig10", "hard"),
        _examples("md-fig11", "easy"),
        _examples("md-fig12", MEDIUM),
        _table("md-table1", "Easy, random, hard and medium samples, and reshaped logits", windows),
        boundaries.FIGURES["md-table2"],
        _table(
            "md-table3",
            "Ways to reshape logits, on medium samples",
            reshapes,
            place=by_reshape,
            published=published_loss,
            reference=lambda line: "KD" if line != "KD" else None,
        ),
        _table(
            "md-table4",
            "Prunings under a loss on features",
            feature_distillation,
            note="The weight of the feature loss is that of its authors' code; the paper does not state it.",
        ),
        _table(
            "md-table5",
            "Prunings on ImageNet, with InfoBatch",
            on_imagenet,
            place=by_strategy_or_dynamic,
            data=IMAGENET,
            note=STAND_IN,
        ),
        _table(
            "md-table6",
            "Accuracy against the cost of the training, for the method on 70% of the data and for all data without KD",
            method_and_baseline,
            data=IMAGENET,
            axis="cost",
            reference=lambda line: None,
            note=f"{STAND_IN} {IN_IMAGES} Its rows of Zipf's LS and USKD are cited from another paper and left out here.",
        ),
        *(
            _table(name, f"Prunings against f, {' to '.join(pair)}", compared(pair))
            for name, pair in PAIRS.items()
        ),
        _table(
            "md-table11",
            "Reshaping on imbalanced data",
            imbalanced,
            place=by_reshape,
            published=published_loss,
            reference=lambda line: "KD" if line != "KD" else None,
            note="The first class has 100 times the samples of the last one with CIFAR-100, 10 times with digits.",
        ),
        _table(
            "md-table12",
            "KD and DKD with the method",
            distillation_losses,
            place=by_logit_loss,
            published=published_loss,
            data=IMAGENET,
            reference=lambda line: "KD" if line != "KD" else None,
            note=STAND_IN,
        ),
        PaperFigure(
            "md-table13",
            "Frozen students on two other datasets, with a new classifier",
            IMAGENET,
            needs="students of ImageNet and the datasets CUB-200 and Cars-196: `python -m kdlib imagenet transfer`",
        ),
    ]
)  # fmt: skip
