"""Reptile's direction by hand, its mini-batches, and what its lanes go by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numerics import (
    GivenRegression,
    adapted,
    knobs,
    meta_gradient,
    program,
    run_at,
    settings,
    train,
)

from maml_sweep import streams
from maml_sweep.algorithms import Knobs, Reptile
from maml_sweep.algorithms.reptile import mini_batch
from maml_sweep.backend import tf
from maml_sweep.errors import InputError
from maml_sweep.models import MLP, Linear
from maml_sweep.tasks import Examples
from maml_sweep.training.program import Program

pytestmark = pytest.mark.usefixtures("eager")


def normal_tasks(seed: int = 1) -> GivenRegression:
    """Two tasks of normal inputs and targets: four examples to learn from, six to be asked."""
    rng = np.random.default_rng(seed)
    support, query = ((rng.normal(size=(2, n, 2)), rng.normal(size=(2, n, 1))) for n in (4, 6))
    return GivenRegression(support, query)


def lanes_of(of: Program, theta: np.ndarray) -> tuple[list[Any], Any]:
    """Parameters and the two given episodes, a lane each."""
    episode = of.task.episodes("train", np.zeros((2, 2), np.uint32), tf.float64)
    return of.layout.split(tf.constant(np.tile(theta, (2, 1)))), episode


def joined(of: Program, inner: Any) -> np.ndarray:
    """Adapted parameters: float64 [lane, parameter]."""
    return np.asarray(of.layout.join(of.algorithm.weights(of.problem, inner, knobs(2, 0, 1))))


# -- the update ----------------------------------------------------------------------------------


def test_two_steps_by_hand() -> None:
    """Two weights, no bias, support inputs (1, 0) and (0, 1): the loss is |w - y|²/2, ∇ = w - y.

    Adam, β₁ = 0, β₂ = .999, α = .1, from w = (1, -2), with the targets y of the first task at 0:
      step 1: v = .001 ∇², unbiased ∇²; each weight moves by α sign ∇: w = (.9, -1.9)
      step 2: v = .999 (.001 ∇₁²) + .001 ∇₂², over 1 - .999² = .001999:
              (.999 · 1 + .81) / 1.999 = .904952, root .951290: w₁ = .9 - .1 · .9/.951290 = .805392
              (.999 · 4 + 3.61) / 1.999 = 3.804902, root 1.950616:
              w₂ = -1.9 + .1 · 1.9/1.950616 = -1.802595
    The second task's targets are w itself, so it stays at (1, -2). The outer step of SGD at rate 1
    goes onto the mean: (.902696, -1.901297). The query loss of the first, at inputs (1, 0) and
    (0, 1) and targets 0, is (.805392² + 1.802595²)/2 = 1.949002, of the second (1 + 4)/2 = 2.5.
    """
    x = np.tile(np.eye(2), (2, 1, 1))
    task = GivenRegression(
        (x, np.array([[[0.0], [0.0]], [[1.0], [-2.0]]])), (x, np.zeros((2, 2, 1)))
    )
    of = program(task, Linear((2,), 1), Reptile(0.1, 2, whole_episode=False), bound=2)
    (run,) = train(of, [run_at([1.0, -2.0], settings(0.1, 2))])
    np.testing.assert_allclose(run.theta, [0.902696, -1.901297], atol=1e-6)
    np.testing.assert_allclose(run.loss, (1.949002 + 2.5) / 2, atol=1e-6)


def test_the_direction_is_what_the_mean_of_the_adapted_weights_lacks() -> None:
    of = program(normal_tasks(), MLP((2,), 1, (3,)), Reptile(0.05, 3), bound=3)
    theta = of.init(np.array([[1, 2]], np.uint32))[0]
    params, episode = lanes_of(of, theta)
    whole = Examples(*(tf.concat(pair, 1) for pair in zip(*episode[:2], strict=True)))
    inner = adapted(of, params, whole, knobs(2, 0.05, 3))
    wanted = theta - joined(of, inner).mean(axis=0)
    np.testing.assert_allclose(meta_gradient(of, theta, settings(0.05, 3)), wanted, atol=1e-12)
    alone = program(of.task, of.problem.model, Reptile(0.05, 3, whole_episode=False), bound=3)
    inner = adapted(of, params, episode.support, knobs(2, 0.05, 3))
    wanted = theta - joined(of, inner).mean(axis=0)
    np.testing.assert_allclose(meta_gradient(alone, theta, settings(0.05, 3)), wanted, atol=1e-12)


@pytest.mark.parametrize("whole", [False, True])
def test_queries_count_in_training_only_and_only_if_told(whole: bool) -> None:
    given = normal_tasks()
    arrays = given.arrays
    moved = GivenRegression(arrays[:2], (arrays[2], arrays[3] + 1))
    of, other = (
        program(task, MLP((2,), 1, (3,)), Reptile(0.05, 2, whole_episode=whole), bound=2)
        for task in (given, moved)
    )
    theta = of.init(np.array([[1, 2]], np.uint32))[0]
    found, again = (meta_gradient(each, theta, settings(0.05, 2)) for each in (of, other))
    assert np.array_equal(found, again) != whole
    answers = []
    for each in (of, other):  # as an evaluation adapts
        params, episode = lanes_of(each, theta)
        inner = each.adapt(
            each.layout.join(params), episode.support, knobs(2, 0.05, 2), tf.constant(2)
        )
        answers.append(joined(each, inner))
    np.testing.assert_array_equal(answers[0], answers[1])


def test_many_steps_are_looped_over_alike() -> None:
    of = program(normal_tasks(), MLP((2,), 1, (3,)), Reptile(0.05, 20, batch=3), bound=20)
    params, episode = lanes_of(of, of.init(np.array([[1, 2]], np.uint32))[0])
    use = knobs(2, 0.05, 20)
    start = of.algorithm.start(of.problem, params, episode.support, use, training=True)
    looped = of.algorithm.follow(of.problem, start, use, [None] * 20)
    unrolled = of.algorithm.adapt(of.problem, start, use, [None] * 20)
    np.testing.assert_allclose(joined(of, looped), joined(of, unrolled), rtol=1e-12)


def test_a_lane_that_is_done_stays_where_it_is() -> None:
    of = program(normal_tasks(), MLP((2,), 1, (3,)), Reptile(0.05, 3, batch=3), bound=3)
    params, episode = lanes_of(of, of.init(np.array([[1, 2]], np.uint32))[0])
    ends = {}
    for steps in ([3, 3], [3, 1], [1, 1]):
        use: Knobs = knobs(2, 0.05, 3)._replace(steps=tf.constant(steps))
        start = of.algorithm.start(of.problem, params, episode.support, use, training=True)
        ends[tuple(steps)] = joined(of, of.algorithm.adapt(of.problem, start, use, [None] * 3))
    np.testing.assert_array_equal(ends[3, 1], [ends[3, 3][0], ends[1, 1][1]])
    assert not np.array_equal(ends[3, 3][1], ends[1, 1][1])


# -- mini-batches --------------------------------------------------------------------------------


def numbered(count: int) -> tuple[Examples, Any]:
    """Examples that are their own numbers, in two lanes, and the lanes' keys."""
    numbers = tf.tile(tf.range(count)[tf.newaxis], [2, 1])
    keys = tf.constant(np.stack([streams.key("lane", lane) for lane in range(2)]))
    return Examples(tf.cast(numbers, tf.float64)[..., tf.newaxis], numbers), keys


