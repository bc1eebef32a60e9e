"""How fast the engine is, against the conventional loop and against the machine's own limit.

    python benchmarks/throughput.py [--quick] [--json FILE]

`--quick` takes under 3 minutes on two quiet cores. Both sides are measured in turns (A/B/A/B) in one run; a figure is the
median with the smallest and the largest. The conventional loop is `benchmarks/conventional.py`: it is run with 0, 1 and 2
DataLoader workers and the fastest counts. The limit of a row is the arithmetic of forward and backward passes (counted by
torch) at the rate of this machine's matrix product in the row's precision, measured in the same run.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from benchmarks import machine, sides
from benchmarks.sides import CLASSES, Task

STUDENTS, CORES = 8, 2
PEAKS = ("float32", "bfloat16")  # precisions whose limit is measured
Peak = dict[str, float]  # precision -> GFLOP/s of one thread


@dataclass(frozen=True)
class Size:
    """How much is measured: images of a task for each network, of one of the eight students, and repeats."""

    resnet8: int = 2560
    resnet20: int = 1280
    sweep: int = 1920
    loaded: int = 640
    repeats: int = 5
    sweeps: int = 3
    classes: int = 3


QUICK = Size(resnet8=640, resnet20=256, sweep=384, loaded=128, repeats=3, sweeps=2, classes=1)


@dataclass(frozen=True)
class Row:
    """One line of the table. `ours`, `theirs`, `limit` are in `unit`; `ratio` is better when larger."""

    name: str
    unit: str
    ours: tuple[float, ...] = ()
    theirs: tuple[float, ...] = ()
    ratio: tuple[float, ...] = ()
    target: str = ""
    limit: float | None = None
    note: str = ""

    def line(self) -> str:
        cells = [self.name, _spread(self.ours), _spread(self.theirs), _spread(self.ratio, "x"), self.target]
        share = ""
        if self.limit is not None and self.ours:
            median = statistics.median(self.ours)
            best = median / self.limit if self.unit.startswith("images") else self.limit / median
            share = f"{self.limit:.3g} ({100 * best:.0f}% reached)"
        return "| " + " | ".join([*cells, share, self.note]) + " |"


def _spread(values: Sequence[float], unit: str = "") -> str:
    if not values:
        return ""
    middle = f"{statistics.median(values):.3g}{unit}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.3g}-{max(values):.3g})"


HEADER = "| figure | engine | conventional | ratio | at least / aim | limit of the machine | |\n" + "|---" * 7 + "|"


def say(text: str) -> None:
    print(text, flush=True)


def warm_up(model: str, folder: Path) -> Task:
    """Two batches, which every worker process trains before anything is measured."""
    file = folder / "warm-up.npz"
    if not file.exists():
        sides.save_images(2 * sides.BATCH, file)
    return Task(model, str(file))


# -- images per CPU-second


def variants(task: Task, quick: bool) -> dict[str, Task]:
    """The engine's ways to do the task; bfloat16 where the processor has it, compiled where there is time for compiling."""
    afresh = replace(task, cache="")
    found = {"cache filled": task, "teacher computed afresh": afresh}
    if machine.has_bfloat16():
        found["cache filled, bfloat16"] = replace(task, precision="bfloat16")
    if not quick:
        found["cache filled, compiled"] = replace(task, compile=True)
    return found


def per_cpu_second(model: str, count: int, repeats: int, folder: Path, peak: Peak, quick: bool) -> list[Row]:
    """KD training in one thread: the student that finds the cache filled, and the first, which fills it."""
    file = folder / f"{model}.npz"
    kind = sides.save_images(count, file)
    tasks = variants(Task(model, str(file), cache=str(folder / f"cache-{model}")), quick)
    times: dict[str, list[float]] = {name: [] for name in ("conventional", *tasks)}
    with ExitStack() as stack:
        begin = warm_up(model, folder)
        ours, theirs = (stack.enter_context(sides.workers(side, 1, 1, begin)) for side in ("engine", "conventional"))
        for task in tasks.values():  # fills the cache, compiles
            ours.submit(sides.measured, "engine", task).result()
        for _ in range(repeats):
            times["conventional"].append(
                theirs.submit(sides.measured, "conventional", tasks["cache filled"]).result()[0]
            )
            for name, task in tasks.items():
                times[name].append(ours.submit(sides.measured, "engine", task).result()[0])
    rates = {name: tuple(count / t for t in values) for name, values in times.items()}
    return [_rate_row(model, name, task, rates, peak, kind) for name, task in tasks.items()]


def _rate_row(model: str, name: str, task: Task, rates: dict[str, tuple[float, ...]], peak: Peak, kind: str) -> Row:
    forward, both = machine.flops(model, CLASSES, 3, 32)
    work = both if task.cache else both + forward
    ratio = tuple(a / b for a, b in zip(rates[name], rates["conventional"], strict=True))
    target = "1.8x / 2.2x" if task.cache else ""
    limit, note = peak[task.precision] * 1e9 / work, f"{kind}, images per CPU-second"
    title = f"{model}, KD, one thread, {name}"
    return Row(title, "images/CPU s", rates[name], rates["conventional"], ratio, target, limit, note)


