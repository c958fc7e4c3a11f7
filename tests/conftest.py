"""What all tests share: quiet native logs, and TensorFlow run operation by operation on request."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture
def eager() -> Iterator[None]:
    """Runs programs without tracing them: quicker where a program is called once."""
    from maml_sweep.backend import tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
