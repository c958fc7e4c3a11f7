"""The Hydra application: trains one trial, or sweeps, which is what it does unless told otherwise.

`python sweep.py` in a checkout and `maml-sweep sweep` anywhere are two doors to it.
"""

from __future__ import annotations

import atexit
import gc
import re
import shlex
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra._internal.utils import get_args_parser
from omegaconf import DictConfig

import maml_sweep.config  # noqa: F401  (registers the schema)
from maml_sweep import typed
from maml_sweep.errors import InputError
from maml_sweep.search import launchers

_RUN = re.compile(r"\+{0,2}hydra\.mode=(['\"]?)RUN\1")
_PLACES = ("config_path", "config_name", "config_dir")  # Hydra's flags that a resume needs again


# A package and no folder: a worker on another machine finds its own.
@hydra.main(version_base="1.3", config_path="pkg://maml_sweep.conf", config_name="config")
def train(cfg: DictConfig) -> float:
    """Trains the trial that `cfg` describes and returns its objective."""
    from maml_sweep.single import run  # TensorFlow waits until a trial is wanted

    try:
        return run(cfg)
    except InputError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None  # an Exception would end in Hydra's traceback


def main(arguments: Sequence[str], command: str, home: Path) -> None:
    """Runs the application.

    Args:
      arguments: the command line's, without the program's name.
      command: what was typed before them, quoted for a shell.
      home: the folder in which a user's own classes are looked for.

    Raises:
      SystemExit: any code but 0, and 0 after answers such as --help.
    """
    refused = launchers.missing(arguments)  # Hydra would name a file that it could not find
    if refused:
        print(refused, file=sys.stderr)
        raise SystemExit(2)
    asked = get_args_parser().parse_known_args(arguments)[0]
    typed.note(" ".join([command, *_places(asked)]))
    typed.find_classes(home)
    sys.argv[1:] = with_multirun(arguments)
    atexit.register(gc.freeze)  # the process ends sooner if it looks for no garbage
    train()


def _places(asked: Namespace) -> list[str]:
    """The flags that say where the configuration lies, as they were given."""
    given = {name.replace("_", "-"): getattr(asked, name) for name in _PLACES}
    return [shlex.join([f"--{name}", value]) for name, value in given.items() if value]


def with_multirun(arguments: Sequence[str]) -> list[str]:
    """Adds --multirun unless the arguments (program name left out) ask for something else.

    `hydra.mode: MULTIRUN` in the configuration would do too, but Hydra falls back to RUN when a
    typo stands beside a comma sweep, and then reports the sweep instead of the typo.
    """
    args = get_args_parser().parse_known_args(arguments)[0]
    asked = [args.run, args.multirun, args.cfg, args.help, args.hydra_help]
    asked += [args.info, args.shell_completion, args.experimental_rerun]
    if any(asked) or any(map(_RUN.fullmatch, arguments)):
        return list(arguments)
    return ["--multirun", *arguments]
