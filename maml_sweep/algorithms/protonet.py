"""Prototypical networks: the mean of a class's features stands for it (Snell et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maml_sweep.algorithms.base import Algorithm, Inner, Knobs
from maml_sweep.algorithms.problem import Params, Problem
from maml_sweep.backend import tf
from maml_sweep.errors import InputError
from maml_sweep.models.base import Parameter

ABSENT = -1e9  # the logit of a class that the support set has no example of


class ProtoNet(Algorithm):
    """Algorithm 1 of arXiv 1703.05175 with squared Euclidean distances.

    The outer loop learns the model's body f. With c the mean of a class's support features, the
    logit of a query is -|f(x) - c|² = 2 c·f(x) - |c|² - |f(x)|², and the last term, common to all
    classes, changes neither the probabilities nor the loss: so the adapted model is the body under
    a dense head of weight 2c and bias -|c|² (their section 2.4), computed, not trained. There is
    no inner rate and no inner step.

    Norms go by the model's rule, which here means that support and query sets are normalised each
    by itself (`model.norm=transductive`) or both by the support's statistics (`support`); the
    authors' code normalises them together while training, and by running averages when judged.
    """

    serves = ("classification",)

    def __init__(self) -> None:
        self.inner_steps = 0
        self.knobs = {}

    def check(self, problem: Problem) -> None:
        """Refuses a model without a body to learn, or whose head cannot be a prototype's."""
        super().check(problem)
        model = problem.model
        if model.known and (not model.body or len(model.head) != 2):
            lack = "a bias in its last layer" if model.body else "hidden layers"
            raise InputError(
                f"algorithm=protonet: expected a model of hidden layers under a dense layer with "
                f"a bias, but {type(model).__name__} has not {lack}; choose model=mlp or conv4"
            )

    def parameters(self, problem: Problem, bound: int) -> Sequence[Parameter]:
        """The model's body; a head is computed for every task."""
        return problem.model.body

    def start(
        self, problem: Problem, meta: Params, support: Any, knobs: Knobs, *, training: bool
    ) -> Inner:
        """See `Algorithm.start`: the prototypes' head; the context is the body."""
        features, _ = problem.model.features(meta, support.x)
        return Inner(prototype_head(features, support.y, problem.model.outputs), support, meta)

    def step(self, problem: Problem, inner: Inner, knobs: Knobs, index: Any) -> Any:
        """Nothing: the head is what it is."""
        return inner.fast

    def weights(self, problem: Problem, inner: Inner, knobs: Knobs) -> Params:
        """See `Algorithm.weights`."""
        return [*inner.context, *inner.fast]


def prototype_head(features: Any, labels: Any, ways: int) -> tuple[Any, Any]:
    """The linear head that measures distances from the class means.

    Args:
      features: [lane, example, width].
      labels: int32 [lane, example].
      ways: classes.

    Returns:
      weight [lane, width, way] and bias [lane, way]; a class without examples is never answered.
    """
    member = tf.one_hot(labels, ways, dtype=features.dtype)  # [lane, example, way]
    counts = tf.reduce_sum(member, axis=1)  # [lane, way]
    sums = tf.matmul(features, member, transpose_a=True)  # [lane, width, way]
    means = sums / tf.expand_dims(tf.maximum(counts, 1.0), 1)
    bias = -tf.reduce_sum(tf.square(means), axis=1)
    return 2.0 * means, tf.where(counts > 0, bias, tf.cast(ABSENT, bias.dtype))
