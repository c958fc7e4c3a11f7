"""The meta-gradient through Keras models, against central differences and our own networks."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from numerics import (
    GivenClassification,
    check_meta_gradient,
    meta_gradient,
    meta_losses,
    program,
    relative,
    settings,
    started,
    train,
)

from maml_sweep import streams
from maml_sweep.backend import tf
from maml_sweep.models import Conv4, Keras
from maml_sweep.models.keras_adapter import generic, layers, library, moments, reading
from maml_sweep.models.keras_adapter.graph import Call, Pass, Way
from maml_sweep.models.keras_adapter.values import Value
from maml_sweep.training.program import Program

VECTORS = (3,)


def problem(name: str, shape: tuple[int, ...], bound: int = 3, **arguments: Any) -> Program:
    """Two tasks of two classes, one support and one query set each."""
    rng = np.random.default_rng(5)
    y = np.tile(np.arange(4) % 2, (2, 1))
    x = [rng.normal(size=(2, 4, *shape)) for _ in range(2)]
    task = GivenClassification((x[0], y), (x[1], y), 2)
    return program(task, Keras(shape, 2, f"keras_models.{name}", arguments), bound=bound)


def first(of: Program) -> np.ndarray:
    """First weights, moved so that nothing is zero."""
    theta = of.init(streams.key("weights", 1)[np.newaxis])[0]
    moved: np.ndarray = theta + 0.1 * np.sin(np.arange(1, len(theta) + 1))
    return moved


def misses(of: Program, steps: int) -> float:
    """How far the meta-gradient lies from central differences, along one direction."""
    theta, numbers, step = first(of), settings(0.1, steps), 1e-4
    way = np.cos(np.arange(len(theta)))
    places = np.stack([theta + factor * step * way for factor in (1, -1, 2, -2)])
    a, b, c, d = meta_losses(of, places, numbers)
    wanted = (8 * (a - b) - (c - d)) / (12 * step)
    return relative(meta_gradient(of, theta, numbers) @ way, wanted)


def one_by_one(call: Call, *, training: bool) -> Way:
    """`generic.lane_way` where nothing is traced: lane after lane, in Python."""
    constants = generic._constants(call.operation)
    variables = call.operation.trainable_variables

    def way(run: Pass, values: Sequence[Value]) -> list[Value]:
        x = values[0].apart
        found = []
        for lane in range(x.shape[0]):
            mapping = [(variable, run.of(variable)[lane]) for variable in variables]
            found += generic._called(call, mapping + constants, [x[lane]], training=training)
        return [Value(tf.stack(found))]

    return way


@pytest.mark.usefixtures("eager")
def test_norms_over_lanes() -> None:
    """All three, after one and three inner steps."""
    of = problem("all_norms", VECTORS)
    for steps in (1, 3):
        check_meta_gradient(of, first(of), settings(0.1, steps))


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("norm", ["batch", "layer", "group"])
def test_norms_as_keras_has_them_miss(norm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras's own layers, with `tf.nn.moments` under them or ours, after 1 and 3 inner steps."""
    for name in ("BatchNormalization", "LayerNormalization", "GroupNormalization"):
        monkeypatch.delitem(layers.HANDLERS, name)
    monkeypatch.setattr(generic, "lane_way", one_by_one)
    of = problem("normed", VECTORS, norm=norm)
    right = [misses(of, steps) for steps in (1, 3)]
    monkeypatch.setattr(reading, "exact_moments", nullcontext)
    wrong = [misses(of, steps) for steps in (1, 3)]
    assert max(right) < 1e-8
    assert min(wrong) > 1e-3


def test_norms_in_a_layer_of_the_users_own() -> None:
    """All three, and dropout, vectorised."""
    assert misses(problem("own_layer", VECTORS, bound=1), 1) < 1e-8


