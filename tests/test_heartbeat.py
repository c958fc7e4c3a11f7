"""A lease is renewed while its worker is busy, and left to lapse once it hangs."""

from __future__ import annotations

import logging
import threading

import pytest

from maml_sweep.search.heartbeat import Heartbeat

SOON = 30.0  # seconds to wait for what comes within milliseconds


class Renewals:
    """Counts renewals; the first so many fail."""

    def __init__(self, wanted: int, failures: int = 0) -> None:
        self.count = 0
        self.reached = threading.Event()
        self._wanted = wanted
        self._failures = failures

    def __call__(self) -> None:
        self.count += 1
        if self.count <= self._failures:
            raise OSError("the server restarts")
        if self.count >= self._wanted:
            self.reached.set()


def test_it_beats_while_the_worker_is_elsewhere() -> None:
    renew = Renewals(wanted=3)
    with Heartbeat(renew, every=0.001):
        assert renew.reached.wait(SOON)
    count = renew.count
    assert not [each for each in threading.enumerate() if each.name == "heartbeat"]
    assert renew.count == count


def test_a_renewal_that_fails_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    renew = Renewals(wanted=4, failures=2)
    with Heartbeat(renew, every=0.001):
        assert renew.reached.wait(SOON)
    assert [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING] == [
        "the lease could not be renewed (the server restarts)"
    ] * 2


def test_a_worker_that_hangs_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    renew = Renewals(wanted=1)
    with Heartbeat(renew, every=0.001, patience=-1.0) as heart:
        heart._thread.join(SOON)
        assert not heart._thread.is_alive()
    assert renew.count == 0
    assert "no sign of life" in caplog.text
