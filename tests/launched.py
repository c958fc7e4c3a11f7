"""What processes of the local launcher run in its tests: small, and quick to import."""

from __future__ import annotations

import os
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any


def die_once_then_answer(config: Any) -> str:
    """Job 0 kills its process the first time it runs."""
    from hydra.core.hydra_config import HydraConfig

    number = HydraConfig.get().job.num
    died = Path(config.study.name)
    if number == 0 and not died.exists():
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return f"answer {number} of {os.getpid()}"


def tell_what_is_late(config: Any) -> str:
    """A variable of the environment."""
    return os.environ.get("MAML_SWEEP_LATE", "nothing")


def wait_for_a_signal(payload: bytes, results: Connection) -> None:
    """Leaves a file `ready`, and `told` once SIGTERM came."""
    from hydra_plugins.maml_sweep_local_launcher._children import begin

    folder = Path(payload.decode())

    def tell(number: int, frame: Any) -> None:
        (folder / "told").touch()
        os._exit(0)

    begin(results)
    signal.signal(signal.SIGTERM, tell)
    (folder / "ready").touch()
    time.sleep(60)


def parent(folder: str) -> None:
    """Launches `wait_for_a_signal`."""
    from hydra_plugins.maml_sweep_local_launcher._processes import Processes

    Processes(wait_for_a_signal, {0: folder.encode()}, at_once=1, restarts=0).run()
