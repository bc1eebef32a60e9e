"""A cluster on one machine: a scheduler and two workers as separate processes, and a class-size sweep on them.

    python benchmarks/cluster_demo.py        (or: make cluster-demo)

The same three commands, on three hosts that share a folder, are a real cluster: start `dask scheduler` on one,
`dask worker tcp://HOST:8786` on the others, and pass `cluster="tcp://HOST:8786"` to `sweep`.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from kdlib.experiments.backends import WORKER_ENVIRONMENT
from kdlib.experiments.grid import sweep

ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def process(*arguments: str, log: Path) -> Iterator[subprocess.Popen]:
    """`python -m dask ...` in the background; ends with the block."""
    environment = {**os.environ, **WORKER_ENVIRONMENT, "PYTHONPATH": str(ROOT)}
    with open(log, "w") as file:
        command = [sys.executable, "-m", "dask", *arguments]
        child = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
        try:
            yield child
        finally:
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()


def address_in(log: Path, child: subprocess.Popen) -> str:
    """The address that the scheduler writes into its log."""
    while child.poll() is None:
        if found := re.search(r"Scheduler at:\s+(tcp://\S+)", log.read_text()):
            return found[1]
    raise RuntimeError(f"the scheduler did not start:\n{log.read_text()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=30)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the processes end with this one
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        quiet = ["--no-dashboard", "--host", "127.0.0.1"]
        scheduler = stack.enter_context(process("scheduler", *quiet, "--port", "0", log=folder / "scheduler.log"))
        address = address_in(folder / "scheduler.log", scheduler)
        print(f"scheduler at {address}")
        for number in (1, 2):
            stack.enter_context(
                process(
                    *["worker", address, *quiet, "--nthreads", "1", "--name", f"worker-{number}"],
                    *["--local-directory", str(folder), "--memory-limit", "0"],
                    log=folder / f"worker-{number}.log",
                )
            )
        rows = sweep(
            {"loss": ["cross_entropy", "kd"], "fraction": [0.05, 0.1, 0.3], "seed": list(range(options.seeds))},
            dataset="digits",
            epochs=options.epochs,
            cluster=address,
            store=folder / "store",
        )
    table = rows.pivot_table(index="fraction", columns="loss", values="test_acc", aggfunc=["mean", "std"])
    print(f"\nTest accuracy in percent over {options.seeds} seeds:\n{table.round(1)}")


if __name__ == "__main__":
    main()
