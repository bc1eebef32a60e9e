"""What torch needs to know of the machine: the device, its memory, the order of sums, the one generator of the CPU."""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch


def check_device_name(device: str) -> None:
    """ValueError for a name that no machine has."""
    kind, _, number = device.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (number and not (kind == "cuda" and number.isdigit())):
        raise ValueError(f"device must be auto, cpu, cuda, or cuda:N such as cuda:1, got {device!r}")


def resolve_device(device: str = "auto") -> torch.device:
    """ "auto": the GPU if there is a usable one, else the CPU (with a message when one is there but unusable)."""
    if device != "auto":
        return torch.device(device)
    if not torch.cuda.is_available():
        return torch.device("cpu")
    try:
        torch.ones(1, device="cuda").add_(1)
    except RuntimeError as error:
        print(f"a GPU is there but cannot be used ({str(error).splitlines()[0]}); going on with the CPU")
        return torch.device("cpu")
    return torch.device("cuda")


@functools.cache
def processor_has_bfloat16() -> bool:
    """Whether the CPU computes in bfloat16; one that does not imitates it, some ten times slower than float32."""
    found = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(found.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


@functools.cache
def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the next step, once for this process; other systems have nothing to set.

    By default every activation goes back to the system and is faulted in again, page by page, one step later: 5-20% of a
    convolutional network's CPU time. The peak of memory stays as it is; memory is not returned between runs.
    """
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of <malloc.h>
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(mmap_threshold, 32 << 20)  # the largest value that all versions accept
    mallopt(trim_threshold, 2**31 - 1)


def fix_order_of_sums() -> None:
    """Let a GPU's convolutions sum in one fixed order: the same seed gives the same row there, too."""
    torch.backends.cudnn.deterministic = True


def compiled(forward: Callable, device: torch.device) -> Callable:
    """`forward` by `torch.compile`, once for each shape of its input; RuntimeError where a CPU's compiler is missing."""
    if device.type == "cpu" and not any(map(shutil.which, (os.environ.get("CXX", "g++"), "g++", "clang++", "cl"))):
        raise RuntimeError("compile needs a C++ compiler on the path (g++, clang++ or cl): install one or leave it out")
    return torch.compile(forward, dynamic=False)


def forward_batch(x: torch.Tensor, device: torch.device) -> int:
    """How many of the images `x` (N,...) to take at once in a forward without gradients.

    On a CPU few large images, since the activations of many leave the cache and set the peak of memory (on 32x32 images
    batches of 500 took 200 MB more than these and were no faster); on a GPU enough of them to keep it busy.
    """
    if device.type != "cpu":
        return 1000
    return min(500, max(64, 2**18 // max(1, x[0].numel())))


_CPU_GENERATOR = threading.RLock()


@contextmanager
def torch_seed(seed: int) -> Iterator[None]:
    """Within the block torch's CPU generator starts at `seed`; afterwards it is as before.

    torch's initialisers draw from the one generator of the process, so only one thread at a time may be inside:
    without the lock, two threads that build networks would draw each other's weights.
    """
    with _CPU_GENERATOR, torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        yield
