"""TensorFlow, imported when first used, and the threads it runs on.

Every module writes ``from maml_sweep.backend import tf``. The import then costs nothing until an
attribute of ``tf`` is read, so that ``--help``, the sweeper and the analysis start at once, and a
worker can choose its device and threads before TensorFlow looks at the machine.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _LazyTensorFlow:
    """Stands for the module ``tensorflow`` and imports it at the first attribute read."""

    def __getattr__(self, name: str) -> Any:
        if "tensorflow" not in sys.modules:
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
            with _quiet_stderr(), _without_keras(), _without_collection():
                importlib.import_module("tensorflow")
            # It warns of retracing when several programs are built, which is what we do.
            sys.modules["tensorflow"].get_logger().setLevel("ERROR")
            atexit.register(gc.freeze)  # a process ends 0.8 s sooner if it looks for no garbage
        return getattr(sys.modules["tensorflow"], name)


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Drops what native code writes while TensorFlow loads; its log level is not yet obeyed."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def _without_collection() -> Iterator[None]:
    """Has Python look for no garbage meanwhile, nor ever in what is there then.

    Loading makes hundreds of thousands of objects, nearly all of which stay: a quarter of its time
    would go into looking through them again and again.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


@contextmanager
def _without_keras() -> Iterator[None]:
    """Has TensorFlow load without Keras, which takes as long again.

    It loads Keras's optimizers for the formats that it saves models in, and goes on where there are
    none. `tf.keras` and `import keras` load Keras when they are wanted.
    """
    wanted = "keras.src.optimizers"
    if wanted in sys.modules:
        yield
        return
    sys.modules[wanted] = None  # type: ignore[assignment]  # whoever imports it is told: not there
    try:
        yield
    finally:
        del sys.modules[wanted]


tf: Any = _LazyTensorFlow()
