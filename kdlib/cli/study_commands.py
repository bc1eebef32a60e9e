"""The command `study`: a whole table of the papers, as far as it is done, one run after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kdlib.cli.arguments import Failed, note, option, parse, table, usage
from kdlib.experiments import study as studies
from kdlib.experiments.grid import SweepError
from kdlib.store.artefacts import Store, StoreError
from kdlib.utils.errors import choose


@dataclass(frozen=True)
class StudyOptions:
    """A whole table of the papers. Runs whose rows are committed are not trained again; a stopped study goes on.

    `laptop` is CIFAR-100 with ResNet-20 on a CPU, about 10 minutes a run; `paper` is the papers' recipe, for a GPU.
    """

    name: str = option("", "laptop, paper or smoke; empty: how far each of them is")
    workers: int = option(1, "runs at a time, one process of one thread each")
    at_most: int = option(0, "stop after so many runs; 0: when all are done")
    teachers: bool = option(False, "train the teachers only")
    ship: str = option("", "write trained teachers to data/teachers, with this commit on their cards")
    status: bool = option(False, "say how far the study is, and train nothing")


def study(args: Sequence[str]) -> int:
    """`python -m kdlib study`."""
    flags = parse(StudyOptions, args, "study", positional=["name"])
    with usage():
        names = [flags.name] if flags.name else list(studies.STUDIES)
        for name in names:
            choose("study", name, studies.STUDIES)
    if flags.status or not flags.name:
        for name in names:
            print(table([{"study": name, **line} for line in studies.status(name)]))
        return 0
    try:
        return _carry_out(flags)
    except (SweepError, StoreError, OSError, RuntimeError) as problem:
        raise Failed(str(problem)) from problem


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
        for path in studies.ship_teachers(flags.name, store, flags.ship):
            note(f"{path}")
    return 0
