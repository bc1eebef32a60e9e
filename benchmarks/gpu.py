"""The engine on one GPU: is it right, how fast is it, how far from the device's limit. One command, under 10 minutes.

    python benchmarks/gpu.py [--out FOLDER] [--minutes 9] [--dry-run]

Writes `results.json` (after every part, so that nothing is lost) and `profile.txt` into the folder. Images are random: the
work is the same. Parts: the device's peaks; one step on GPU and CPU, recorded and not, alone and in company; the
conventional loop on this GPU; companies of 1 to 32 ResNet-32 students, step by step and as CUDA graphs; several processes
side by side. `--dry-run` does the same with a small network, on the CPU if there is no GPU.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from benchmarks import machine
from benchmarks.conventional import Conventional, loaders
from kdlib.data.datasets import Dataset, make_dataset
from kdlib.losses import kd
from kdlib.models import build
from kdlib.training.cuda_graphs import GraphedStep
from kdlib.training.logit_cache import LogitCache
from kdlib.training.loop import Loop, Member
from kdlib.training.recipe import Recipe
from kdlib.utils.devices import resolve_device

FULL_RUNS = 44  # Fig. 4 in trainings on all data: fractions 0.1 ... 1.0 sum to 5.5, times 4 methods, times KD and none


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is measured; the smaller one is the dry run's."""

    model: str = "resnet32"
    classes: int = 100
    size: int = 32
    images: int = 50_000
    kept: int = 6_400
    batch: int = 64
    epochs: int = 3
    companies: tuple[int, ...] = (1, 4, 8, 16, 32)
    processes: tuple[int, ...] = (2, 4)
    side_by_side: int = 8
    loaders: tuple[int, ...] = (4, 8, 16)
    conventional_images: int = 12_800
    matrix: int = 8192


DRY = Plan(
    model="resnet8", classes=5, size=8, images=400, kept=160, batch=16, epochs=1, companies=(1, 2), processes=(2,),
    side_by_side=1, loaders=(0,), conventional_images=64, matrix=256,
)  # fmt: skip


def data_for(plan: Plan, count: int | None = None) -> Dataset:
    """Random images in the shape of CIFAR-100."""
    rng, n = np.random.default_rng(0), count or plan.images
    x = rng.integers(0, 256, (n, 3, plan.size, plan.size), dtype=np.uint8)
    y = np.arange(n) % plan.classes
    return make_dataset("random", (x, y), (x[: plan.batch], y[: plan.batch]), [str(c) for c in range(plan.classes)])


def network(plan: Plan, seed: int) -> torch.nn.Module:
    return build(plan.model, plan.classes, 3, plan.size, seed=seed)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def recipe_for(plan: Plan, precision: str = "auto") -> Recipe:
    return Recipe(
        epochs=100, batch_size=plan.batch, lr=0.05, schedule="constant", augment="crop_flip", precision=precision
    )


def loop_of(
    plan: Plan, data: Dataset, seeds: tuple[int, ...], device: torch.device, graphs: bool, precision: str = "auto"
) -> Loop:
    """A company of KD students on the first `kept` images of each, with views that all share."""
    members = [Member(network(plan, s), np.arange(plan.kept), s, kd, augment_seed=0) for s in seeds]
    loop = Loop(members, data, recipe_for(plan, precision), device)
    if not graphs:
        loop.take = loop.step
    return loop


def bank_of(plan: Plan, data: Dataset, device: torch.device, folder: str) -> LogitCache:
    guide = network(plan, 99).requires_grad_(False).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return LogitCache(guide, data, "crop_flip", Path(folder) if folder else None)


# -- parts


def peaks(plan: Plan, device: torch.device) -> dict:
    """Matrix product rate in bfloat16 (TFLOP/s) and copy bandwidth (GB/s): the limits."""
    n = plan.matrix
    a = torch.randn(n, n, device=device, dtype=torch.bfloat16)
    big = torch.empty(n * n * 4, device=device, dtype=torch.uint8)

    def timed(work: Callable[[], object]) -> float:
        def run() -> None:
            work()
            wait(device)

        return machine.best_of(run, 5, time.perf_counter)

    return {
        "bf16_tflops": 2 * n**3 / timed(lambda: a @ a) / 1e12,
        "copy_gb_per_s": 2 * big.numel() / timed(lambda: big.clone()) / 1e9,
    }


