"""The learnt optimizer: its network by hand, and truncated back-propagation by differences."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from numerics import (
    GivenRegression,
    Patterns,
    adapted,
    central_differences,
    check_meta_gradient,
    knobs,
    meta_gradient,
    program,
    relative,
    settings,
    started,
    train,
)

from maml_sweep.algorithms import Inner, Knobs, LearnedOptimizer
from maml_sweep.algorithms.learned_optimizer import preprocessed
from maml_sweep.algorithms.lstm import LSTM
from maml_sweep.backend import tf
from maml_sweep.errors import InputError
from maml_sweep.models import MLP, Conv4, Linear
from maml_sweep.tasks import Examples
from maml_sweep.training.program import Program

RATE, POWER = 0.5, 3.0

eager = pytest.mark.usefixtures("eager")


# -- by hand -------------------------------------------------------------------------------------


def test_preprocessing_at_both_branches() -> None:
    """With p = 2 the border is e^-2: log|g| / 2 above it, g e² below."""
    e = math.e
    slope = [1.0, -e, e**-1, 0.5 * e**-2, -0.1 * e**-2, 0.0]
    wanted = np.array([[0, 1], [0.5, -1], [-0.5, 1], [-1, 0.5], [-1, -0.1], [-1, 0]])
    found = preprocessed(tf.constant([slope], tf.float64), tf.constant([[2.0]], tf.float64))
    np.testing.assert_allclose(found[0], wanted, atol=1e-15)


def test_each_lane_has_its_own_power() -> None:
    """Of g = e^-2: p = 1 leaves it below the border, e^-2 e = e^-1; p = 4 makes it -2/4."""
    slope = tf.constant([[math.exp(-2)]] * 2, tf.float64)
    found = preprocessed(slope, tf.constant([[1.0], [4.0]], tf.float64))[:, 0]
    np.testing.assert_allclose(found, [[-1, math.exp(-1)], [-0.5, 1]], rtol=1e-12)


def test_gates_forget_bias_and_output() -> None:
    """One layer of one unit whose gates hang on biases alone.

    The input gate's bias log 3 gives 3/4, the forget gate's -1 with 1 added to it 1/2, the output
    gate's 0 gives 1/2, the candidate's atanh(1/2) gives 1/2. So it keeps c = 3/8, then
    3/16 + 3/8 = 9/16, puts out tanh(c) / 2 and answers 2 tanh(c) / 2 + 1.
    """
    network = LSTM(1, 1, layers=1)
    biases = [math.log(3), -1.0, 0.0, math.atanh(0.5)]
    weights = [np.zeros((1, 2, 4)), np.array([biases]), np.full((1, 1, 1), 2.0), np.ones((1, 1))]
    state = tf.zeros([1, 3, network.width], tf.float64)
    x = tf.constant(np.random.default_rng(0).normal(size=(1, 3, 1)))
    for kept in (3 / 8, 9 / 16):
        outputs, state = network([tf.constant(each) for each in weights], x, state)
        np.testing.assert_allclose(outputs[0, :, 0], np.tanh(kept) + 1, rtol=1e-15)
        np.testing.assert_allclose(state[0], [[np.tanh(kept) / 2, kept]] * 3, rtol=1e-15)


class Reference:
    """The optimizer on one lane's least squares, step by step in NumPy.

    f(θ) = |Xθ - y|² / n with ∇f = 2/n Xᵀ(Xθ - y); coordinates are rows.

    Args:
      shapes: of the optimizer's parameters.
      raw: whether it reads gradients as they are.
      support: X and y, which the slopes are taken of.
      outer: the same, of which the losses are.
    """

    def __init__(self, shapes: Sequence[Any], raw: bool, support: Any, outer: Any) -> None:
        self.shapes, self.raw = shapes, raw
        self.support, self.outer = support, outer

    def weights(self, theta: np.ndarray) -> list[np.ndarray]:
        ends = np.cumsum([math.prod(shape) for shape in self.shapes])[:-1]
        return [
            piece.reshape(shape)
            for piece, shape in zip(np.split(theta, ends), self.shapes, strict=True)
        ]

    def slope(self, row: np.ndarray) -> Any:
        x, y = self.support
        return 2 / len(y) * x.T @ (x @ row - y)

    def loss(self, row: np.ndarray) -> float:
        x, y = self.outer
        return float(np.mean((x @ row - y) ** 2))

    def inputs(self, slope: np.ndarray) -> np.ndarray:
        if self.raw:
            return slope[:, np.newaxis]
        pairs = [
            (math.log(abs(g)) / POWER, math.copysign(1, g))
            if abs(g) >= math.exp(-POWER)
            else (-1, math.exp(POWER) * g)
            for g in slope
        ]
        return np.array(pairs)

    def move(self, theta: np.ndarray, slope: np.ndarray, state: Any) -> tuple[Any, Any]:
        *layers, last, offset = self.weights(theta)
        x, after = self.inputs(slope), []
        for (h, kept), kernel, bias in zip(state, layers[::2], layers[1::2], strict=True):
            gates = np.concatenate([x, h], axis=1) @ kernel + bias
            i, f, o, g = np.split(gates, 4, axis=1)
            c = sigmoid(f + 1) * kept + sigmoid(i) * np.tanh(g)
            x = sigmoid(o) * np.tanh(c)
            after.append((x, c))
        return RATE * (x @ last + offset)[:, 0], after

    def run(
        self, theta: np.ndarray, row: Any, state: Any, slopes: Sequence[Any] | int
    ) -> tuple[list[float], np.ndarray, Any, list[Any]]:
        """Steps that read the slopes given, or their own if only told how many."""
        losses, read = [], []
        steps = slopes if isinstance(slopes, int) else len(slopes)
        for step in range(steps):
            read.append(self.slope(row) if isinstance(slopes, int) else slopes[step])
            move, state = self.move(theta, read[-1], state)
            row = row + move
            losses.append(self.loss(row))
        return losses, row, state, read

    def gradient(self, theta: np.ndarray, row: np.ndarray, steps: int, unroll: int) -> Any:
        """The mean loss, and the sum of its segments' own central differences.

        Each segment starts from where it starts at `theta`, and reads what it reads there.
        """
        hidden = self.shapes[-2][0]
        state = [(np.zeros((len(row), hidden)),) * 2] * 2
        losses: list[float] = []
        total = np.zeros_like(theta)
        for first in range(0, steps, unroll):
            start = row, state
            found, row, state, slopes = self.run(theta, *start, min(unroll, steps - first))
            losses += found
            segment = partial(self.segment, row=start[0], state=start[1], slopes=slopes)
            total += differences(segment, theta) / steps
        return np.mean(losses), total

    def segment(self, theta: np.ndarray, row: Any, state: Any, slopes: Sequence[Any]) -> float:
        """The sum of a segment's losses."""
        return sum(self.run(theta, row, state, slopes)[0])


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def differences(f: Callable[[np.ndarray], float], x: np.ndarray, step: float = 1e-4) -> np.ndarray:
    """Five-point central differences."""
    shifts = step * np.eye(len(x))
    return np.array(
        [(8 * (f(x + e) - f(x - e)) - (f(x + 2 * e) - f(x - 2 * e))) / (12 * step) for e in shifts]
    )


