"""A detector small enough to learn a new class from a few boxes: it looks where attention goes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maml_sweep.backend import tf
from maml_sweep.checks import number, positive
from maml_sweep.errors import InputError
from maml_sweep.models import gradients, lanes
from maml_sweep.models.base import Model, Parameter, Statistics

PATCH = 8  # side of the first kernel, pixels; it steps by half of that
EDGES = 4  # of a box
TINY = 1e-3  # added to the variance of places, as shares of the image: a spread is differentiable


class BoxesConv(Model):
    """Convolutions, attention over their positions, and a dense layer that makes a box of it.

    Convolutions give a vector of length below one at every position; what it has in common with
    one learnt vector, the query, says how much attention the position gets. The features are the
    mean place of the attention and its spread along both axes (a spatial soft argmax, as in Levine
    et al. 2016, arXiv 1504.00702, section 4.2), and the mean of the vectors that it falls on. The
    head starts from the box around that place, as far as the spread on either side.

    What an inner loop has to do is then little: a step along the gradient of the boxes' error adds
    to the query the vectors at places that lie towards the boxes from where attention was, and
    takes off those that lie away from them. Only the direction of the query matters, so a step
    turns it the further the shorter it is: a short one lets a rate that suits the head do.

    Norms use the statistics of the batch at hand.

    Args:
      input_shape: (height, width, channels).
      outputs: 4: left, top, right and bottom as shares of the image.
      filters: channels of each convolution.
      blocks: convolutions of 3x3 after the first one, which sees 8x8 pixels and steps by four.
      sharpness: of the attention: a position that is like the query may get e^sharpness times as
        much as one that is not.
      query: length that the query starts with, about.

    Raises:
      InputError: examples that are no images, a task of other outputs, or a wrong setting.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        filters: int = 16,
        blocks: int = 1,
        sharpness: float = 10.0,
        query: float = 0.3,
    ) -> None:
        if len(input_shape) != 3 or outputs != EDGES:
            raise InputError(
                "model=boxes_conv: expected images [height, width, channels] and the 4 edges of a "
                f"box, but the task has examples of shape {list(input_shape)} and {outputs} "
                "outputs; choose task=boxes or another model"
            )
        self.filters = positive("model.filters", filters)
        self.blocks = positive("model.blocks", blocks)
        self.sharpness = number("model.sharpness", sharpness, above=0.0)
        self.query = number("model.query", query, above=0.0)
        self.input_shape = input_shape
        self.outputs = outputs
        self.width = EDGES + filters

    @property
    def body(self) -> Sequence[Parameter]:
        """kernel, scale, offset of each convolution, and the query."""
        parameters = []
        channels = self.input_shape[2]
        for block in range(1 + self.blocks):
            side = 3 if block else PATCH
            deviation = math.sqrt(2 / (side**2 * channels))  # He et al. 2015, equation 10
            shape = (side, side, channels, self.filters)
            parameters.append(Parameter(f"block{block}/kernel", shape, deviation))
            scale = Parameter(f"block{block}/scale", (self.filters,), mean=1.0, role="norm")
            offset = Parameter(f"block{block}/offset", (self.filters,), role="norm")
            parameters += [scale, offset]
            channels = self.filters
        deviation = self.query / math.sqrt(self.filters)
        return [*parameters, Parameter("query/weight", (self.filters, 1), deviation)]

    @property
    def head(self) -> Sequence[Parameter]:
        """A weight that begins with edges = place ∓ spread, almost, and a bias."""
        box = np.zeros((self.width, self.outputs))
        box[:EDGES] = [[1, 0, 1, 0], [0, 1, 0, 1], [-1, 0, 1, 0], [0, -1, 0, 1]]
        weight = Parameter("output/weight", box.shape, 0.01, box)
        return [weight, Parameter("output/bias", (self.outputs,))]

    def features(
        self, params: Sequence[Any], x: Any, statistics: Statistics | None = None
    ) -> tuple[Any, Statistics]:
        """See `Model.features`: x, y, their spreads, and the mean vector."""
        vectors, found = self._vectors(params, x, statistics)
        lane, example = tf.shape(x)[0], tf.shape(x)[1]
        _, _, height, width, channels = vectors.shape
        flat = tf.reshape(vectors, [lane, -1, channels])
        likeness = tf.matmul(flat, _shortened(params[-1], axis=1, spare=1e-6))
        likeness = tf.reshape(likeness, [lane, example, 1, height * width])
        attention = tf.nn.softmax(self.sharpness * likeness)  # [lane, example, 1, position]
        flat = tf.reshape(vectors, [lane, example, height * width, channels])
        vector = tf.matmul(attention, flat)[:, :, 0]
        attention = tf.reshape(attention, [-1, height * width])
        places = tf.matmul(attention, tf.constant(_places(height, width), x.dtype))
        place, square = tf.split(tf.reshape(places, [lane, example, 4]), 2, axis=-1)
        spread = tf.sqrt(square - tf.square(place) + TINY)
        return tf.concat([place, spread, vector], axis=-1), found

    def _vectors(
        self, params: Sequence[Any], x: Any, statistics: Statistics | None
    ) -> tuple[Any, Statistics]:
        """A vector a position, [lane, example, height, width, filters], and what norms found."""
        x = lanes.fold_lanes(x)
        found = []
        for block in range(1 + self.blocks):
            kernel, scale, offset = params[3 * block : 3 * block + 3]
            x = lanes.convolution(x, kernel, 1 if block else PATCH // 2)
            given = [tf.reshape(v, [-1]) for v in statistics[block]] if statistics else None
            x, own = lanes.batch_norm(x, scale, offset, given, fused=True)
            found.append(tuple(tf.reshape(value, [-1, self.filters]) for value in own))
            if block < self.blocks:
                x = gradients.relu(x)
        return _shortened(lanes.unfold_lanes(x, self.filters), axis=-1, spare=1.0), found


def _shortened(x: Any, axis: int, spare: float) -> Any:
    """X / √(|x|² + spare): of length below one, and smooth at zero."""
    return x * tf.math.rsqrt(tf.reduce_sum(tf.square(x), axis, keepdims=True) + spare)


def _places(height: int, width: int) -> NDArray[np.float64]:
    """x, y, x² and y² of the middle of every position as shares of the image: [position, 4]."""
    rows, columns = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    y, x = (axis.ravel() for axis in np.meshgrid(rows, columns, indexing="ij"))
    return np.stack([x, y, x**2, y**2], axis=-1)
