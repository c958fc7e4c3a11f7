"""The meta-gradient: against differences, closed forms, and what must not matter to it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from fewshot import classification, point, regression, two_lanes
from numerics import (
    GivenClassification,
    GivenRegression,
    adapted,
    central_differences,
    check_meta_gradient,
    knobs,
    meta_gradient,
    meta_losses,
    program,
    query_loss,
    relative,
    settings,
)

from maml_sweep.algorithms import MAML
from maml_sweep.backend import tf
from maml_sweep.errors import InputError
from maml_sweep.models import MLP, Conv4, gradients, lanes
from maml_sweep.models.base import Model
from maml_sweep.tasks import Examples, Task
from maml_sweep.training.program import Program

pytestmark = pytest.mark.usefixtures("eager")

# -- against central differences -----------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
@pytest.mark.parametrize("task", [regression(), classification()], ids=["mse", "cross-entropy"])
def test_dense_layers(task: Task, activation: str, steps: int) -> None:
    model = MLP(task.input_shape, task.outputs, (5, 4), activation)
    of = program(task, model, bound=3)
    check_meta_gradient(of, point(of), settings(0.2, steps))


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("norm", ["transductive", "support"])
@pytest.mark.parametrize("downsample", ["stride", "max_pool"])
def test_convolution_norm_and_pooling(
    downsample: str, norm: str, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A norm after ReLU has dead channels and kinks everywhere; softplus has neither."""
    monkeypatch.setattr(gradients, "relu", tf.nn.softplus)
    task = classification((6, 6, 1))
    of = program(task, Conv4((6, 6, 1), 3, 2, downsample, norm), bound=3)
    check_meta_gradient(of, point(of), settings(0.1, steps))


def test_convolution_with_relu_and_squared_error() -> None:
    task = regression((4, 4, 2))
    of = program(task, Conv4((4, 4, 2), 2, 2, "stride"))
    check_meta_gradient(of, point(of, seed=6), settings(0.05, 1))


def moments_norm(x: Any, scale: Any, offset: Any, statistics: Any = None, *, fused: bool) -> Any:
    """`lanes.batch_norm` by TensorFlow's own moments."""
    mean, variance = tf.nn.moments(x, [0, 1, 2])
    y = (x - mean) * (tf.reshape(scale, [-1]) * tf.math.rsqrt(variance + lanes.EPSILON))
    return y + tf.reshape(offset, [-1]), (mean, variance)


