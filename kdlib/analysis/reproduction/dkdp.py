"""The figures and the table of "Distilling the Knowledge in Data Pruning" (DKDP)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kdlib.analysis.names import named
from kdlib.analysis.reproduction import samples
from kdlib.analysis.reproduction.draw import lines
from kdlib.analysis.reproduction.figure import PaperFigure, by_name
from kdlib.analysis.reproduction.settings import Place, Setting
from kdlib.analysis.tables import pruning_name
from kdlib.experiments.config import Run
from kdlib.experiments.fingerprint import needs_teacher
from kdlib.experiments.groups import NO_KD, Fields, Group, kd, values

ALPHA, TAU = 0.5, 4.0  # the paper's usual KD weight and temperature
KD, NO = ", KD", ", no KD"
OF_FORGETTING = "The students see the samples that forgetting keeps."
ALL_DATA = "all data"
TEACHER_ITSELF = "the teacher itself"
SCORERS = ("random", "forgetting", "el2n", "grand_last")
ALPHAS = (0.25, 0.5, 0.75, 1.0)
FEATURE_LOSSES = ("fitnets", "ab", "at", "ft", "fsp", "nst", "pkt", "rkd", "sp", "vid")
SPATIAL = ("at", "ft", "nst")  # of these: they compare places in a map, of which a perceptron has none
TEACHERS = ("resnet14", "resnet20", "resnet32", "resnet56", "resnet110", "wrn_40_2")
STUDENTS = {  # of the paper's figures on the teacher's capacity
    "dkdp-fig7": {"cifar100": ("resnet32", "resnet20"), "cifar10": ("resnet32",), "svhn": ("resnet32",)},
    "dkdp-fig9": {"svhn": ("resnet8", "resnet32"), "cifar100": ("resnet56",), "cifar10": ("resnet20",)},
}
GRAND = {"grand": "grand_last"}  # we score by the last layer's gradient


# ------------------------------------------------------------------------------------ accuracy against f


def pruning_line(r: Run) -> str:
    """`EL2N, KD` or `all data, no KD`."""
    scorer = r.method("scorer")[0]
    pruning = pruning_name(scorer, r.centre, r.method("selection")[0], r.fraction)
    return f"{ALL_DATA if pruning == 'full' else named(pruning)}{KD if needs_teacher(r) else NO}"


def by_pruning(r: Run) -> Place | None:
    """A line for each pruning, with KD and without, against f."""
    return None if needs_teacher(r) and r.alpha != ALPHA else Place(pruning_line(r), r.fraction)


def published_pruning(record: Mapping[str, Any]) -> Place | None:
    """Accuracies with and without KD, and gains of KD, which belong to the line with KD."""
    kinds = {"none": NO, "kd": KD, "kd-none": KD}
    known = record["loss"] in kinds and record["fraction"] < 1
    name = GRAND.get(record["pruning"], record["pruning"])
    return Place(f"{named(name)}{kinds[record['loss']]}", record["fraction"]) if known else None


def without_kd(line: str) -> str | None:
    """The reference of a line with KD is the one without."""
    return line.removesuffix(KD) + NO if line.endswith(KD) else None


def all_data(s: Setting, seeds: list[Fields] | None = None) -> Group:
    """Students that see all the data, without a teacher."""
    return Group("all data", {"seed": seeds or s.seeds}, {**NO_KD, "fraction": 1.0})


def prunings(s: Setting, scorers: tuple[str, ...] = SCORERS) -> list[Group]:
    """Each scorer at each fraction, with and without KD."""
    grid = {"seed": s.seeds, "fraction": s.fractions, "pruning": [s.scorer(n) for n in scorers], "loss": kd(ALPHA)}
    return [*(s.study("DKDP Fig. 4") or [Group("DKDP Fig. 4", grid, {})]), all_data(s)]


def on_imagenet(s: Setting) -> list[Group]:
    """The prunings of the paper's ImageNet figure, on other data."""
    names = ("random", "forgetting", "el2n", "memorization")
    grid = {"seed": s.few, "fraction": s.fractions, "pruning": [s.scorer(n) for n in names], "loss": kd(ALPHA)}
    return [Group("DKDP Fig. 5", grid, {}), all_data(s, s.few)]