def quadratics(task: type[GivenRegression] = GivenRegression) -> GivenRegression:
    """Two tasks of three coordinates whose queries are others than their support."""
    rng = np.random.default_rng(1)
    support, query = ((rng.normal(size=(2, 4, 3)), rng.normal(size=(2, 4, 1))) for _ in range(2))
    return task(support, query)


def program_of(
    unroll: int = 20, bound: int = 5, task: Any = None, **changes: Any
) -> tuple[Program, LearnedOptimizer]:
    """A tiny optimizer of three coordinates, in float64."""
    task = task or quadratics()
    options = {"hidden": 2, "preprocess": POWER} | changes
    algorithm = LearnedOptimizer(RATE, bound, unroll, **options)
    return program(task, Linear((3,), 1, deviation=1.0), algorithm, bound=bound), algorithm


def point(of: Program) -> np.ndarray:
    """The LSTM's parameters, its biases away from zero."""
    theta: np.ndarray = of.init(np.array([[1, 2]], np.uint32))[0]
    return theta + 0.3 * np.random.default_rng(0).normal(size=len(theta))


def lanes_of(of: Program, theta: np.ndarray, steps: int) -> tuple[list[Any], Any, Knobs]:
    """The two tasks as lanes: parameters, episode and knobs."""
    episode = of.task.episodes("train", np.zeros((2, 2), np.uint32), tf.float64)
    meta = of.layout.split(tf.constant(np.tile(theta, (2, 1))))
    return meta, episode, knobs(2, RATE, steps, preprocess=POWER)