def test_moments_of_tensorflow_would_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same norm by tf.nn.moments: right first derivatives, a wrong meta-gradient."""
    monkeypatch.setattr(gradients, "relu", tf.nn.softplus)
    task, model = classification((6, 6, 1)), Conv4((6, 6, 1), 3, 2, "stride")
    second = program(task, model)
    first = program(task, model, MAML(0.1, 1, first_order=True))
    theta, numbers = point(second), settings(0.1, 1)
    right = [meta_gradient(of, theta, numbers) for of in (first, second)]
    loss = meta_losses(second, theta[np.newaxis], numbers)

    monkeypatch.setattr(lanes, "batch_norm", moments_norm)

    np.testing.assert_allclose(meta_losses(second, theta[np.newaxis], numbers), loss, rtol=1e-12)
    np.testing.assert_allclose(meta_gradient(first, theta, numbers), right[0], atol=1e-12)
    assert relative(meta_gradient(second, theta, numbers), right[1]) > 1e-3
    with pytest.raises(AssertionError):
        check_meta_gradient(second, theta, numbers)


# -- closed forms --------------------------------------------------------------------------------


class Linear:
    """Two tasks of linear least squares, worked out in NumPy.

    L(w) = |Xw - y|²/n has ∇L = 2/n Xᵀ(Xw - y) and H = 2/n XᵀX; X carries a column of ones for
    the bias, and w is (weight, bias) as `MLP` lays it out without hidden layers.
    """

    def __init__(self) -> None:
        self.task = regression((3,), 1)
        self.model = MLP((3,), 1, ())
        self.theta = np.array([0.5, -1.0, 0.3, 0.2])
        x, y, u, v = self.task.arrays
        ones = np.ones((2, 6, 1))
        self.support = np.concatenate([x, ones[:, :4]], 2), y[..., 0]
        self.query = np.concatenate([u, ones], 2), v[..., 0]

    def gradient(self, part: tuple[np.ndarray, np.ndarray], task: int, w: np.ndarray) -> Any:
        x, y = (array[task] for array in part)
        return 2 / len(y) * x.T @ (x @ w - y)

    def hessian(self, task: int) -> Any:
        x = self.support[0][task]
        return 2 / len(x) * x.T @ x

    def adapted(self, task: int, rate: float, steps: int) -> np.ndarray:
        w = self.theta
        for _ in range(steps):
            w = w - rate * self.gradient(self.support, task, w)
        return w

    def meta_gradient(self, rate: float, steps: int, *, first_order: bool = False) -> Any:
        """The mean over tasks of (I - αH)ᵏ ∇L_query at the adapted weights."""
        parts = []
        for task in range(2):
            factor = np.eye(4) - rate * self.hessian(task)
            back = np.eye(4) if first_order else np.linalg.matrix_power(factor, steps)
            w = self.adapted(task, rate, steps)
            parts.append(back @ self.gradient(self.query, task, w))
        return np.mean(parts, axis=0)


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_quadratic_loss(steps: int, first_order: bool) -> None:
    case = Linear()
    of = program(case.task, case.model, MAML(0.1, 1, first_order), bound=4)
    found = meta_gradient(of, case.theta, settings(0.1, steps))
    wanted = case.meta_gradient(0.1, steps, first_order=first_order)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def query_gradient(of: Program, params: list[Any], episode: Any) -> np.ndarray:
    """The plain gradient of the query loss at `params`, averaged over lanes."""
    with tf.GradientTape() as tape:
        tape.watch(params)
        loss = tf.reduce_mean(query_loss(of, params, episode))
    return np.concatenate(
        [np.asarray(tf.reduce_sum(g, axis=0)).ravel() for g in tape.gradient(loss, params)]
    )


@pytest.mark.parametrize("steps", [1, 3])
def test_first_order_is_the_query_gradient_at_the_adapted_weights(steps: int) -> None:
    task = classification()
    of = program(task, MLP((2,), 3, (5,), "tanh"), MAML(0.1, 1, first_order=True), bound=3)
    theta = point(of)
    params, episode = two_lanes(of, theta)
    for _ in range(steps):
        with tf.GradientTape() as tape:
            tape.watch(params)
            losses = of.problem.support_loss(params, episode.support)
        params = [p - 0.3 * g for p, g in zip(params, tape.gradient(losses, params), strict=True)]
    found = meta_gradient(of, theta, settings(0.3, steps))
    np.testing.assert_allclose(found, query_gradient(of, params, episode), rtol=1e-10, atol=1e-14)
    second = program(task, of.problem.model, bound=3)
    assert relative(meta_gradient(second, theta, settings(0.3, steps)), found) > 1e-2


def test_no_inner_rate_gives_the_joint_gradient() -> None:
    of = program(classification(), MLP((2,), 3, (5,)), bound=2)
    theta = point(of)
    found = meta_gradient(of, theta, settings(0.0, 2))
    np.testing.assert_allclose(found, query_gradient(of, *two_lanes(of, theta)), rtol=1e-12)


class MeanProduct(GivenRegression):
    """Loss mean(output * y): linear in the parameters of a linear model, so its Hessian is 0."""

    def loss(self, outputs: Any, y: Any) -> Any:
        return tf.reduce_mean(outputs * y, axis=[1, 2])


def test_without_curvature_first_order_is_second_order() -> None:
    arrays = regression((3,), 1).arrays
    task = MeanProduct(arrays[:2], arrays[2:])
    theta = np.array([0.5, -1.0, 0.3, 0.2])
    first, second = (
        meta_gradient(program(task, MLP((3,), 1, ()), MAML(1, 1, flag)), theta, settings())
        for flag in (True, False)
    )
    np.testing.assert_allclose(first, second, rtol=1e-13)


# -- what must not matter, and what must ---------------------------------------------------------


@pytest.mark.parametrize("model", [MLP((6, 6, 1), 3, (4,)), Conv4((6, 6, 1), 3, 2)])
def test_task_order_changes_nothing(model: Model) -> None:
    given = classification((6, 6, 1))
    backwards = [array[::-1] for array in given.arrays]
    turned = GivenClassification(backwards[:2], backwards[2:], 3)
    of, other = program(given, model), program(turned, model)
    theta = point(of)
    found, wanted = (meta_gradient(each, theta, settings()) for each in (of, other))
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("norm", ["transductive", "support"])
def test_query_data_never_moves_the_adapted_weights(norm: str) -> None:
    of = program(classification((6, 6, 1)), Conv4((6, 6, 1), 3, 2, norm=norm))
    params, episode = two_lanes(of, point(of))
    spoilt = episode._replace(query=Examples(episode.query.x * np.nan, 2 - episode.query.y))
    found, wanted = (
        adapted(of, params, each.support, knobs(2, 0.1, 2)).fast for each in (spoilt, episode)
    )
    for before, value, reference in zip(params, found, wanted, strict=True):
        np.testing.assert_array_equal(value, reference)
        assert not np.array_equal(value, before)


@pytest.mark.parametrize("norm", ["transductive", "support"])
def test_a_query_example_is_normalised_by_its_batch_or_by_the_support_set(norm: str) -> None:
    """With the support set's statistics its answer hangs on no other question."""
    of = program(classification((6, 6, 1)), Conv4((6, 6, 1), 3, 2, norm=norm))
    params, episode = two_lanes(of, point(of))
    outputs = of.problem.outputs(params, episode.support, episode.query.x)
    for part, moves in (("query", norm == "transductive"), ("support", norm == "support")):
        x = getattr(episode, part).x.numpy()
        x[:, 0] += 1  # the first example of that set; the others' answers are looked at
        changed = episode._replace(**{part: getattr(episode, part)._replace(x=tf.constant(x))})
        again = of.problem.outputs(params, changed.support, changed.query.x)
        moved = np.abs(again - outputs)[:, 1:].max()
        assert moved > 1e-3 if moves else moved == 0


