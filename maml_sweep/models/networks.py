"""The networks of the MAML paper, and the plainest one: a product of examples and weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from maml_sweep.backend import tf
from maml_sweep.checks import number, one_of, positive
from maml_sweep.errors import InputError
from maml_sweep.models import lanes
from maml_sweep.models.base import Model, Parameter, Statistics, dense_parameters, glorot

ACTIVATIONS = ("relu", "tanh", "elu", "gelu", "sigmoid", "softplus", "silu")


def _activation(name: str) -> Any:
    return getattr(tf.nn, name)


class MLP(Model):
    """Dense layers (Finn et al. 2017, section 5.1: two of 40 units, ReLU).

    Args:
      input_shape: of one example; it is flattened.
      outputs: width of the output layer.
      widths: units of each hidden layer; may be empty.
      activation: a name of `ACTIVATIONS`.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        widths: Sequence[int] = (40, 40),
        activation: str = "relu",
    ) -> None:
        self.widths = tuple(positive("model.widths", width) for width in widths)
        self.activation = one_of("model.activation", activation, ACTIVATIONS)
        self.inputs = math.prod(input_shape)
        self.outputs = outputs
        self.width = (self.inputs, *self.widths)[-1]

    @property
    def body(self) -> Sequence[Parameter]:
        """weight, bias of each hidden layer."""
        return [
            parameter
            for index, (before, after) in enumerate(pairwise((self.inputs, *self.widths)))
            for parameter in dense_parameters(f"hidden{index}", before, after)
        ]

    def features(
        self, params: Sequence[Any], x: Any, statistics: Statistics | None = None
    ) -> tuple[Any, Statistics]:
        """See `Model.features`; it has no norms, hence no statistics."""
        x = tf.reshape(x, [tf.shape(x)[0], -1, self.inputs])
        for index in range(len(self.widths)):
            x = lanes.dense(x, params[2 * index], params[2 * index + 1])
            x = _activation(self.activation)(x)
        return x, ()


class Conv4(Model):
    """Four blocks of 3x3 convolution, batch norm, ReLU and halving, then a dense layer.

    Vinyals et al. 2016, section 4.1.1, as MAML uses it: `stride` for Omniglot, `max_pool` for
    miniImageNet. Batch norm uses the statistics of the batch at hand (`transductive`: a query
    set is normalised by itself, as in MAML's code) or, for queries, those of the support set.

    Args:
      input_shape: (height, width, channels).
      outputs: width of the output layer.
      filters: channels of each block.
      downsample: "max_pool" or "stride".
      norm: "transductive" or "support".

    Raises:
      InputError: examples that are no images, or a wrong setting.
    """

    BLOCKS = 4

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        filters: int = 64,
        downsample: str = "max_pool",
        norm: str = "transductive",
    ) -> None:
        if len(input_shape) != 3:
            raise InputError(
                f"model=conv4: expected images [height, width, channels], but the task's examples "
                f"have shape {list(input_shape)}; choose model=mlp"
            )
        self.filters = positive("model.filters", filters)
        self.stride = one_of("model.downsample", downsample, ("max_pool", "stride")) == "stride"
        self.support_statistics = one_of("model.norm", norm, ("transductive", "support")) == (
            "support"
        )
        self.input_shape = input_shape
        self.outputs = outputs
        self.width = self._reduced(input_shape[0]) * self._reduced(input_shape[1]) * filters

    def _reduced(self, extent: int) -> int:
        """An extent after four halvings: pooling rounds down, to no less than 1, strides up."""
        for _ in range(self.BLOCKS):
            extent = -(-extent // 2) if self.stride or extent < 2 else extent // 2
        return extent

    @property
    def body(self) -> Sequence[Parameter]:
        """kernel, scale, offset of each block."""
        parameters = []
        channels = self.input_shape[2]
        for block in range(self.BLOCKS):
            shape = (3, 3, channels, self.filters)
            deviation = glorot(9 * channels, 9 * self.filters)
            parameters.append(Parameter(f"block{block}/kernel", shape, deviation))
            scale = Parameter(f"block{block}/scale", (self.filters,), mean=1.0, role="norm")
            offset = Parameter(f"block{block}/offset", (self.filters,), role="norm")
            parameters += [scale, offset]
            channels = self.filters
        return parameters

    def features(
        self, params: Sequence[Any], x: Any, statistics: Statistics | None = None
    ) -> tuple[Any, Statistics]:
        """See `Model.features`."""
        x = lanes.fold_lanes(x)
        found = []
        for block in range(self.BLOCKS):
            kernel, scale, offset = params[3 * block : 3 * block + 3]
            x = lanes.convolution(x, kernel, 2 if self.stride else 1)
            given = [tf.reshape(v, [-1]) for v in statistics[block]] if statistics else None
            x, own = lanes.batch_norm(x, scale, offset, given, fused=not self.support_statistics)
            found.append(tuple(tf.reshape(value, [-1, self.filters]) for value in own))
            x = tf.nn.relu(x)
            window = [min(2, extent) for extent in x.shape[1:3]]  # an axis of 1 stays
            if not self.stride and window != [1, 1]:
                x = tf.nn.max_pool2d(x, window, window, "VALID")
        x = lanes.unfold_lanes(x, self.filters)
        return tf.reshape(x, [tf.shape(x)[0], tf.shape(x)[1], self.width]), found


class Linear(Model):
    """y = x w without a bias: what `task=quadratics` fits, whose parameters are w itself.

    Args:
      input_shape: of one example; it is flattened.
      outputs: width of the output layer.
      deviation: of the initial weights.
    """

    def __init__(self, input_shape: tuple[int, ...], outputs: int, deviation: float = 0.01) -> None:
        self.deviation = number("model.deviation", deviation, least=0.0)
        self.width = math.prod(input_shape)
        self.outputs = outputs

    @property
    def body(self) -> Sequence[Parameter]:
        """None: the examples are their own features."""
        return []

    @property
    def head(self) -> Sequence[Parameter]:
        """The weight."""
        return [Parameter("output/weight", (self.width, self.outputs), self.deviation)]

    def features(
        self, params: Sequence[Any], x: Any, statistics: Statistics | None = None
    ) -> tuple[Any, Statistics]:
        """See `Model.features`: `x` itself, flattened."""
        return tf.reshape(x, [tf.shape(x)[0], -1, self.width]), ()