def reference(of: Program, algorithm: LearnedOptimizer, lane: int) -> Reference:
    """The same lane in NumPy."""
    task: Any = of.task
    x, y, u, v = (array[lane] for array in task.arrays)
    support, query = (x, y[:, 0]), (u, v[:, 0])
    outer = query if algorithm.outer == "query" else support
    return Reference(of.layout.shapes, not algorithm.preprocesses, support, outer)


def check_gradient(of: Program, algorithm: LearnedOptimizer, steps: Sequence[int]) -> None:
    """Asserts that gradient and loss of both lanes are the reference's."""
    theta = point(of)
    meta, episode, use = lanes_of(of, theta, max(steps))
    use = use._replace(steps=tf.constant(steps), trained=tf.constant(steps))
    weight = tf.constant([0.25, 2.0], tf.float64)
    live = [None] * of.bound
    found, losses = algorithm.gradient(of.problem, meta, episode, use, live, weight)
    gradients = np.asarray(of.layout.join(found))
    rows = of.problem.model.init(use.key, tf.float64)[0][:, :, 0].numpy()
    for lane in range(2):
        by_hand = reference(of, algorithm, lane)
        loss, wanted = by_hand.gradient(theta, rows[lane], steps[lane], algorithm.unroll)
        np.testing.assert_allclose(losses[lane], weight[lane] * loss, rtol=1e-12)
        assert relative(gradients[lane], weight[lane] * wanted) < 1e-9


@eager
@pytest.mark.parametrize("preprocess", [POWER, None])
def test_steps_by_hand(preprocess: float | None) -> None:
    of, algorithm = program_of(preprocess=preprocess)
    theta = point(of)
    meta, episode, use = lanes_of(of, theta, 3)
    rows = of.problem.model.init(use.key, tf.float64)[0][:, :, 0].numpy()
    inner = adapted(of, meta, episode.support, use)
    (found,) = algorithm.weights(of.problem, inner, use)
    for lane in range(2):
        state = [(np.zeros((3, 2)),) * 2] * 2
        _, wanted, _, _ = reference(of, algorithm, lane).run(theta, rows[lane], state, 3)
        np.testing.assert_allclose(found[lane, :, 0], wanted, rtol=1e-12)


# -- truncated back-propagation ------------------------------------------------------------------


@eager
@pytest.mark.parametrize(
    ("unroll", "outer"), [(1, "support"), (2, "support"), (8, "support"), (2, "query")]
)
def test_the_gradient_is_the_sum_of_the_segments_own(unroll: int, outer: str) -> None:
    """Five steps: in segments of two the last one has one; from five on there is one segment."""
    check_gradient(*program_of(unroll, outer=outer), (5, 5))


@eager
def test_lanes_of_different_lengths_and_raw_gradients() -> None:
    check_gradient(*program_of(2, preprocess=None), (5, 3))


def test_in_a_compiled_graph() -> None:
    """The same loops as TensorFlow runs them."""
    of, _ = program_of(2)
    theta, numbers = point(of), settings(RATE, 5, knobs={"preprocess": POWER})
    graph = meta_gradient(of, theta, numbers)
    tf.config.run_functions_eagerly(True)
    step_by_step = meta_gradient(of, theta, numbers)
    tf.config.run_functions_eagerly(False)
    np.testing.assert_allclose(graph, step_by_step, rtol=1e-10, atol=1e-14)


class Slopes(GivenRegression):
    """A loss that is linear in the outputs, so that its gradient is the same everywhere."""

    def loss(self, outputs: Any, y: Any) -> Any:
        """The mean of their products."""
        return tf.reduce_mean(outputs * y, axis=[1, 2])


@eager
def test_with_gradients_that_are_constants_nothing_is_dropped() -> None:
    """Then the whole run as one segment has the derivative of the loss it reports."""
    numbers = settings(RATE, 5, knobs={"preprocess": POWER})
    of, _ = program_of(5, task=quadratics(Slopes))
    check_meta_gradient(of, point(of), numbers)
    cut, _ = program_of(2, task=quadratics(Slopes))
    wanted = central_differences(cut, point(cut), numbers)
    assert relative(meta_gradient(cut, point(cut), numbers), wanted) > 1e-2


# -- coordinates, lanes and packs ----------------------------------------------------------------


