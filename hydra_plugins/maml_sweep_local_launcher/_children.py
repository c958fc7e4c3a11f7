"""What a process does before anything else, so that nobody waits for it in vain."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from multiprocessing.connection import Connection

ENDED = (0, 2, 130)  # exit codes that a process chose: done, wrong input, interrupted
STOPS = (signal.SIGINT, signal.SIGTERM)
LISTENS = b""  # what a process sends first: from now on it minds the signals to stop
_PR_SET_PDEATHSIG = 1  # prctl(2)


def begin(results: Connection) -> None:
    """All of the following, and tells so.

    Args:
      results: where the launching process hears of it.
    """
    end_quietly_on_signals()
    end_with_parent()
    results.send_bytes(LISTENS)


def end_quietly_on_signals() -> None:
    """Until a worker listens to signals it holds nothing that would have to be handed back."""
    for each in STOPS:
        signal.signal(each, lambda *_: os._exit(ENDED[-1]))
    listen()


def end_with_parent() -> None:
    """Has the kernel send SIGTERM when the parent process dies (Linux; nothing elsewhere).

    The parent is the launching process, or the one that this was forked from, which ends with it.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    launching = multiprocessing.parent_process()
    if launching is not None and not launching.is_alive():  # it died before we asked
        os._exit(ENDED[-1])


def listen() -> None:
    """Lets the signals to stop come, those that came meanwhile as well."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
