"""Random quadratic functions to be minimised (Andrychowicz et al. 2016, section 3.1)."""

from __future__ import annotations

from typing import Any

from maml_sweep import streams
from maml_sweep.backend import tf
from maml_sweep.checks import positive
from maml_sweep.tasks.base import Episode, Examples, Regression, Split


class Quadratics(Regression):
    """f(θ) = ||W θ - y||², one (W, y) of independent standard normal entries a task.

    Seen as a regression: the rows of W are examples, y their targets, and θ the weight of a linear
    model without bias (model=linear). Support and query are the same examples, for an episode is
    one function, and how far it was brought down is what is asked. A loss is a mean over examples,
    hence f / dimension: the paper's numbers are `dimension` times ours. The smallest value of
    almost every f is 0. The splits differ in their keys alone.

    Args:
      dimension: of θ and of y; the paper's is 10.

    Raises:
      InputError: a dimension below one.
    """

    outputs = 1

    def __init__(self, dimension: int = 10) -> None:
        self.dimension = positive("task.dimension", dimension)
        self.input_shape = (dimension,)

    def episodes(self, split: Split, keys: Any, dtype: Any) -> Episode:
        """Draws x [lane, dimension, dimension] and y [lane, dimension, 1] for each key."""
        size = self.dimension
        drawn = streams.normal(keys, size * (size + 1), dtype)
        drawn = tf.reshape(drawn, [-1, size, size + 1])
        function = Examples(drawn[:, :, :size], drawn[:, :, size:])
        return Episode(function, function)
