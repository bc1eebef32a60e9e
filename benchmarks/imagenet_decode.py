"""What decoding costs: images per second of one core, for full decoding, a draft, and a shrunken copy.

    python benchmarks/imagenet_decode.py [--images 60] [--size 224] [--turns 3] [--folder FOLDER] [--json FILE]

Without a folder of real images it makes JPEGs of ImageNet's usual size, 500 x 375, quality 90, with the smooth shapes
and the noise that make their files about as large (110 kB). The ways take turns. `view` is what a training waits for:
decoding, a random crop resized to `--size` pixels, a flip. The copy's shorter side is the one that validation needs.
Times are CPU seconds of this process, so that a busy machine disturbs them little; rates hold for this processor.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from kdlib.imagenet.decoding import resized_side
from kdlib.imagenet.folders import Images, Split
from kdlib.imagenet.shrinking import image_names, shrink

WAYS = {
    "full": ("full", False),
    "draft": ("draft", False),
    "shrunken copy": ("full", True),
    "copy and draft": ("draft", True),
}


def make_images(folder: Path, count: int) -> Path:
    """Photograph-like JPEGs, 500 x 375; `folder`."""
    rng = np.random.default_rng(0)
    for i in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((500, 375), Image.Resampling.BICUBIC), dtype=np.float64)
        noisy = np.clip(smooth + rng.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)
        file = folder / "images" / f"{i:04}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noisy).save(file, quality=90)
    return folder


def split_of(folder: Path, names: list[str]) -> Split:
    """The files as one class."""
    return Split(folder, ("images",), np.array([n.encode() for n in names]), np.zeros(len(names), dtype=np.int64))


def views_per_second(images: Images) -> float:
    """Training views of all images, per CPU second."""
    began = time.process_time()
    for i in range(len(images)):
        assert images[0, i].weight, "a readable image"
    return len(images) / (time.process_time() - began)


def measure(folder: Path, count: int, turns: int, size: int) -> dict:
    """Rates of the ways (median over turns), bytes of the images and of the copy, CPU seconds that the copy took."""
    torch.set_num_threads(1)
    names = sorted(image_names(folder))[:count]
    with tempfile.TemporaryDirectory() as made:
        copy = Path(made) / "copy"
        began = time.process_time()
        done = shrink(folder, copy, side=resized_side(size), workers=1)
        took = time.process_time() - began
        ways = {
            name: Images(split_of(copy if shrunken else folder, names), size, min_crop=0.08, decode=decode)
            for name, (decode, shrunken) in WAYS.items()
        }
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(turns):
            for name, images in ways.items():
                rates[name].append(views_per_second(images))
    return {
        "rates": {name: statistics.median(found) for name, found in rates.items()},
        "bytes": done.bytes_before / done.files,
        "bytes_of_copy": done.bytes_after / done.files,
        "copies_per_second": done.files / took,
        "images": len(names),
        "size": size,
    }


def main(argv: list[str] | None = None) -> dict:
    """Measure, print, and write the numbers where --json says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as made:
        folder = options.folder or make_images(Path(made), options.images)
        found = measure(folder, options.images, options.turns, options.size)
    full = found["rates"]["full"]
    for name, rate in found["rates"].items():
        print(f"{name:<15} {rate:6.0f} views per core second  {rate / full:.2f} of full decoding")
    saved = 1 / full - 1 / found["rates"]["shrunken copy"]
    pays = 1 / found["copies_per_second"] / saved if saved > 0 else float("inf")
    print(f"a copy takes {1000 / found['copies_per_second']:.1f} core ms an image and pays after {pays:.1f} epochs")
    print(f"bytes an image: {found['bytes']:.0f}, in the copy {found['bytes_of_copy']:.0f}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return found


if __name__ == "__main__":
    main()
