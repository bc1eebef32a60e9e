"""The commands `plot`, `show` and `export`: what came out, as pictures, tables and weights."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kdlib.analysis.plots import style
from kdlib.analysis.plots.table import plot as draw
from kdlib.analysis.plots.table import run_curves
from kdlib.cli.arguments import Failed, UsageError, note, option, parse, table, usage
from kdlib.cli.experiment_commands import PRESET_HELP, with_run_flags
from kdlib.data.tables import write_kept, write_scores
from kdlib.experiments.config import Run, fields_of
from kdlib.experiments.fingerprint import dataset_of
from kdlib.experiments.grid import load_rows
from kdlib.experiments.run import check, load_student, load_teacher, student_of
from kdlib.experiments.samples import kept_samples, sample_scores
from kdlib.models.weights import export_network
from kdlib.store.artefacts import Store, StoreError
from kdlib.utils import progress
from kdlib.utils.errors import choose
from kdlib.utils.files import check_target, write_whole
from kdlib.utils.progress import scalar_writer


@dataclass(frozen=True)
class PlotOptions:
    """Accuracy of a sweep's rows against one of their columns, with 95% intervals over seeds."""

    rows: str = option("", "a file of rows (.jsonl, .csv, .parquet), or a name in data/results")
    x: str = option("fraction", "column along the x axis")
    hue: str = option("", "column that chooses the colour, such as scorer")
    style: str = option("", "column that chooses the kind of line, such as loss")
    y: str = option("test_acc", "column along the y axis")
    out: str = option("plot.png", "the picture's file, a .png")


def plot(args: Sequence[str]) -> int:
    """`python -m kdlib plot`."""
    flags = parse(PlotOptions, args, "plot", positional=["rows"])
    if not flags.rows:
        raise UsageError("plot needs rows: plot rows.jsonl --x fraction --hue scorer (sweep --out writes such a file)")
    with usage():
        target = _picture(flags.out)
        try:
            rows = load_rows(flags.rows)
        except FileNotFoundError as problem:
            raise UsageError(str(problem)) from problem
        style.use()
        _save(draw(rows, flags.x, flags.hue, flags.style, flags.y), target)
    return 0


@dataclass(frozen=True)
class ShowOptions:
    """The curves of one run: loss, test accuracy and learning rate over its epochs. A run without stored curves is trained."""

    preset: str = option("", PRESET_HELP)
    out: str = option("curves.png", "the picture's file, a .png")
    csv: str = option("", "write the numbers of every epoch to this file, a .csv")
    tensorboard: str = option("", "write them as scalars into this folder; needs kdlib[tensorboard]")


def show(args: Sequence[str]) -> int:
    """`python -m kdlib show`."""
    flags: Any = parse(with_run_flags(ShowOptions, args), args, "show")
    with usage():
        target = _picture(flags.out)
        if flags.csv:
            check_target(_with_suffix(flags.csv, ".csv"))
        writer = scalar_writer(flags.tensorboard) if flags.tensorboard else None
        r = _checked(flags)
    arrays = _carried_out(lambda: student_of(r), "the run's curves")
    curves = pd.DataFrame({name: arrays[f"curve/{name}"][0] for name in ("loss", "test_acc", "rate")})
    curves.index = pd.RangeIndex(1, len(curves) + 1, name="epoch")
    style.use()
    _save(run_curves(curves.to_dict("list")), target)
    if flags.csv:
        write_whole(Path(flags.csv).expanduser(), curves.to_csv())
        note(f"every epoch written to {flags.csv}")
    if writer is not None:
        for epoch, row in curves.iterrows():
            for name, value in row.dropna().items():
                writer.add_scalar(str(name), value, epoch)
        writer.close()
        note(f"scalars written; look at them with: tensorboard --logdir {flags.tensorboard}")
    ends = curves.iloc[sorted({0, len(curves) - 1})]
    print(table([{"epoch": epoch, **row} for epoch, row in ends.to_dict("index").items()]))
    return 0


@dataclass(frozen=True)
class ExportOptions:
    """What a run holds, for use elsewhere: the trained student or teacher, the scores, or which samples are kept."""

    what: str = option("", "student, teacher, scores or kept")
    out: str = option(
        "", "file to write; a network becomes OUT.safetensors, OUT.json (its card) and OUT.pt2 (a program)"
    )
    preset: str = option("", PRESET_HELP)


def _student(r: Run, target: Path) -> list[Path]:
    return export_network(load_student(r), target, r.student, dataset_of(r))  # type: ignore[arg-type]


def _teacher(r: Run, target: Path) -> list[Path]:
    return export_network(load_teacher(r), target, r.teacher, dataset_of(r))  # type: ignore[arg-type]


def _scores(r: Run, target: Path) -> list[Path]:
    return [write_scores(target, sample_scores(r, Store()), dataset_of(r))]


def _kept(r: Run, target: Path) -> list[Path]:
    return [write_kept(target, np.sort(kept_samples(r, Store())), dataset_of(r))]


EXPORTS: dict[str, tuple[Callable[[Run, Path], list[Path]], str]] = {
    "student": (_student, "student"),
    "teacher": (_teacher, "teacher"),
    "scores": (_scores, "scores.csv"),
    "kept": (_kept, "kept.csv"),
}


def export(args: Sequence[str]) -> int:
    """`python -m kdlib export`."""
    flags: Any = parse(with_run_flags(ExportOptions, args), args, "export", positional=["what"])
    if not flags.what:
        raise UsageError(f"export needs one of: {', '.join(EXPORTS)}")
    with usage():
        function, default = choose("export", flags.what, EXPORTS)
        suffix = Path(default).suffix
        target = _with_suffix(flags.out or default, suffix) if suffix else Path(flags.out or default).expanduser()
        check_target(target if suffix else target.with_name(target.name + ".safetensors"))
        r = _checked(flags)
        for path in _carried_out(lambda: function(r, target), f"export of {flags.what}"):
            note(f"written: {path}")
    return 0


def _checked(flags: Any) -> Run:
    r = Run(**fields_of(vars(flags)))
    check(r)
    return r


def _carried_out(work: Callable[[], Any], what: str) -> Any:
    try:
        with progress.working(what):
            return work()
    except (StoreError, OSError) as problem:
        raise Failed(str(problem).splitlines()[0]) from problem


def _with_suffix(name: str, suffix: str) -> Path:
    path = Path(name).expanduser()
    if path.suffix.lower() != suffix:
        raise ValueError(f"{path}: name a file that ends in {suffix}")
    return path


def _picture(name: str) -> Path:
    path = _with_suffix(name, ".png")
    check_target(path)
    return path


def _save(figure: Any, target: Path) -> None:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=150)
    write_whole(target, content.getvalue())
    note(f"picture written to {target}")
