"""A model of one's own, written over lanes: waves of learnt frequencies under a linear head.

A model has a body that makes features and a dense head that reads them (the base class has it).
Every parameter has a leading lane axis: each lane has weights of its own, and no lane may look at
another. conf/model/fourier.yaml names this class:

    python sweep.py --config-dir examples/conf task=sinusoid model=fourier
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from maml_sweep.backend import tf
from maml_sweep.checks import number, positive
from maml_sweep.models import Model, Parameter, Statistics, lanes


class Fourier(Model):
    """Features sin(x W + b), of which the head makes a sum (after Rahimi & Recht 2007).

    Args:
      input_shape: of one example; it is flattened.
      outputs: width of the output layer.
      waves: how many features.
      deviation: of the initial frequencies W.
    """

    def __init__(
        self, input_shape: tuple[int, ...], outputs: int, waves: int = 40, deviation: float = 1.0
    ) -> None:
        self.inputs, self.outputs = math.prod(input_shape), outputs
        self.width = positive("model.waves", waves)
        self.deviation = number("model.deviation", deviation, above=0.0)

    @property
    def body(self) -> Sequence[Parameter]:
        """The frequencies, and a phase for each."""
        return [
            Parameter("frequencies", (self.inputs, self.width), self.deviation),
            Parameter("phases", (self.width,), deviation=math.pi),
        ]

    def features(
        self, params: Sequence[Any], x: Any, statistics: Statistics | None = None
    ) -> tuple[Any, Statistics]:
        """[lane, example, *input_shape] -> [lane, example, waves]; it has no norms."""
        x = tf.reshape(x, [tf.shape(x)[0], -1, self.inputs])
        return tf.sin(lanes.dense(x, *params)), ()
