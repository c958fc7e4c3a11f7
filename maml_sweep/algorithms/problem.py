"""What an algorithm is given to learn: a model, and the loss of its outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from maml_sweep.backend import tf
from maml_sweep.models.base import Model, Statistics

Params = Sequence[Any]  # one tensor a parameter, each [lane, *shape]


@dataclass(frozen=True)
class Problem:
    """A model and a task's loss as functions of lane-wise parameters.

    Attributes:
      model: the network.
      loss: mean over a lane's examples: (outputs [lane, example, outputs], y) -> [lane].
      kind: "regression" (y float [lane, example, outputs]), "classification" (y int32
        [lane, example], below `model.outputs`), or what else the task calls itself.
      classes: of the training split, where a task has a fixed set of them.
      recompute: whether the way back through an inner step takes the step again, so that what it
        computes need not be kept.
    """

    model: Model
    loss: Callable[[Any, Any], Any]
    kind: str = ""
    classes: int | None = None
    recompute: bool = False

    def outputs(
        self, params: Params, support: Any, x: Any, statistics: Statistics | None = None
    ) -> Any:
        """The model's outputs on `x`: [lane, example, outputs].

        Args:
          params: of the whole model.
          support: examples, whose statistics a norm takes that goes by the support set's.
          x: [lane, example, *input_shape].
          statistics: for the norms to go by instead.
        """
        return self.answers(params, support, x, statistics)[0]

    def answers(
        self, params: Params, support: Any, x: Any, statistics: Statistics | None = None
    ) -> tuple[Any, Statistics]:
        """`outputs`, and the statistics of `x` in every norm."""
        if statistics is None and self.model.support_statistics:
            _, statistics = self.model.apply(params, support.x)
        return self.model.apply(params, x, statistics)

    def support_loss(self, params: Params, support: Any) -> Any:
        """The loss on a support set, normalised by its own statistics: float [lane]."""
        return self.loss(self.model.apply(params, support.x)[0], support.y)


def pooled(episode: Any) -> Any:
    """Support and query as one set of examples: [lane, example of both, ...] each."""
    both = (episode.support, episode.query)
    return tf.nest.map_structure(lambda *parts: tf.concat(parts, axis=1), *both)
