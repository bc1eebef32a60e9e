"""What one core of this machine does with the papers' networks on ImageNet-size images: the input of lesson 15's cost model.

    python benchmarks/imagenet_costs.py [--seconds 5] [--images 60] [--batch 8] [--json FILE]

Times are CPU seconds of one thread, so that a busy machine disturbs them little; rates hold for this processor. Images
are those of `benchmarks/imagenet_decode.py`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from benchmarks import machine
from benchmarks.imagenet_decode import make_images
from kdlib.imagenet.costs import measure

# recipe -> (student, teacher), as in kdlib.imagenet.config.RECIPES
PAIRS = {"dkdp": ("resnet50", "resnet50"), "md": ("mobilenet", "resnet34")}


def main(argv: list[str] | None = None) -> dict:
    """Measure, print, and write the numbers where --json says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    found: dict = {"machine": machine.describe(), "clock": "CPU seconds of one thread"}
    with tempfile.TemporaryDirectory() as made:
        files = sorted(make_images(Path(made), options.images).rglob("*.jpg"))
        for name, (student, teacher) in PAIRS.items():
            found[name] = asdict(
                measure(
                    student, teacher, image_size=options.size, batch=options.batch, seconds=options.seconds, files=files,
                    device="cpu", clock=time.process_time,
                )
            )  # fmt: skip
            print(f"{name}: {student} taught by {teacher}: {found[name]}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return found


if __name__ == "__main__":
    main()
