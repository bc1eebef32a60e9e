"""What the template says about a figure of a paper: what it is, what it will cost, and how the paper's numbers compare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from kdlib.analysis.claims import specifications
from kdlib.analysis.reproduction import FIGURES, Drawn, PaperFigure, Plan, Setting
from kdlib.analysis.reproduction.costs import Cost
from kdlib.analysis.reproduction.settings import Place
from kdlib.analysis.statistics import Interval, paired, points
from kdlib.analysis.tell import level, listed, number
from kdlib.analysis.tell import table as as_table
from kdlib.experiments.config import Run
from kdlib.experiments.fingerprint import needs_teacher

DIFFERENCES = ("kd-none",)  # rows of reported.csv that hold a difference to the reference, not an accuracy


def about(figure: PaperFigure, setting: Setting) -> str:
    """What the figure shows, on which data the paper made it and on which it is made here."""
    same = setting.dataset in figure.data
    stand = "" if same else " These data stand in for the paper's: no number of the paper can be compared with ours."
    note = f" {figure.note}" if figure.note else ""
    return (
        f"**{figure.where}** (`{figure.name}`): {figure.title}. In the paper: {listed(figure.data)}. Here: {setting.dataset}, "
        f"preset `{setting.preset}`.{stand}{note}"
    )


def duration(seconds: float) -> str:
    """`about 40 s`, `about 12 minutes` or `about 8.5 hours`."""
    if seconds < 90:
        return f"about {max(seconds, 1):.0f} s"
    return f"about {seconds / 60:.0f} minutes" if seconds < 5400 else f"about {seconds / 3600:.1f} hours"


def counted(n: int, what: str) -> str:
    """`1 student`, `3 students`."""
    return f"{n} {what}{'' if n == 1 else 's'}"


def images(found: Cost) -> str:
    """`0.2 million images through mlp`, for each network."""
    parts = [f"{count / 1e6:.3g} million through `{model}`" for model, count in found.images.items()]
    return f"training images: {listed(parts)}"


def cost(found: Plan, price: Cost, at_most_hours: float) -> str:
    """How many rows there are, what the others cost, and whether they are trained; the time is of one process."""
    there = len(found.rows)
    stored = there - found.committed
    have = (
        f"Of {counted(len(found.runs), 'run')}, {found.committed} have a committed row and {stored} one in the store."
    )
    if not price.students:
        return f"{have} Nothing needs to be trained."
    counts = ((price.teachers, "teacher"), (price.scored, "scored network"))
    extra = [counted(n, what) for n, what in counts if n]
    needs = f"{counted(price.students, 'student')}{f', and before them {listed(extra)}' if extra else ''}"
    verdict = (
        "It starts now."
        if allowed(price, at_most_hours)
        else f"That is more than `at_most_hours = {at_most_hours:g}`: nothing is trained, and the figure shows what there is."
    )
    return f"{have} Missing: {needs}; {images(price)}. One process of this machine needs {duration(price.seconds)}. {verdict}"


def rows(found: Plan) -> str:
    """How many of the figure's runs have a row now, and which networks they train."""
    there, count = len(found.rows), len(found.runs)
    if there == count:
        said = "The figure's only run has a row." if there == 1 else f"All {there} runs of the figure have a row."
    else:
        said = f"{there} of {count} runs of the figure have a row; {count - there} are not measured yet."
    return f"{said} {networks(found.runs)}"


def networks(runs: Iterable[Run]) -> str:
    """`Students: resnet8, 30 epochs; teachers: resnet20.`"""
    students = dict.fromkeys(f"{r.student}, {r.epochs} epochs" for r in runs)
    teachers = dict.fromkeys(r.teacher for r in runs if needs_teacher(r))
    taught = f"; teachers: {listed(list(teachers))}" if teachers else ""
    return f"Students: {listed(list(students))}{taught}."


def allowed(price: Cost, at_most_hours: float) -> bool:
    """Whether the missing runs may be trained."""
    return price.seconds <= 3600 * at_most_hours


