"""How processes start: forked from one that has loaded what they need, once for all of them.

It is a child of ours and no copy, so nothing of ours is in it, locks that threads hold among it.
Where there is no such thing (beyond Linux) each process loads everything itself.
"""

from __future__ import annotations

import multiprocessing
import sys
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, SpawnContext

Context = ForkServerContext | SpawnContext

FORKS = sys.platform.startswith("linux")
_loaded = ["hydra_plugins.maml_sweep_local_launcher._settled"]


def load_ahead(*modules: str) -> None:
    """Starts the process that others are forked from, unless it runs, and does not wait for it.

    Args:
      modules: what it is to import, too. That must start no threads and use no GPU.
    """
    _loaded.extend(each for each in modules if each not in _loaded)
    if FORKS:
        forkserver.set_forkserver_preload(_loaded)
        forkserver.ensure_running()


def default_context() -> Context:
    """What makes processes and pipes."""
    load_ahead()
    if FORKS:
        return multiprocessing.get_context("forkserver")
    return multiprocessing.get_context("spawn")
