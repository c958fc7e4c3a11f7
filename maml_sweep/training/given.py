"""Examples that a user hands over, checked against what the task says."""

from __future__ import annotations

from typing import Any

import numpy as np

from maml_sweep.errors import InputError
from maml_sweep.tasks.base import Classification, Regression, Task


def examples(name: str, x: Any, task: Task, floats: Any) -> np.ndarray:
    """Returns `x` as floats [example, *input_shape].

    Args:
      name: of the argument, for messages.
      x: array-like numbers.
      task: says the shape of an example.
      floats: the float type to return.

    Raises:
      InputError: no example, a wrong shape, no numbers.
    """
    array = _numbers(name, x)
    shape = tuple(task.input_shape)
    if array.ndim != 1 + len(shape) or array.shape[1:] != shape:
        raise InputError(f"{name}: expected {described('example', *shape)}, got {got(array)}")
    if not len(array):
        raise InputError(f"{name}: expected at least one example, got none")
    return array.astype(floats)


def targets(name: str, y: Any, count: int, task: Task, floats: Any) -> np.ndarray:
    """Returns `y` as the targets of `count` examples that the task's loss takes.

    Returns:
      int32 [example] for classes, floats [example, outputs] for values; for a task that is
      neither, what was given.

    Raises:
      InputError: a wrong shape or type, or a label out of range.
    """
    array = _numbers(name, y)
    if isinstance(task, Classification):
        _check_shape(name, array, (count,))
        return _labels(name, array, task.outputs)
    if isinstance(task, Regression):
        _check_shape(name, array, (count, task.outputs))
        return array.astype(floats)
    _check_shape(name, array, (count, *array.shape[1:]))
    return array.astype(floats) if array.dtype.kind == "f" else array


def _labels(name: str, array: np.ndarray, ways: int) -> np.ndarray:
    wrong = array[(array < 0) | (array >= ways) | (array != np.floor(array))]
    if len(wrong) or array.dtype.kind == "f":
        what = f"{wrong[0]:g}" if len(wrong) else f"type {array.dtype}"
        raise InputError(f"{name}: expected integers from 0 to {ways - 1}, got {what}")
    return array.astype(np.int32)


def _check_shape(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise InputError(
            f"{name}: expected {described(*shape)} to go with x_support, got {got(array)}"
        )


def _numbers(name: str, values: Any) -> np.ndarray:
    try:
        array = np.asarray(values)
    except ValueError:
        raise InputError(f"{name}: expected an array of numbers, got ragged rows") from None
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name}: expected numbers, got type {array.dtype}")
    return array


def described(*extents: object) -> str:
    """A shape in words."""
    return f"shape [{', '.join(map(str, extents))}]"


def got(array: np.ndarray) -> str:
    """An array's type and shape in words."""
    return f"{array.dtype} of {described(*array.shape)}"
