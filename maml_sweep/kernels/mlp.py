"""MAML of multi-layer perceptrons, all of a task at once (`mlp.c`)."""

from __future__ import annotations

import math
from typing import Any

from maml_sweep.algorithms import MAML, Algorithm, Knobs, Problem
from maml_sweep.backend import tf
from maml_sweep.models import MLP
from maml_sweep.tasks.base import Classification, Episode, Examples, Regression, Task

MOST_LAYERS = 8  # as in mlp.c
MOST_NUMBERS = 2**17  # of a network: larger ones outgrow a core's caches, and were not measured


class Mlp:
    """Meta-gradients and adapted answers of a pack's lanes, in float32.

    Args:
      operations: of the library.
      task: tells the loss.
      problem: tells the network.
      algorithm: MAML, of first or second order. All three are such that the kernel `serves` them.
    """

    def __init__(self, operations: Any, task: Task, problem: Problem, algorithm: Algorithm) -> None:
        model = problem.model
        assert isinstance(model, MLP) and isinstance(algorithm, MAML)
        self._operations = operations
        self._attributes: dict[str, Any] = {
            "widths": [model.inputs, *model.widths, model.outputs],
            "classes": type(task).loss is Classification.loss,
            "first_order": algorithm.first_order,
        }

    def gradient(
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
        gradient, loss = self._operations.maml_sweep_mlp_gradient(
            **self._learnt_from(theta, owner, knobs, episode),
            query_y=self._targets(episode.query),
            weight=weight,
            **self._attributes,
        )
        return tf.ensure_shape(gradient, theta.shape), tf.ensure_shape(loss, theta.shape[:1])

    def answers(
        self, theta: Any, owner: Any, knobs: Knobs, episode: Episode, *, course: bool = False
    ) -> Any:
        """What networks say of the queries: float32 [lane, 1, example, outputs].

        Args: as of `gradient`, and
          course: not of the adapted networks alone, but of all on their way, which is as long for
            every lane: [lane, step, example, outputs].
        """
        operations = self._operations
        compute = operations.maml_sweep_mlp_course if course else operations.maml_sweep_mlp_answers
        answers = compute(**self._learnt_from(theta, owner, knobs, episode), **self._attributes)
        lanes, examples = episode.query.x.shape[:2]
        steps = None if course else 1
        return tf.ensure_shape(answers, [lanes, steps, examples, self._attributes["widths"][-1]])

    def _learnt_from(
        self, theta: Any, owner: Any, knobs: Knobs, episode: Episode
    ) -> dict[str, Any]:
        """What both operations are given."""
        return {
            "theta": theta,
            "owner": owner,
            "steps": knobs.steps,
            "rate": knobs.values["inner_lr"],
            "support_x": tf.cast(episode.support.x, tf.float32),
            "support_y": self._targets(episode.support),
            "query_x": tf.cast(episode.query.x, tf.float32),
        }

    def _targets(self, examples: Examples) -> Any:
        """Float32 [lane, example, outputs]."""
        if self._attributes["classes"]:
            return tf.one_hot(examples.y, self._attributes["widths"][-1], dtype=tf.float32)
        return examples.y


def serves(task: Task, problem: Problem, algorithm: Algorithm) -> bool:
    """Whether the kernel computes what these would."""
    model = problem.model
    if type(algorithm) is not MAML or algorithm.adapts != "all" or algorithm.clips:
        return False
    if type(model) is not MLP or model.activation != "relu" or len(model.widths) >= MOST_LAYERS:
        return False
    if type(task).loss not in (Regression.loss, Classification.loss):
        return False
    return sum(math.prod(parameter.shape) for parameter in model.parameters) <= MOST_NUMBERS
