"""The command `imagenet`: score, train and transfer (also under `torchrun`), shrink a folder, predict the cost."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, fields, make_dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from kdlib.cli.arguments import Failed, UsageError, note, option, parse, table, usage
from kdlib.experiments.config import Run
from kdlib.experiments.rules import digest
from kdlib.imagenet.config import METHODS, RECIPES, Machine, Settings
from kdlib.imagenet.costs import Cluster, Plan, measure
from kdlib.imagenet.costs import table as costs
from kdlib.imagenet.distributed import LostRank, world
from kdlib.imagenet.loading import UnreadableImage
from kdlib.imagenet.networks import NETWORKS
from kdlib.imagenet.run import Folders, score_folder, train, transfer
from kdlib.imagenet.shrinking import damaged, image_names, shrink
from kdlib.store.artefacts import Store, StoreError
from kdlib.training.recipe import OPTIMISERS, SCHEDULES
from kdlib.utils import progress
from kdlib.utils.errors import choose


@dataclass(frozen=True)
class FolderOptions:
    """Where the images lie."""

    root: str = option("", "folder that holds the two below; each has one folder of images for each class")
    train: str = option("train", "folder of the training images, below the root")
    val: str = option("val", "folder of the validation images, below the root")
    store: str = option("", "folder for rows and checkpoints; default data/store or $KDLIB_STORE")


@dataclass(frozen=True)
class TrainOptions(FolderOptions):
    """Train a student on a part of a folder of images, with a teacher; on several devices under torchrun."""

    recipe: str = option("dkdp", "other defaults for the flags below: dkdp, md, budget")
    save: str = option("", "write the trained student to this .safetensors file")
    json: bool = option(False, "print the whole row as one line of JSON")


@dataclass(frozen=True)
class ScoreOptions(FolderOptions):
    """Score all training images in one forward pass of the teacher; on several devices under torchrun."""

    recipe: str = option("dkdp", "other defaults for the flags below: dkdp, md, budget")
    out: str = option("scores.csv", "the table; beside it, FILE.json says what it is of")


@dataclass(frozen=True)
class ShrinkOptions:
    """Make a resized copy of a folder of images; a copy that was stopped goes on with the same command."""

    source: str = option("", "folder to copy, with everything below")
    target: str = option("", "folder of the copy")
    side: int = option(256, "pixels of the shorter side; smaller images stay as they are")
    quality: int = option(90, "quality of the JPEGs")
    workers: int = option(0, "threads; 0: one on each core")
    check: bool = option(False, "only compare the copy with its checksums")


@dataclass(frozen=True)
class CostOptions:
    """Measure this machine for some seconds and predict what 1.28 million images cost."""

    student: str = option("resnet50", "network to train")
    teacher: str = option("resnet50", "network that it learns from")
    image_size: int = option(224, "pixels of a side")
    epochs: int = option(240, "passes over the kept images")
    batch_size: int = option(128, "images in a step, over all devices together")
    folder: str = option("", "folder of images to time decoding with; without one decoding counts as free")
    seconds: float = option(2.0, "how long each part is timed")


def with_settings(options: type, args: Sequence[str]) -> type:
    """`options` and every field of `Settings` and `Machine`, with the defaults of the recipe that the arguments name."""
    named = re.findall(r"(?:^|\n)--recipe[=\n]([^\n]+)", "\n".join(args))
    with usage():
        fixed = choose("recipe", named[-1], RECIPES) if named else {}
    added = [
        (f.name, typing.get_type_hints(kind)[f.name], field(default=fixed.get(f.name, f.default), metadata=f.metadata))
        for kind in (Settings, Machine)
        for f in fields(kind)
    ]
    combined = make_dataclass(options.__name__, added, bases=(options,), frozen=True)
    combined.__doc__ = options.__doc__
    return combined


def _part(kind: type, flags: Any) -> Any:
    """An instance of the dataclass from the flags of the same names; UsageError for values that it refuses."""
    with usage():
        return kind(**{f.name: getattr(flags, f.name) for f in fields(kind)})


def imagenet(args: list[str]) -> int:
    """`python -m kdlib imagenet ACTION ...`."""
    if not args or args[0] in ("-h", "--help"):
        print("usage: python -m kdlib imagenet ACTION ...\n")
        print("\n".join(f"  {name:<9} {text}" for name, (_, text) in ACTIONS.items()))
        print("\npython -m kdlib imagenet ACTION --help explains an action.")
        return 0 if args else 2
    with usage():
        action, _ = choose("action", args[0], ACTIONS)
    return action(args[1:])


@contextmanager
def _processes(machine: Any) -> Iterator[Any]:
    """This process among those of torchrun. What is wrong with the arguments is said once, by the first of them."""
    try:
        with world(machine.device, machine.lost_after) as place, usage():
            with nullcontext() if place.first else progress.shown_by(lambda text, milestone: None):
                yield place
    except (LostRank, StoreError, UnreadableImage) as problem:
        raise Failed(str(problem)) from problem
    except UsageError:
        if place.first:
            raise
        raise SystemExit(2) from None


def _folders(flags: Any) -> Any:
    if not flags.root:
        raise UsageError("--root is missing: the folder that holds train/ and val/")
    return Folders(flags.root, flags.train, flags.val)


def _experiment(args: list[str], name: str, run: Callable[..., dict]) -> int:
    """`train` and `transfer`: the row of one experiment, completed to the schema of all others."""
    flags: Any = parse(with_settings(TrainOptions, args), args, f"imagenet {name}")
    settings, machine, folders = _part(Settings, flags), _part(Machine, flags), _folders(flags)
    store = Complete(Store(flags.store or None))
    with _processes(machine) as place:
        row = completed(run(settings, folders, machine, place, store, save=flags.save, rules=rules_of(run, settings)))
    if place.first:
        shown = ("dataset", "student", "fraction", "kept", "test_acc", "test_top5", "teacher_acc", "status")
        print(json.dumps(row) if flags.json else table([{name: row[name] for name in shown}]))
    return 0 if row["status"] == "ok" else 1


def rules_of(run: Callable, settings: Any) -> str:
    """Digest of the code that decides the outcome: of the engine and of the methods that the settings name."""
    methods = [METHODS[name][0][settings.method(name)[0]] for name in METHODS]
    networks = [NETWORKS[settings.student], *([NETWORKS[settings.teacher]] if settings.needs_teacher else [])]
    return digest(run, *methods, *networks, OPTIMISERS[settings.optimiser], SCHEDULES[settings.schedule])


def completed(row: dict) -> dict:
    """The row with every column that `Run` has, so that all rows fit into one table: its default where there is none."""
    return {**asdict(Run()), **row}


class Complete:
    """A store whose rows are `completed`."""

    def __init__(self, store: Any) -> None:
        self.store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def add_row(self, description: dict, row: dict) -> None:
        self.store.add_row(description, completed(row))


def _train(args: list[str]) -> int:
    return _experiment(args, "train", train)


def _transfer(args: list[str]) -> int:
    return _experiment(args, "transfer", transfer)


def _score(args: list[str]) -> int:
    flags: Any = parse(with_settings(ScoreOptions, args), args, "imagenet score")
    settings, machine, folders = _part(Settings, flags), _part(Machine, flags), _folders(flags)
    with _processes(machine) as place:
        about = score_folder(settings, folders, machine, place, Path(flags.out))
    if place.first:
        note(f"{about['scored']} of {about['images']} images scored in {about['seconds']:.0f} s: {flags.out}")
        for name, reason in list(about["skipped"].items())[:20]:
            note(f"skipped {name}: {reason}")
    return 0


def _shrink(args: list[str]) -> int:
    flags = parse(ShrinkOptions, args, "imagenet shrink")
    if flags.check:
        with progress.working(f"reading all of {flags.target}"):
            bad = damaged(Path(flags.target))
        for name in bad:
            print(name)
        return 1 if bad else 0
    with usage():
        done = shrink(
            Path(flags.source), Path(flags.target), side=flags.side, quality=flags.quality, workers=flags.workers
        )
    for name, reason in done.unreadable.items():
        note(f"left out {name}: {reason}")
    note(
        f"{done.files} images ({done.new} new), {done.bytes_before / 1e6:.1f} MB before, {done.bytes_after / 1e6:.1f} after"
    )
    return 0


def _cost(args: list[str]) -> int:
    flags = parse(CostOptions, args, "imagenet cost")
    with usage(), progress.working("timing this machine"):
        names = islice(image_names(Path(flags.folder)), 500) if flags.folder else ()
        files = [Path(flags.folder, name) for name in names]
        measured = measure(
            flags.student, flags.teacher, image_size=flags.image_size, seconds=flags.seconds, files=files,
        )  # fmt: skip
    print("measured here:")
    print(table([asdict(measured)]))
    plans = [Plan(f, flags.epochs, flags.batch_size) for f in (0.1, 0.3, 0.5, 0.7, 1.0)]
    clusters = [Cluster(gpus) for gpus in (1, 8, 64)]
    print("assumed of the machines:")
    print(table([asdict(cluster) for cluster in clusters]))
    print("extrapolated from both:")
    print(table(costs(measured, plans, clusters)))
    return 0


ACTIONS: dict[str, tuple[Callable[[list[str]], int], str]] = {
    "score": (_score, "difficulty of every training image, in one forward pass of a teacher; writes a CSV"),
    "train": (_train, "a student on the kept images; prints its row"),
    "transfer": (_transfer, "a trained student's frozen features, a new classifier, another folder"),
    "shrink": (_shrink, "a resized copy of a folder, with checksums"),
    "cost": (_cost, "time this machine and predict GPU-hours, memory and reading for all of ImageNet"),
}
