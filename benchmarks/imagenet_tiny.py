"""The whole way of the ImageNet engine on real images: 20 classes of CIFAR-100 at 64 pixels, ResNet-18, some minutes.

    python benchmarks/imagenet_tiny.py [--images data/raw/cifar100] [--classes 20] [--work FOLDER] [--out NAME]

A teacher is trained on all images, scores them, and a student of the same kind learns from it, and without it, on the
30% of medium difficulty. The rows go to `data/results/imagenet_tiny.jsonl`. It is stopped and started as one likes:
what is finished is read from the store, a training goes on from its checkpoint. It shows that every part works on real
files. Its accuracies say little about KD: three trainings of one seed, 300 steps each.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kdlib.__main__ import main as kdlib
from kdlib.experiments.grid import export_rows
from kdlib.imagenet.example import link_classes
from kdlib.store.artefacts import Store
from kdlib.utils import paths

COMMON = [
    "--student", "resnet18", "--image-size", "64", "--batch-size", "64", "--schedule", "one_cycle", "--lr", "0.1",
    "--min-crop", "0.25", "--precision", "bfloat16", "--checkpoint-steps", "50", "--eval-every", "100",
]  # fmt: skip
TEACHER_EPOCHS, STUDENT_EPOCHS, FRACTION = 2, 6, 0.3


def commands(root: Path, work: Path) -> list[list[str]]:
    """The four commands, each as the arguments of `python -m kdlib`."""
    weights, scores = work / "teacher.safetensors", work / "scores.csv"
    place = ["--root", str(root), "--store", str(work / "store"), "--dataset", f"{root.name}"]
    train = ["imagenet", "train", *place, *COMMON]
    teacher = ["--teacher", "resnet18", "--teacher-weights", str(weights)]
    medium = ["--scorer", "difficulty", "--scores", str(scores), "--fraction", str(FRACTION), "--centre", "0.5"]
    student = [*train, *medium, "--epochs", str(STUDENT_EPOCHS)]
    save = [] if weights.is_file() else ["--save", str(weights)]
    found = [[*train, "--loss", "cross_entropy", "--epochs", str(TEACHER_EPOCHS), "--seed", "1", *save]]
    if not scores.is_file():
        found.append(["imagenet", "score", *place[:2], *teacher, "--image-size", "64", "--out", str(scores)])
    return [*found, [*student, "--loss", "kd", *teacher], [*student, "--loss", "cross_entropy"]]


def main(argv: list[str] | None = None) -> list[dict]:
    """Run what is not finished yet, write the rows and return them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, default=paths.data() / "raw" / "cifar100")
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--work", type=Path, default=paths.store() / "imagenet_tiny")
    parser.add_argument("--out", default="imagenet_tiny")
    options = parser.parse_args(argv)
    root = link_classes(options.images, options.work / f"{options.images.name}_{options.classes}", options.classes)
    for command in commands(root, options.work):
        code = kdlib(command)
        if code:
            raise SystemExit(code)
    rows = Store(options.work / "store").rows()
    export_rows(rows, options.out)
    return rows


if __name__ == "__main__":
    main()
