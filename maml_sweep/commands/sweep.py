"""maml-sweep sweep: what `python sweep.py` does in a checkout, from anywhere."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "sweep, or train one trial: what `python sweep.py` does, from anywhere"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds nothing: every argument behind `sweep` is read by Hydra."""


def run(arguments: argparse.Namespace) -> int:
    """Runs the application on `arguments.given`; it looks here for a user's own classes, too.

    Raises:
      SystemExit: as `maml_sweep.application.main`.
    """
    from maml_sweep import ahead, typed

    ahead.load(arguments.given)
    from maml_sweep.application import main

    main(arguments.given, typed.INSTALLED, Path.cwd())
    return 0
