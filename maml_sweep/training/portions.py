"""Lanes a few at a time, where what a network computes for all of them would outgrow the caches.

Small kernels want many lanes at once, large ones few: an image network's activations fill megabytes
a lane, and all that is done between two convolutions is to read and write them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from maml_sweep.algorithms import Problem
from maml_sweep.backend import tf
from maml_sweep.tasks.base import Task

BYTES = 32 * 2**20  # what the largest tensor of a portion has about
MANY = 64  # lanes that are worth no portions


def portion_size(task: Task, problem: Problem, dtype: Any) -> int | None:
    """How many lanes to work on at once, on a CPU; None: all that there are.

    By the largest tensor in the model's answers to one lane's queries, or among its parameters.
    """
    with tf.init_scope():
        bytes_a_lane = max(_sizes(task, problem, dtype), default=1) * dtype.size
    count = max(1, BYTES // bytes_a_lane)
    return None if count > MANY else int(count)


def _sizes(task: Task, problem: Problem, dtype: Any) -> list[int]:
    """Numbers in each tensor that has to do with one lane's queries, as far as they are known."""
    keys = tf.TensorSpec([None, 2], tf.uint32)
    draw = tf.function(lambda keys: tuple(task.episodes("train", keys, dtype)[:2]), autograph=False)
    drawn = draw.get_concrete_function(keys).structured_outputs
    support, query = tf.nest.map_structure(
        lambda x: tf.TensorSpec([1, *x.shape[1:]], x.dtype), drawn
    )
    shapes = [parameter.shape for parameter in problem.model.parameters]
    params = [tf.TensorSpec([1, *shape], dtype) for shape in shapes]
    answer = tf.function(problem.outputs, autograph=False)
    graph = answer.get_concrete_function(params, support, query.x).graph
    tensors = [tensor for operation in graph.get_operations() for tensor in operation.outputs]
    sizes = [tensor.shape.num_elements() for tensor in tensors]
    return [*map(math.prod, shapes), *(size for size in sizes if size)]


def in_portions(
    compute: Callable[..., Sequence[Any]],
    columns: Sequence[Any],
    live: Any,
    size: int,
    results: Sequence[Any],
) -> list[Any]:
    """`compute(*columns, live)` for at most `size` lanes at a time, one portion behind another.

    No gradient goes through it.

    Args:
      compute: of tensors with a leading lane axis and the counts `live` of a portion.
      columns: tensors [lane, ...].
      live: how many lanes take step 0, 1, …: int32 [step], as in `Lanes`.
      size: of a portion.
      results: what it returns, each a `tf.TensorSpec` [lane, ...].

    Returns:
      The results of all lanes.
    """
    count = tf.shape(columns[0])[0]
    portions = -(-count // size)

    def portion(index: Any, *arrays: Any) -> tuple[Any, ...]:
        first, last = index * count // portions, (index + 1) * count // portions
        part = [column[first:last] for column in columns]
        found = compute(*part, tf.clip_by_value(live - first, 1, last - first))
        written = [array.write(index, x) for array, x in zip(arrays, found, strict=True)]
        return index + 1, *written

    arrays = [
        tf.TensorArray(each.dtype, portions, infer_shape=False, element_shape=each.shape)
        for each in results
    ]
    loop = tf.while_loop(
        lambda index, *_: index < portions,
        portion,
        (tf.constant(0), *arrays),
        parallel_iterations=1,
    )
    return [
        tf.ensure_shape(array.concat(), each.shape)
        for array, each in zip(loop[1:], results, strict=True)
    ]
