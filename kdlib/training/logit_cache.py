"""The logit cache: a frozen teacher is a function of (sample, view), so no logit of it is computed twice.

Logits are computed once for each pair that any student asks for, kept as float16 in the store, and shared by all
students, processes and days. Temperature, reshaping and KD weight apply after the cache: one cache serves all of them.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import shutil
import stat
import time
import weakref
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse
from torch.fx.proxy import TraceError

from kdlib.data.augment import AUGMENTATIONS, apply_views, normalise
from kdlib.data.datasets import Dataset
from kdlib.utils import progress

CHUNK = {"cpu": 64, "cuda": 1024}  # images in a teacher forward, always: a logit does not depend on who asked beside it
PAGE, ROOM = 4096, 2**26  # bytes: what one entry of a sparse file may take, and what is always left on the disk
AT_ONCE, SPAN = 2**15, 2**20  # entries that are looked up together; bytes of the file that are read in one piece
DEVICE_BYTES = 2**31  # of a GPU's memory at most: a teacher with more logits is read from the file epoch by epoch

log = logging.getLogger(__name__)


class LogitCache:
    """Teacher logits of (sample, view) pairs: `cache(ids, view_ids) -> float32 (..., K)`.

    With `folder`, logits are kept there as float16 in one sparse file shared by all processes; behind each entry stands
    a checksum of its bytes (0: not yet computed), so that a torn, damaged or cut off entry is simply computed again.
    The file is read and written, never mapped: a file that is truncated and a disk that is full cost time and nothing
    else. Without `folder`, every call computes afresh in float32. The float16 rounding moves KL at tau = 4 by less than
    1e-6 nats.

    Memory: the answer, and `AT_ONCE` entries beside it. On a GPU the logits of all pairs (N x views x (2 K + 1) bytes)
    stay in its memory as well if they take no more than `DEVICE_BYTES`.
    """

    def __init__(self, model: nn.Module, data: Dataset, augment: str, folder: Path | None) -> None:
        self.teacher = model.eval()
        self.data, self.augment = data, augment
        self.views = AUGMENTATIONS[augment].num_views(data.image_shape[1])
        self.device = next(model.parameters()).device
        self.chunk = CHUNK.get(self.device.type, 64)
        self.folder = folder
        self.file = None if folder is None else _LogitFile(folder, data.num_classes)
        self.pairs = len(data.train_y) * self.views
        self.near: Tensor | None = None
        self.seconds, self.images = 0.0, 0  # what new entries have cost so far

    @functools.cached_property
    def model(self) -> nn.Module:
        """A copy of the teacher with its batch norms folded into its convolutions, made when it is first asked."""
        try:
            return fuse(self.teacher)
        except (TraceError, TypeError, RuntimeError, AttributeError):  # a network that decides by its input: as it is
            return self.teacher

    def __call__(self, ids: Tensor, view_ids: Tensor) -> Tensor:
        if self.file is not None and self.device.type == "cuda" and self._fits_the_device():
            return self._near(ids, view_ids)
        found = self._found(ids.flatten().cpu().numpy(), view_ids.flatten().cpu().numpy())
        return found.to(self.device).float().unflatten(0, ids.shape)

    def _fits_the_device(self) -> bool:
        return self.pairs * (2 * self.data.num_classes + 1) <= DEVICE_BYTES

    def _found(self, rows: np.ndarray, views: np.ndarray) -> Tensor:
        """Logits (M, K) on the CPU: float16 from the file, filled where need be, or float32 computed afresh."""
        if self.file is None:
            return self._forward(rows, views)
        parts = [slice(start, start + AT_ONCE) for start in range(0, len(rows), AT_ONCE)]
        return torch.cat([self._looked_up(self.file, rows[part], views[part]) for part in parts])

    def _looked_up(self, file: _LogitFile, rows: np.ndarray, views: np.ndarray) -> Tensor:
        """Float16 logits (M, K) of at most `AT_ONCE` pairs."""
        places = rows * self.views + views
        logits, whole = file.read(places)
        if not whole.all():
            missing = np.unique(places[~whole])
            if file.has_room(len(missing)):
                self._fill(file, missing)
                logits, whole = file.read(places)
        if not whole.all():  # no room, or the file was cut off once more
            logits[~whole] = self._forward(rows[~whole], views[~whole]).numpy().astype(np.float16)
        return torch.from_numpy(logits)

    def _near(self, ids: Tensor, view_ids: Tensor) -> Tensor:
        """The same from a copy in the device's memory, which takes new entries from the file once an epoch."""
        if self.near is None:
            self.near = torch.zeros(self.pairs, self.data.num_classes, dtype=torch.float16, device=self.device)
            self.known = torch.zeros(self.pairs, dtype=torch.bool, device=self.device)
        places = ids * self.views + view_ids
        new = places[~self.known[places]].unique()
        if len(new):
            fetched = new.cpu().numpy()
            self.near[new] = self._found(fetched // self.views, fetched % self.views).to(self.device)
            self.known[new] = True
        return self.near[places].float()

    def _fill(self, file: _LogitFile, places: np.ndarray) -> None:
        """Compute these entries, chunk by chunk in an order of this process's own.

        Students in step ask for the same entries at the same time: what another process has filled meanwhile is left to
        it, so that each computes its share. The order changes no value.
        """
        starts = np.random.default_rng(os.getpid()).permutation(range(0, len(places), self.chunk))
        with progress.line() as line:
            for done, start in enumerate(starts):
                line.say(f"teacher's logits {done / len(starts):.0%}")
                part = places[start : start + self.chunk]
                part = part[~file.read(part)[1]]
                if len(part) and not file.write(
                    part, self._forward(part // self.views, part % self.views).numpy().astype(np.float16)
                ):
                    return

    @torch.inference_mode()
    def _forward(self, rows: np.ndarray, views: np.ndarray) -> Tensor:
        parts, began = [], time.perf_counter()
        for start in range(0, len(rows), self.chunk):
            taken = np.arange(start, min(start + self.chunk, len(rows)))
            taken = np.resize(taken, self.chunk)  # the last chunk is padded
            x = self.data.train_x[rows[taken]].to(self.device)
            if self.views > 1:
                x = apply_views(x, torch.from_numpy(views[taken]).to(self.device), self.augment)
            parts.append(self.model(normalise(x, self.data.mean, self.data.std)).float().cpu())
        self.seconds += time.perf_counter() - began
        self.images += len(rows)
        return torch.cat(parts)[: len(rows)]


class _LogitFile:
    """A sparse file of entries: `classes` float16 logits, then a uint32 checksum. Trouble with it is never an error."""

    def __init__(self, folder: Path, classes: int) -> None:
        self.folder, self.classes, self.size = folder, classes, 2 * classes + 4
        self.writable = True
        self.handle = self._open()
        if self.handle is not None:
            weakref.finalize(self, os.close, self.handle)

    def _open(self) -> int | None:
        """The file's descriptor; None, with a message, for one that may belong to somebody else or cannot be opened."""
        path, handle = self.folder / "logits", None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
            try:
                handle = os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o666)
            except PermissionError:
                self.writable, handle = False, os.open(path, os.O_RDONLY | flags)
            about = os.fstat(handle)
            if self.folder.is_symlink() or not stat.S_ISREG(about.st_mode) or about.st_nlink > 1:
                raise OSError(None, "a link is not written through")
            return handle
        except OSError as problem:
            if handle is not None:
                os.close(handle)
            self._give_up(problem)
            return None

    def _give_up(self, problem: OSError) -> None:
        if self.writable:
            log.warning(
                "the logit cache %s is not added to: %s; the teacher is asked anew", self.folder, problem.strerror
            )
        self.writable = False

    def has_room(self, count: int) -> bool:
        """Whether so many entries may be added: the disk's last megabytes are left to the results."""
        if self.writable and shutil.disk_usage(self.folder).free < count * PAGE + ROOM:
            self._give_up(OSError(None, "the disk is nearly full; free some space there"))
        return self.writable

    def read(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Float16 (M, K) and whether each entry is there and whole (M,); what cannot be read is not there."""
        raw = np.frombuffer(self._bytes(places), np.uint8).reshape(len(places), self.size)
        logits = raw[:, :-4].copy().view(np.float16)
        return logits, raw[:, -4:].copy().view(np.uint32)[:, 0] == _checksum(logits)

    def _bytes(self, places: np.ndarray) -> bytes | np.ndarray:
        nothing = bytes(self.size)
        if self.handle is None or not len(places):
            return nothing * len(places)
        first, count = int(places.min()), int(np.ptp(places)) + 1
        try:
            if count * self.size <= max(SPAN, 4 * len(places) * self.size):
                piece = os.pread(self.handle, count * self.size, first * self.size).ljust(count * self.size, b"\0")
                return np.frombuffer(piece, np.uint8).reshape(count, self.size)[places - first].reshape(-1)
            parts = [os.pread(self.handle, self.size, place * self.size) for place in places.tolist()]
            return b"".join(part if len(part) == self.size else nothing for part in parts)
        except OSError as problem:
            self._give_up(problem)
            return nothing * len(places)

    def write(self, places: np.ndarray, logits: np.ndarray) -> bool:
        """Add entries; False, with a message, if they cannot be written."""
        whole = np.concatenate([logits.view(np.uint8), _checksum(logits)[:, None].view(np.uint8)], axis=1)
        try:
            for place, entry in zip(places.tolist(), whole, strict=True):
                if self.handle is None or os.pwrite(self.handle, entry.tobytes(), place * self.size) < self.size:
                    raise OSError(None, "it could not be written")
        except OSError as problem:  # full, over quota, over the limit of a file's size
            self._give_up(problem)
        return self.writable


def _checksum(logits: np.ndarray) -> np.ndarray:
    """uint32 (M,) of the bytes of float16 (M, K): position-weighted sum, never 0 for an entry that was written."""
    words = np.ascontiguousarray(logits).view(np.uint16).astype(np.uint32)
    weights = np.arange(1, words.shape[-1] + 1, dtype=np.uint32) * np.uint32(2654435761) | np.uint32(1)
    return (words * weights).sum(-1, dtype=np.uint32) | np.uint32(1)


class CacheStore(Protocol):
    """What the cache asks of a store: a folder for a description."""

    def folder(self, kind: str, description: dict) -> Path: ...


def weights_digest(model: nn.Module) -> str:
    """SHA-256 (64 hex digits) over the names, types, shapes and bytes of a network's parameters and buffers."""
    total = hashlib.sha256(type(model).__qualname__.encode())
    for name, tensor in sorted(model.state_dict().items()):
        array = np.ascontiguousarray(tensor.detach().cpu().numpy())
        total.update(f"{name} {array.dtype.str} {array.shape}".encode())
        total.update(array.reshape(-1).view(np.uint8).data if array.size else b"")
    return total.hexdigest()


def cache_folder(store: CacheStore, model: nn.Module, data: Dataset, augment: str) -> Path:
    """Where a teacher's logits lie: keyed by its weights, not by how they were trained, its data and the views.

    A teacher that is trained again, on another device for instance, differs in its last bits and gets a new cache.
    """
    return store.folder("caches", {"weights": weights_digest(model), "data": data.content_hash, "views": augment})