def overview(s: Setting) -> list[Group]:
    """Both plots of the paper's first figure: prunings with KD, and teachers of several sizes."""
    return [*prunings(s), *capacity("dkdp-fig7")(s)]


def left_plot(r: Run) -> Place | None:
    """Prunings, with a teacher of the student's own architecture."""
    own = r.teacher == r.student or not needs_teacher(r)
    found = by_pruning(r) if own and r.tau == TAU else None
    return found and found._replace(panel="prunings")


def right_plot(r: Run) -> Place | None:
    """Teachers of several sizes, random pruning."""
    taught = needs_teacher(r) and (r.scorer, r.alpha, r.tau) == ("random", ALPHA, TAU) and r.fraction < 1
    return Place(f"teacher {r.teacher}", r.fraction, f"teachers of {r.student}") if taught else None


# ------------------------------------------------------------------------------------ the KD weight


def alphas(s: Setting) -> list[Group]:
    """KD weights from 0 to 1 at each fraction, on the samples that forgetting keeps."""
    fixed = s.scorer("forgetting")
    grid = {"seed": s.few, "fraction": s.fractions, "alpha": kd(*ALPHAS)}
    return s.study("DKDP Fig. 6") or [Group("DKDP Fig. 6", grid, fixed)]


def by_alpha(r: Run) -> Place | None:
    """A line for each f against the KD weight."""
    if r.method("scorer")[0] != "forgetting":
        return None
    return Place(f"f = {r.fraction:.3g}", r.alpha if needs_teacher(r) else 0.0)


# ------------------------------------------------------------------------------------ the teacher's size


def capacity(name: str) -> Any:
    """Groups with teachers of every size at each fraction, random pruning; students of the figure `name`."""

    def groups(s: Setting) -> list[Group]:
        found = s.study("DKDP Fig. 7") if name == "dkdp-fig7" else []
        students = STUDENTS[name].get(s.dataset, ()) if s.preset == "paper" else (s.base.get("student", "mlp"),)
        grid = {
            "seed": s.few,
            "student": values("student", *students),
            "teacher": values("teacher", *s.teachers(TEACHERS)),
            "fraction": s.fractions,
        }
        return found or [Group("DKDP Fig. 7", grid, {"scorer": "random", "loss": "kd", "alpha": ALPHA})]

    return groups


def by_teacher(r: Run) -> Place | None:
    """A line for each f against the teacher's size, a panel for each student."""
    return Place(f"f = {r.fraction:.3g}", r.teacher, f"student {r.student}") if r.tau == TAU else None


def published_teacher(record: Mapping[str, Any]) -> Place | None:
    """The teachers' own accuracies, which the text gives; the panel is left open."""
    return Place(TEACHER_ITSELF, record["student"])