@pytest.mark.parametrize(("name", "shape"), [("lstm", (2, 2)), ("attention", (2, 4))])
def test_strangers_models(name: str, shape: tuple[int, ...]) -> None:
    """Exact, alone in a pack, traced once, and their loss falls as they train."""
    of = problem(name, shape, bound=1)
    assert misses(of, 1) < 1e-8  # as a whole: keys' biases have no gradient
    numbers = settings(0.1, 1, kind="adam", meta_lr=0.03, rungs=(30,))
    pair = train(of, [started(of, numbers, seed) for seed in (1, 2)], 1)
    early = [run.loss for run in pair]
    pair = train(of, pair, 29)
    (alone,) = train(of, [started(of, numbers, 2)], 30)
    np.testing.assert_allclose(pair[1].theta, alone.theta, rtol=1e-8)
    assert all(run.loss < 0.8 * loss for run, loss in zip(pair, early, strict=True))
    assert of.traces == 1


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("name", ["graph", "headless"])
def test_shared_layers_and_operations(name: str) -> None:
    of = problem(name, VECTORS, bound=1)
    check_meta_gradient(of, first(of), settings(0.3, 1))


@pytest.mark.usefixtures("eager")
def test_the_same_conv4() -> None:
    """As a Keras model and as ours, in both float types, from the same weights.

    Keras keeps a batch norm's scale and offset in the same places behind their kernel, and its
    epsilon is ours.
    """
    rng = np.random.default_rng(5)
    y = np.tile(np.arange(4) % 2, (2, 1))
    x = [rng.normal(size=(2, 4, 6, 6, 1)) for _ in range(2)]
    task = GivenClassification((x[0], y), (x[1], y), 2)
    keras = Keras((6, 6, 1), 2, "keras_models.conv4", {"filters": 3})
    for precision, most in (("float64", 1e-10), ("float32", 1e-4)):
        ours = program(task, Conv4((6, 6, 1), 2, 3), precision=precision)
        theirs = program(task, keras, precision=precision)
        theta = first(ours).astype(precision)
        wanted = meta_gradient(ours, theta, settings(0.1, 1))
        assert relative(meta_gradient(theirs, theta, settings(0.1, 1)), wanted) < most


# -- the moments themselves ------------------------------------------------------------------------


def test_moments() -> None:
    """The values of TensorFlow's, and the second derivative of x⁴-like sums that it lacks."""
    x = tf.constant(np.random.default_rng(0).normal(size=(3, 4, 2)))
    for axes, keepdims in (([0, 1], False), ([-1], True), ([1], False)):
        ours = moments.moments(x, axes, keepdims=keepdims)
        for found, wanted in zip(ours, tf.nn.moments(x, axes, keepdims=keepdims), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-12)
    half = moments.moments(tf.cast(x, tf.float16), [0])
    assert all(each.dtype == tf.float16 for each in half)


def test_moments_by_hand() -> None:
    """Of (a, b) the variance is (a - b)²/4, whose Hessian is [[1, -1], [-1, 1]]/2.

    TensorFlow's is [[1, 0], [0, 1]]: it takes the mean for a constant.
    """
    x = tf.constant([1.0, 4.0], tf.float64)

    def hessian(of: Any) -> Any:
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                variance = of(x, [0])[1]
            slope = inner.gradient(variance, x)
        return outer.jacobian(slope, x)

    np.testing.assert_allclose(hessian(moments.moments), [[0.5, -0.5], [-0.5, 0.5]])
    assert relative(hessian(tf.nn.moments), hessian(moments.moments)) > 0.5


def test_moments_are_put_back() -> None:
    """Once the last has left: within itself, after an error, from another thread."""
    original = tf.nn.moments
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with moments.exact_moments():
            entered.set()
            leave.wait()

    def fail() -> None:
        with moments.exact_moments(), moments.exact_moments():
            assert tf.nn.moments is moments.moments
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert tf.nn.moments is original
    thread = threading.Thread(target=other)
    thread.start()
    entered.wait()
    with moments.exact_moments():
        pass
    assert tf.nn.moments is moments.moments
    leave.set()
    thread.join()
    assert tf.nn.moments is original


def test_what_is_taken_from_inside_of_keras_and_tensorflow() -> None:
    """A version that moves one of these shows here."""
    ours, theirs = (inspect.signature(f).parameters for f in (moments.moments, tf.nn.moments))
    assert list(ours) == list(theirs)
    keras = library.keras
    inputs = keras.Input((3,), dtype="int32")
    words = keras.layers.Embedding(4, 2, mask_zero=True)(inputs)
    assert library.has_mask(words) and not library.has_mask(inputs)
    cell = keras.layers.Bidirectional(keras.layers.LSTM(2))
    kinds = {type(layer).__name__ for layer in library.sublayers(cell)}
    assert {"Bidirectional", "LSTM", "LSTMCell"} <= kinds
