"""Steps down a loss, of many lanes at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from maml_sweep.algorithms.base import per_lane
from maml_sweep.algorithms.problem import Params
from maml_sweep.backend import tf

Loss = Callable[[Params], Any]  # params -> float [lane]


def descent(loss: Loss, params: Params, rate: Any) -> Params:
    """-rate ∇L of every lane.

    Lanes share nothing, so the gradient of their sum is every lane's own. Minus the rate inside
    the loss makes that gradient the step itself: two passes over the parameters less here, and
    four less on the way back.

    Args:
      loss: of each lane.
      params: each [lane, *shape].
      rate: float [lane].
    """
    with tf.GradientTape() as tape:
        tape.watch(params)
        total = -tf.reduce_sum(rate * loss(params))
    steps: Params = tape.gradient(total, params)
    return steps


def stopped(steps: Params) -> Params:
    """The same numbers as constants: no outer gradient goes through them."""
    return [tf.stop_gradient(step) for step in steps]


def added(params: Params, steps: Params) -> Params:
    """Params moved by steps; unlike a plus, a sum of equals has a gradient that asks no shapes."""
    return [tf.add_n([value, step]) for value, step in zip(params, steps, strict=True)]


def dot(a: Params, b: Params) -> Any:
    """The inner product of two sets of arrays [lane, *shape]: float [lane]."""
    products = [x * y for x, y in zip(a, b, strict=True)]
    return tf.add_n([tf.reduce_sum(p, axis=list(range(1, len(p.shape)))) for p in products])


def clipped(steps: Params, limit: Any) -> Params:
    """Shortens each lane's step to a norm of at most `limit` [lane]."""
    scale = clip_scale(dot(steps, steps), limit)
    return [step * per_lane(scale, step) for step in steps]


def clip_scale(squared_norm: Any, limit: Any) -> Any:
    """The factor that brings gradients of this squared norm down to `limit`, at most 1.

    The tiny floor keeps the square root's derivative finite where a gradient is zero.
    """
    norm = tf.sqrt(tf.maximum(squared_norm, tf.constant(1e-30, squared_norm.dtype)))
    return tf.minimum(tf.ones_like(norm), limit / norm)


def pulled(old: Any, new: Any) -> Any:
    """Zeros [lane] whose gradient by `old` is old - new, what a running average is moved by.

    Added to an outer loss, they leave it as it is.

    Args:
      old: the average, [lane, *shape].
      new: what it is to move towards, the same.
    """
    pull = dot([tf.stop_gradient(old - new)], [old])
    return pull - tf.stop_gradient(pull)
