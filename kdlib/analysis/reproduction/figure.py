"""What an entry of the registry says about one figure or table of a paper."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from kdlib.analysis.reproduction.settings import Place, Setting
from kdlib.experiments.config import Run
from kdlib.experiments.groups import Group
from kdlib.store.artefacts import Store

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPERS = {"dkdp": "dkdp", "md": "medium"}  # prefix of a figure's name -> the paper's name in data/paper


def no_place(record: Mapping[str, Any]) -> Place | None:
    """For figures of which the papers print no number."""
    return None


def no_reference(line: str) -> str | None:
    """For figures whose lines are not compared with one of them."""
    return None


@dataclass(frozen=True)
class Drawn:
    """What a figure is drawn from: its runs that have a row, and the table of their accuracies."""

    figure: PaperFigure
    setting: Setting
    runs: Mapping[Run, tuple[Place, ...]]
    table: pd.DataFrame
    store: Store


@dataclass(frozen=True)
class PaperFigure:
    """One figure or table of a paper.

    name:      `dkdp-fig7`: the paper, and the place in it
    title:     what it shows, in our words
    data:      the datasets of the paper
    groups:    the runs that it needs in a setting, or None where it cannot be made from runs
    place:     where a run's accuracy stands, or None for a run that has no part in it
    draw:      the figure, from what `plan` gathered
    axis:      what x is: "fraction", "alpha", "tau", "teacher" or "cost"
    students:  whether it needs the trained students themselves; rows alone do not do then
    follows:   whether it needs what was seen of them after each epoch; they are trained for this, stored or not
    places:    the places in the paper (column `where` of reported.csv) whose numbers stand beside ours
    published: where a row of reported.csv stands
    reference: the line that differences of a line are taken from, or None
    needs:     what it takes to make the figure, where rows of runs cannot
    note:      what ours differs in
    by_group:  in a figure of two plots, the start of a group's name -> where its runs stand, in place of `place`
    """

    name: str
    title: str
    data: tuple[str, ...]
    groups: Callable[[Setting], list[Group]] | None = None
    place: Callable[[Run], Place | None] | None = None
    draw: Callable[[Drawn], Figure] | None = None
    axis: str = "fraction"
    students: bool = False
    follows: bool = False
    places: tuple[str, ...] = ()
    published: Callable[[Mapping[str, Any]], Place | None] = no_place
    reference: Callable[[str], str | None] = no_reference
    needs: str = ""
    note: str = ""
    by_group: Mapping[str, Callable[[Run], Place | None]] = field(default_factory=dict)

    @property
    def paper(self) -> str:
        """The paper's name in data/paper: "dkdp" or "medium"."""
        return PAPERS[self.name.split("-")[0]]

    @property
    def where(self) -> str:
        """`DKDP Fig. 7`."""
        paper, place = self.name.split("-")
        number = "".join(letter for letter in place if letter.isdigit())
        return f"{paper.upper()} {'Fig.' if place.startswith('fig') else 'Table'} {number}"

    def runs(self, setting: Setting) -> dict[Run, tuple[Place, ...]]:
        """The runs of the figure, each with its places, in the order of the groups; ValueError where it has none."""
        if self.groups is None or self.place is None:
            raise ValueError(f"{self.name} cannot be made from rows of runs; it needs {self.needs}")
        found: dict[Run, tuple[Place, ...]] = {}
        for group in self.groups(setting):
            own = (function for start, function in self.by_group.items() if group.name.startswith(start))
            place_of = next(own, self.place)
            for r in group.runs(setting.base):
                place, known = place_of(r), found.get(r, ())
                if place is not None and place not in known:
                    found[r] = (*known, place)
        return found

    def numbers(self, reported: pd.DataFrame) -> pd.DataFrame:
        """The rows of data/paper/reported.csv that belong to the figure."""
        mine = (reported.paper == self.paper) & reported["where"].isin(self.places) & reported.dataset.isin(self.data)
        return reported[mine]


def by_name(figures: Sequence[PaperFigure]) -> dict[str, PaperFigure]:
    """The figures by their names."""
    return {figure.name: figure for figure in figures}
