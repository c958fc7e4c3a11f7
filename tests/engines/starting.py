"""An engine for the tests of a session, or the reason why there is none.

On a machine that lacks one its tests are skipped with the reason, unless the environment variable
MAML_SWEEP_ENGINES is "required".
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

import pytest
from engines.processes import Missing

Engine = TypeVar("Engine", bound=AbstractContextManager[Any])


@contextmanager
def started(make: Callable[[], Engine]) -> Iterator[Engine]:
    """An engine that runs; skips or fails where it cannot be had."""
    try:
        engine = make()
    except Missing as missing:
        reason = f"engines: {missing}"
        if os.environ.get("MAML_SWEEP_ENGINES") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    with engine:
        yield engine
