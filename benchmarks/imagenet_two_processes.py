"""Images per second of two processes on two cores, as a ratio to one process on one: how well the engine shares out work.

    python benchmarks/imagenet_two_processes.py [--turns 3] [--seconds 10] [--json FILE]

Both sides run the same steps (ResNet-18 at 64 pixels, a global batch of 128, images decoded in the process) and take
turns, so that a machine's moods meet both; each process has one thread. Throughput is measured inside the training,
from the second step on, so that starting Python does not count. Two processes need two cores that are free: the load
of the machine is printed beside the ratio, and a ratio from a busy machine says nothing. There the second number is
the one to read: images per CPU second of all processes together, times the processes, which is what the ratio would
be if no process had to wait for the other or for a core.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

TARGET = 1.7
STEP = 128  # images of a step over all processes, as in DKDP
SIDE = 64


def make_images(root: Path, count: int = 512) -> Path:
    """Random JPEGs of twice SIDE pixels, in four classes; `root`."""
    rng = np.random.default_rng(0)
    for part, number in (("train", count), ("val", 16)):
        for i in range(number):
            file = root / part / f"class{i % 4}" / f"{i:04}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            small = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
            small.resize((2 * SIDE, 2 * SIDE), Image.Resampling.BILINEAR).save(file)
    return root


# What each process runs: a training that stops itself after the given seconds and prints images per second.
PROGRAM = """
import sys, time, torch
from kdlib.imagenet.config import Machine, settings
from kdlib.imagenet.distributed import world
from kdlib.imagenet.run import Folders, train
from kdlib.imagenet.trainer import Trainer
from kdlib.store.artefacts import Store

torch.set_num_threads(1)
root, store, seconds, side, batch = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
plain, marks, spent = Trainer._step, [], []

def timed(self, parts, step):
    marks.append(time.perf_counter())
    spent.append(time.process_time())
    enough = torch.tensor([float(len(marks) > 2 and marks[-1] - marks[1] > seconds)])
    if self.place.sum(enough).item():
        images = batch * (len(marks) - 2)
        cpu = self.place.sum(torch.tensor(spent[-1] - spent[1])).item()
        if self.place.first:
            print(images / (marks[-1] - marks[1]), images / cpu, flush=True)
        raise SystemExit(0)
    return plain(self, parts, step)

Trainer._step = timed
chosen = settings(student="resnet18", loss="cross_entropy", image_size=side, batch_size=batch, epochs=1000)
with world("cpu") as place:
    train(chosen, Folders(root), Machine(device="cpu", log_seconds=1e9), place, Store(store))
"""


def images_per_second(processes: int, root: Path, seconds: float) -> tuple[float, float]:
    """Images of a training in so many processes: per second, and per CPU second of all of them together."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    with tempfile.TemporaryDirectory() as store:
        args = [sys.executable, "-c", PROGRAM, str(root), store, str(seconds), str(SIDE), str(STEP)]
        shared = {
            "WORLD_SIZE": processes,
            "LOCAL_WORLD_SIZE": processes,
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
        }
        running = [
            subprocess.Popen(
                args,
                env={**os.environ, "OMP_NUM_THREADS": "1", **{k: str(v) for k, v in shared.items()}, "RANK": str(rank),
                     "LOCAL_RANK": str(rank)},
                stdout=subprocess.PIPE,
                text=True,
            )
            for rank in range(processes)
        ]  # fmt: skip
        said = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise RuntimeError(f"a process failed: {[process.returncode for process in running]}")
    per_second, per_cpu_second = map(float, said[0].splitlines()[-1].split())
    return per_second, per_cpu_second


def measure(turns: int, seconds: float) -> dict:
    """Both sides in turns: their images per second, the ratio of each turn, and the machine's load before each."""
    found: dict = {"one": [], "two": [], "load": [], "cores": len(os.sched_getaffinity(0)), "target": TARGET}
    with tempfile.TemporaryDirectory() as folder:
        root = make_images(Path(folder))
        for _ in range(turns):
            found["load"].append(os.getloadavg()[0])
            found["one"].append(images_per_second(1, root, seconds))
            found["two"].append(images_per_second(2, root, seconds))
    pairs = list(zip(found["one"], found["two"], strict=True))
    found["ratios"] = [two[0] / one[0] for one, two in pairs]
    found["ratio"] = statistics.median(found["ratios"])
    found["ratio_without_waiting"] = statistics.median(2 * two[1] / one[1] for one, two in pairs)
    return found


def main(argv: list[str] | None = None) -> dict:
    """Measure, print, and write the numbers where --json says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    found = measure(options.turns, options.seconds) | {"when": time.strftime("%Y-%m-%d")}
    one, two = (statistics.median(rate for rate, _ in found[side]) for side in ("one", "two"))
    print(f"one process: {one:.0f} images/s, two: {two:.0f}")
    print(f"ratio {found['ratio']:.2f} (target {TARGET}), turns {', '.join(f'{r:.2f}' for r in found['ratios'])}")
    print(f"by CPU seconds, as if nobody had to wait: {found['ratio_without_waiting']:.2f}")
    print(f"load before each turn {', '.join(f'{v:.1f}' for v in found['load'])} on {found['cores']} cores")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return found


if __name__ == "__main__":
    main()
