"""In what size and on which data a figure of a paper is made again, and where a run stands in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from kdlib.data import datasets
from kdlib.experiments.config import PRESETS, Run
from kdlib.experiments.fingerprint import needs_scores, needs_teacher, scorer_of
from kdlib.experiments.groups import STUDIES, Fields, Group, values
from kdlib.models import MODELS, build, parameters_count
from kdlib.utils.errors import choose

LARGE = ("cifar100", "cifar10", "svhn")  # datasets of the papers that kdlib loads into memory
OF_PRESET = {"smoke": ("digits",), "class": ("digits",), "laptop": LARGE, "paper": LARGE}
FEW = 5  # seeds of the figures that have many points, in the preset "class"
NO_TEACHER = -1


class Place(NamedTuple):
    """Where a number stands: on a line, at x, in a panel; `x` is a fraction, a KD weight, a temperature or a teacher."""

    line: str
    x: float | str
    panel: str = ""


@dataclass(frozen=True)
class Setting:
    """A preset and a dataset: the fields that all runs of a figure share, its seeds, fractions and networks."""

    preset: str
    dataset: str

    @property
    def base(self) -> Fields:
        """The fields that the preset fixes, with the dataset."""
        return {**PRESETS[self.preset].fixed, "dataset": self.dataset}

    @property
    def seeds(self) -> list[Fields]:
        """All seeds of the preset."""
        return values("seed", *PRESETS[self.preset].seeds)

    @property
    def few(self) -> list[Fields]:
        """The first seeds, for figures of many points."""
        return self.seeds[:FEW]

    @property
    def fractions(self) -> list[Fields]:
        """The kept fractions of the preset's figures, below 1."""
        return values("fraction", *(f for f in PRESETS[self.preset].fractions if f < 1))

    def at(self, *fractions: float) -> list[Fields]:
        """The kept fractions of a paper's table; its first and its last in the preset "smoke"."""
        return values("fraction", *((fractions[0], fractions[-1]) if self.preset == "smoke" else fractions))

    def scorer(self, name: str, **more: Any) -> Fields:
        """The fields of a scorer, with the paper's protocol where the preset has one."""
        return {"scorer": name, **PRESETS[self.preset].scorers.get(name, {}), **more}

    def teachers(self, paper: Sequence[str]) -> list[str]:
        """Networks of growing size: the paper's in its preset, ResNets on a laptop, all perceptrons on digits."""
        if self.preset == "paper":
            return list(paper)
        small = ["resnet8", "resnet14", "resnet20", "resnet32", "resnet56"]
        found = small if self.preset == "laptop" else [name for name in MODELS if name.split("_")[0] == "mlp"]
        return sorted(found, key=size)

    def pair(self, teacher: str, student: str) -> Fields:
        """The paper's pair of networks in its preset; elsewhere the preset's own."""
        if self.preset != "paper":
            return {}
        slow = {"lr": 0.01, "teacher_recipe": "lr=0.05"} if student == "mobilenetv2" else {}
        return {"teacher": teacher, "student": student, **slow}

    def study(self, name: str) -> list[Group]:
        """The groups of the preset's studies whose names begin with `name`; empty where the studies are of other data."""
        if self.dataset != PRESETS[self.preset].fixed["dataset"]:
            return []
        own = [group for groups, preset, _ in STUDIES.values() if preset == self.preset for group in groups()]
        here = [group for group in own if group.fixed.get("dataset", self.dataset) == self.dataset]
        return [group for group in here if group.name.startswith(name)]


def setting(preset: str, dataset: str = "") -> Setting:
    """The setting of a preset, on its own dataset or on another that fits; ValueError names the valid ones."""
    choose("preset", preset, PRESETS)
    fitting = OF_PRESET[preset]
    name = dataset or str(PRESETS[preset].fixed["dataset"])
    choose("dataset", name, dict.fromkeys([*datasets.DATASETS]))
    if name not in fitting:
        others = ", ".join(one for one, names in OF_PRESET.items() if name in names) or "none"
        raise ValueError(
            f"preset {preset} is for {', '.join(fitting)}, not for {name} (presets for {name}: {others}); "
            "leave the dataset out for the preset's own"
        )
    return Setting(preset, name)


def size(model: str) -> int:
    """Learnable values of a network for 32x32 images of three channels and 100 classes, to order networks by."""
    return parameters_count(build(model, 100, 3, 32))


def teacher_of(r: Run) -> int:
    """The seed of the teacher that has a part in the run, -1 where none has."""
    scored = needs_scores(r) and scorer_of(r).of == "teacher"
    return r.teacher_seed if needs_teacher(r) or scored else NO_TEACHER