def _weights(plan: Plan, data: Dataset, seeds: tuple[int, ...], device: torch.device, graphs: bool, bank: str) -> tuple:
    """Losses and weights of the first member after one epoch in float32."""
    loop = loop_of(plan, data, seeds, device, graphs, "float32")
    loss = loop.epoch(0, bank_of(plan, data, device, bank), None)
    loop.stack.unstack([m.model for m in loop.members])
    flat = torch.cat([p.detach().float().cpu().flatten() for p in loop.members[0].model.parameters()])
    recorded = len(loop.take.recorded) if isinstance(loop.take, GraphedStep) else 0
    return float(loss[0]), flat, recorded


def correctness(plan: Plan, device: torch.device) -> dict:
    """Largest differences of weights after one short epoch, and relative differences of its mean loss."""
    plan = dataclasses.replace(plan, kept=min(plan.kept, 10 * plan.batch), images=max(20 * plan.batch, plan.classes))
    torch.backends.cudnn.allow_tf32 = False
    data = data_for(plan)
    with tempfile.TemporaryDirectory() as folder:
        reference = _weights(plan, data, (0,), torch.device("cpu"), False, "")
        cases = {
            "gpu, step by step": _weights(plan, data, (0,), device, False, ""),
            "gpu, recorded": _weights(plan, data, (0,), device, True, ""),
            "gpu, recorded, bank": _weights(plan, data, (0,), device, True, folder),
            "gpu, recorded, in company": _weights(plan, data, (0, 1, 2), device, True, ""),
        }
    torch.backends.cudnn.allow_tf32 = True
    return {
        name: {
            "loss": abs(loss - reference[0]) / reference[0],
            "weights": float((flat - reference[1]).abs().max()),
            "recorded_shapes": recorded,
        }
        for name, (loss, flat, recorded) in cases.items()
    }


def conventional(plan: Plan, device: torch.device) -> dict:
    """Images per second of the conventional loop here, by number of DataLoader workers."""
    data, found = data_for(plan, plan.conventional_images), {}
    for workers in plan.loaders:
        training, _ = loaders(data, plan.batch, True, workers)
        loop = Conventional(network(plan, 0), network(plan, 99), device=str(device))
        loop.fit(training, 1)  # warm-up
        wait(device)
        start = time.perf_counter()
        loop.fit(training, 1)
        wait(device)
        found[str(workers)] = len(data.train_y) / (time.perf_counter() - start)
    return {"images_per_s": found, "best": max(found.values())}


