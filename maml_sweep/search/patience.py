"""Patience with a database server: what broke with the connection is tried again for a while.

A server that restarts drops every connection, refuses new ones and says that it is starting up.
Whatever was under way is then done again from its beginning, after growing pauses. What the server
says to a statement that arrived (a wrong one, a full disk, no such row) is no matter of patience.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

from maml_sweep.errors import StorageLost

log = logging.getLogger(__name__)

SECONDS = 120.0  # from the first failure on
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds; each is twice the one before
# SQLSTATE: too many connections, serialisation failure, deadlock; classes 08 and 57P are the
# connection's and the operator's (PostgreSQL documentation, appendix A)
_PASSING = ("08", "57P", "53300", "40001", "40P01")

T = TypeVar("T")


def is_lost(error: BaseException) -> bool:
    """Whether an error is the connection's, or passes by itself; not SQLite's, which has none."""
    from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

    while error.__cause__ is not None and not isinstance(error, DBAPIError):
        error = error.__cause__  # Optuna wraps them
    if not isinstance(error, DBAPIError) or type(error.orig).__module__ == "sqlite3":
        return False
    state = getattr(error.orig, "sqlstate", None) or ""
    unsent = error.statement is None and isinstance(error, OperationalError | InterfaceError)
    return error.connection_invalidated or unsent or state.startswith(_PASSING)


class Patience:
    """Repeats calls whose connection was lost.

    Args:
      server: names the storage in messages, without a password.
      seconds: how long to go on from the first failure.
      clock, sleep: those of `time`, or a test's.
    """

    def __init__(
        self,
        server: str,
        seconds: float = SECONDS,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._server = server
        self._seconds = seconds
        self._clock = clock
        self._sleep = sleep

    def __call__(self, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """What `call` returns, at the first attempt that is not cut off.

        Raises:
          StorageLost: the storage did not come back in time.
        """
        try:
            return call(*args, **kwargs)
        except Exception as error:
            if not is_lost(error):
                raise
            began = self._clock()
            log.warning("study.storage: lost %s (%s); trying again", self._server, reason(error))
        return self._again(began, call, args, kwargs)

    def _again(self, began: float, call: Callable[..., T], args: Any, kwargs: Any) -> T:
        pause = FIRST_PAUSE
        while True:
            self._sleep(pause)
            pause = min(2.0 * pause, LONGEST_PAUSE)
            try:
                result = call(*args, **kwargs)
            except Exception as error:
                if not is_lost(error):
                    self._say_back(began)
                    raise
                if self._clock() - began > self._seconds:
                    raise StorageLost(
                        f"study.storage: {self._server} did not come back within "
                        f"{self._seconds:.0f} s ({reason(error)}); the study is kept: run the "
                        "same command again once it is reachable"
                    ) from None
            else:
                self._say_back(began)
                return result

    def _say_back(self, began: float) -> None:
        log.warning("study.storage: %s is back after %.1f s", self._server, self._clock() - began)


def reason(error: BaseException) -> str:
    """The first line of what the driver itself said."""
    while error.__cause__ is not None and getattr(error, "orig", None) is None:
        error = error.__cause__
    said = str(getattr(error, "orig", None) or error).strip()
    return said.splitlines()[0] if said else type(error).__name__
