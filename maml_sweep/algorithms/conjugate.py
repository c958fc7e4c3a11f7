"""Linear equations of many lanes at once, by products with a matrix that is never written out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from maml_sweep.algorithms.base import per_lane
from maml_sweep.algorithms.descent import dot
from maml_sweep.algorithms.problem import Params
from maml_sweep.backend import tf

Product = Callable[[Params], Params]


def hessian_product(loss: Callable[[Params], Any], params: Params) -> Product:
    """The product v -> H v with the Hessian of every lane's loss.

    By reverse mode over reverse mode: the loss and its gradient are computed once for all
    products. Lanes share nothing, so the Hessian of their sum is every lane's own.

    Args:
      loss: params -> float [lane].
      params: where the Hessian is taken, each [lane, *shape].
    """
    zero = tf.UnconnectedGradients.ZERO
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(params)
        with tf.GradientTape() as tape:
            tape.watch(params)
            total = tf.reduce_sum(loss(params))
        slopes = tape.gradient(total, params, unconnected_gradients=zero)

    def product(vectors: Params) -> Params:
        found: Params = outer.gradient(
            slopes, params, output_gradients=list(vectors), unconnected_gradients=zero
        )
        return found

    return product


def conjugate_gradients(product: Product, target: Params, steps: int) -> Params:
    """Solves A x = b in each lane (Hestenes & Stiefel 1952), starting from x = 0.

    Exact, rounding aside, after as many steps as A has different eigenvalues. A lane that is there
    stays there; so does one whose A turns out not to be positive definite, where the method stands
    on nothing: it keeps the x it has, or b if that is nothing yet.

    Args:
      product: v -> A v with a symmetric A, lane by lane.
      target: b, each [lane, *shape].
      steps: products to take.
    """
    solution: Params = [tf.zeros_like(value) for value in target]
    residual = direction = target
    square = dot(residual, residual)
    for step in range(steps):
        image = product(direction)
        curvature = dot(direction, image)
        sound = curvature > 0
        otherwise = tf.ones_like(square) if step == 0 else tf.zeros_like(square)
        length = tf.where(sound, tf.math.divide_no_nan(square, curvature), otherwise)
        solution = moved(solution, length, direction)
        residual = [
            tf.where(per_lane(sound, value), value, tf.zeros_like(value))
            for value in moved(residual, -length, image)
        ]
        square, before = dot(residual, residual), square
        direction = moved(residual, tf.math.divide_no_nan(square, before), direction)
    return solution


def moved(start: Params, length: Any, direction: Params) -> Params:
    """Start + length * direction, with a length a lane."""
    return [x + per_lane(length, d) * d for x, d in zip(start, direction, strict=True)]
