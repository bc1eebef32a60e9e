"""How fast are GraNd and selection, and what do recorded signals cost? Ratios within one run, the two sides taking turns.

    python benchmarks/scoring.py [--quick] [--json FILE]

Times are CPU seconds of this process (`time.process_time`), one thread; a ratio is the median over the
turns of the ratio within a turn, so that a busy machine slows both of its sides.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdlib.data.datasets import make_dataset
from kdlib.losses import cross_entropy
from kdlib.models import build
from kdlib.scorers.gradients import grand, grand_last
from kdlib.selection.rules import keep_indices
from kdlib.training.loop import Loop, Member, Recorder
from kdlib.training.recipe import Recipe

IMAGENET = 1_281_167


def loop(model: nn.Module, x: Tensor, labels: Tensor) -> np.ndarray:
    """GraNd by one backward pass per sample, the plain way."""
    norms = []
    for i in range(len(x)):
        model.zero_grad()
        F.cross_entropy(model(x[i : i + 1]), labels[i : i + 1]).backward()
        norms.append(torch.stack([p.grad.square().sum() for p in model.parameters()]).sum().sqrt().item())
    return np.array(norms)


def seconds(job: Callable[[], object]) -> float:
    start = time.process_time()
    job()
    return time.process_time() - start


def turns_of(jobs: dict[str, Callable[[], object]], turns: int) -> dict[str, np.ndarray]:
    """CPU seconds of each job, (turns,); every turn runs each job once, after one unmeasured turn."""
    taken = [[seconds(job) for job in jobs.values()] for _ in range(turns + 1)][1:]
    return dict(zip(jobs, np.array(taken).T, strict=True))


def gradients(name: str, samples: int, turns: int) -> dict[str, float]:
    """Seconds per sample of the loop, the vectorised and the closed form on 32 x 32 images, and the two ratios."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(samples, 3, 32, 32, generator=generator)
    labels = torch.randint(0, 100, (samples,), generator=generator)
    model = build(name, 100, 3, 32).eval()
    assert np.allclose(loop(model, x[:8], labels[:8]), grand(model, x[:8], labels[:8]), rtol=1e-3)
    jobs = {
        "loop": lambda: loop(model, x, labels),
        "full": lambda: grand(model, x, labels),
        "last": lambda: grand_last(model, x, labels),
    }
    taken = turns_of(jobs, turns)
    report = {f"{name}_{job}_ms_per_sample": 1e3 * float(np.median(t)) / samples for job, t in taken.items()}
    ratios = {job: float(np.median(taken["loop"] / taken[job])) for job in ("full", "last")}
    return report | {f"{name}_{job}_times_faster": ratio for job, ratio in ratios.items()}


def selection(turns: int, samples: int = IMAGENET, classes: int = 1000) -> dict[str, float]:
    """Seconds to keep the medium 30% of every class, scores tied as forgetting counts are and not tied."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, samples)
    jobs = {
        f"selection_{kind}_seconds": lambda s=scores: keep_indices(s, 0.3, centre=0.5, labels=labels, rng=rng)
        for kind, scores in (("untied", rng.random(samples)), ("tied", rng.poisson(3, samples).astype(float)))
    }
    return {name: float(np.median(t)) for name, t in turns_of(jobs, turns).items()}


def recording(samples: int, turns: int) -> dict[str, float]:
    """What recording forgetting, margins and errors adds to an epoch of ResNet-8 on 32 x 32 images, in percent."""
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (samples, 3, 32, 32), dtype=torch.uint8, generator=g)
    y = torch.arange(samples) % 100
    data = make_dataset("noise", (x, y), (x[:100], y[:100]), [str(i) for i in range(100)])
    member = Member(build("resnet8", 100, 3, 32), np.arange(samples), 0, cross_entropy)
    loop = Loop([member], data, Recipe(epochs=1, augment="crop_flip"), torch.device("cpu"))
    recorder = Recorder(1, 1, samples, loop.device)
    taken = turns_of({"plain": lambda: loop.epoch(0, None, None), "all": lambda: loop.epoch(0, None, recorder)}, turns)
    return {"recording_adds_percent": 100 * float(np.median(taken["all"] / taken["plain"]) - 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer samples and turns")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    samples, turns = 128, 3 if options.quick else 9
    figures: dict[str, float] = {}
    for name in ("resnet8", "resnet20"):
        figures |= gradients(name, samples, turns)
    figures |= selection(min(turns, 5)) | recording(512, 2 * turns)
    for key, value in figures.items():
        print(f"{key:36s} {value:10.3f}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
