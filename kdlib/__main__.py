"""The command line: `python -m kdlib COMMAND`, or `kdlib COMMAND`.

A mistake in the arguments ends in one line on stderr and exit code 2, before anything is trained; a run or lesson that
fails ends in exit code 1, Ctrl-C in 130. Only the module of the command that was given is imported, so that help is there
at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from kdlib import __version__
from kdlib.cli.errors import Failed, UsageError
from kdlib.utils import progress
from kdlib.utils.errors import choose

# command -> (module and function, what it does); a function takes the arguments and returns the exit code
COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("kdlib.cli.experiment_commands:run", "one experiment: every field is a flag; prints its row"),
    "sweep": ("kdlib.cli.experiment_commands:sweep", "a grid of experiments: --grid fraction=0.1,0.3 seed=0,1,2"),
    "plot": ("kdlib.cli.result_commands:plot", "a picture of a sweep's rows: --x fraction --hue scorer"),
    "show": ("kdlib.cli.result_commands:show", "the curves of one run: loss, accuracy and rate over its epochs"),
    "export": ("kdlib.cli.result_commands:export", "student, teacher, scores or kept: files for use elsewhere"),
    "study": ("kdlib.cli.study_commands:study", "a whole table of the papers, resumable; its rows in data/results"),
    "imagenet": (
        "kdlib.cli.imagenet_commands:imagenet",
        "score, train, transfer, shrink, cost: folders of ImageNet's size",
    ),
    "claims": ("kdlib.cli.claims_commands:claims_command", "verdicts on the papers' claims; --why D3 explains one"),
    "data": ("kdlib.cli.data_commands:data", "ls or show: which datasets there are, and what one looks like"),
    "lesson": ("kdlib.cli.lesson_commands:lesson", "run one lesson, or one for each point of a grid"),
    "lessons": ("kdlib.cli.lesson_commands:lessons_command", "copy FOLDER: the lessons, to work on without a clone"),
    "figures": ("kdlib.cli.lesson_commands:figures", "run every lesson; write figures/ and the site figures/site"),
    "lab": ("kdlib.cli.lesson_commands:lab", "open the lessons in JupyterLab; lab FOLDER: those of a copy"),
    "store": ("kdlib.cli.store_commands:store", "ls, verify or gc: what is stored, whether it is whole"),
    "completion": (
        "kdlib.cli.completion_command:completion",
        "bash, fish, zsh, tcsh: a script that completes all of these",
    ),
}


def help_text() -> str:
    """The text of `python -m kdlib --help`."""
    lines = [f"  {name:<10} {text}" for name, (_, text) in COMMANDS.items()]
    head = "usage: python -m kdlib COMMAND ...\n\nKnowledge distillation on pruned data."
    return "\n".join([head, "", *lines, "", "python -m kdlib COMMAND --help explains a command."])


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help"):
        print(help_text())
        return 0 if args else 2
    if args[0] == "--version":
        print(f"kdlib {__version__}")
        return 0
    try:
        place, _ = choose("command", args[0], COMMANDS)
    except ValueError as error:
        return _complain(str(error), 2)
    return _carry_out(place, args[1:])


def _carry_out(place: str, args: list[str]) -> int:
    module, _, function = place.partition(":")
    try:
        with progress.working("loading"):  # PyTorch, which takes its time on a cold disk
            command = getattr(import_module(module), function)
        return command(args)
    except UsageError as error:
        return _complain(str(error), 2)
    except Failed as error:
        return _complain(str(error), 1)
    except KeyboardInterrupt:
        return _complain("stopped; what is finished is kept, the same command goes on from there", 130)
    except BrokenPipeError:  # the reader of our output has gone, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except (OSError, RuntimeError) as error:  # a full disk, a download that fails: said by its author in one line
        return _complain(str(error).splitlines()[0], 1)


def _complain(message: str, code: int) -> int:
    print(f"kdlib: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
