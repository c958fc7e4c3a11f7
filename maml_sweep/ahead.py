"""Loads what workers need before anybody knows what they are to do.

TensorFlow takes as long to load as Hydra takes to read the configuration and we to plan a sweep, so
it is loaded meanwhile, by the process that workers are then forked from. This module imports
nothing that takes time: it comes before all else.
"""

from __future__ import annotations

from collections.abc import Sequence

from hydra_plugins.maml_sweep_local_launcher._server import FORKS, load_ahead
from maml_sweep.search.launchers import LOCAL, named

LOADED = "maml_sweep.search.loaded"


def load(arguments: Sequence[str]) -> None:
    """Begins to, if a command line looks like a sweep whose workers are forked here.

    Where that turns out to be wrong it has only kept another core busy; it ends with this process.

    Args:
      arguments: the command line's, without the program's name.
    """
    ours = named(arguments) in {None, LOCAL}
    if FORKS and ours and not any(map(_asks_for_something_else, arguments)):
        load_ahead(LOADED)


def _asks_for_something_else(argument: str) -> bool:
    """Whether it is a flag, or may be for a single trial."""
    if argument.startswith("-"):
        return argument not in {"-m", "--multirun"}
    return argument.lstrip("+").partition("=")[0] == "hydra.mode"
