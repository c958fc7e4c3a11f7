"""What a Keras model's weights start from, as laws that a trial's seed draws from.

A trial's first weights must hang on its seed alone, so Keras's initialisers are not run: what they
draw from is read off them. The user's function is called twice, with two seeds. A weight that
comes out the same both times (zeros, ones, an LSTM's forget bias, pretrained or seeded weights)
starts there in every trial. Of the others, those whose initialiser is one of Keras's own start
from the same law (truncated normal, normal, uniform, orthogonal) with its mean and deviation; what
another initialiser makes is matched by a truncated normal of the mean and the deviation of the
two draws together.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from maml_sweep.backend import tf
from maml_sweep.models.base import Law
from maml_sweep.models.keras_adapter.library import keras


class Start(NamedTuple):
    """What a `Parameter` is told of its initial value."""

    deviation: float
    mean: float | np.ndarray
    law: Law


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Fixes what initialisers may draw from; Python's and NumPy's generators are put back.

    TensorFlow's seed cannot be read, so it stays.
    """
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  (the user's)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    tf.random.set_seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


@contextmanager
def recorded() -> Iterator[dict[int, Any]]:
    """Notes the initialiser of every weight that layers add meanwhile, by the weight's `id`."""
    found: dict[int, Any] = {}
    original = keras.Layer.add_weight

    def add_weight(
        self: Any, shape: Any = None, initializer: Any = None, *args: Any, **named: Any
    ) -> Any:
        variable = original(self, shape, initializer, *args, **named)
        found[id(variable)] = keras.initializers.get(initializer or "glorot_uniform")
        return variable

    keras.Layer.add_weight = add_weight
    try:
        yield found
    finally:
        keras.Layer.add_weight = original


def start(first: np.ndarray, second: np.ndarray, initializer: Any) -> Start:
    """What a weight starts from.

    Args:
      first: its value in one build.
      second: its value in another.
      initializer: Keras's, or None where it is not known.
    """
    if np.array_equal(first, second):
        return Start(0.0, np.asarray(first, np.float64), "truncated_normal")
    return _law(initializer, first.shape) or _matched(np.stack([first, second]))


def _matched(values: np.ndarray) -> Start:
    return Start(float(values.std()), float(values.mean()), "truncated_normal")


def _law(initializer: Any, shape: tuple[int, ...]) -> Start | None:
    """The law of one of Keras's own initialisers; None of any other."""
    own = keras.initializers
    scaling = isinstance(initializer, own.VarianceScaling)
    if scaling and type(initializer).__call__ is own.VarianceScaling.__call__:
        return Start(_scaled(initializer, shape), 0.0, _distribution(initializer))
    if type(initializer) is own.RandomNormal:
        return Start(initializer.stddev, initializer.mean, "normal")
    if type(initializer) is own.TruncatedNormal:
        # Keras gives the deviation before cutting, our draws have theirs after it.
        return Start(CUT * initializer.stddev, initializer.mean, "truncated_normal")
    if type(initializer) is own.RandomUniform:
        low, high = initializer.minval, initializer.maxval
        return Start((high - low) / math.sqrt(12), (low + high) / 2, "uniform")
    if type(initializer) is own.Orthogonal:
        longest = max(math.prod(shape[:-1]), shape[-1])
        return Start(initializer.gain / math.sqrt(longest), 0.0, "orthogonal")
    return None


CUT = 0.8796256610342398  # deviation of a standard normal cut at two deviations


def _distribution(initializer: Any) -> Law:
    laws: dict[str, Law] = {"uniform": "uniform", "untruncated_normal": "normal"}
    return laws.get(initializer.distribution, "truncated_normal")


def _scaled(initializer: Any, shape: tuple[int, ...]) -> float:
    """√(scale / fan), the deviation of Glorot's, He's and LeCun's initialisers."""
    fan_in, fan_out = _fans(initializer, shape)
    modes = {"fan_in": fan_in, "fan_out": fan_out}
    fan = modes.get(initializer.mode, (fan_in + fan_out) / 2)
    return math.sqrt(initializer.scale / max(1.0, fan))


def _fans(initializer: Any, shape: tuple[int, ...]) -> tuple[int, int]:
    """Inputs and outputs of a weight, as Keras counts them.

    Of an array of more than two axes all but the last two are a receptive field, unless the
    initialiser says which axes are which.
    """
    sides = [getattr(initializer, f"{side}_axes", None) for side in ("input", "output")]
    named = [math.prod(shape[axis] for axis in axes) for axes in sides if axes is not None]
    if len(named) == 2:
        return named[0], named[1]
    *field, inputs, outputs = shape if len(shape) > 1 else (*shape, *shape) or (1, 1)
    return inputs * math.prod(field), outputs * math.prod(field)
