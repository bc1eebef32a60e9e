"""CIFAR-100 with the paper's own recipe on a GPU: the teacher, then the panel of its Fig. 4.

    python benchmarks/paper_on_gpu.py --minutes 50 [--seeds 1] [--workers 1] [--results FILE] [--dry-run]

The paper is "Distilling the Knowledge in Data Pruning", the recipe the `paper` preset: ResNet-32, 240 epochs, batch 64,
rate 0.05 divided by 10 after epochs 150, 180 and 210, tau 4, alpha 0.5. First comes the teacher, whose training gives the
scores as well, then f = 0.1, 0.3, 0.5, 0.7 with random and forgetting, with and without KD, then every other point of the
panel. Runs of equal f train side by side. It stops at the time limit, keeps finished runs as rows and unfinished ones as
checkpoints (at most a minute old), and goes on there when the same command is given again. `--dry-run` does all of it with
small networks on the digits, on any device.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import pandas as pd

from kdlib import PRESETS, Run, Store
from kdlib.analysis.tables import own_rows
from kdlib.experiments.grid import export_rows, sweep
from kdlib.experiments.run import dataset_of, teacher_runs

LOSSES = ["cross_entropy", "kd"]
EXPECTED = {"teacher": 71.6, "cross_entropy": 39.8, "kd": 56.8}  # percent, the paper; students: random, f = 0.1
DRY = {
    "dataset": "digits", "epochs": 8, "batch_size": 64, "lr": 0.05, "schedule": "steps", "milestones": (5, 6, 7),
    "augment": "crop", "score_augment": "crop", "augment_seed": 0, "eval_every": 4,
}  # fmt: skip


class TimeUp(BaseException):
    """The time limit; not an Exception, so that it is not taken for a run that failed."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TimeUp` in the block after so many seconds."""

    def up(number: int, frame: FrameType | None) -> None:
        raise TimeUp

    before = signal.signal(signal.SIGALRM, up)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def stages(seeds: list[int], fractions: list[float]) -> Iterator[tuple[str, dict]]:
    """(title, grid) in the order in which they are wanted; a later grid may hold points of an earlier one."""
    first = [f for f in (0.1, 0.3, 0.5, 0.7) if f in fractions]
    for fraction in first:
        grid = {"fraction": [fraction], "scorer": ["random", "forgetting"], "loss": LOSSES, "seed": seeds}
        yield f"f = {fraction:g}, random and forgetting", grid
    for fraction in [*first, *(f for f in fractions if f not in first)]:
        scorers = ["random", "forgetting", "el2n", "grand"] if fraction < 1 else ["random"]
        yield f"f = {fraction:g}, all methods", {
            "fraction": [fraction], "scorer": scorers, "loss": LOSSES, "seed": seeds,
        }  # fmt: skip


def own(rows: list[dict], fixed: dict) -> list[dict]:
    """The rows of this panel among those of a store, which may hold other studies, too."""
    varying = {"fraction", "scorer", "loss", "seed", "device", "precision"}
    wanted = {name: value for name, value in asdict(Run(**fixed)).items() if name not in varying}
    return own_rows(rows, **wanted)


def train_teacher(fixed: dict, store: Store) -> float:
    """The teacher's test accuracy in percent, trained or fetched."""
    from kdlib.training.reference_runs import full_runs

    r = Run(**fixed)
    return float(full_runs(teacher_runs(r), dataset_of(r), store, r.device)["test_acc"][0])


def report(rows: list[dict]) -> None:
    """The figures that the paper gives for f = 0.1, beside ours."""
    if not rows:
        return
    table = pd.DataFrame(rows)
    for loss in LOSSES:
        found = table[(table.fraction == 0.1) & (table.scorer == "random") & (table.loss == loss)].test_acc
        if len(found):
            print(f"random, f = 0.1, {loss}: {found.mean():.1f}% ({len(found)} seeds); paper {EXPECTED[loss]}%")


def drive(arguments: argparse.Namespace, fixed: dict, fractions: list[float], store: Store) -> bool:
    """Everything in order until it is done (True) or the time is up (False)."""
    start, seeds = time.monotonic(), list(range(arguments.seeds))
    try:
        with time_limit(60 * arguments.minutes):
            accuracy = train_teacher(fixed, store)
            print(
                f"teacher {accuracy:.1f}% (paper {EXPECTED['teacher']}%), {time.monotonic() - start:.0f} s", flush=True
            )
            for title, grid in stages(seeds, fractions):
                print(f"{title} (after {time.monotonic() - start:.0f} s)", flush=True)
                sweep(grid, workers=arguments.workers, store=store, **fixed)
                export_rows(own(store.rows(), fixed), arguments.results)
    except TimeUp:
        print(f"time is up after {time.monotonic() - start:.0f} s; the same command goes on from here")
        return False
    finally:
        export_rows(own(store.rows(), fixed), arguments.results)
        report(own(store.rows(), fixed))
    return True


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=50.0, help="stop after so many minutes")
    parser.add_argument("--seeds", type=int, default=1, help="seeds 0, 1, ... of each point")
    parser.add_argument("--workers", type=int, default=1, help="processes that share the GPU, a company of runs each")
    parser.add_argument("--store", type=Path, default=None, help="folder of teachers, banks, checkpoints and rows")
    parser.add_argument("--results", type=Path, default=Path("data/results/cifar100_paper.jsonl"))
    parser.add_argument("--dry-run", action="store_true", help="small networks on digits instead, anywhere")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> bool:
    arguments = parse(argv)
    if arguments.dry_run:
        fixed, fractions = DRY, [0.1, 0.3, 1.0]
    else:
        fixed, fractions = dict(PRESETS["paper"].fixed), list(PRESETS["paper"].fractions)
    return drive(arguments, fixed, fractions, Store(arguments.store))


if __name__ == "__main__":
    main()
