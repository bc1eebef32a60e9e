"""Wrong inputs and what is said about them: one line each that names the fix. `test_wrong_inputs.py` walks through it.

FOLDERS: name -> (files, what stands behind `folder:`, message). A file is a path and what it holds: None for an image,
text otherwise; {here} in a text is the folder itself. CALLS: name -> (call, message), where a call gets a folder to
write in. Messages are parts of what must be said.
"""

from __future__ import annotations

import argparse
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from struct import pack

import numpy as np
import torch
from safetensors.torch import save_file

from kdlib.data import tables
from kdlib.data.augment import apply_views
from kdlib.data.core import make_dataset
from kdlib.data.datasets import load
from kdlib.data.noise import imbalance_rates, with_imbalance, with_label_noise
from kdlib.data.preview import write_preview
from kdlib.models import build
from kdlib.models.weights import export_network, load_exported, load_foreign
from kdlib.scorers import SCORERS, Signals

Files = dict[str, "str | bytes | None"]


def images(*paths: str, per: int = 2) -> Files:
    return {f"{path}/{i}.png": None for path in paths for i in range(per)}


def png_bomb(side: int) -> bytes:
    """A PNG of a few hundred bytes whose header claims side x side pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return pack(">I", len(content)) + kind + content + pack(">I", zlib.crc32(kind + content))

    header = pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


TWO, PARTS = images("cat", "dog"), images("train/cat", "train/dog", "test/cat", "test/dog")
FLAT = {**images("pets", per=4)}


def table(text: str, header: str = "file,label") -> Files:
    return {**FLAT, "labels.csv": f"{header}\n{text}"}


ROWS = "pets/0.png,cat\npets/1.png,dog\npets/2.png,cat\npets/3.png,dog\n"

FOLDERS: dict[str, tuple[Files, str, str]] = {
    "no such folder": ({}, "{here}/nowhere", "no such folder; give the path of a folder of images, as in folder:PATH"),
    "no path": ({}, "", "no such folder; give the path of a folder of images"),
    "only a size": ({}, "@32", "no such folder; give the path of a folder of images"),
    "a file": ({"x.png": None}, "{here}/x.png", "no such folder"),
    "no such home": ({}, "~nobody-of-this-name/x", "no such home folder; write the path in full"),
    "a path of null bytes": ({}, "a\0b", "no such folder"),
    "an endless path": ({}, "x" * 5000, "change its permissions or its name"),
    "an empty folder": ({}, "{here}", "holds no images (.bmp, .gif, "),
    "a folder of text": ({"a/x.txt": "x", "b/y.txt": "y"}, "{here}", "expected {here}/CLASS/IMAGE files or"),
    "images without classes": ({"x.png": None, "y.png": None}, "{here}", "expected {here}/CLASS/IMAGE files or"),
    "up and out": ({}, "{here}/../../../../../../../../../etc", "holds no images"),
    "one class": (images("cat"), "{here}", "holds one class only (cat); a classifier needs two or more: add a folder"),
    "one class in two parts": (images("train/cat", "test/cat"), "{here}", "holds one class only (cat)"),
    "train alone": (images("Train/cat", "Train/dog"), "{here}", "holds Train/ but no test/; add one, or put the class"),
    "test alone": (images("TEST/cat", "TEST/dog"), "{here}", "holds TEST/ but no train/; add one, or put the class"),
    "validation and test": (images("val/cat", "test/cat"), "{here}", "but no train/; add one"),
    "two trains": ({**PARTS, **images("Training/cat")}, "{here}", "holds both Training/ and train/; keep one of them"),
    "parts without classes": ({"train/0.png": None, "test/0.png": None}, "{here}", "holds no class folders; expected"),
    "a class in train only": ({**PARTS, **images("train/emu")}, "{here}", "no test image in class emu; remove the class or"),
    "a class in test only": ({**PARTS, **images("test/emu")}, "{here}", "no training image in class emu; remove the class"),
    "an empty class": ({**TWO, "emu/x.txt": "x"}, "{here}", "no training image in class emu; remove the class or add"),
    "a class of one": ({**TWO, "emu/0.png": None}, "{here}", "no test image in class emu; remove the class or add images"),
    "nothing readable": (dict.fromkeys(TWO, "broken"), "{here}", "none of 4 image files can be read, the first: cannot be"),
    "a bomb": ({**TWO, "cat/9.png": png_bomb(30000)}, "{here}", "scale it down or remove it"),
    "a smaller bomb": ({**TWO, "cat/9.png": png_bomb(11000)}, "{here}", "claims 11000x11000 pixels, more than"),
    "a bomb with a size": ({**TWO, "cat/9.png": png_bomb(60000)}, "{here}@32", "scale it down or remove it"),
    "size 50000": (TWO, "{here}@50000", "the size after @ must lie in 4..1024 pixels, such as @32"),
    "size 0": (TWO, "{here}@0", "the size after @ must lie in 4..1024 pixels"),
    "half a size": (TWO, "{here}@32x", "is a number of pixels, such as @32, or height x width, such as @32x48"),
    "a size in words": (TWO, "{here}@big", "is a number of pixels, such as @32, or height x width, such as @32x48"),
    "three sides": (TWO, "{here}@3x4x5", "is a number of pixels"),
    "a negative size": (TWO, "{here}@-32", "is a number of pixels"),
    "an endless size": (TWO, "{here}@" + "9" * 5000, "change its permissions or its name"),
    "a table without header": ({**FLAT, "labels.csv": ROWS}, "{here}", "has no column file and label; its first line must"),
    "an empty table": ({**FLAT, "labels.csv": ""}, "{here}", "has no column file and label; its first line must name"),
    "a table without rows": (table(""), "{here}", "has no rows; add one line for each of file,label"),
    "a table of bytes": ({**FLAT, "labels.csv": b"file,label\n\xff\xfe,a\n"}, "{here}", "save it as a CSV file in UTF-8"),
    "rows of three": (table("pets/0.png,a,b\n"), "{here}", "1 rows do not have 2 fields, lines: 2; put fields that hold a"),
    "a row twice": (table(ROWS + "pets/0.png,dog\n"), "{here}", "1 rows repeat a file: pets/0.png; keep one row for each"),
    "a missing file": (table(ROWS + "pets/9.png,dog\n"), "{here}", "1 files do not exist: pets/9.png; add them or remove"),
    "no label": (table(ROWS.replace("1.png,dog", "1.png,")), "{here}", "1 rows have no label: pets/1.png; fill it in"),
    "a file outside": (table("../secret.png,a\n"), "{here}", "does not lie below {here}; write paths relative to that"),
    "an absolute file": (table("/etc/passwd,a\n"), "{here}", "does not lie below {here}; write paths relative to that"),
    "an unknown split": (
        table("pets/0.png,a,train\npets/1.png,b,eval\n", "file,label,split"), "{here}",
        "1 unknown splits: eval; choose train, test or val",
    ),
    "train rows alone": (
        table("pets/0.png,a,train\npets/1.png,b,train\n", "file,label,split"), "{here}",
        "all rows are of the part train; give train and test rows, or leave split out",
    ),
    "one label": (table("pets/0.png,a\npets/1.png,a\n"), "{here}", "holds one class only (a); a classifier needs two or"),
}  # fmt: skip


# -- calls


def resnet() -> torch.nn.Module:
    return build("resnet8", 10, 1, 8)


def file(here: Path, name: str, content: object) -> Path:
    path = here / name
    if isinstance(content, bytes | str):
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    elif name.endswith(".safetensors"):
        save_file(content, path)  # type: ignore[arg-type]
    else:
        torch.save(content, path)
    return path


def weights(name: str, content: Callable[[], object]) -> Callable[[Path], object]:
    return lambda here: load_foreign(resnet(), file(here, name, content()))


def changed(**values: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """Our own state dict with some entries replaced (None: removed); two underscores stand for a dot."""
    state = {k: v.clone() for k, v in resnet().state_dict().items()}
    for name, value in values.items():
        state.pop(name.replace("__", "."), None)
        if value is not None:
            state[name.replace("__", ".")] = value
    return state


def scored(name: str, signals: Signals, **options: object) -> Callable[[Path], object]:
    return lambda here: SCORERS[name](signals, np.zeros(4, int), np.random.default_rng(0), **options)


def read(reader: Callable, text: str) -> Callable[[Path], object]:
    return lambda here: reader(file(here, "t.csv", text), load("digits"))


DIGIT_ROWS = "".join(f"{i},{i}.5\n" for i in range(1347))
PROBS = Signals(early_probs=np.full((1, 4, 3), 1 / 3), correct=np.ones((1, 2, 4), bool))
BLANK = torch.zeros(3, 1, 4, 4, dtype=torch.uint8)

CALLS: dict[str, tuple[Callable[[Path], object], str]] = {
    # data
    "dataset typo": (lambda here: load("cifar-100"), "did you mean 'cifar100'? choose one of: digits, "),
    "labels of another class": (
        lambda here: make_dataset("x", (BLANK, [0, 1, 2]), (BLANK, [0, 1, 1]), "ab"),
        "must lie in 0..1",
    ),
    "float images": (
        lambda here: make_dataset("x", (BLANK.float(), [0, 1, 1]), (BLANK, [0, 1, 1]), "ab"),
        "must be uint8",
    ),
    "noise above one": (lambda here: with_label_noise(load("digits"), 1.5, 0), "must lie in [0, 1], got 1.5"),
    "noise without classes": (lambda here: with_label_noise(load("diabetes"), 0.1, 0), "choose a dataset with classes"),
    "imbalance below one": (lambda here: imbalance_rates(10, 0.5), "must be a number of at least 1, got 0.5"),
    "imbalance without classes": (lambda here: imbalance_rates(1, 2), "choose a dataset with classes"),
    "rates of another count": (
        lambda here: with_imbalance(load("digits"), [0.5], 0),
        "needs 10 rates in (0, 1], one for each",
    ),
    "augmentation typo": (
        lambda here: apply_views(BLANK, torch.zeros(3, dtype=torch.int64), "cropflip"),
        "did you mean 'crop_flip'",
    ),
    "a picture of numbers": (
        lambda here: write_preview(load("diabetes"), here / "x.png"),
        "choose a dataset of images",
    ),
    "a picture as text": (lambda here: write_preview(load("digits"), here / "x.svg"), "name a file that ends in .png"),
    # tables
    "no table": (
        lambda here: tables.read_kept(here / "none.csv", load("digits")),
        "is no file; give the path of a CSV file",
    ),
    "a pipe as a table": (
        lambda here: tables.read_kept(pipe(here / "x.csv"), load("digits")),
        "is no file; give the path of a CSV file",
    ),
    "scores without a column": (
        read(tables.read_scores, "row\n1\n"),
        "has no column score; its first line must name row,score",
    ),
    "file names for digits": (
        read(tables.read_kept, "file\na.png\n"),
        "has no column row; its first line must name row",
    ),
    "an unknown sample": (
        read(tables.read_kept, "row\n1347\n"),
        "1 rows name no training sample of digits, which are 0..1346: 1347",
    ),
    "a sample in words": (
        read(tables.read_kept, "row\n1.0\n"),
        "1 rows name no training sample of digits, which are 0..1346: 1.0",
    ),
    "a sample twice": (read(tables.read_kept, "row\n3\n3\n"), "1 samples come twice: 3; keep one row for each"),
    "a missing score": (
        read(tables.read_scores, "row,score\n" + DIGIT_ROWS.replace("7,7.5\n", "", 1)),
        "1 training samples have no row: 7; add",
    ),
    "a score in words": (
        read(tables.read_scores, "row,score\n" + DIGIT_ROWS.replace("7,7.5", "7,hard", 1)),
        "1 scores are not finite numbers: hard",
    ),
    "scores of other data": (
        lambda here: tables.write_scores(here / "x.csv", [1.0], load("digits")),
        "has 1347 training samples",
    ),
    "kept of other data": (
        lambda here: tables.write_kept(here / "x.csv", [5000], load("digits")),
        "outside 0..1346: 5000; choose samples of digits",
    ),
    "scores into a folder": (
        lambda here: tables.write_scores(here, np.zeros(1347), load("digits")),
        "is a folder; name a file",
    ),
    # scorers
    "a signal that is not there": (
        scored("grand", PROBS),
        "signals lack grad_norm; recorded: correct, early_probs",
    ),
    "signals of unlike lengths": (
        lambda here: Signals(correct=np.ones((1, 2, 4), bool), margin=np.ones((1, 2, 5))),
        "disagree on axis N",
    ),
    "forgetting's rule": (
        scored("forgetting", PROBS, never_learned="hardst"),
        "did you mean 'hardest'? choose one of: zero, ",
    ),
    "when it is learned": (scored("epochs_to_learn", PROBS, until="last"), "choose one of: for_good, first"),
    "no epochs": (
        scored("el2n_training", Signals(error=np.ones((1, 2, 4))), epochs=0),
        "looks at 1 epoch or more, not 0; choose",
    ),
    "herding's rule": (scored("herding", Signals(embedding=np.ones((4, 2))), rule="argmean"), "did you mean 'argmin'"),
    "k-center's start": (
        scored("k_center", Signals(embedding=np.ones((4, 2))), start="center"),
        "did you mean 'centre'",
    ),
    "memorization's group": (
        scored(
            "memorization",
            Signals(trained=np.ones((2, 4), bool), subset_correct=np.ones((2, 4), bool)),
            empty_group="none",
        ),
        "choose one of: neutral, zero",
    ),
    "a margin of one class": (
        scored("max_margin", Signals(early_probs=np.ones((1, 4, 1)))),
        "needs at least 2 classes; choose",
    ),
    # models and weights
    "model typo": (lambda here: build("resnet21", 10, 3, 32), "did you mean 'resnet"),
    "an unknown source": (lambda here: build("hub:resnet18", 10, 3, 32), "choose timm:NAME or torchvision:NAME"),
    "torchvision typo": (lambda here: build("torchvision:resnet81", 10, 3, 32), "the nearest of"),
    "images too small": (
        lambda here: build("torchvision:vit_b_16", 10, 3, 32),
        "choose larger images, such as folder:PATH@224",
    ),
    "an oblong mlp": (
        lambda here: build("mlp", 10, 3, (8, 16)),
        "takes square images and these are 8x16; choose folder:PATH@8",
    ),
    "no weights file": (
        lambda here: load_foreign(resnet(), here / "x.pth"),
        "is no file; give the path of a .safetensors, .pth or",
    ),
    "weights of another ending": (weights("x.onnx", lambda: "x"), "choose a .safetensors, .pth or .pt file"),
    "broken safetensors": (weights("x.safetensors", lambda: "broken"), "is no whole safetensors file"),
    "a broken checkpoint": (weights("x.pth", lambda: b"PK\x03\x04 broken"), "is no whole PyTorch file"),
    "an empty checkpoint": (weights("x.pt", lambda: b""), "copy or save it again"),
    "a whole model": (
        weights("x.pth", resnet),
        "holds more than weights (kdlib.models.resnet.ResNet) and is not opened; save",
    ),
    "a checkpoint of options": (
        weights("x.pth", lambda: argparse.Namespace(lr=1)),
        "holds no weights (Namespace); save torch.save(",
    ),
    "a checkpoint without weights": (
        weights("x.pth", lambda: {"epoch": 3}),
        "holds no weights (epoch); save torch.save(model.state",
    ),
    "weights of another network": (
        weights("x.pth", lambda: build("vgg8", 10, 1, 8).state_dict()),
        "no weights for conv.weight",
    ),
    "other classes": (
        weights("x.pth", lambda: build("resnet8", 5, 1, 8).state_dict()),
        "head.weight is (5, 64) there and (10, 64) here",
    ),
    "other channels": (
        weights("x.pth", lambda: build("resnet8", 10, 3, 8).state_dict()),
        "choose the same classes, channels and image size",
    ),
    "a weight too few": (
        weights("x.safetensors", lambda: changed(head__bias=None)),
        "no weights for head.bias; choose the network",
    ),
    "a weight too many": (
        weights("x.safetensors", lambda: changed(extra=torch.zeros(1))),
        "unknown weights extra; choose the network",
    ),
    "weights that are not finite": (
        weights("x.safetensors", lambda: changed(head__bias=torch.full((10,), torch.nan))),
        "not finite in head.bias; take",
    ),
    "export into a folder": (
        lambda here: export_network(resnet(), made(here / "x.json").with_suffix(""), "resnet8", load("digits")),
        "x.json is a folder; name a file",
    ),
    "no card": (lambda here: load_exported(file(here, "x.safetensors", changed())), "keep it beside x.safetensors"),
}


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder
