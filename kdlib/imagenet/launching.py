"""Several processes of `python -m kdlib imagenet` on this machine, started by `torchrun` from a program or a lesson."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields

import psutil

from kdlib.imagenet.config import Settings

FAILED_LINES = 5  # last lines that an error shows


def flags(settings: Settings) -> list[str]:
    """The command line's flags of the settings that are not at their default: ["--student=resnet18", ...]."""
    given: list[str] = []
    for f in fields(settings):
        value, flag = getattr(settings, f.name), f"--{f.name.replace('_', '-')}"
        if isinstance(value, tuple) and value != f.default:
            given += [flag, *map(str, value)]
        elif value != f.default:
            given.append(f"{flag}={value}")
    return given


def torchrun(
    arguments: Sequence[str],
    processes: int = 2,
    *,
    until: str = "",
    progress: Callable[[str], object] | None = None,
) -> list[str]:
    """Run `python -m kdlib imagenet ARGUMENTS` in so many processes; returns the lines that they print, errors included.

    `until`: all processes are killed (SIGKILL) as soon as a line contains this text. `progress` gets each line as it
    comes. RuntimeError with the last lines if the command fails.
    """
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [*start, "-m", "kdlib", "imagenet", *arguments]
    lines: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            for line in process.stdout or ():
                lines.append(line.rstrip("\n"))
                if progress is not None:
                    progress(lines[-1])
                if until and until in line:
                    return lines
            process.wait()
        finally:
            _kill(process)
    if process.returncode:
        raise RuntimeError("\n".join([f"imagenet ended with exit code {process.returncode}:", *lines[-FAILED_LINES:]]))
    return lines


def _kill(process: subprocess.Popen) -> None:
    """Kill the process and all that it has started; nothing happens if it has ended."""
    if process.poll() is not None:
        return
    try:
        family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    except psutil.NoSuchProcess:
        return
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
