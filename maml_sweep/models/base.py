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

# What initial values are drawn from; all but the last have independent entries.
Law = Literal["truncated_normal", "normal", "uniform", "orthogonal"]


class Parameter(NamedTuple):
    """A meta-learnt array: its shape, and what it starts from.

    Attributes:
      name: with a slash.
      shape: without lanes.
      deviation: standard deviation of its initial value around its mean.
      mean: of its initial value: a number, or an array of its shape.
      role: see `Role`.
      knob: the runtime number of the algorithm to be added to the mean; empty: none.
      per_step: whether its first axis counts inner steps, up to the program's bound.
      share: for an average: how far it moves towards the newest value at each iteration.
      law: what its initial value is drawn from.
    """

    name: str
    shape: tuple[int, ...]
    deviation: float = 0.0
    mean: Any = 0.0  # a number or an array
    role: Role = "weight"
    knob: str = ""
    per_step: bool = False
    share: float = 0.0
    law: Law = "truncated_normal"


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
        value = tf.constant(parameter.mean, dtype)
        if parameter.deviation:
            value += parameter.deviation * _draws(parameter, streams.fold_in(keys, index), dtype)
        else:
            value = tf.broadcast_to(value, [tf.shape(keys)[0], *parameter.shape])
        if parameter.knob:
            start = (knobs or {})[parameter.knob]
            value += tf.reshape(start, [-1, *[1] * len(parameter.shape)])
        values.append(value)
    return values


def _draws(parameter: Parameter, keys: Any, dtype: Any) -> Any:
    """Entries of mean zero and deviation one: [place, *shape]."""
    size = math.prod(parameter.shape)
    if parameter.law == "uniform":
        draws = streams.uniform(keys, size, dtype, -math.sqrt(3), math.sqrt(3))
    elif parameter.law == "normal":
        draws = streams.normal(keys, size, dtype)
    elif parameter.law == "orthogonal":
        draws = _orthogonal(keys, parameter.shape, dtype)
    else:
        draws = streams.truncated_normal(keys, size, dtype)
    return tf.reshape(draws, (-1, *parameter.shape))


def _orthogonal(keys: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """Orthogonal rows or columns, whichever are fewer, all but the last axis being rows.

    The Q of a normal matrix, its signs set by R's diagonal so that every rotation is as likely
    (Mezzadri 2007, "How to generate random matrices from the classical compact groups").
    """
    rows, columns = math.prod(shape[:-1]), shape[-1]
    long, short = max(rows, columns), min(rows, columns)
    matrix = tf.reshape(streams.normal(keys, long * short, dtype), [-1, long, short])
    q, r = tf.linalg.qr(matrix)
    q *= tf.sign(tf.linalg.diag_part(r))[:, tf.newaxis]
    return math.sqrt(long) * (q if rows == long else tf.linalg.matrix_transpose(q))


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
      known: whether its parameters can be told yet; some models must read TensorFlow for that
        (see `load`), and algorithms put off till then what they check of a body and a head.
    """

    outputs: int
    width: int
    support_statistics: bool = False

    @property
    def known(self) -> bool:
        """See the class."""
        return True

    def load(self) -> None:  # noqa: B027  (most models have nothing to read)
        """Reads what a constructor may not, in the process that trains; then it is `known`.

        Raises:
          InputError: what it reads is wrong.
        """

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
