"""The networks of the MAML paper, and the plainest one: a product of examples and weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from maml_sweep.backend import tf
from maml_sweep.checks import number, one_of, positive
from maml_sweep.models import blocks, gradients, lanes
from maml_sweep.models.base import Model, Parameter, Statistics, dense_parameters, glorot

ACTIVATIONS = ("relu", "tanh", "elu", "gelu", "sigmoid", "softplus", "silu")


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
            x = gradients.activation(self.activation)(x)
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
        blocks.image("conv4", input_shape)
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
        parameters: list[Parameter] = []
        channels = self.input_shape[2]
        for block in range(self.BLOCKS):
            deviation = glorot(9 * channels, 9 * self.filters)
            parameters += blocks.normed_parameters(
                f"block{block}", 3, channels, self.filters, deviation
            )
            channels = self.filters
        return parameters

    def features(
        self, params: Sequence[Any], x: Any, statistics: Statistics | None = None
    ) -> tuple[Any, Statistics]:
        """See `Model.features`."""
        given: Sequence[Any] = statistics or [None] * self.BLOCKS
        stride = 2 if self.stride else 1
        x, own = self._first(params[:3], x, given[0], stride)
        found = [own]
        for block in range(1, self.BLOCKS):
            x, own = blocks.normed(
                x,
                params[3 * block : 3 * block + 3],
                given[block],
                stride=stride,
                fused=not self.support_statistics,
            )
            found.append(own)
            x = gradients.relu(self._pooled(x))
        x = lanes.unfold_lanes(x, self.filters)
        return tf.reshape(x, [tf.shape(x)[0], tf.shape(x)[1], self.width]), found

    def _first(
        self, params: Sequence[Any], x: Any, given: Any, stride: int
    ) -> tuple[Any, tuple[Any, Any]]:
        """The first block: images [lane, example, ...] to folded lanes, and its statistics."""
        x, shift, own = blocks.normed_images(x, params, given, stride=stride)
        _, _, high, wide, _ = x.shape
        count, examples = tf.shape(x)[0], tf.shape(x)[1]
        x = self._pooled(tf.reshape(x, [-1, high, wide, self.filters]))
        _, high, wide, _ = x.shape
        x = tf.reshape(x, [count, examples, high, wide, self.filters])
        return gradients.relu(lanes.fold_lanes(x) + tf.reshape(shift, [-1])), own

    def _pooled(self, x: Any) -> Any:
        """Halved where strides have not; before the ReLU, which then has a quarter of the pixels.

        The ReLU of the largest is the largest ReLU.
        """
        return x if self.stride else blocks.halved(x)


class Linear(Model):
    """y = x w, or x w + b: what `task=quadratics` fits, and softmax or linear regression.

    Args:
      input_shape: of one example; it is flattened.
      outputs: width of the output layer.
      deviation: of the initial weights.
      bias: whether there is a b, which starts from zero.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        deviation: float = 0.01,
        bias: bool = False,
    ) -> None:
        self.deviation = number("model.deviation", deviation, least=0.0)
        self.bias = bias
        self.width = math.prod(input_shape)
        self.outputs = outputs

    @property
    def body(self) -> Sequence[Parameter]:
        """None: the examples are their own features."""
        return []

    @property
    def head(self) -> Sequence[Parameter]:
        """The weight, and the bias if there is one."""
        weight = Parameter("output/weight", (self.width, self.outputs), self.deviation)
        return [weight, Parameter("output/bias", (self.outputs,))] if self.bias else [weight]

    def features(
        self, params: Sequence[Any], x: Any, statistics: Statistics | None = None
    ) -> tuple[Any, Statistics]:
        """See `Model.features`: `x` itself, flattened."""
        return tf.reshape(x, [tf.shape(x)[0], -1, self.width]), ()