def drawn(count: int, size: int, batches: int) -> np.ndarray:
    """The numbers of the examples of so many mini-batches: int [batch, lane, size]."""
    examples, keys = numbered(count)
    return np.stack([mini_batch(examples, keys, index, size).y for index in range(batches)])


@pytest.mark.parametrize(("count", "size"), [(6, 3), (7, 3), (5, 4), (4, 1)])
def test_each_pass_takes_every_example_once_in_an_order_of_its_own(count: int, size: int) -> None:
    batches = drawn(count, size, 3 * count)
    passes = np.moveaxis(batches, 1, 0).reshape(2, 3 * size, count)
    np.testing.assert_array_equal(np.sort(passes), np.broadcast_to(np.arange(count), passes.shape))
    orders = {tuple(order) for lane in passes for order in lane}
    assert len(orders) > size


def test_a_mini_batch_is_a_pure_function_of_key_and_index() -> None:
    examples, keys = numbered(7)
    plain = mini_batch(examples, keys, 4, 3)
    traced = tf.function(lambda index: mini_batch(examples, keys, index, 3))(tf.constant(4))
    np.testing.assert_array_equal(plain.y, traced.y)
    np.testing.assert_array_equal(plain.x[..., 0], plain.y)  # examples keep their targets
    turned = mini_batch(examples, keys[::-1], 4, 3)
    np.testing.assert_array_equal(turned.y, plain.y[::-1])
    assert not np.array_equal(plain.y[0], plain.y[1])


@pytest.mark.parametrize("size", [6, 10])
def test_a_batch_no_smaller_than_the_set_is_the_set(size: int) -> None:
    examples, keys = numbered(6)
    assert mini_batch(examples, keys, 1, size) is examples


@pytest.mark.parametrize(
    ("arguments", "setting"),
    [
        ({"inner_lr": -1.0}, "algorithm.inner_lr=-1"),
        ({"inner_steps": 0}, "algorithm.inner_steps=0"),
        ({"batch": 0}, "algorithm.batch=0"),
    ],
)
def test_bad_settings_are_named(arguments: dict[str, Any], setting: str) -> None:
    with pytest.raises(InputError, match=setting):
        Reptile(**({"inner_lr": 0.1, "inner_steps": 1} | arguments))
