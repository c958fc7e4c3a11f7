"""How the parameters that the outer loop learns lie in one row of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from maml_sweep.backend import tf
from maml_sweep.models.base import Parameter


class Layout:
    """Parameters one behind another, in the order given.

    Args:
      parameters: what the outer loop learns.

    Attributes:
      decayed: where AdamW's decay applies: float64 [parameter] of 0 and 1; None: everywhere.
      shares: of running averages, 0 elsewhere: float64 [parameter]; None: there are none.
    """

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self.parameters = tuple(parameters)
        self.names = [parameter.name for parameter in parameters]
        self.shapes = [parameter.shape for parameter in parameters]
        self.sizes = [int(np.prod(shape)) for shape in self.shapes]
        kept = [float(parameter.role in ("weight", "norm")) for parameter in parameters]
        self.decayed = None if all(kept) else np.repeat(kept, self.sizes)
        shares = [parameter.share for parameter in parameters]
        self.shares = np.repeat(shares, self.sizes) if any(shares) else None

    @property
    def size(self) -> int:
        """Numbers of one trial."""
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

    def named(self, theta: np.ndarray, steps: int | None = None) -> dict[str, np.ndarray]:
        """One trial's [parameter] as arrays by name, each of its own shape.

        Args:
          theta: float [parameter].
          steps: inner steps of the trial: what is kept of parameters that have a set for each
            step of the longest; None: all.
        """
        pieces = np.split(theta, np.cumsum(self.sizes)[:-1])
        return {
            parameter.name: piece.reshape(parameter.shape)[: steps if parameter.per_step else None]
            for parameter, piece in zip(self.parameters, pieces, strict=True)
        }

    def row(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """The inverse of `named`."""
        return np.concatenate([arrays[name].ravel() for name in self.names])
