"""Layers' arithmetic with gradients of their own: TensorFlow's numbers, fewer operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest

from maml_sweep.backend import tf
from maml_sweep.models import gradients

LANES, EXAMPLES = 3, 4


def drawn(*shape: int) -> Any:
    """Numbers of a unit normal distribution, the same every time."""
    return tf.constant(np.random.default_rng(sum(shape)).normal(size=shape))


def derived(compute: Callable[..., Any], values: Sequence[Any]) -> list[Any]:
    """The result, its gradient, and that gradient's own by all values and by the slope."""
    with tf.GradientTape() as outer:
        outer.watch(values)
        with tf.GradientTape() as inner:
            inner.watch(values)
            result = compute(*values)
            loss = tf.reduce_sum(tf.sin(result))  # its slope depends on the result
        first = inner.gradient(loss, values)
        mixed = tf.add_n([tf.reduce_sum(tf.cos(each)) for each in first])
    return [result, *first, *outer.gradient(mixed, values)]


def plain_product(a: Any, b: Any, **transposed: bool) -> Any:
    """As TensorFlow has it."""
    return tf.matmul(a, b, **transposed)


def products(a: tuple[int, ...], b: tuple[int, ...], **transposed: bool) -> Any:
    """A product both ways, and its factors' shapes."""
    ways = (partial(multiply, **transposed) for multiply in (gradients.product, plain_product))
    return *ways, [a, b]


CASES = [
    products((LANES, EXAMPLES, 5), (LANES, 5, 2)),
    products((LANES, 5, EXAMPLES), (LANES, 5, 2), transpose_a=True),
    products((LANES, EXAMPLES, 5), (LANES, 2, 5), transpose_b=True),
    (
        lambda x, bias: gradients.biased(x, bias) ** 2,
        lambda x, bias: (x + bias[:, tf.newaxis]) ** 2,
        [(LANES, EXAMPLES, 5), (LANES, 5)],
    ),
    (
        lambda x: gradients.relu(x) ** 2,
        lambda x: tf.nn.relu(x) ** 2,
        [(LANES, EXAMPLES, 5)],
    ),
]
NAMES = ["product", "product of a transposed", "product with a transposed", "bias", "relu"]


@pytest.mark.parametrize("traced", [False, True], ids=["eager", "traced"])
@pytest.mark.parametrize(("ours", "theirs", "shapes"), CASES, ids=NAMES)
def test_gradients_of_both_orders_are_tensorflows(
    ours: Any, theirs: Any, shapes: list[tuple[int, ...]], traced: bool
) -> None:
    values = [drawn(*shape) for shape in shapes]
    derive = tf.function(derived, autograph=False) if traced else derived
    for own, other in zip(derive(ours, values), derived(theirs, values), strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-10, atol=1e-12)


def test_nothing_asks_how_shapes_broadcast() -> None:
    """Of any number of lanes, a layer's gradients of both orders hold products and sums alone."""

    def layer(x: Any, weight: Any, bias: Any) -> Any:
        return gradients.relu(gradients.biased(gradients.product(x, weight), bias))

    def slopes(x: Any, weight: Any, bias: Any) -> Any:
        with tf.GradientTape() as outer:
            outer.watch([weight, bias])
            with tf.GradientTape() as inner:
                inner.watch([weight, bias])
                result = layer(x, weight, bias)
            first = inner.gradient(result, [weight, bias])
            moved = [tf.add_n([old, new]) for old, new in zip([weight, bias], first, strict=True)]
            again = layer(x, *moved)
        return outer.gradient(again, [weight, bias])

    signature = [
        tf.TensorSpec(shape, tf.float32) for shape in [(None, 4, 5), (None, 5, 5), (None, 5)]
    ]
    traced = tf.function(slopes, autograph=False, input_signature=signature)
    kinds = {each.type for each in traced.get_concrete_function().graph.get_operations()}
    assert "BatchMatMulV2" in kinds
    assert "BroadcastGradientArgs" not in kinds
