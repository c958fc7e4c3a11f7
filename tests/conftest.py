"""What all tests share: quiet native logs, TensorFlow run operation by operation on request.

And which tests run: those of real engines only by `python -m pytest -m engines`, in one process,
as they share the engines that the session starts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["MAML_SWEEP_COMMAND"] = "python sweep.py"  # what lines to paste begin with
_ENGINES = Path(__file__).parent / "engines"
_LEFT_OUT = (
    "tests/engines left out (PostgreSQL, Slurm, Ray); run them by: python -m pytest -m engines"
)


def _wanted(config: pytest.Config) -> bool:
    return "engines" in config.option.markexpr


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """One process for the tests of engines; for the others what xdist makes of the machine."""
    return 0 if _wanted(config) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves the tests of engines out unless they are asked for."""
    if _wanted(config):
        return
    out = [item for item in items if item.get_closest_marker("engines")]
    if out:
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in out]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Says so, where they would have been collected."""
    paths = [Path(each.partition("::")[0]).resolve() for each in config.args]
    if not _wanted(config) and any(_ENGINES.is_relative_to(path) for path in paths):
        terminalreporter.write_line(_LEFT_OUT, yellow=True)


@pytest.fixture
def eager() -> Iterator[None]:
    """Runs programs without tracing them: quicker where a program is called once."""
    from maml_sweep.backend import tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