def temperatures(s: Setting) -> list[Group]:
    """Teachers of several sizes at several temperatures."""
    student = "resnet20" if s.preset == "paper" else s.base.get("student", "mlp")
    names = s.teachers(TEACHERS)
    grid = {
        "seed": s.few,
        "teacher": values("teacher", *dict.fromkeys([names[0], names[len(names) // 2], names[-1]])),
        "tau": values("tau", 2.0, 4.0, 7.0) if s.preset != "paper" else values("tau", 2.0, 3.0, 4.0, 5.0, 7.0),
        "fraction": s.at(0.1, 0.3, 0.7),
    }
    fixed = {"scorer": "random", "loss": "kd", "alpha": ALPHA, "student": student}
    return s.study("DKDP Fig. 7 and 10") or [Group("DKDP Fig. 10", grid, fixed)]


def by_temperature(r: Run) -> Place | None:
    """A line for each teacher against the temperature, a panel for each f."""
    return Place(f"teacher {r.teacher}", r.tau, f"f = {r.fraction:.3g}")


# ------------------------------------------------------------------------------------ further losses


def losses(s: Setting) -> list[Group]:
    """No KD, KD with weight 2, and KD with each feature loss, all weights 1, on the samples that forgetting keeps."""
    additive = {"loss": "kd", "weighting": "additive"}
    options = [NO_KD, {**additive, "alpha": 2.0}]
    usable = [name for name in FEATURE_LOSSES if s.base.get("student", "mlp") != "mlp" or name not in SPATIAL]
    options += [{**additive, "alpha": 1.0, "feature_loss": name, "beta": 1.0} for name in usable]
    grid = {"seed": s.few[:3], "fraction": s.at(0.05, 0.1, 0.3, 0.5), "loss": options}
    return [Group("DKDP Table 1", grid, s.scorer("forgetting"))]


def by_loss(r: Run) -> Place | None:
    """A line for each loss against f."""
    feature = r.method("feature_loss")[0]
    return Place("no KD" if not needs_teacher(r) else "KD" if feature == "none" else feature, r.fraction)


def published_loss(record: Mapping[str, Any]) -> Place | None:
    """The rows of the table."""
    return Place({"none": "no KD", "kd": "KD"}.get(record["loss"], record["loss"]), record["fraction"])


FIGURES = by_name(
    [
        PaperFigure(
            "dkdp-fig1",
            "The idea in two plots: KD at every f for several prunings, and teachers of several sizes",
            ("cifar100",),
            overview,
            left_plot,
            lines,
            by_group={"DKDP Fig. 7": right_plot},
            note="The drawing of the training scheme is left out.",
        ),
        PaperFigure(
            "dkdp-fig2",
            "What a teacher, a student without KD and a student with KD answer for one test image",
            ("cifar100",),
            samples.two_students,
            samples.by_seed,
            samples.answers,
            students=True,
        ),
        PaperFigure(
            "dkdp-fig3",
            "The samples with the highest forgetting scores",
            ("cifar100", "svhn"),
            samples.scored("forgetting"),
            samples.by_seed,
            samples.hardest,
            students=True,
        ),
        PaperFigure(
            "dkdp-fig4",
            "Accuracy against f with and without KD, for four ways to prune",
            ("cifar100", "svhn", "cifar10"),
            prunings,
            by_pruning,
            lines,
            places=("Sec.1", "Sec.4.1"),
            published=published_pruning,
            reference=without_kd,
            note="GraNd is scored by the last layer's gradient.",
        ),
        PaperFigure(
            "dkdp-fig5",
            "The same on ImageNet, with memorization in place of GraNd",
            ("imagenet",),
            on_imagenet,
            by_pruning,
            lines,
            places=("Sec.1", "Sec.4.1"),
            published=published_pruning,
            reference=without_kd,
            note="ImageNet itself takes `python -m kdlib imagenet train` and a GPU; the setting's data stand in for it.",
        ),
        PaperFigure(
            "dkdp-fig6",
            "Accuracy against the KD weight, a line for each f",
            ("cifar100",),
            alphas,
            by_alpha,
            lines,
            axis="alpha",
            note=OF_FORGETTING,
        ),
        PaperFigure(
            "dkdp-fig7",
            "Accuracy against the size of the teacher, a line for each f",
            ("cifar100", "cifar10"),
            capacity("dkdp-fig7"),
            by_teacher,
            lines,
            axis="teacher",
            places=("Sec.4.3",),
            published=published_teacher,
        ),
        PaperFigure(
            "dkdp-fig8",
            "Accuracy against the KD weight on SVHN, a line for each f",
            ("svhn",),
            alphas,
            by_alpha,
            lines,
            axis="alpha",
            note=OF_FORGETTING,
        ),
        PaperFigure(
            "dkdp-fig9",
            "Accuracy against the size of the teacher for further students and datasets",
            ("svhn", "cifar100", "cifar10"),
            capacity("dkdp-fig9"),
            by_teacher,
            lines,
            axis="teacher",
        ),
        PaperFigure(
            "dkdp-fig10",
            "Accuracy against the temperature for teachers of several sizes, a panel for each f",
            ("cifar100",),
            temperatures,
            by_temperature,
            lines,
            axis="tau",
        ),
        PaperFigure(
            "dkdp-table1",
            "KD with ten further losses on features and relations, against f",
            ("cifar100",),
            losses,
            by_loss,
            lines,
            places=("Table 1",),
            published=published_loss,
            reference=lambda line: "KD" if line != "KD" else None,
            note="All weights are 1, as in the paper. On digits AT, FT and NST are left out: a perceptron has no maps.",
        ),
    ]
)
