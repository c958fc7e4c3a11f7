"""A long short-term memory of several layers, with weights of its own in every lane."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from maml_sweep.backend import tf
from maml_sweep.models.base import Parameter
from maml_sweep.models.lanes import dense

FORGET = 1.0  # added to the forget gate's bias: Jozefowicz et al. 2015, section 2.2


class LSTM:
    """Hochreiter & Schmidhuber 1997 with forget gates, and a linear layer on top.

    A lane runs it on many rows at once, which share its weights and nothing else. Its state is
    one row of numbers, zero before the first step: of each layer what it put out last, then what
    it keeps.

    Args:
      inputs: numbers a row and step.
      hidden: units of every layer.
      layers: how many.
      outputs: width of the linear layer.
      name: stands before its parameters' own.

    Attributes:
      parameters: (kernel, bias) of each layer and of the linear layer. A kernel's rows are the
        layer's inputs, then its own last outputs; its columns are the input gates, the forget
        gates, the output gates and the candidates.
      width: of the state.
    """

    def __init__(
        self, inputs: int, hidden: int, layers: int = 2, outputs: int = 1, name: str = "optimizer"
    ) -> None:
        self.layers, self.width = layers, 2 * layers * hidden
        widths = [inputs, *[hidden] * layers]
        self.parameters: list[Parameter] = []
        for index in range(layers):
            rows = widths[index] + hidden
            self.parameters += _layer(f"{name}/lstm{index}", rows, 4 * hidden)
        self.parameters += _layer(f"{name}/output", hidden, outputs)

    def __call__(self, weights: Sequence[Any], x: Any, state: Any) -> tuple[Any, Any]:
        """One step.

        Args:
          weights: in the order of `parameters`, each [lane, *shape].
          x: [lane, row, inputs].
          state: [lane, row, width].

        Returns:
          [lane, row, outputs], and the new state.
        """
        parts = tf.split(state, 2 * self.layers, axis=-1)
        after: list[Any] = []
        for index in range(0, 2 * self.layers, 2):
            after += _cell(x, *parts[index : index + 2], *weights[index : index + 2])
            x = after[index]
        return dense(x, *weights[-2:]), tf.concat(after, axis=-1)


def _layer(name: str, inputs: int, outputs: int) -> list[Parameter]:
    """A kernel that keeps the variance of its inputs, and a zero bias."""
    kernel = Parameter(f"{name}/kernel", (inputs, outputs), 1 / math.sqrt(inputs))
    return [kernel, Parameter(f"{name}/bias", (outputs,))]


def _cell(x: Any, last: Any, kept: Any, kernel: Any, bias: Any) -> tuple[Any, Any]:
    """One layer's step: what it puts out and what it keeps, each [lane, row, hidden]."""
    gates = dense(tf.concat([x, last], axis=-1), kernel, bias)
    enter, stay, leave, candidate = tf.split(gates, 4, axis=-1)
    kept = tf.sigmoid(stay + FORGET) * kept + tf.sigmoid(enter) * tf.tanh(candidate)
    return tf.sigmoid(leave) * tf.tanh(kept), kept
