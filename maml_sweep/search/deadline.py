"""The end of a worker that does not stop in time after a signal."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from types import TracebackType

GRACE = 6.0  # seconds to stop in; Slurm and most others kill after 30, some after 10
LAST = 3.0  # seconds for the last act
INTERRUPTED = 130


class Deadline:
    """Ends the process with exit code 130 if a signal came and the block goes on and on.

    Python runs its signal handlers between two of its own instructions: not while a program
    compiles or computes, which may take minutes. The system tells a file descriptor at once
    (signal.set_wakeup_fd), and a thread reads it.

    Args:
      last_act: what must be done before the end, from that thread; no more than `LAST` seconds.
      grace: seconds that the block has to end by itself.
      end: ends the process.
    """

    def __init__(
        self,
        last_act: Callable[[], None],
        grace: float = GRACE,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        self._last_act = last_act
        self._grace = grace
        self._end = end
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="deadline", daemon=True)
        self._before: int | None = None

    def __enter__(self) -> Deadline:
        if threading.current_thread() is threading.main_thread():  # elsewhere no signal comes
            self._bell, self._ear = socket.socketpair()
            self._bell.setblocking(False)
            self._before = signal.set_wakeup_fd(self._bell.fileno(), warn_on_full_buffer=False)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._before is None:
            return
        self._over.set()
        signal.set_wakeup_fd(self._before)
        self._bell.close()  # ends the thread's reading
        self._thread.join()
        self._ear.close()

    def _watch(self) -> None:
        while heard := self._ear.recv(64):
            if {signal.SIGINT, signal.SIGTERM}.isdisjoint(heard):
                continue
            if not self._over.wait(self._grace):
                self._finish()
            return

    def _finish(self) -> None:
        act = threading.Thread(target=self._last_act, daemon=True)
        act.start()
        act.join(LAST)
        self._end(INTERRUPTED)