def compared(drawn: Drawn, reported: pd.DataFrame) -> str:
    """The paper's numbers of the figure beside ours, and as differences to the same reference where there is one."""
    numbers = drawn.figure.numbers(reported)
    if numbers.empty:
        return _none_printed(drawn.figure)
    same = numbers[numbers.dataset == drawn.setting.dataset]
    if same.empty:
        data = listed(sorted(set(numbers.dataset)))
        return f"The paper's {len(numbers)} numbers are of {data}; we measured {drawn.setting.dataset}."
    ours = levels(drawn.table)
    rows = [_line(record, drawn, ours, numbers) for record in same.to_dict("records")]
    header = ["line", "x", "paper", "ours", "paper, difference", "ours, difference", "to"]
    lack = sum(row[3] == row[5] == "not measured" for row in rows)
    told = f"\n\n{lack} of these {len(rows)} numbers are not measured yet." if lack else ""
    head = "Accuracies in percent, differences in points; the recipes differ, so compare the differences."
    return f"{head}\n\n{as_table(header, rows)}{told}"


def _none_printed(figure: PaperFigure) -> str:
    """Why no number stands beside ours; every table of the papers has numbers, but not of every one do we have the text."""
    if "Table" not in figure.where:
        paper, place = figure.where.split(" ", 1)
        about = [c.id for c in specifications().values() if c.paper == figure.paper and place in c.where.split("; ")]
        said = f" What {paper} says about it in words is judged as {listed(about)} in lesson 16." if about else ""
        return f"`data/paper/reported.csv` holds no numbers for this figure.{said}"
    return (
        "The numbers of this table do not stand in `data/paper/reported.csv`: the text of the paper that it was taken from "
        "has only the table's caption. Compare with the paper itself."
    )


def levels(table: pd.DataFrame) -> dict[tuple[str, Any], Interval]:
    """The mean accuracy on each line at each x, over panels."""
    found = points(table, ("line", "x"), "value")
    return {(row.line, row.x): Interval(row.mean, row.half, row.n) for row in _records(found)}


def _records(found: pd.DataFrame) -> list[Any]:
    return list(found.itertuples(index=False, name="Row"))


def _line(record: Mapping[str, Any], drawn: Drawn, ours: Mapping, numbers: pd.DataFrame) -> list[str]:
    place = drawn.figure.published(record)
    if place is None:
        return [
            f"{record['pruning']}, {record['loss']}",
            f"{record['fraction']:g}",
            f"{record['value']:g}",
            "not measured",
            "",
            "not measured",
            "",
        ]
    reference = drawn.figure.reference(place.line)
    difference = record["loss"] in DIFFERENCES
    paper = record["value"] if difference else _paper_difference(record, place, reference, drawn.figure, numbers)
    mine = ours.get((place.line, place.x))
    apart = _our_difference(drawn.table, place, reference) if reference else None
    missing = "not measured" if reference or difference else ""
    return [
        place.line,
        f"{place.x:g}" if isinstance(place.x, float) else str(place.x),
        "" if difference else f"{record['value']:g}",
        level(mine) if mine is not None and not difference else "" if difference else "not measured",
        "" if paper is None else f"{paper:+.1f}",
        missing if apart is None else number(apart),
        reference or "",
    ]


def _paper_difference(
    record: Mapping[str, Any], place: Place, reference: str | None, figure: PaperFigure, numbers: pd.DataFrame
) -> float | None:
    """The paper's number minus its number on the reference line at the same x and on the same data."""
    for other in numbers[numbers.dataset == record["dataset"]].to_dict("records"):
        there = figure.published(other)
        same = record["where"] == other["where"] and record["metric"] == other["metric"]
        if (
            same
            and there is not None
            and (there.line, there.x) == (reference, place.x)
            and other["loss"] not in DIFFERENCES
        ):
            return record["value"] - other["value"]
    return None


def _our_difference(table: pd.DataFrame, place: Place, reference: str) -> Interval | None:
    """Our difference to the reference line, paired by seed and teacher."""
    at = table[table.x == place.x]
    first, second = at[at.line == place.line], at[at.line == reference]
    pairs = paired(first.assign(line=""), second.assign(line=""), ("x", "panel"), "value")
    if pairs.empty:
        return None
    (found,) = _records(points(pairs, ("x",), "difference"))
    return Interval(found.mean, found.half, found.n)


def summary(figure: PaperFigure) -> str:
    """One line of the list of figures."""
    how = f"needs {figure.needs}" if figure.groups is None else f"data: {', '.join(figure.data)}"
    return f"{figure.name:<12} {figure.title} ({how})"


def every_figure() -> str:
    """The list of all figures and tables of both papers."""
    return "\n".join(summary(figure) for figure in FIGURES.values())
