"""The meta-gradient of MAML for multi-layer perceptrons, all of a task at once (`mlp.c`)."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

from maml_sweep.algorithms import MAML, Algorithm, Knobs, Problem
from maml_sweep.backend import tf
from maml_sweep.kernels import library
from maml_sweep.models import MLP
from maml_sweep.tasks.base import Classification, Episode, Examples, Regression, Task

log = logging.getLogger(__name__)

MOST_LAYERS = 8  # as in mlp.c
MOST_NUMBERS = 2**17  # of a network: larger ones outgrow a core's caches, and were not measured


class MlpGradient:
    """What `Algorithm.gradient` finds for a pack's lanes, summed to their places.

    Args:
      algorithm: MAML, of first or second order.
      model: the network.
      classes: whether the loss is the cross-entropy of classes, else it is the squared error.

    Raises:
      library.Unavailable: it cannot be compiled here.
    """

    def __init__(self, algorithm: MAML, model: MLP, classes: bool) -> None:
        self._compute: Callable[..., Any] = library.load("mlp").maml_sweep_mlp_gradient
        self._attributes: dict[str, Any] = {
            "widths": [model.inputs, *model.widths, model.outputs],
            "classes": classes,
            "first_order": algorithm.first_order,
        }

    def __call__(
        self, theta: Any, owner: Any, weight: Any, knobs: Knobs, episode: Episode
    ) -> tuple[Any, Any]:
        """The meta-gradient float32 [place, parameter] and the loss [place].

        Args:
          theta: float32 [place, parameter].
          owner: int32 [lane], ascending.
          weight: float32 [lane], the lane's share of its trial's mean.
          knobs: one row a lane.
          episode: float32 or labels, with a leading lane axis.
        """
        gradient, loss = self._compute(
            theta=theta,
            owner=owner,
            weight=weight,
            steps=knobs.steps,
            rate=knobs.values["inner_lr"],
            **self._examples("support", episode.support),
            **self._examples("query", episode.query),
            **self._attributes,
        )
        return tf.ensure_shape(gradient, theta.shape), tf.ensure_shape(loss, theta.shape[:1])

    def _examples(self, name: str, examples: Examples) -> dict[str, Any]:
        """Inputs and targets, float32 [lane, example, …] each."""
        x, y = tf.cast(examples.x, tf.float32), examples.y
        if self._attributes["classes"]:
            y = tf.one_hot(y, self._attributes["widths"][-1], dtype=tf.float32)
        return {f"{name}_x": x, f"{name}_y": y}


def fused(task: Task, problem: Problem, algorithm: Algorithm, dtype: Any) -> MlpGradient | None:
    """The kernel that computes what `algorithm.gradient` would; None: there is none.

    Where it cannot be compiled, the log says so.
    """
    model = problem.model
    loss = type(task).loss
    if type(algorithm) is not MAML or algorithm.adapts != "all" or algorithm.clips:
        return None
    if type(model) is not MLP or model.activation != "relu" or len(model.widths) >= MOST_LAYERS:
        return None
    if loss not in (Regression.loss, Classification.loss) or dtype != tf.float32:
        return None
    if sum(math.prod(parameter.shape) for parameter in model.parameters) > MOST_NUMBERS:
        return None
    try:
        return MlpGradient(algorithm, model, loss is Classification.loss)
    except library.Unavailable as error:
        log.warning("device.kernels: %s; TensorFlow's operations train instead", error)
        return None
