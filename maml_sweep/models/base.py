"""What a model is: shapes, initial values and a function of lane-wise parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

from maml_sweep import streams
from maml_sweep.backend import tf


class Parameter(NamedTuple):
    """A parameter's shape and the standard deviation of its initial value around `mean`."""

    name: str
    shape: tuple[int, ...]
    deviation: float = 0.0
    mean: float = 0.0


# The batch statistics of each norm in order: (mean, variance), float [lane, channels].
Statistics = Sequence[tuple[Any, Any]]


class Model(ABC):
    """A network as pure functions, one copy of its parameters a lane.

    A constructor takes `input_shape` and `outputs` from the task, checks its own settings
    (`InputError`) and reads no TensorFlow.
    """

    @property
    @abstractmethod
    def parameters(self) -> Sequence[Parameter]:
        """The parameters, in the order `apply` takes them."""

    @abstractmethod
    def apply(
        self, params: Sequence[Any], x: Any, statistics: Statistics | None = None
    ) -> tuple[Any, Statistics]:
        """Runs every lane's examples through that lane's parameters.

        Args:
          params: each [lane, *shape].
          x: [lane, example, *input_shape].
          statistics: what the norms normalise with; None: those of `x` itself.

        Returns:
          outputs [lane, example, outputs], and the statistics of `x` in every norm.
        """

    #: Whether a query set is normalised with its support set's statistics (else with its own).
    support_statistics: bool = False

    def init(self, keys: Any, dtype: Any) -> list[Any]:
        """Draws initial parameters: uint32 [place, 2] -> a [place, *shape] each."""
        values = []
        for index, parameter in enumerate(self.parameters):
            size = 1
            for extent in parameter.shape:
                size *= extent
            draws = streams.truncated_normal(streams.fold_in(keys, index), size, dtype)
            draws = tf.reshape(draws, (-1, *parameter.shape))
            values.append(parameter.mean + parameter.deviation * draws)
        return values