# -- a sweep


@functools.cache
def fastest_loader(task: Task, begin: Task, candidates: tuple[int, ...]) -> int:
    """How many DataLoader workers make the conventional loop fastest here, with two threads; found out once."""
    with sides.workers("conventional", 1, CORES, begin) as pool:
        walls = {
            n: pool.submit(sides.measured, "conventional", replace(task, workers=n)).result()[1] for n in candidates
        }
    return min(walls, key=walls.__getitem__)


def sweep(count: int, repeats: int, folder: Path, peak: Peak, loader: int, load: bool, targets: str) -> list[Row]:
    """Eight ResNet-8 students on two cores, wall clock: the engine's two processes with an empty cache to begin with."""
    file = str(folder / f"sweep-{count}.npz")
    kind = sides.save_images(count, Path(file))
    precisions = ["float32", *(["bfloat16"] if machine.has_bfloat16() else [])]
    surroundings: Callable[[], AbstractContextManager] = machine.busy_core if load else nullcontext
    walls: dict[str, list[float]] = {name: [] for name in ("conventional", *precisions)}
    cpu: dict[str, list[float]] = {name: [] for name in walls}
    begin = warm_up("resnet8", folder)
    with ExitStack() as stack:
        theirs = stack.enter_context(sides.workers("conventional", 1, CORES, begin))
        ours = stack.enter_context(sides.workers("engine", CORES, 1, begin))
        for repeat in range(repeats):
            for name in walls:
                cache = str(folder / f"cache-{count}-{name}-{repeat}")
                tasks = [Task("resnet8", file, seed=i, cache=cache, workers=loader) for i in range(STUDENTS)]
                if name != "conventional":
                    tasks = [replace(task, precision=name) for task in tasks]
                with surroundings():
                    wall, used = _together(theirs if name == "conventional" else ours, name, tasks)
                walls[name].append(wall)
                cpu[name].append(used)
    return [_sweep_row(name, count, walls, cpu, peak, f"{count} {kind}", loader, load, targets) for name in precisions]


def _together(pool: Executor, name: str, tasks: Sequence[Task]) -> tuple[float, float]:
    """Wall and CPU seconds of all tasks by the pool's processes."""
    side = name if name == "conventional" else "engine"
    start = time.perf_counter()
    done = list(pool.map(sides.measured, [side] * len(tasks), tasks))
    return time.perf_counter() - start, sum(seconds for seconds, _ in done)


def _sweep_row(
    name: str, count: int, walls: dict[str, list[float]], cpu: dict[str, list[float]], peak: Peak,
    images: str, loader: int, load: bool, targets: str,
) -> Row:  # fmt: skip
    ratio = tuple(b / a for a, b in zip(walls[name], walls["conventional"], strict=True))
    forward, both = machine.flops("resnet8", CLASSES, 3, 32)
    cores = CORES * 2 / 3 if load else CORES  # three busy processes share the cores evenly
    limit = count * (STUDENTS * both + forward) / (cores * peak[name] * 1e9)
    title = f"sweep of {STUDENTS} ResNet-8 students, {CORES} cores" + (", one kept busy by another" if load else "")
    title += "" if name == "float32" else f", {name}"
    used = f"{_spread(cpu[name])} against {_spread(cpu['conventional'])}"
    note = f"{images} each, seconds; {loader} DataLoader workers; CPU seconds {used}"
    return Row(title, "s", tuple(walls[name]), tuple(walls["conventional"]), ratio, targets, limit, note)


# -- the classroom, memory, GPU


CLASSROOM = """
import sys
from kdlib.experiments.grid import sweep
rows = sweep({{"fraction": [0.05, 0.1, 0.2, 0.5, 1.0], "loss": ["cross_entropy", "kd"], "seed": list(range(10))}},
             dataset="digits", student="mlp", teacher="mlp", epochs=60, workers=2, store={store!r}, progress=False)
sys.exit(len(rows) != 100 or bool(rows.test_acc.isna().any()))
"""


def classroom(repeats: int, folder: Path, peak: Peak) -> Row:
    """100 digits runs with nothing there: interpreters, teacher, students; wall clock of the whole command."""
    walls, cpu = [], machine.cpu_seconds()
    for repeat in range(repeats):
        start = time.perf_counter()
        process = machine.python(CLASSROOM.format(store=str(folder / f"class-{repeat}")))
        if process.wait():
            raise RuntimeError("the classroom sweep failed")
        walls.append(time.perf_counter() - start)
    _, both = machine.flops("mlp", 10, 1, 8)
    images = 60 * 20 * sum(round(1347 * f) for f in (0.05, 0.1, 0.2, 0.5, 1.0))
    used = (machine.cpu_seconds() - cpu) / repeats
    note = f"from nothing, three interpreters' start-up included; seconds; CPU seconds {used:.1f}"
    limit = images * both / (CORES * peak["float32"] * 1e9)
    return Row(
        "classroom: 100 digits runs, MLP, 60 epochs", "s", tuple(walls), target="30 / 12 s", limit=limit, note=note
    )


