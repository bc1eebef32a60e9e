"""The command `completion`: a script that lets a shell complete commands, flags and names of methods."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from typing import Any

import shtab

from kdlib.cli import (
    claims_commands,
    data_commands,
    experiment_commands,
    lesson_commands,
    result_commands,
    store_commands,
    study_commands,
)
from kdlib.cli.arguments import UsageError, option, parse, usage
from kdlib.experiments.config import PRESETS, choices
from kdlib.utils.errors import choose


@dataclasses.dataclass(frozen=True)
class CompletionOptions:
    """A script for the shell: eval "$(kdlib completion bash)", or write it to the shell's folder of completions."""

    shell: str = option("", "bash, fish, tcsh or zsh")


def options_of_commands() -> dict[str, Any]:
    """Command -> its options, as a dataclass."""
    of_a_run = (experiment_commands.RunOptions, experiment_commands.SweepOptions)
    more = (result_commands.ShowOptions, result_commands.ExportOptions)
    run, sweep, show, export = (experiment_commands.with_run_flags(found, []) for found in (*of_a_run, *more))
    return {
        "run": run, "sweep": sweep, "show": show, "export": export, "plot": result_commands.PlotOptions,
        "study": study_commands.StudyOptions, "claims": claims_commands.ClaimsOptions, "data": data_commands.DataOptions,
        "lesson": lesson_commands.LessonOptions, "figures": lesson_commands.FiguresOptions,
        "lessons": lesson_commands.LessonsOptions, "store": store_commands.StoreOptions,
    }  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """All commands with their flags and valid words, for completion alone; `parse` is what reads arguments."""
    whole = argparse.ArgumentParser(prog="kdlib")
    commands = whole.add_subparsers()
    for command, options in options_of_commands().items():
        part = commands.add_parser(command, help=(options.__doc__ or command).splitlines()[0].replace("%", "%%"))
        for f in dataclasses.fields(options):
            words = tuple(PRESETS) if f.name == "preset" else choices(f.name) if f.name != "rows" else ()
            flag = f"--{f.name.replace('_', '-')}"
            if isinstance(f.default, bool):
                part.add_argument(flag, action="store_true")
            else:
                part.add_argument(flag, choices=words or None)
    return whole


def completion(args: Sequence[str]) -> int:
    """`python -m kdlib completion`."""
    flags = parse(CompletionOptions, args, "completion", positional=["shell"])
    if not flags.shell:
        raise UsageError(f"completion needs a shell: {', '.join(shtab.SUPPORTED_SHELLS)}")
    with usage():
        choose("shell", flags.shell, dict.fromkeys(shtab.SUPPORTED_SHELLS))
    print(shtab.complete(parser(), shell=flags.shell))
    return 0
