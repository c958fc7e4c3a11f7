"""A worker that does not stop in time after a signal is ended, its slots returned first."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import pytest

from maml_sweep.search import deadline
from maml_sweep.search.deadline import Deadline
from maml_sweep.search.interruption import Interrupted, listening

SOON = 30.0  # seconds to wait for what comes within milliseconds


class Ending:
    """Notes what happened in which order instead of ending the process."""

    def __init__(self) -> None:
        self.events: list[object] = []
        self.ended = threading.Event()

    def act(self) -> None:
        self.events.append("act")

    def end(self, code: int) -> None:
        self.events.append(code)
        self.ended.set()

    def watch(self, act: Callable[[], None] | None = None) -> Deadline:
        """A deadline of a few milliseconds."""
        return Deadline(act or self.act, grace=0.01, end=self.end)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_block_that_goes_on_is_ended(number: signal.Signals) -> None:
    ending = Ending()
    with listening(), ending.watch():
        os.kill(os.getpid(), number)
        assert ending.ended.wait(SOON)
    assert ending.events == ["act", 130]


def test_a_block_that_stops_in_time_is_left_alone() -> None:
    ending = Ending()
    with listening() as interruption, Deadline(ending.act, grace=SOON, end=ending.end):
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted):
            interruption.check()
    assert ending.events == []
    assert not [each for each in threading.enumerate() if each.name == "deadline"]


def test_other_signals_are_none_of_its_business() -> None:
    ending = Ending()
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        with ending.watch():
            os.kill(os.getpid(), signal.SIGUSR1)
            assert not ending.ended.wait(0.1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert ending.events == []


def test_a_last_act_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "LAST", 0.01)
    ending, hanging = Ending(), threading.Event()

    def hang() -> None:
        hanging.wait(SOON)

    with listening(), ending.watch(hang):
        os.kill(os.getpid(), signal.SIGTERM)
        assert ending.ended.wait(SOON)
    hanging.set()
    assert ending.events == [130]


def test_the_file_descriptor_is_given_back() -> None:
    before = signal.set_wakeup_fd(-1)
    with Deadline(lambda: None):
        pass
    assert signal.set_wakeup_fd(before) == -1
