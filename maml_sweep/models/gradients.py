"""Arithmetic of layers whose gradients, of any order, take the lanes of all factors for equal.

TensorFlow's own ask while they run how shapes broadcast, for it does not know how many lanes there
are: some nine small operations for every product and sum, more than half of a small program. And
its second derivative of a ReLU adds zeros to what comes back by other ways.

`tf.custom_gradient` registers each rule for good, so a traced program stays in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from maml_sweep.backend import tf


def product(a: Any, b: Any, *, transpose_a: bool = False, transpose_b: bool = False) -> Any:
    """`tf.matmul` in each lane, of which at most one factor is transposed.

    Args:
      a: [lane, row, inner]; [lane, inner, row] where it is transposed.
      b: [lane, inner, column]; [lane, column, inner] where it is transposed.
      transpose_a: whether `a` is.
      transpose_b: whether `b` is.

    Returns:
      [lane, row, column].
    """
    a, b = _here(a, b)

    def forward(a: Any, b: Any) -> tuple[Any, Callable[[Any], Any]]:
        def backward(slope: Any) -> tuple[Any, Any]:
            if transpose_a:
                return product(b, slope, transpose_b=True), product(a, slope)
            if transpose_b:
                return product(slope, b), product(slope, a, transpose_a=True)
            return product(slope, b, transpose_b=True), product(a, slope, transpose_a=True)

        return tf.matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b), backward

    return tf.custom_gradient(forward)(a, b)


def biased(x: Any, bias: Any) -> Any:
    """A bias [lane, out] added to every example of [lane, example, out]."""

    def forward(x: Any, bias: Any) -> tuple[Any, Callable[[Any], Any]]:
        return x + tf.expand_dims(bias, 1), lambda slope: (slope, _summed(slope))

    return tf.custom_gradient(forward)(x, bias)


def activation(name: str) -> Callable[[Any], Any]:
    """The function of `tf.nn` of that name."""
    function: Callable[[Any], Any] = relu if name == "relu" else getattr(tf.nn, name)
    return function


def relu(x: Any) -> Any:
    """`tf.nn.relu`; its own derivative has none."""

    def forward(x: Any) -> tuple[Any, Callable[[Any], Any]]:
        y = tf.nn.relu(x)
        return y, lambda slope: _masked(slope, y)

    return tf.custom_gradient(forward)(x)


def _masked(slope: Any, y: Any) -> Any:
    """The slope where y is above zero; linear in the slope, a constant in y."""
    (y,) = _here(y)

    def forward(slope: Any) -> tuple[Any, Callable[[Any], Any]]:
        return tf.raw_ops.ReluGrad(gradients=slope, features=y), lambda other: _masked(other, y)

    return tf.custom_gradient(forward)(slope)


def _here(*tensors: Any) -> list[Any]:
    """The tensors in the graph at hand: a rule may not refer to those of the graphs around it."""
    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    return [t if getattr(t, "graph", None) is graph else tf.identity(t) for t in tensors]


def _summed(x: Any) -> Any:
    """Over examples: [lane, example, out] -> [lane, out]."""

    def forward(x: Any) -> tuple[Any, Callable[[Any], Any]]:
        return tf.reduce_sum(x, axis=1), lambda slope: _spread(slope, tf.shape(x))

    return tf.custom_gradient(forward)(x)


def _spread(x: Any, shape: Any) -> Any:
    """The same for every example: [lane, out] -> `shape`, [lane, example, out]."""

    def forward(x: Any) -> tuple[Any, Callable[[Any], Any]]:
        return tf.broadcast_to(tf.expand_dims(x, 1), shape), _summed

    return tf.custom_gradient(forward)(x)
