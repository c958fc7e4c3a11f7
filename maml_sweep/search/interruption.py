"""Ctrl-C and SIGTERM: one asks the worker to stop where it is whole, the same again kills it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Interrupted(Exception):
    """The worker was asked to stop; raised between two calls of a program."""


class Interruption:
    """Whether a signal to stop has come."""

    def __init__(self) -> None:
        self.asked = False

    def check(self) -> None:
        """Raises `Interrupted` if a signal has come."""
        if self.asked:
            raise Interrupted

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        # The same once more ends the process at once. The other is no second wish: a terminal or a
        # scheduler sends a signal to every process, and the local launcher hands on the other.
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def listening() -> Iterator[Interruption]:
    """Takes SIGINT and SIGTERM while the block runs (in a main thread; elsewhere nothing comes)."""
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    before: dict[signal.Signals, Any] = {}
    for each in (signal.SIGINT, signal.SIGTERM):
        before[each] = signal.signal(each, interruption._ask)
    try:
        yield interruption
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
