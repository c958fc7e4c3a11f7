"""Keras, imported when first used, and the two things that the adapter takes from its inside.

All else that the adapter does goes through Keras's public interface. `tests/test_keras.py` holds
these two against the installed version.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from maml_sweep.backend import tf
from maml_sweep.errors import InputError


class _LazyKeras:
    """Stands for the module ``keras`` and imports it, after TensorFlow, at the first read."""

    def __getattr__(self, name: str) -> Any:
        if "keras" not in sys.modules:
            _ = tf.Tensor  # the import itself, with what it writes kept quiet
        module = importlib.import_module("keras")
        backend = module.backend.backend()
        if backend != "tensorflow":
            raise InputError(
                f"model=keras: expected Keras on TensorFlow, but it runs on {backend} here; set "
                "KERAS_BACKEND=tensorflow (or backend in ~/.keras/keras.json)"
            )
        return getattr(module, name)


keras: Any = _LazyKeras()


def sublayers(layer: Any) -> list[Any]:
    """A layer and all layers inside it; Keras has no public way to those of a custom layer."""
    layers: list[Any] = layer._flatten_layers()
    return layers


def has_mask(tensor: Any) -> bool:
    """Whether Keras hands a mask along with a symbolic tensor (padding, `mask_zero=True`)."""
    return getattr(tensor, "_keras_mask", None) is not None
