"""Embeddings of a user's and an item's columns, dense layers, and a rating."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from maml_sweep.backend import tf
from maml_sweep.checks import one_of, positive
from maml_sweep.errors import InputError
from maml_sweep.models import gradients, lanes
from maml_sweep.models.base import Model, Parameter, Statistics, dense_parameters
from maml_sweep.models.networks import ACTIVATIONS


class RatingsMLP(Model):
    """The network of MeLU (Lee et al. 2019, arXiv 1908.00413, section 3.1), with a shortcut.

    Every column of categories looks its number up in an embedding of its own; these and the real
    columns, one beside another, are the inputs of dense layers. The output layer reads the last
    hidden layer and, where MeLU's does not, the inputs as well (`shortcut`; the wide part of Cheng
    et al. 2016, "Wide & Deep"): then an inner step of the output layer is one of a regression on
    the items' embeddings. `widths=[]` leaves that alone.

    MeLU adapts the dense layers to a user and leaves the embeddings as they are. Here
    `algorithm=anil` adapts the output layer alone, and `algorithm=maml` all there is, though an
    embedding's step does nothing for items that the user has not rated. Either way each lane has
    a copy of all embeddings, and MAML another one and a gradient at every inner step: a copy is
    4 bytes * lanes * categories * `width`, 3 MB for 100 lanes, 1,000 items and a width of 8. With
    more than some thousand items choose ANIL, small packs (`pack.size`) and a
    `task.min_item_ratings` that leaves the rarest ones without a row.

    Args:
      input_shape: (columns,).
      outputs: width of the output layer.
      categories: how many there are in each column, 0 for real numbers.
      width: of each embedding, whose rows start with a length of about one.
      widths: units of each hidden layer; may be empty.
      activation: a name of `ACTIVATIONS`.
      shortcut: whether the output layer reads the inputs too.
      offset: what the output's bias starts from: about the mean rating.

    Raises:
      InputError: a task without categories, or a wrong setting.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        categories: Sequence[int] = (),
        width: int = 8,
        widths: Sequence[int] = (32,),
        activation: str = "relu",
        shortcut: bool = True,
        offset: float = 3.5,
    ) -> None:
        if not any(categories) or tuple(input_shape) != (len(categories),):
            raise InputError(
                f"model=ratings_mlp: expected columns with a number of categories each, but the "
                f"task's examples have shape {list(input_shape)} and categories "
                f"{list(categories)}; choose task=ratings, or model=mlp"
            )
        self.categories = tuple(categories)
        self.embedding = positive("model.width", width)
        self.widths = tuple(positive("model.widths", each) for each in widths)
        self.activation = one_of("model.activation", activation, ACTIVATIONS)
        self.offset = _finite("model.offset", offset)
        self.outputs = outputs
        self._named = [column for column, count in enumerate(categories) if count]
        self._real = [column for column, count in enumerate(categories) if not count]
        self.inputs = len(self._named) * width + len(self._real)
        self._shortcut = shortcut and bool(self.widths)
        self.width = (self.inputs, *self.widths)[-1] + self._shortcut * self.inputs

    @property
    def body(self) -> Sequence[Parameter]:
        """The embeddings, then weight and bias of each hidden layer."""
        deviation = 1 / math.sqrt(self.embedding)
        tables = [
            Parameter(f"column{column}/embedding", (count, self.embedding), deviation)
            for column, count in enumerate(self.categories)
            if count
        ]
        dense = [
            parameter
            for index, (before, after) in enumerate(pairwise((self.inputs, *self.widths)))
            for parameter in dense_parameters(f"hidden{index}", before, after)
        ]
        return [*tables, *dense]

    @property
    def head(self) -> Sequence[Parameter]:
        """Weight and bias of the output layer."""
        weight, bias = dense_parameters("output", self.width, self.outputs)
        return [weight, bias._replace(mean=self.offset)]

    def features(
        self, params: Sequence[Any], x: Any, statistics: Statistics | None = None
    ) -> tuple[Any, Statistics]:
        """See `Model.features`; it has no norms, hence no statistics."""
        depth = len(self._named)
        inputs = features = self._embedded(params[:depth], x)
        for index in range(len(self.widths)):
            weight, bias = params[depth + 2 * index : depth + 2 * index + 2]
            features = lanes.dense(features, weight, bias)
            features = gradients.activation(self.activation)(features)
        return tf.concat([inputs, features], axis=2) if self._shortcut else features, ()

    def _embedded(self, tables: Sequence[Any], x: Any) -> Any:
        """Categories as rows of their tables: [lane, example, columns] -> [.., inputs]."""
        parts = [
            tf.gather(table, tf.cast(x[:, :, column], tf.int32), batch_dims=1)
            for table, column in zip(tables, self._named, strict=True)
        ]
        if self._real:
            parts.append(tf.gather(x, self._real, axis=2))
        return tf.concat(parts, axis=2)


def _finite(setting: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{setting}={value}: expected a finite number")
    return float(value)
