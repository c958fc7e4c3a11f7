"""A worker's heartbeat: its lease, renewed by a thread while the worker is busy elsewhere."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType

log = logging.getLogger(__name__)

PATIENCE = (
    1800.0  # seconds without a sign of life: XLA may compile for minutes, not for half an hour
)


class Heartbeat:
    """Calls `renew` every so often, from when the block begins until it ends.

    A worker cannot do it by itself: a program's first call may compile for longer than a lease
    lasts. But a worker that hangs is to lose its trials, so the heart stops where the worker has
    shown no life for `patience`.

    Args:
      renew: renews the lease; whatever goes wrong in it is logged, and tried again.
      every: seconds between two renewals.
      patience: seconds without `beat` after which the worker counts as hanging.
    """

    def __init__(self, renew: Callable[[], None], every: float, patience: float = PATIENCE) -> None:
        self._renew = renew
        self._every = every
        self._patience = patience
        self._seen = time.monotonic()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def beat(self) -> None:
        """Says that the worker is alive."""
        self._seen = time.monotonic()

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._every):
            if time.monotonic() - self._seen > self._patience:
                log.error("no sign of life for %.0f s: the lease is left to lapse", self._patience)
                return
            try:
                self._renew()
            except Exception as error:  # noqa: BLE001  (a server that restarts, say)
                log.warning("the lease could not be renewed (%s)", error)
