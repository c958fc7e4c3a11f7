"""The convolutional network of sentences of Kim 2014 (arXiv 1408.5882), with words learned too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from maml_sweep.backend import tf
from maml_sweep.checks import positive
from maml_sweep.errors import InputError
from maml_sweep.models import gradients, lanes
from maml_sweep.models.base import Model, Parameter, Statistics, glorot

PADDING = 0  # what stands behind a text's last word
START = 0.25 / math.sqrt(3)  # of words' vectors, the deviation of uniform numbers within ±0.25


class TextCNN(Model):
    """Filters over a few neighbouring words each, and of each filter its greatest answer.

    Section 2 of the paper, its variant 'CNN-rand': all words' vectors are learned (and adapted by
    inner loops) from a start as wide as the paper's ±0.25, and there is no dropout. A window stands
    around every word and may reach beyond the text, where it sees zeros; one around padding has no
    say, so that the answer does not hang on how far a text was padded.

    Every lane has a table of words of its own, and so has its gradient after every inner step:
    lanes x words x width x 4 bytes each. With 5,000 words of 32 numbers that is 0.6 MB, and 200 MB
    for 64 lanes and five inner steps of second order, besides the windows themselves.

    Args:
      input_shape: (words of a text,).
      outputs: width of the output layer.
      categories: one number: how many different words there are, padding among them.
      width: numbers that stand for a word.
      filters: of each width of window.
      windows: how many neighbouring words the filters see.

    Raises:
      InputError: examples that are no texts of word numbers, or a setting below one.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        width: int = 32,
        filters: int = 32,
        windows: Sequence[int] = (3, 4, 5),
        categories: Sequence[int] = (),
    ) -> None:
        if len(categories) != 1 or len(input_shape) != 1:
            raise InputError(
                "model=text_cnn: expected texts as numbers of words of one vocabulary; choose "
                "task.features=tokens (of task=text or task=sentiment), or model=mlp"
            )
        self.words, self.length = categories[0], input_shape[0]
        self.depth = positive("model.width", width)
        self.filters = positive("model.filters", filters)
        self.windows = tuple(positive("model.windows", window) for window in windows)
        if not self.windows:
            raise InputError("model.windows=[]: expected at least one width, such as [3, 4, 5]")
        self.outputs = outputs
        self.width = len(self.windows) * filters

    @property
    def body(self) -> Sequence[Parameter]:
        """The table of words, then weight and bias of each width of window."""
        parameters = [Parameter("words/table", (self.words, self.depth), START)]
        for index, window in enumerate(self.windows):
            shape = (window, self.depth, self.filters)
            deviation = glorot(window * self.depth, window * self.filters)
            parameters.append(Parameter(f"window{index}/weight", shape, deviation))
            parameters.append(Parameter(f"window{index}/bias", (self.filters,)))
        return parameters

    def features(
        self, params: Sequence[Any], x: Any, statistics: Statistics | None = None
    ) -> tuple[Any, Statistics]:
        """See `Model.features`; `x` is [lane, example, word], and there are no norms."""
        table, *filters = params
        numbers = tf.cast(x, tf.int32)
        there = tf.cast(numbers != PADDING, table.dtype)[..., tf.newaxis]
        vectors = tf.gather(table, numbers, batch_dims=1) * there  # [lane, example, word, depth]
        folded = lanes.fold_lanes(vectors[:, :, tf.newaxis])  # as images one pixel high
        pooled = []
        for weight, bias in zip(filters[::2], filters[1::2], strict=True):
            kernel = weight[:, tf.newaxis]  # [lane, 1, window, depth, filter]
            answers = lanes.unfold_lanes(lanes.convolution(folded, kernel, 1), self.filters)
            answers = gradients.relu(answers[:, :, 0] + bias[:, tf.newaxis, tf.newaxis])
            # zero is the least that ReLU lets through, so what is multiplied by it has no say
            pooled.append(tf.reduce_max(answers * there, axis=2))
        return tf.concat(pooled, axis=2), ()
