"""Reptile: move towards the adapted weights, without a query set (Nichol et al. 2018)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from maml_sweep import streams
from maml_sweep.algorithms.base import Algorithm, Inner, Knobs, per_lane
from maml_sweep.algorithms.descent import added, descent
from maml_sweep.algorithms.problem import Params, Problem, pooled
from maml_sweep.backend import tf
from maml_sweep.checks import number, positive

BETA2, EPSILON = 0.999, 1e-8  # of the inner Adam; its beta1 is 0


class Reptile(Algorithm):
    """Algorithm 2 of arXiv 1803.02999 (algorithm 1 with a meta-batch of one task).

    A lane trains on mini-batches by Adam without a first moment, as in the paper's experiments and
    in github.com/openai/supervised-reptile, and the outer loop is told θ - φ, averaged over tasks:
    with `optimizer=sgd` and `optimizer.meta_lr=ε` it takes the paper's step θ + ε (φ - θ). No
    gradient goes through the steps, so memory does not grow with them.

    Departures: the paper's outer step is plain SGD whose ε falls linearly to 0, where ours is the
    `optimizer` group's (`optimizer.schedule=cosine` falls to 0 as well); the second moments start
    at zero in every task, where the reference carries them on from one task to the next. It judges
    by 50 steps: `training.eval_steps=50`.

    Args:
      inner_lr: the inner Adam's rate, at least zero.
      inner_steps: mini-batches a task.
      batch: examples of a mini-batch; the whole set where it has no more than that.
      whole_episode: train on support and query examples together, as the paper does where it takes
        more shots in training than it is judged by (its `train_shots`); False: on the support set
        alone. An evaluated lane sees its support set alone either way.

    Raises:
      InputError: a value out of range.
    """

    def __init__(
        self, inner_lr: float, inner_steps: int, batch: int = 10, whole_episode: bool = True
    ) -> None:
        self.inner_steps = positive("algorithm.inner_steps", inner_steps)
        self.batch = positive("algorithm.batch", batch)
        self.whole_episode = whole_episode
        self.knobs = {"inner_lr": number("algorithm.inner_lr", inner_lr, least=0.0)}

    def start(
        self, problem: Problem, meta: Params, support: Any, knobs: Knobs, *, training: bool
    ) -> Inner:
        """See `Algorithm.start`: the weights, and Adam's second moments of each."""
        return Inner((list(meta), [tf.zeros_like(value) for value in meta]), support)

    def step(self, problem: Problem, inner: Inner, knobs: Knobs, index: Any) -> Any:
        """One step of Adam (Kingma & Ba 2015, algorithm 1) on the mini-batch of this index."""
        params, moments = inner.fast
        examples = mini_batch(inner.support, knobs.key, index, self.batch)
        rate = knobs.rate(index)
        slopes = descent(
            lambda fast: problem.support_loss(fast, examples), params, tf.ones_like(rate)
        )
        moments = [
            BETA2 * moment + (1 - BETA2) * tf.square(slope)
            for moment, slope in zip(moments, slopes, strict=True)
        ]
        unbiased = _unbiased(index, rate.dtype)
        steps = [
            per_lane(rate, slope) * slope / (tf.sqrt(moment / unbiased) + EPSILON)
            for moment, slope in zip(moments, slopes, strict=True)
        ]
        return added(params, steps), moments

    def weights(self, problem: Problem, inner: Inner, knobs: Knobs) -> Params:
        """See `Algorithm.weights`."""
        params: Params = inner.fast[0]
        return params

    def gradient(
        self,
        problem: Problem,
        meta: Params,
        episode: Any,
        knobs: Knobs,
        live: Sequence[Any],
        weight: Any,
    ) -> tuple[Params, Any]:
        """θ - φ, and the query loss at φ; see `Algorithm.gradient`."""
        examples = pooled(episode) if self.whole_episode else episode.support
        inner = self.start(problem, meta, examples, knobs, training=True)
        inner = self.follow(problem, inner, knobs, live)
        loss = self.query_loss(problem, inner, knobs, episode)
        pairs = zip(meta, self.weights(problem, inner, knobs), strict=True)
        return [per_lane(weight, old) * (old - new) for old, new in pairs], weight * loss


def mini_batch(examples: Any, keys: Any, index: Any, size: int) -> Any:
    """The mini-batch of a step: a pure function of each lane's key and the step's index.

    Each pass over the set has an order of its own, drawn from (key, number of the pass); the passes
    follow one another, and batch i is what lies from i * size on: so it may end one pass and begin
    the next, as the reference's batches do.

    Args:
      examples: [lane, example, ...] each.
      keys: uint32 [lane, 2].
      index: of the step, from 0: an integer or an int32 scalar.
      size: examples of a batch.

    Returns:
      [lane, size, ...] each; the set as it is where it has no more than `size` examples.
    """
    count = examples.x.shape[1]
    if count <= size:
        return examples
    begin = index * size
    orders = [_order(keys, begin // count + later, count) for later in (0, 1)]
    places = tf.gather(tf.concat(orders, axis=1), begin % count + tf.range(size), axis=1)
    return tf.nest.map_structure(lambda part: tf.gather(part, places, batch_dims=1), examples)


def _order(keys: Any, number_of_pass: Any, count: int) -> Any:
    """A permutation of a set: int32 [lane, count]; the same in every float type."""
    draws = streams.uniform(streams.fold_in(keys, number_of_pass), count, tf.float32)
    return tf.argsort(draws, axis=1)


def _unbiased(index: Any, dtype: Any) -> Any:
    """1 - BETA2 ** (index + 1), in double precision: it cancels while it is small."""
    age = tf.cast(index, tf.float64) + 1
    return tf.cast(-tf.math.expm1(age * math.log(BETA2)), dtype)