MEMORY = """
from kdlib import Run, run
from kdlib.store.artefacts import Store
common = dict(dataset="cifar100", student="resnet8", teacher="resnet8", epochs=1, augment="crop_flip")
run(Run(**common, fraction=0.05, teacher_fraction=0.05, augment_seed=0), Store({store!r}))
"""
MEMORY_OF_TRAINING = """
import numpy as np
from pathlib import Path
from kdlib import load, losses, models
from kdlib.training import logit_cache, recipe
from kdlib.training import loop as training
data, keep = load("cifar100"), np.arange(0, 50000, 100)
student, guide = (models.build("resnet8", 100, 3, 32, seed=s) for s in (0, 1))
logits = logit_cache.LogitCache(guide, data, "crop_flip", Path({store!r}) / "caches")
training.train(student, data, keep, recipe.Recipe(epochs=1, augment="crop_flip"), seed=0, loss=losses.kd, teacher=logits)
"""


def memory(folder: Path, quick: bool) -> Row:
    """A CIFAR-100 run on all 60,000 images in memory: through `kdlib.run`, or only its training where it is to be quick."""
    name, target = "peak memory of a CIFAR-100 run on CPU", "1.5 GB beyond the cache"
    if not Path("/proc/self/smaps").exists() or not (sides.paths.data() / "raw" / "cifar100").is_dir():
        return Row(name, "GB", target=target, note="open: needs Linux and data/raw/cifar100")
    code = MEMORY_OF_TRAINING if quick else MEMORY
    process = machine.python(code.format(store=str(folder / "memory")), OMP_NUM_THREADS="1")
    total, beyond = machine.peak_memory(process, mapped="/caches/")
    note = f"GB beyond the cache; {total / 1e9:.2f} with its pages; " + (
        "training only" if quick else "teacher included"
    )
    return Row(name, "GB", (beyond / 1e9,), target=target, note=note)


GPU = [
    Row("ResNet-32, KD, one GPU, sweep against the conventional loop on it", "", target="14x / 40x"),
    Row("CIFAR-100 panel of DKDP Fig. 4 on one H200-class GPU", "", target="1.5 h / 35 min"),
]


def gpu_rows() -> list[Row]:
    """GPU rows are measured by `benchmarks/gpu.py`."""
    there = machine.describe()["gpu"]
    return [replace(row, note="run benchmarks/gpu.py" if there else "open: no GPU here") for row in GPU]


def sweeps(size: Size, folder: Path, peak: Peak, load: bool) -> list[Row]:
    """The sweep row, on a quiet machine or beside a busy process, with the DataLoader tuned first."""
    begin = warm_up("resnet8", folder)
    loader = fastest_loader(begin, begin, (0, 1, 2))
    count, targets = (size.loaded, "5x / 8x") if load else (size.sweep, "2.5x / 3.5x")
    return sweep(count, size.sweeps, folder, peak, loader, load, targets)


PARTS: dict[str, Callable[[Size, Path, Peak], list[Row]]] = {
    "resnet8": lambda size, folder, peak: per_cpu_second(
        "resnet8", size.resnet8, size.repeats, folder, peak, size is QUICK
    ),
    "resnet20": lambda size, folder, peak: per_cpu_second(
        "resnet20", size.resnet20, size.repeats, folder, peak, size is QUICK
    ),
    "sweep": lambda size, folder, peak: sweeps(size, folder, peak, False),
    "loaded": lambda size, folder, peak: sweeps(size, folder, peak, True),
    "classroom": lambda size, folder, peak: [classroom(size.classes, folder, peak)],
    "memory": lambda size, folder, peak: [memory(folder, size is QUICK)],
    "gpu": lambda *_: gpu_rows(),
}


def measure(size: Size, parts: Sequence[str], folder: Path) -> list[Row]:
    """The rows of these parts, each printed as it comes."""
    peak = {name: machine.peak_gflops(getattr(torch, name)) for name in PEAKS}
    rates = ", ".join(f"{name} {rate:.0f}" for name, rate in peak.items())
    say(f"peak matrix product, one thread, GFLOP/s: {rates}\n\n{HEADER}")
    rows: list[Row] = []
    for name in parts:
        start = time.perf_counter()
        new = PARTS[name](size, folder, peak)
        say("\n".join(row.line() for row in new))
        print(f"{name}: measured in {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
        rows += new
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="under 3 minutes on two quiet cores")
    parser.add_argument("--json", type=Path, help="also write machine and rows to this file")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="some of the rows")
    arguments = parser.parse_args()
    start = time.perf_counter()
    about = machine.describe()
    say("\n".join(f"{name}: {value}" for name, value in about.items()))
    with tempfile.TemporaryDirectory() as scratch:
        rows = measure(QUICK if arguments.quick else Size(), arguments.only, Path(scratch))
    say(f"\ntook {time.perf_counter() - start:.0f} s; load at the end {machine.describe()['load_at_start']}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": about, "rows": [asdict(row) for row in rows]}, indent=1))


if __name__ == "__main__":
    main()
