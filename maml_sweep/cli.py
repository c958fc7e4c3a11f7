"""`maml-sweep`: what a study says, for the shell. Also `python -m maml_sweep`.

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
    "list": "list_",
    "best": "best",
    "status": "status",
    "export": "export",
    "report": "report",
    "compare": "compare",
    "train": "train",
    "dashboard": "dashboard",
}
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
    arguments = parser(typed[:1]).parse_args(typed)
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


def parser(typed: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The parser of one command, or of all of them where none was typed.

    Args:
      typed: the first argument, if there is one.
    """
    outer = argparse.ArgumentParser(
        prog="maml-sweep",
        description="What the studies of sweep.py say.",
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
