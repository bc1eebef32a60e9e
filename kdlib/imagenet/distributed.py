"""Several processes, one for each device, started by `torchrun`: who am I, sums over all, and the loss of one of them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from kdlib.utils.devices import resolve_device


class LostRank(RuntimeError):
    """Another process of the training is gone or does not answer."""


@dataclass(frozen=True)
class World:
    """This process among `size`: its number `rank`, its number on this host, and its device."""

    rank: int
    size: int
    local_rank: int
    local_size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and progress lines."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of the processes' tensors, on each of them (in place)."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def share(self, value: Any) -> Any:
        """The first process's value, on each of them."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def gather(self, value: Any) -> list[Any]:
        """The processes' values by rank, on each of them."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def align_buffers(self, model: nn.Module) -> None:
        """Give every process the first one's buffers: each has its own batch statistics since the last step."""
        if self.size > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)


@contextmanager
def world(device: str = "auto", lost_after: float = 50.0) -> Iterator[World]:
    """This process's place as `torchrun` says (RANK, WORLD_SIZE, LOCAL_RANK), connected with the others inside the block.

    Without those variables it is alone. Processes on GPUs talk by NCCL, others by gloo. A process that is killed ends
    the others at once, and one that stops answering after `lost_after` seconds: they raise LostRank.
    """
    rank, size, local_rank, local_size = (
        int(os.environ.get(name, default))
        for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0), ("LOCAL_WORLD_SIZE", 1))
    )
    where = resolve_device(device)
    if where.type == "cuda" and where.index is None:
        where = torch.device("cuda", local_rank)
        torch.cuda.set_device(where)
    place = World(rank, size, local_rank, local_size, where)
    if size == 1:
        yield place
        return
    backend = "nccl" if where.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=timedelta(seconds=lost_after))
    try:
        yield place
    except RuntimeError as problem:
        if _lost(problem):
            reason = re.sub(r"^\[[^\]]*\] ", "", str(problem).splitlines()[0]).split(". ")[0]  # without its source file
            raise LostRank(
                f"process {rank} of {size} ends because another one is gone or does not answer ({reason}); "
                "the same command goes on from the last checkpoint"
            ) from problem
        raise
    finally:
        dist.destroy_process_group()


def _lost(problem: RuntimeError) -> bool:
    """Whether the error comes from talking to other processes."""
    return isinstance(problem, dist.DistError) or bool(re.search("gloo|NCCL", str(problem)))
