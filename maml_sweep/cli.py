"""`maml-sweep`: sweeps, and what their studies say. Also `python -m maml_sweep`.

Only the module of the command that was typed is imported, and it imports what takes time when it
runs: `list` and `best` answer within a second or two, without TensorFlow and pandas.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import maml_sweep
from maml_sweep.errors import InputError

ROOM = "maml_sweep.commands"
# command -> its module there
COMMANDS = {
    "sweep": "sweep",
    "list": "list_",
    "best": "best",
    "status": "status",
    "export": "export",
    "report": "report",
    "compare": "compare",
    "train": "train",
    "dashboard": "dashboard",
    "doctor": "doctor",
}
HYDRAS = "sweep"  # the command whose arguments Hydra reads
QUERY = ["-sc", "query=bash"]  # what `maml-sweep sweep -sc install=bash` has the shell ask
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
      argv: what was typed behind `maml-sweep`; None: the process's.

    Returns:
      The exit code: 0 done, 2 wrong input (one line on stderr), 130 interrupted.

    Raises:
      SystemExit: from argparse: 0 for --help and --version, 2 for an unknown command or option.
    """
    typed = list(sys.argv[1:] if argv is None else argv)
    arguments = _read(typed)
    try:
        code = int(arguments.run(arguments))
        sys.stdout.flush()
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing left to flush
        return 0
    return code


def _read(typed: list[str]) -> argparse.Namespace:
    """What was typed, with the function to `run` on it."""
    if typed[:1] == [HYDRAS]:
        return argparse.Namespace(run=_command(HYDRAS).run, given=typed[1:])
    if typed == QUERY:
        return argparse.Namespace(run=_complete, given=typed)
    return parser(typed[:1]).parse_args(typed)


def _complete(arguments: argparse.Namespace) -> int:
    """Answers Hydra's completion, which takes `maml-sweep` alone for the application."""
    program, *words = os.environ.get("COMP_LINE", "maml-sweep").split(maxsplit=2)
    if words[:1] != [HYDRAS]:
        print(*COMMANDS)
        return 0
    os.environ["COMP_LINE"] = " ".join([program, *words[1:]])
    return int(_command(HYDRAS).run(arguments))


def parser(typed: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The parser of one command, or of all of them where none was typed.

    Args:
      typed: the first argument, if there is one.
    """
    outer = argparse.ArgumentParser(
        prog="maml-sweep",
        description="Sweeps, and what their studies say.",
        epilog="`maml-sweep COMMAND --help` tells more about one of them.",
    )
    outer.add_argument("--version", action="version", version=maml_sweep.__version__)
    inner = outer.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in [name for name in COMMANDS if name in typed] or COMMANDS:
        command = _command(name)
        each = inner.add_parser(name, help=command.HELP, description=_sentence(command.HELP))
        command.configure(each)
        each.set_defaults(run=command.run)
    return outer


def _command(name: str) -> Any:
    return import_module(f"{ROOM}.{COMMANDS[name]}")


def _sentence(line: str) -> str:
    return f"{line[:1].upper()}{line[1:]}."