# -- clipping and bad settings -------------------------------------------------------------------


def test_inner_clipping_bounds_each_lanes_step() -> None:
    """A step is α times the gradient, shortened to α times the bound where it is longer."""
    case = Linear()
    of = program(case.task, case.model, MAML(0.1, 1, inner_clip=1.0))
    params, episode = two_lanes(of, case.theta)
    gradients = np.stack([case.gradient(case.support, task, case.theta) for task in range(2)])
    norms = np.linalg.norm(gradients, axis=1)
    bound = norms.mean()  # above one lane's norm, below the other's
    use = knobs(2, 0.1, 1, inner_clip=bound)
    stepped = np.asarray(of.layout.join(adapted(of, params, episode.support, use).fast))
    shortened = gradients * np.minimum(1, bound / norms)[:, np.newaxis]
    np.testing.assert_allclose(stepped, case.theta - 0.1 * shortened, rtol=1e-12)


@pytest.mark.parametrize("clip", [0.05, 100.0])
def test_the_meta_gradient_goes_through_inner_clipping(clip: float) -> None:
    task = classification()
    of = program(task, MLP((2,), 3, (4,), "tanh"), MAML(0.1, 1, inner_clip=1.0), bound=3)
    numbers = settings(0.3, 3, knobs={"inner_clip": clip})
    check_meta_gradient(of, point(of), numbers)
    free = meta_gradient(program(task, of.problem.model, bound=3), point(of), settings(0.3, 3))
    difference = relative(meta_gradient(of, point(of), numbers), free)
    assert difference < 1e-12 if clip == 100.0 else difference > 1e-2


def test_clipping_survives_a_gradient_of_zero() -> None:
    """Targets that the model meets already: the norm's square root must not give NaN."""
    x = np.ones((1, 2, 1))
    of = program(
        GivenRegression((x, 0 * x), (x, x)), MLP((1,), 1, ()), MAML(0.1, 1, inner_clip=1.0)
    )
    found = meta_gradient(of, np.zeros(2), settings(batch=1, knobs={"inner_clip": 1.0}))
    # ∇L_query = (-2, -2), H = 2 [[1, 1], [1, 1]]: (I - 0.1 H)∇L = -2 + 0.8
    np.testing.assert_allclose(found, [-1.2, -1.2], rtol=1e-12)


@pytest.mark.parametrize("bound", [0.01, 1e6])
def test_outer_clipping(bound: float) -> None:
    case = Linear()
    of = program(case.task, case.model)
    whole = case.meta_gradient(0.1, 1)
    found = meta_gradient(of, case.theta, settings(0.1, 1, clip=bound))
    wanted = whole * min(1, bound / np.linalg.norm(whole))
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "setting"),
    [
        ({"inner_lr": -1.0}, "algorithm.inner_lr=-1"),
        ({"inner_lr": math.nan}, "algorithm.inner_lr=nan"),
        ({"inner_steps": 0}, "algorithm.inner_steps=0"),
        ({"inner_clip": 0.0}, "algorithm.inner_clip=0"),
    ],
)
def test_bad_settings_are_named(arguments: dict[str, Any], setting: str) -> None:
    with pytest.raises(InputError, match=setting):
        MAML(**({"inner_lr": 0.1, "inner_steps": 1} | arguments))


def test_differences_find_a_wrong_gradient() -> None:
    """The check itself: first order in the place of second is told apart."""
    of = program(classification(), MLP((2,), 3, (4,), "tanh"), MAML(0.1, 1, first_order=True))
    wanted = central_differences(of, point(of), settings(0.5))
    assert relative(meta_gradient(of, point(of), settings(0.5)), wanted) > 1e-2
