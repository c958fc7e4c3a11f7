"""Processes side by side: started again when they die, told to stop when we are."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.resource_tracker import ensure_running
from types import FrameType
from typing import Any

from hydra_plugins.maml_sweep_local_launcher._children import ENDED, LISTENS, STOPS, listen
from hydra_plugins.maml_sweep_local_launcher._server import Context, default_context

log = logging.getLogger(__name__)

_LOOK = 1.0  # seconds: a grandchild may hold a dead child's pipe open


class Died(Exception):
    """A process died more often than it may be started again; the message is one line."""


@dataclass
class _Child:
    """A running process, where its result comes from, and whether it minds signals to stop yet."""

    index: int
    process: BaseProcess
    results: Connection
    listens: bool = False


class Processes:
    """Runs one function on several payloads, each in a process of its own.

    Args:
      target: gets a payload, and a connection to send bytes to: `LISTENS`, then its result.
      payloads: by number.
      at_once: how many run at a time.
      restarts: how often each is started again when it dies without a result.
      context: what makes processes and pipes.
    """

    def __init__(
        self,
        target: Callable[[bytes, Connection], None],
        payloads: Mapping[int, bytes],
        at_once: int,
        restarts: int,
        context: Context | None = None,
    ) -> None:
        self.stopped = False  # whether a signal to stop came
        self._stop = STOPS[0]  # what to send on then
        self._target = target
        self._payloads = payloads
        self._at_once = at_once
        self._restarts = restarts
        self._context = context or default_context()
        self._waiting = list(payloads)
        self._alive: list[_Child] = []
        self._deaths = dict.fromkeys(payloads, 0)
        self._outcomes: dict[int, bytes | int | Died] = {}

    def run(self) -> dict[int, bytes | int | Died]:
        """Runs until every process has ended.

        Returns:
          By number: the bytes it sent, else the exit code that it chose, else how it died.
        """
        with self._handing_on_signals():
            try:
                while self._waiting or self._alive:
                    self._start()
                    if self._alive:
                        self._collect()
            finally:
                for child in self._alive:  # nobody waits for them any more
                    child.process.terminate()
        return self._outcomes

    def _start(self) -> None:
        """Starts what may run; the main thread's death is what the children are told of."""
        if self.stopped:
            self._outcomes |= dict.fromkeys(self._waiting, ENDED[-1])
            self._waiting.clear()
        while self._waiting and len(self._alive) < self._at_once:
            index = self._waiting.pop(0)
            receiving, sending = self._context.Pipe(duplex=False)
            process = self._context.Process(
                target=self._target, args=(self._payloads[index], sending), name=f"job-{index}"
            )
            try:
                with _held_back():  # until the child is known here
                    process.start()
                    self._alive.append(_Child(index, process, receiving))
            except (OSError, EOFError):  # what it was to be forked from has died
                self._note(index, None, ENDED[-1] if self.stopped else 1)
            sending.close()  # the child's end: when it dies, ours hears of it

    def _collect(self) -> None:
        """Waits for news of the processes, and takes leave of those that have ended."""
        ready = wait([child.results for child in self._alive], timeout=_LOOK)
        for child in list(self._alive):
            if child.results in ready or child.process.exitcode is not None:
                sent = self._received(child)
                if sent == LISTENS:
                    self._hear(child)
                    continue
                child.process.join()
                child.results.close()
                self._alive.remove(child)
                self._note(child.index, sent, child.process.exitcode or 0)

    @staticmethod
    def _received(child: _Child) -> bytes | None:
        with suppress(EOFError, ConnectionError):
            if child.results.poll():
                return child.results.recv_bytes()
        return None

    def _hear(self, child: _Child) -> None:
        """From now on it can be told to stop; it is, if that is late."""
        with _held_back():  # twice would be once too often
            child.listens = True
            if self.stopped:
                self._tell(child)

    def _note(self, index: int, sent: bytes | None, code: int) -> None:
        """Keeps a process's outcome, or lines it up again."""
        if sent is not None:
            self._outcomes[index] = sent
        elif self.stopped or code in ENDED:
            self._outcomes[index] = code
        else:
            self._deaths[index] += 1
            if self._deaths[index] > self._restarts:
                self._outcomes[index] = Died(
                    f"worker {index} died {times(self._deaths[index])}, at last by {cause(code)}"
                )
                return
            left = self._restarts - self._deaths[index]
            log.warning("worker %d died by %s and is started again, at most %d more times",
                        index, cause(code), left)  # fmt: skip
            self._waiting.insert(0, index)

    # -- signals ------------------------------------------------------------------------------

    @contextmanager
    def _handing_on_signals(self) -> Iterator[None]:
        """A signal to stop goes on to the processes, and is remembered; again, again."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before: dict[signal.Signals, Any] = {}
        for each in STOPS:
            before[each] = signal.signal(each, self._hand_on)
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def _hand_on(self, number: int, frame: FrameType | None) -> None:
        """Sends the other of the two: this one may have gone to all, and twice the same kills."""
        self.stopped = True
        (self._stop,) = {*STOPS} - {number}
        for child in self._alive:
            if child.listens:
                self._tell(child)

    def _tell(self, child: _Child) -> None:
        if child.process.is_alive():
            with suppress(ProcessLookupError):
                os.kill(child.process.pid or 0, self._stop)


@contextmanager
def _held_back() -> Iterator[None]:
    """Blocks the signals to stop; a process started meanwhile inherits that and must `listen`."""
    ensure_running()  # by itself it would lift the block
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        listen()


def times(count: int) -> str:
    """'once', 'twice', '3 times'."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def cause(code: int) -> str:
    """An exit code in words: 'SIGKILL', 'exit code 3'."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
