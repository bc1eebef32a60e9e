"""How fast are GraNd and selection? Ratios within one run, the two sides taking turns.

    python benchmarks/scoring.py [--quick] [--json FILE]

Times are CPU seconds of this process (`time.process_time`), one thread, the median over the turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdlib.models import build
from kdlib.scorers.gradients import grand, grand_last
from kdlib.selection import keep_indices

IMAGENET = 1_281_167


def loop(model: nn.Module, x: Tensor, labels: Tensor) -> np.ndarray:
    """GraNd by one backward pass per sample, the plain way."""
    norms = []
    for i in range(len(x)):
        gradients = torch.autograd.grad(
            F.cross_entropy(model(x[i : i + 1]), labels[i : i + 1]), list(model.parameters())
        )
        norms.append(torch.stack([g.square().sum() for g in gradients]).sum().sqrt())
    return torch.stack(norms).double().numpy()


def seconds(job: Callable[[], object]) -> float:
    start = time.process_time()
    job()
    return time.process_time() - start


def medians(jobs: dict[str, Callable[[], object]], turns: int) -> dict[str, float]:
    """Median CPU seconds of each job; every turn runs each once, after one unmeasured turn."""
    taken: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(turns + 1):
        for name, job in jobs.items():
            used = seconds(job)
            if turn:
                taken[name].append(used)
    return {name: statistics.median(times) for name, times in taken.items()}


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
    taken = medians(jobs, turns)
    report = {f"{name}_{job}_ms_per_sample": 1e3 * t / samples for job, t in taken.items()}
    return report | {f"{name}_{job}_times_faster": taken["loop"] / taken[job] for job in ("full", "last")}


def selection(turns: int, samples: int = IMAGENET, classes: int = 1000) -> dict[str, float]:
    """Seconds to keep the medium 30% of every class, scores tied as forgetting counts are and not tied."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, samples)
    jobs = {
        f"selection_{kind}_seconds": lambda s=scores: keep_indices(s, 0.3, centre=0.5, labels=labels, rng=rng)
        for kind, scores in (("untied", rng.random(samples)), ("tied", rng.poisson(3, samples).astype(float)))
    }
    return medians(jobs, turns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer samples and turns")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    samples, turns = (32, 1) if options.quick else (128, 5)
    figures: dict[str, float] = {}
    for name in ("resnet8", "resnet20"):
        figures |= gradients(name, samples, turns)
    figures |= selection(turns)
    for key, value in figures.items():
        print(f"{key:36s} {value:10.3f}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
