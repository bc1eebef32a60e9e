"""The command `study`: a whole table of the papers, as far as it is done, one run after the other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kdlib.analysis.reproduction.costs import cost_of
from kdlib.cli.arguments import Failed, note, option, parse, table, usage
from kdlib.experiments import study as studies
from kdlib.experiments.config import Run
from kdlib.experiments.grid import SweepError
from kdlib.experiments.groups import STUDIES
from kdlib.store.artefacts import Store, StoreError
from kdlib.utils import progress
from kdlib.utils.errors import choose


@dataclass(frozen=True)
class StudyOptions:
    """A whole table of the papers. Runs whose rows are committed are not trained again; a stopped study goes on.

    `laptop` is CIFAR-100 with ResNet-20 on a CPU, `paper` the papers' recipe on a GPU; without a name all are listed.
    """

    name: str = option("", "empty: how far each study is; else one of: " + ", ".join(STUDIES))
    workers: int = option(1, "runs at a time, one process of one thread each")
    at_most: int = option(0, "stop after so many runs; 0: when all are done")
    teachers: bool = option(False, "train the teachers only")
    ship: str = option(
        "", "write trained teachers to data/teachers and scores to data/scores, with this commit on their cards"
    )
    status: bool = option(False, "say how far the study is and what the rest will cost, and train nothing")


def study(args: Sequence[str]) -> int:
    """`python -m kdlib study`."""
    flags = parse(StudyOptions, args, "study", positional=["name"])
    with usage():
        names = [flags.name] if flags.name else list(STUDIES)
        for name in names:
            choose("study", name, STUDIES)
    if not flags.name:
        with progress.working("looking through the studies"):
            lines = [{"study": name, **line} for name in names for line in studies.status(name)]
        print(table(lines))
        return 0
    if flags.status:
        with progress.working("looking for what is missing, and what it costs"):
            lines = list(_status(flags.name, Store()))
        print(table(lines))
        note("hours of one process; those to come are estimated, with the teachers and scores that are missing")
        return 0
    try:
        return _carry_out(flags)
    except (SweepError, StoreError, OSError, RuntimeError) as problem:
        raise Failed(str(problem)) from problem


def _status(name: str, store: Store) -> Iterator[dict[str, Any]]:
    """The lines of `studies.status`, each with the hours that its missing runs will take after those before it."""
    missing, known = studies.missing(name), studies.committed(name).values()
    before, waiting = 0.0, list[Run]()
    for line in studies.status(name):
        waiting += [r for r, group in missing.items() if group == line["group"]]
        hours = cost_of(waiting, known, store).seconds / 3600
        yield {**line, "hours to come": round(hours - before, 2)}
        before = hours


def _carry_out(flags: StudyOptions) -> int:
    store = Store()
    if flags.teachers:
        for r, accuracy in studies.teachers(flags.name, store):
            note(f"teacher {r.teacher}, seed {r.teacher_seed}: {accuracy:.2f}%")
    elif not flags.ship:
        count = studies.carry_out(flags.name, store, workers=flags.workers, at_most=flags.at_most or None)
        note(
            f"{count} runs trained; {len(studies.missing(flags.name))} are missing; rows: {studies.results(flags.name)}"
        )
    if flags.ship:
        shipped = (
            studies.ship_teachers(flags.name, store, flags.ship),
            studies.ship_scores(flags.name, store, flags.ship),
        )
        for path in itertools.chain(*shipped):
            note(f"{path}")
    return 0
