"""How a model's parameters lie in one row of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from maml_sweep.backend import tf
from maml_sweep.models.base import Parameter


class Layout:
    """Parameters one behind another, in a model's order.

    Args:
      parameters: of the model.
    """

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self.names = [parameter.name for parameter in parameters]
        self.shapes = [parameter.shape for parameter in parameters]
        self.sizes = [int(np.prod(shape)) for shape in self.shapes]

    @property
    def size(self) -> int:
        """Numbers of one model."""
        return sum(self.sizes)

    def join(self, params: Sequence[Any]) -> Any:
        """Tensors [place, *shape] each -> [place, parameter]."""
        places = tf.shape(params[0])[0]
        flat = [
            tf.reshape(value, [places, size])
            for value, size in zip(params, self.sizes, strict=True)
        ]
        return tf.concat(flat, axis=1)

    def split(self, theta: Any) -> list[Any]:
        """The inverse of `join`."""
        pieces = tf.split(theta, self.sizes, axis=1)
        return [
            tf.reshape(piece, [-1, *shape])
            for piece, shape in zip(pieces, self.shapes, strict=True)
        ]

    def named(self, theta: np.ndarray) -> dict[str, np.ndarray]:
        """One model's [parameter] as arrays by name, each of its own shape."""
        pieces = np.split(theta, np.cumsum(self.sizes)[:-1])
        shaped = (piece.reshape(shape) for piece, shape in zip(pieces, self.shapes, strict=True))
        return dict(zip(self.names, shaped, strict=True))

    def row(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """The inverse of `named`."""
        return np.concatenate([arrays[name].ravel() for name in self.names])
