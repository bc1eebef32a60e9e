"""Do engine and conventional loop train equally well? Accuracies over ten seeds, a two-sample test and its interval.

    python benchmarks/equivalence.py [--quick] [--seeds 10] [--json FILE]

KD students on digits (MLP) and on ten classes of CIFAR-100 (ResNet-8, crop and flip); the two sides share recipe, kept
samples and teacher, and draw initial weights, order and views on their own. Welch's test asks whether the means differ; the
interval says by how much at most. The engine trains in float32, and once more in bfloat16. `--quick` is the digits only.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from scipy import stats
from torch import nn

from benchmarks import machine
from benchmarks.conventional import Conventional, loaders, one_cycle
from kdlib.data import datasets
from kdlib.data.datasets import Dataset, make_dataset
from kdlib.losses import cross_entropy, kd
from kdlib.models import build
from kdlib.training.evaluate import accuracy, predict
from kdlib.training.logit_cache import LogitCache
from kdlib.training.loop import train
from kdlib.training.recipe import Recipe
from kdlib.utils import paths

ENGINES = {"engine": "float32", "engine in bfloat16": "bfloat16"}
Recipes = tuple[str, Dataset, Recipe, Recipe, int]
"""Network, data, the teacher's recipe, the students' recipe, how many samples the students keep."""


def digits() -> Recipes:
    """An MLP, 30 epochs on 400 of 1,347 images."""
    recipe = Recipe(epochs=30, lr=0.05)
    return "mlp", datasets.load("digits"), recipe, recipe, 400


def ten_classes(per_class: int = 200, tests: int = 100) -> Recipes:
    """Ten classes of CIFAR-100, a ResNet-8, 6 epochs on 1,000 of 2,000 images."""
    full = datasets.load("cifar100")
    parts = []
    for x, y, count in ((full.train_x, full.train_y, per_class), (full.test_x, full.test_y, tests)):
        rows = torch.cat([torch.nonzero(y == c).flatten()[:count] for c in range(10)])
        parts.append((x[rows], y[rows]))
    data = make_dataset("ten classes", parts[0], parts[1], full.classes[:10])
    recipe = Recipe(epochs=6, lr=0.05, augment="crop_flip", eval_every=6)
    return "resnet8", data, recipe, recipe, 1000


def network(name: str, data: Dataset, seed: int) -> nn.Module:
    channels, size, _ = data.image_shape
    return build(name, data.num_classes, channels, size, seed=seed)


def by_engine(name: str, data: Dataset, recipe: Recipe, keep: np.ndarray, seed: int, bank: LogitCache) -> float:
    """Test accuracy in percent."""
    model = network(name, data, 1000 + seed)
    return train(model, data, keep, recipe, seed=seed, loss=kd, teacher=bank, device="cpu").test_acc[-1]


def by_convention(name: str, data: Dataset, recipe: Recipe, keep: np.ndarray, seed: int, teacher: nn.Module) -> float:
    """The same by the conventional loop, from other initial weights and in another order."""
    torch.manual_seed(seed)
    kept = dataclasses.replace(data, train_x=data.train_x[keep], train_y=data.train_y[keep])
    training, test = loaders(kept, recipe.batch_size, recipe.augment == "crop_flip", 0)
    loop = Conventional(network(name, data, 2000 + seed), teacher, lr=recipe.lr, rate=one_cycle)
    loop.fit(training, recipe.epochs)
    return loop.accuracy(test)


def compare(name: str, data: Dataset, lesson: Recipe, recipe: Recipe, kept: int, seeds: int) -> dict:
    """All sides' accuracies for each seed, and what tests say of each engine against the conventional loop."""
    teacher = network(name, data, 0)
    train(teacher, data, np.arange(len(data.train_y)), lesson, seed=0, loss=cross_entropy, device="cpu")
    teacher.requires_grad_(False).eval()
    sides: dict[str, list[float]] = {side: [] for side in (*ENGINES, "conventional")}
    with tempfile.TemporaryDirectory() as folder:
        bank = LogitCache(teacher, data, recipe.augment, Path(folder))
        for seed in range(seeds):
            keep = np.sort(np.random.default_rng(seed).permutation(len(data.train_y))[:kept])
            for side, precision in ENGINES.items():
                plan = dataclasses.replace(recipe, precision=precision)
                sides[side].append(by_engine(name, data, plan, keep, seed, bank))
            sides["conventional"].append(by_convention(name, data, recipe, keep, seed, teacher))
    taught = float(accuracy(predict(teacher, data.test_x, data), data.test_y))
    tests = {side: difference(sides[side], sides["conventional"]) for side in ENGINES}
    return {"data": data.name, "teacher": taught, **sides, "tests": tests}


def difference(engine: list[float], conventional: list[float]) -> dict:
    """Of the mean accuracies, in points, with Welch's 95% interval and p value."""
    test = stats.ttest_ind(engine, conventional, equal_var=False)
    low, high = test.confidence_interval(0.95)
    mean = float(np.mean(engine) - np.mean(conventional))
    return {"difference": mean, "interval": [float(low), float(high)], "p": float(test.pvalue)}


def lines(found: dict) -> str:
    means = {
        side: f"{side} {np.mean(found[side]):.2f} +- {np.std(found[side], ddof=1):.2f}%"
        for side in (*ENGINES, "conventional")
    }
    text = []
    for side, test in found["tests"].items():
        low, high = test["interval"]
        text.append(
            f"{found['data']}: {means[side]}, {means['conventional']}; difference {test['difference']:+.2f} points, "
            f"95% interval {low:+.2f} to {high:+.2f}, p = {test['p']:.2f} (Welch, {len(found[side])} seeds each)"
        )
    return "\n".join(text)


def main(argv: list[str] | None = None) -> list[dict]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="digits only")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--json", type=Path, help="also write the accuracies to this file")
    arguments = parser.parse_args(argv)
    cases = [digits()]
    if not arguments.quick and (paths.data() / "raw" / "cifar100").is_dir():
        cases.append(ten_classes())
    print("\n".join(f"{name}: {value}" for name, value in machine.describe().items()), flush=True)
    found = []
    for case in cases:
        found.append(compare(*case, arguments.seeds))
        print(lines(found[-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))
    return found


if __name__ == "__main__":
    main()
