"""The command line: `python -m kdlib COMMAND`, or `kdlib COMMAND`.

A mistake in the arguments ends in one line on stderr and exit code 2, before anything is trained; a run or lesson that
fails ends in exit code 1, Ctrl-C in 130. Only what a command needs is imported: help is there at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from kdlib.utils.errors import choose


def _run(args: list[str]) -> int:
    from kdlib.cli.experiment_commands import run

    return run(args)


def _sweep(args: list[str]) -> int:
    from kdlib.cli.experiment_commands import sweep

    return sweep(args)


def _lesson(args: list[str]) -> int:
    from kdlib.cli.lesson_commands import lesson

    return lesson(args)


def _figures(args: list[str]) -> int:
    from kdlib.cli.lesson_commands import figures

    return figures(args)


def _lab(args: list[str]) -> int:
    from kdlib.cli.lesson_commands import lab

    return lab(args)


def _store(args: list[str]) -> int:
    from kdlib.cli.experiment_commands import store

    return store(args)


def _imagenet(args: list[str]) -> int:
    from kdlib.cli.imagenet_commands import imagenet

    return imagenet(args)


COMMANDS: dict[str, tuple[Callable[[list[str]], int], str]] = {
    "run": (_run, "one experiment: every knob is a flag; prints its row"),
    "sweep": (_sweep, "a grid of experiments: --grid fraction=0.1,0.3 seed=0,1,2"),
    "lesson": (_lesson, "run one lesson, or one for each point of a grid; write the students' copy"),
    "figures": (_figures, "run every lesson; write figures/ and the report page"),
    "lab": (_lab, "open the lessons in JupyterLab"),
    "imagenet": (
        _imagenet,
        "score, train, transfer, shrink, cost: folders that do not fit into memory, several devices",
    ),
    "store": (_store, "ls, verify or gc: what is stored, whether it is whole, remove what nothing needs"),
}


def usage() -> str:
    """The text of `python -m kdlib --help`."""
    lines = [f"  {name:<9} {text}" for name, (_, text) in COMMANDS.items()]
    head = "usage: python -m kdlib COMMAND ...\n\nKnowledge distillation on pruned data."
    return "\n".join([head, "", *lines, "", "python -m kdlib COMMAND --help explains a command."])


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help"):
        print(usage())
        return 0 if args else 2
    from kdlib.cli.arguments import Failed, UsageError

    try:
        command, _ = choose("command", args[0], COMMANDS)
    except ValueError as error:
        return _complain(str(error), 2)
    try:
        return command(args[1:])
    except UsageError as error:
        return _complain(str(error), 2)
    except Failed as error:
        return _complain(str(error), 1)
    except KeyboardInterrupt:
        return _complain("stopped; what is finished is kept, the same command goes on from there", 130)
    except BrokenPipeError:  # the reader of our output has gone, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1


def _complain(message: str, code: int) -> int:
    print(f"kdlib: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
