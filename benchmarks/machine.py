"""The machine under a benchmark: what it is, what it can do at most, and what else is running on it."""

from __future__ import annotations

import functools
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from kdlib.models import build
from kdlib.models.operations import operations

ROOT = Path(__file__).resolve().parent.parent


def describe() -> dict:
    """Processor, cores, versions and the load when the benchmark began."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0] if names else model
    return {
        "cpu": model,
        "simd": torch.backends.cpu.get_cpu_capability(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_at_start": [round(x, 2) for x in os.getloadavg()],
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def cpu_seconds() -> float:
    """User and system seconds of this process and of its children that have ended (DataLoader workers)."""
    parts = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(p.ru_utime + p.ru_stime for p in parts)


def best_of(function: Callable[[], object], repeats: int, clock: Callable[[], float] = time.process_time) -> float:
    """Shortest time in seconds of `repeats` calls after a first one."""
    function()
    times = []
    for _ in range(repeats):
        start = clock()
        function()
        times.append(clock() - start)
    return min(times)


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself (AVX512-BF16, AMX), as far as torch can tell."""
    found = getattr(torch.cpu, "get_capabilities", dict)()
    return any(found.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def peak_gflops(dtype: torch.dtype = torch.float32, size: int = 1024, repeats: int = 12) -> float:
    """Peak matrix product rate of one thread, GFLOP/s: the limit that rows are measured against."""
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    return 2 * size**3 / best_of(lambda: a @ b, repeats) / 1e9


@functools.cache
def flops(model: str, num_classes: int, channels: int, size: int) -> tuple[float, float]:
    """FLOPs for one image: (forward, forward + backward); a multiply-add counts two."""
    return operations(build(model, num_classes, channels, size), torch.zeros(2, channels, size, size))


@contextmanager
def busy_core() -> Iterator[None]:
    """Another process that keeps one core busy."""
    spinning = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        spinning.kill()
        spinning.wait()


@contextmanager
def environment(**variables: str | None) -> Iterator[None]:
    """These environment variables (None: unset) for the processes started in the block."""
    before = {name: os.environ.get(name) for name in variables}

    def put(values: dict[str, str | None]) -> None:
        for name, value in values.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    put(dict(variables))
    try:
        yield
    finally:
        put(before)


def python(code: str, **variables: str) -> subprocess.Popen:
    """`code` in an interpreter of its own that finds kdlib and the benchmarks."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path, **variables})


def peak_memory(process: subprocess.Popen, mapped: str, every: float = 0.1) -> tuple[float, float]:
    """Peak resident bytes of a process until it ends: (all, all but the pages of files whose path holds `mapped`)."""
    total = beyond = 0.0
    while process.poll() is None:
        everything, files = _resident(process.pid, mapped)
        total, beyond = max(total, everything), max(beyond, everything - files)
        time.sleep(every)
    if process.returncode:
        raise RuntimeError(f"the measured process ended with exit code {process.returncode}")
    return total, beyond


def _resident(pid: int, mapped: str) -> tuple[float, float]:
    """Resident bytes now: (all, of mapped files whose path holds `mapped`). Linux only."""
    everything = files = 0.0
    inside = False
    try:
        for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
            if "-" in line.split(" ", 1)[0]:  # a mapping's first line: address range, ..., path
                inside = mapped in line
            elif line.startswith("Rss:"):
                size = int(line.split()[1]) * 1024
                everything += size
                files += size * inside
    except (FileNotFoundError, ProcessLookupError):
        return 0.0, 0.0
    return everything, files
