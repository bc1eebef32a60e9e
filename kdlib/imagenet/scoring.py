"""Difficulty scores in one forward pass of a trained teacher, shared out among processes, as a CSV of file names."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from kdlib.imagenet.config import Machine, Settings
from kdlib.imagenet.distributed import World
from kdlib.imagenet.folders import Images, Split
from kdlib.imagenet.loading import loader, pixels, readable, shard
from kdlib.losses.reshape import row_std
from kdlib.scorers.errors import difficulty, el2n
from kdlib.utils import progress
from kdlib.utils.files import write_whole

SCORING_BATCH = 128  # images of a forward pass; no score depends on it but for rounding


def logit_std(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Standard deviation of each row of logits (N, K) with ddof 1, (N,); its class means are the paper's k_c (Eq. 4)."""
    return row_std(torch.from_numpy(logits)).squeeze(1).numpy()


def correct(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """1 where the largest logit (N, K) is the label's, else 0, (N,)."""
    return (logits.argmax(-1) == labels).astype(np.float64)


# column -> function of float64 logits (N, K) and labels (N,). difficulty: medium-difficulty paper, Eq. 3; EL2N with
# the trained teacher, as that paper has it (App. A.3); higher = harder for the first two.
COLUMNS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "difficulty": difficulty,
    "el2n": lambda logits, labels: el2n(_softmax(logits), labels),
    "logit_std": logit_std,
    "correct": correct,
}


def _softmax(logits: np.ndarray) -> np.ndarray:
    return torch.from_numpy(logits).softmax(-1).numpy()


def score(teacher: nn.Module, split: Split, settings: Settings, machine: Machine, place: World) -> pd.DataFrame:
    """One row for each readable image, in the order of the split: `file`, `class` and COLUMNS; on every process.

    `attrs` of the table: `content`, the SHA-256 over names and bytes of all files; `skipped`, {file: reason};
    `seconds` and `images`. Always in float32, on the central square of each image: a good teacher is so sure of most
    images that their scores would tie in half precision.
    """
    began = time.perf_counter()
    skip = settings.unreadable == "skip"
    images = Images(split, settings.image_size, decode=settings.decode, skip_unreadable=skip, digest=True)
    batches = loader(images, shard(len(split), place, SCORING_BATCH), machine, place)
    scores, digests, skipped = _own_shard(teacher, batches, place, len(split) // place.size)
    tables = place.gather(scores)
    known = {i: digest for part in place.gather(digests) for i, digest in part.items()}
    rows = pd.concat([pd.DataFrame(table) for table in tables]).sort_values("index", ignore_index=True)
    ids = rows.pop("index").to_numpy(np.int64)
    rows.insert(0, "file", [split.name(i) for i in ids])
    rows.insert(1, "class", [split.classes[label] for label in split.labels[ids]])
    content = hashlib.sha256("".join(f"{split.name(i)}\0{known[i]}\n" for i in range(len(split))).encode())
    rows.attrs |= {
        "content": content.hexdigest(),
        "skipped": {split.name(i): reason for part in place.gather(skipped) for i, reason in sorted(part.items())},
        "seconds": time.perf_counter() - began,
        "images": len(split),
    }
    return rows


@torch.no_grad()
def _own_shard(
    teacher: nn.Module, batches: Any, place: World, count: int
) -> tuple[dict[str, np.ndarray], dict[int, str], dict[int, str]]:
    """(index and scores of this process's readable images, digests of all its files, reasons of the unreadable).

    count: about how many images there are, for the progress.
    """
    teacher.eval()
    found: dict[str, list[np.ndarray]] = {name: [] for name in ("index", *COLUMNS)}
    digests: dict[int, str] = {}
    skipped: dict[int, str] = {}
    with progress.line() as line:
        left = progress.TimeLeft(count)
        for batch in readable(batches):
            ids = batch.id.tolist()
            digests |= zip(ids, batch.digest, strict=True)
            skipped |= {i: reason for i, reason in zip(ids, batch.reason, strict=True) if reason}
            whole = batch.weight.numpy() > 0
            logits = teacher(pixels(batch, place)).double().cpu().numpy()[whole]
            labels = batch.label.numpy()[whole]
            found["index"].append(batch.id.numpy()[whole])
            for name, column in COLUMNS.items():
                found[name].append(column(logits, labels))
            if line.due():
                line.say(f"scoring: {len(digests):,} of {count:,} images{left.after(len(digests))}")
    return {name: np.concatenate([*parts, np.empty(0)]) for name, parts in found.items()}, digests, skipped


def write_scores(rows: pd.DataFrame, file: Path, about: dict[str, Any]) -> None:
    """The CSV and, beside it as `<file>.json`, what it is of: `about`, the checksum of the data, what was skipped."""
    content = rows.to_csv(index=False).encode()
    card = {**about, **rows.attrs, "table": hashlib.sha256(content).hexdigest()}
    write_whole(card_of(file), json.dumps(card, indent=1) + "\n")
    write_whole(file, content)


def card_of(file: Path) -> Path:
    """Where the description of a score table lies."""
    return file.with_name(file.name + ".json")