def moved(of: Program, row: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """One lane's coordinates after three steps from `row`."""
    theta = point(of)
    meta = of.layout.split(tf.constant(theta[np.newaxis]))
    use = knobs(1, RATE, 3, preprocess=POWER)
    support = Examples(tf.constant(x[np.newaxis]), tf.constant(y[np.newaxis]))
    inner: Inner = of.algorithm.start(of.problem, meta, support, use, training=True)
    inner = inner._replace(fast=inner.fast._replace(row=tf.constant(row[np.newaxis])))
    found: np.ndarray = of.algorithm.loop(of.problem, inner, use, 3).fast.row[0].numpy()
    return found


@eager
def test_permuted_coordinates_have_permuted_updates() -> None:
    of, _ = program_of()
    rng = np.random.default_rng(2)
    row, x, y = rng.normal(size=3), rng.normal(size=(4, 3)), rng.normal(size=(4, 1))
    order = [2, 0, 1]
    found = moved(of, row[order], x[:, order], y)
    np.testing.assert_allclose(found, moved(of, row, x, y)[order], rtol=1e-12)


@eager
def test_coordinates_meet_in_the_loss_alone() -> None:
    """|θ - y|² is a sum over coordinates, so the others do not see where the first one starts."""
    of, _ = program_of()
    y, row = np.array([[1.0], [-2.0], [0.5]]), np.array([0.3, 0.2, -0.7])
    before = moved(of, row, np.eye(3), y)
    after = moved(of, row + np.array([5.0, 0, 0]), np.eye(3), y)
    np.testing.assert_array_equal(before[1:], after[1:])
    assert before[0] != after[0] - 5


def test_lanes_start_from_the_models_own_draws() -> None:
    of, algorithm = program_of()
    meta, episode, use = lanes_of(of, point(of), 0)
    start = algorithm.start(of.problem, meta, episode.support, use, training=False)
    first, second = start.fast.row.numpy()
    assert np.abs(first - second).max() > 0.1
    assert all(name.startswith("optimizer/") for name in of.layout.names)


@eager
def test_trials_of_different_lengths_in_one_program() -> None:
    """As alone in a program of their own length, of which segments of two are no divisor."""
    lengths = (5, 4, 1)
    of, _ = program_of(2)
    together = [
        started(of, settings(RATE, steps, knobs={"preprocess": POWER}, meta_lr=0.1), seed)
        for seed, steps in enumerate(lengths)
    ]
    train(of, together, 2)
    for seed, (steps, run) in enumerate(zip(lengths, together, strict=True)):
        own, _ = program_of(2, bound=steps)
        alone = started(own, run.settings, seed)
        train(own, [alone], 2)
        np.testing.assert_allclose(run.theta, alone.theta, rtol=1e-11)
        np.testing.assert_allclose(run.loss, alone.loss, rtol=1e-11)


def test_any_number_of_steps_by_a_loop() -> None:
    """Evaluation loops over as many steps as training takes, and ends where unrolled steps do."""
    count = 15
    of, algorithm = program_of(bound=count)
    meta, episode, use = lanes_of(of, point(of), count)
    start = algorithm.start(of.problem, meta, episode.support, use, training=False)
    live = [None] * count
    unrolled, looped = (
        how(of.problem, start, use, live).fast.row for how in (algorithm.adapt, algorithm.follow)
    )
    np.testing.assert_allclose(unrolled, looped, rtol=1e-12)


@eager
@pytest.mark.parametrize("model", [MLP((6, 6, 1), 3, (4,)), Conv4((6, 6, 1), 3, 2)])
def test_networks_are_trained_by_it(model: Any) -> None:
    """With norms and pooling, in float32."""
    algorithm = LearnedOptimizer(0.1, 4, 2, hidden=3)
    of = program(Patterns(), model, algorithm, bound=4, precision="float32")
    run = started(of, settings(0.1, 4, knobs=algorithm.knobs))
    before = run.theta
    train(of, [run])
    assert run.active
    assert 0 < relative(run.theta, before) < 1


@pytest.mark.parametrize(
    ("arguments", "setting"),
    [
        ({"inner_lr": -1.0}, "algorithm.inner_lr=-1"),
        ({"inner_steps": 0}, "algorithm.inner_steps=0"),
        ({"unroll": 0}, "algorithm.unroll=0"),
        ({"hidden": 0}, "algorithm.hidden=0"),
        ({"preprocess": 0.0}, "algorithm.preprocess=0"),
        ({"outer": "both"}, "algorithm.outer=both"),
    ],
)
def test_bad_settings_are_named(arguments: dict[str, Any], setting: str) -> None:
    with pytest.raises(InputError, match=setting):
        LearnedOptimizer(**arguments)
