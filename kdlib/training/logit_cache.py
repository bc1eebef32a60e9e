"""The logit bank: a frozen teacher is a function of (sample, view), so no logit of it is computed twice.

Logits are computed once for each pair that any student asks for, kept as float16 in the store, and shared by all
students, processes and days. Temperature, reshaping and KD weight apply after the bank: one bank serves all of them.
"""

from __future__ import annotations

import functools
import os
import shutil
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from kdlib.data.augment import AUGMENTATIONS, apply_views, normalise
from kdlib.data.datasets import Dataset
from kdlib.store.artefacts import Store
from kdlib.training.reference_runs import FullRuns

CHUNK = {"cpu": 64, "cuda": 1024}  # images in a teacher forward, always: a logit does not depend on who asked beside it
PAGE, ROOM = 4096, 2**26  # bytes: what one entry of a sparse file may take, and what is always left on the disk


class LogitBank:
    """Teacher logits of (sample, view) pairs: `bank(ids, view_ids) -> float32 (..., K)`.

    With `folder`, logits are kept there as float16 in a sparse memory-mapped file shared by all processes; beside each
    entry lies a checksum of its bytes (0: not yet computed), so that a torn or damaged entry is simply computed again.
    Without, every call computes afresh in float32. The float16 rounding moves KL at tau = 4 by less than 1e-6 nats.
    On a GPU the entries that were asked for stay in its memory as well.
    """

    def __init__(self, model: nn.Module, data: Dataset, augment: str, folder: Path | None) -> None:
        self.teacher = model.eval()
        self.data, self.augment = data, augment
        self.views = AUGMENTATIONS[augment].num_views(data.image_shape[1])
        self.device = next(model.parameters()).device
        self.chunk = CHUNK.get(self.device.type, 64)
        self.logits = self.check = None
        self.near: Tensor | None = None
        if folder is not None:
            shape = (len(data.train_y), self.views, data.num_classes)
            self.folder = folder
            folder.mkdir(parents=True, exist_ok=True)
            self.logits = _shared_array(folder / "logits.f16", np.float16, shape)
            self.check = _shared_array(folder / "check.u32", np.uint32, shape[:2])

    @functools.cached_property
    def model(self) -> nn.Module:
        """A copy of the teacher with its batch norms folded into its convolutions, made when it is first asked."""
        return fuse(self.teacher)

    def __call__(self, ids: Tensor, view_ids: Tensor) -> Tensor:
        if self.logits is not None and self.device.type == "cuda":
            return self._near(ids, view_ids)
        found = self._found(ids.flatten().cpu().numpy(), view_ids.flatten().cpu().numpy())
        return found.float().to(self.device).unflatten(0, ids.shape)

    def _found(self, rows: np.ndarray, views: np.ndarray) -> Tensor:
        """Logits (M, K) on the CPU: float16 from the file, filled where need be, or float32 computed afresh."""
        if self.logits is None:
            return self._forward(rows, views)
        bad = self._missing(rows, views)
        if bad.any() and not self._room(int(bad.sum())):
            return self._forward(rows, views).half()
        if bad.any():
            self._fill(*np.unique(np.stack([rows[bad], views[bad]]), axis=1))
        return torch.from_numpy(self.logits[rows, views])

    def _room(self, entries: int) -> bool:
        """Whether the disk can take them: a mapped write to a full disk would end the process without a word."""
        if shutil.disk_usage(self.folder).free > entries * 2 * PAGE + ROOM:
            return True
        print(f"no room for the logit bank in {self.folder}: the teacher is asked anew; free some space there")
        return False

    def _near(self, ids: Tensor, view_ids: Tensor) -> Tensor:
        """The same from a copy in the device's memory, which takes new entries from the file once an epoch."""
        if self.near is None:
            count = len(self.data.train_y) * self.views
            self.near = torch.zeros(count, self.data.num_classes, dtype=torch.float16, device=self.device)
            self.known = torch.zeros(count, dtype=torch.bool, device=self.device)
        places = ids * self.views + view_ids
        new = places[~self.known[places]].unique()
        if len(new):
            fetched = new.cpu().numpy()
            self.near[new] = self._found(fetched // self.views, fetched % self.views).to(self.device)
            self.known[new] = True
        return self.near[places].float()

    def _fill(self, rows: np.ndarray, views: np.ndarray) -> None:
        """Compute these entries, chunk by chunk in an order of this process's own.

        Students in step ask for the same entries at the same time: what another process has filled meanwhile is left to
        it, so that each computes its share. The order changes no value.
        """
        assert self.logits is not None and self.check is not None
        for start in np.random.default_rng(os.getpid()).permutation(range(0, len(rows), self.chunk)):
            part = slice(start, start + self.chunk)
            new = self._missing(rows[part], views[part])
            if not new.any():
                continue
            places = rows[part][new], views[part][new]
            found = self._forward(*places).numpy().astype(np.float16)
            self.logits[places] = found
            self.check[places] = _checksum(found)  # last: a reader never trusts half an entry

    def _missing(self, rows: np.ndarray, views: np.ndarray) -> np.ndarray:
        """bool (M,): the entries that are not in the file, or damaged there."""
        assert self.logits is not None and self.check is not None
        return self.check[rows, views] != _checksum(self.logits[rows, views])

    @torch.inference_mode()
    def _forward(self, rows: np.ndarray, views: np.ndarray) -> Tensor:
        parts = []
        for start in range(0, len(rows), self.chunk):
            taken = np.arange(start, min(start + self.chunk, len(rows)))
            taken = np.resize(taken, self.chunk)  # the last chunk is padded
            x = self.data.train_x[rows[taken]].to(self.device)
            if self.views > 1:
                x = apply_views(x, torch.from_numpy(views[taken]).to(self.device), self.augment)
            parts.append(self.model(normalise(x, self.data.mean, self.data.std)).float().cpu())
        return torch.cat(parts)[: len(rows)]


def _shared_array(path: Path, dtype: type, shape: tuple[int, ...]) -> np.memmap:
    """A zero-filled file of the right size (sparse: zeros take no space), mapped for reading and writing."""
    with open(path, "ab") as file:
        file.truncate(int(np.prod(shape)) * np.dtype(dtype).itemsize)
    return np.memmap(path, dtype=dtype, mode="r+", shape=shape)


def _checksum(logits: np.ndarray) -> np.ndarray:
    """uint32 (M,) of the bytes of float16 (M, K): position-weighted sum, never 0 for an entry that was written."""
    words = np.ascontiguousarray(logits).view(np.uint16).astype(np.uint32)
    weights = np.arange(1, words.shape[-1] + 1, dtype=np.uint32) * np.uint32(2654435761) | np.uint32(1)
    return (words * weights).sum(-1, dtype=np.uint32) | np.uint32(1)


def bank_folder(store: Store, runs: FullRuns, data: Dataset, augment: str) -> Path:
    """Where the bank of a teacher lies: keyed by the teacher's description, its data and the augmentation."""
    return store.path("banks", {**runs.describe(data), "views": augment})
