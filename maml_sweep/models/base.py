"""What a model is: a body that makes features, and a head that reads them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from maml_sweep import streams
from maml_sweep.backend import tf
from maml_sweep.models import lanes

# weight: adapted by inner loops, decayed by AdamW; norm: the same, a norm's scale or offset;
# rate: a learnt number of the inner loop, never decayed; average: a running mean, which moves by
# a share of its own instead of by the meta-optimizer.
Role = Literal["weight", "norm", "rate", "average"]


class Parameter(NamedTuple):
    """A meta-learnt array: its shape, and what it starts from.

    Attributes:
      name: with a slash.
      shape: without lanes.
      deviation: standard deviation of its initial value around its mean.
      mean: of its initial value.
      role: see `Role`.
      knob: the runtime number of the algorithm to be added to the mean; empty: none.
      per_step: whether its first axis counts inner steps, up to the program's bound.
      share: for an average: how far it moves towards the newest value at each iteration.
    """

    name: str
    shape: tuple[int, ...]
    deviation: float = 0.0
    mean: float = 0.0
    role: Role = "weight"
    knob: str = ""
    per_step: bool = False
    share: float = 0.0


# The batch statistics of each norm in order: (mean, variance), float [lane, channels].
Statistics = Sequence[tuple[Any, Any]]


def draw(
    parameters: Sequence[Parameter], keys: Any, dtype: Any, knobs: Mapping[str, Any] | None = None
) -> list[Any]:
    """Draws initial values.

    Args:
      parameters: what to draw, each from a stream of its own.
      keys: uint32 [place, 2].
      dtype: the float type.
      knobs: float [place] by name, for parameters that start from one.

    Returns:
      a [place, *shape] each.
    """
    values = []
    for index, parameter in enumerate(parameters):
        size = math.prod(parameter.shape)
        draws = streams.truncated_normal(streams.fold_in(keys, index), size, dtype)
        value = parameter.mean + parameter.deviation * tf.reshape(draws, (-1, *parameter.shape))
        if parameter.knob:
            start = (knobs or {})[parameter.knob]
            value += tf.reshape(start, [-1, *[1] * len(parameter.shape)])
        values.append(value)
    return values


def dense_parameters(name: str, inputs: int, outputs: int) -> list[Parameter]:
    """A dense layer's weight and its zero bias."""
    weight = Parameter(f"{name}/weight", (inputs, outputs), glorot(inputs, outputs))
    return [weight, Parameter(f"{name}/bias", (outputs,))]


def glorot(fan_in: int, fan_out: int) -> float:
    """Glorot & Bengio 2010, equation 12: the deviation of a layer's first weights."""
    return math.sqrt(2 / (fan_in + fan_out))


class Model(ABC):
    """A network as pure functions, one copy of its parameters a lane.

    A constructor takes `input_shape` and `outputs` from the task, checks its own settings
    (`InputError`) and reads no TensorFlow.

    Attributes:
      outputs: width of the head's output.
      width: of the features that the body makes.
      support_statistics: whether a query set is normalised with its support set's statistics
        (else with its own).
    """

    outputs: int
    width: int
    support_statistics: bool = False

    @property
    @abstractmethod
    def body(self) -> Sequence[Parameter]:
        """The parameters of all layers but the last, in the order `features` takes them."""

    @property
    def head(self) -> Sequence[Parameter]:
        """The parameters of the last layer: a weight [width, outputs], and a bias or none."""
        return dense_parameters("output", self.width, self.outputs)

    @property
    def parameters(self) -> Sequence[Parameter]:
        """All of them, in the order `apply` takes them: the body's, then the head's."""
        return [*self.body, *self.head]

    @abstractmethod
    def features(
        self, params: Sequence[Any], x: Any, statistics: Statistics | None = None
    ) -> tuple[Any, Statistics]:
        """Runs every lane's examples through that lane's body.

        Args:
          params: of the body, each [lane, *shape].
          x: [lane, example, *input_shape].
          statistics: what the norms normalise with; None: those of `x` itself.

        Returns:
          features [lane, example, width], and the statistics of `x` in every norm.
        """

    def apply(
        self, params: Sequence[Any], x: Any, statistics: Statistics | None = None
    ) -> tuple[Any, Statistics]:
        """The whole network: body and head.

        Args:
          params: each [lane, *shape].
          x: [lane, example, *input_shape].
          statistics: as in `features`.

        Returns:
          outputs [lane, example, outputs], and the statistics of `x` in every norm.
        """
        depth = len(self.body)
        features, found = self.features(params[:depth], x, statistics)
        return lanes.dense(features, *params[depth:]), found

    def init(self, keys: Any, dtype: Any) -> list[Any]:
        """Draws initial parameters: uint32 [place, 2] -> a [place, *shape] each."""
        return draw(self.parameters, keys, dtype)
