"""Data that sits on the device once, however many programs draw from it."""

from __future__ import annotations

from typing import Any

from maml_sweep.backend import tf


def resident(arrays: Any) -> Any:
    """A nest of arrays as tensors, made outside the graph being traced.

    The graph then refers to them instead of holding a copy. Call it from a function that is cached
    by what the arrays come from (`functools.cache`), so that all programs share them.
    """
    with tf.init_scope():
        return tf.nest.map_structure(tf.constant, arrays)