def rate(plan: Plan, members: int, graphs: bool, device: torch.device) -> dict:
    """Images per second, over all members, of a company whose bank is filled; peak memory in GB."""
    data = data_for(plan)
    with tempfile.TemporaryDirectory() as folder:
        loop = loop_of(plan, data, tuple(range(members)), device, graphs)
        bank = bank_of(plan, data, device, folder)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        first = time.perf_counter()
        loop.epoch(0, bank, None)  # fills the bank, records the step
        wait(device)
        start = time.perf_counter()
        for _ in range(plan.epochs):
            loop.epoch(0, bank, None)
        wait(device)
        seconds = time.perf_counter() - start
    return {
        "images_per_s": members * plan.kept * plan.epochs / seconds,
        "ms_per_step": 1e3 * seconds / plan.epochs / -(-plan.kept // plan.batch),
        "first_epoch_s": start - first,
        "memory_gb": torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else None,
    }


def companies(plan: Plan, device: torch.device) -> dict:
    """Companies of growing size, step by step and recorded; larger ones are left out after the memory's end."""
    found: dict[str, dict] = {}
    for graphs in (True, False):
        for members in plan.companies:
            try:
                found[f"{members} {'recorded' if graphs else 'step by step'}"] = rate(plan, members, graphs, device)
            except torch.OutOfMemoryError as error:
                found[f"{members} {'recorded' if graphs else 'step by step'}"] = {"error": str(error).splitlines()[0]}
                break
    return found


def _neighbour(plan: Plan, members: int, device: str) -> float:
    return rate(plan, members, True, torch.device(device))["images_per_s"]


def processes(plan: Plan, device: torch.device) -> dict:
    """Images per second of several processes side by side, a company each (their start-up is left out)."""
    found = {}
    for count in plan.processes:
        with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
            asked = [pool.submit(_neighbour, plan, plan.side_by_side, str(device)) for _ in range(count)]
            found[str(count)] = sum(answer.result() for answer in asked)
    return {"members_each": plan.side_by_side, "images_per_s": found}


def profile(plan: Plan, device: torch.device) -> dict:
    """Where a step's time goes, as a table."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as torch_profile

    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    short = dataclasses.replace(plan, kept=min(plan.kept, 10 * plan.batch))
    data = data_for(short)
    loop, bank = loop_of(short, data, (0, 1), device, False), bank_of(short, data, device, "")
    loop.epoch(0, bank, None)
    with torch_profile(activities=kinds) as watched:
        loop.epoch(0, bank, None)
        wait(device)
    return {"table": watched.key_averages().table(sort_by=f"self_{device.type}_time_total", row_limit=40)}


PARTS: dict[str, Callable[[Plan, torch.device], dict]] = {
    "peaks": peaks,
    "correctness": correctness,
    "conventional": conventional,
    "companies": companies,
    "processes": processes,
    "profile": profile,
}


def summary(plan: Plan, results: dict) -> dict:
    """The three figures of the table: ratio to the conventional loop, hours for the panel, share of the peak."""
    rates = [r["images_per_s"] for r in results.get("companies", {}).values() if "images_per_s" in r]
    rates += list(results.get("processes", {}).get("images_per_s", {}).values())
    if not rates:
        return {}
    best = max(rates)
    _, both = machine.flops(plan.model, plan.classes, 3, plan.size)
    found = {"best_images_per_s": best, "panel_hours": FULL_RUNS * 240 * 50_000 / best / 3600}
    if "best" in results.get("conventional", {}):
        found["ratio"] = best / results["conventional"]["best"]
    if "bf16_tflops" in results.get("peaks", {}):
        found["share_of_peak_arithmetic"] = best * both / results["peaks"]["bf16_tflops"] / 1e12
    return found


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("gpu-results"))
    parser.add_argument("--minutes", type=float, default=9.0, help="no part is begun after so many minutes")
    parser.add_argument("--dry-run", action="store_true", help="a small network, on the CPU if there is no GPU")
    arguments = parser.parse_args(argv)
    plan, device = (DRY if arguments.dry_run else Plan()), resolve_device("auto")
    if device.type != "cuda" and not arguments.dry_run:
        raise SystemExit("no usable GPU here; --dry-run shows what would be measured")
    arguments.out.mkdir(parents=True, exist_ok=True)
    start, results = time.monotonic(), {"machine": machine.describe(), "plan": dataclasses.asdict(plan)}
    for name, part in PARTS.items():
        if time.monotonic() - start > 60 * arguments.minutes:
            results[name] = {"error": "left out: the time was up"}
            continue
        try:
            results[name] = part(plan, device)
        except Exception as error:  # the other parts are still wanted
            results[name] = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        if table := results[name].pop("table", None):
            (arguments.out / "profile.txt").write_text(table)
        results["summary"] = summary(plan, results)
        (arguments.out / "results.json").write_text(json.dumps(results, indent=1))
        print(f"{time.monotonic() - start:5.0f} s {name}: {json.dumps(results[name])[:600]}", flush=True)
    print(json.dumps(results["summary"], indent=1))
    return results


if __name__ == "__main__":
    main()
