"""The implicit meta-gradient: closed forms, conjugate gradients, and back-propagation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numerics import GivenRegression, adapted, knobs, meta_gradient, program, relative, settings

from maml_sweep.algorithms import IMAML
from maml_sweep.algorithms.conjugate import conjugate_gradients
from maml_sweep.backend import tf
from maml_sweep.errors import InputError
from maml_sweep.models import MLP, Linear
from maml_sweep.models.base import Model
from maml_sweep.training.program import Program
from maml_sweep.training.settings import Settings


def normal_tasks(seed: int = 1) -> GivenRegression:
    """Two tasks of normal inputs and targets."""
    rng = np.random.default_rng(seed)
    support, query = ((rng.normal(size=(2, n, 3)), rng.normal(size=(2, n, 1))) for n in (6, 4))
    return GivenRegression(support, query)


def point(of: Program) -> np.ndarray:
    """Parameters away from those that training starts with."""
    theta: np.ndarray = of.init(np.array([[1, 2]], np.uint32))[0]
    return theta + 0.3 * np.random.default_rng(0).normal(size=len(theta))


def numbers(rate: float, steps: int, strength: float = 2.0, **values: Any) -> Settings:
    """A trial's numbers, undamped unless said otherwise."""
    damping = values.pop("damping", 0.0)
    return settings(rate, steps, knobs={"regularization": strength, "damping": damping}, **values)


# -- closed forms --------------------------------------------------------------------------------


def two_weights(cg_steps: int = 2) -> Program:
    """Support inputs (1, 0) and (0, 2) with targets 1 and 4, query inputs (1, 0) and (0, 1)."""
    support = np.array([[[1.0, 0.0], [0.0, 2.0]]]), np.array([[[1.0], [4.0]]])
    query = np.eye(2)[np.newaxis], np.zeros((1, 2, 1))
    task = GivenRegression(support, query)
    return program(task, Linear((2,), 1), IMAML(0.2, 60, cg_steps=cg_steps), bound=60)


@pytest.mark.usefixtures("eager")
def test_by_hand() -> None:
    """L(w) = ((w₁ - 1)² + (2 w₂ - 4)²)/2 has ∇L = (w₁ - 1, 4 w₂ - 8) and H = diag(1, 4).

    With λ = 2 and θ = 0 the minimum of L + λ/2 |w|² is where w₁ - 1 + 2 w₁ = 0 and
    4 w₂ - 8 + 2 w₂ = 0: φ = (1/3, 4/3). The query loss (w₁² + w₂²)/2 has the gradient φ there, so
    (I + H/2)⁻¹ φ = (1/3 / 1.5, 4/3 / 3) = (2/9, 4/9). Steps of .2 shrink the distance to φ by
    1 - .2 · 3 = .4 and |1 - .2 · 6| = .2 each. With λ = 1: φ = (1/2, 8/5), and
    (1/2 / 2, 8/5 / 5) = (1/4, 8/25). Damping by 2 leaves φ and divides H by 4:
    (1/3 / 1.25, 4/3 / 2) = (4/15, 2/3).
    """
    of = two_weights()
    for strength, damping, wanted in (
        (2.0, 0.0, [2 / 9, 4 / 9]),
        (1.0, 0.0, [1 / 4, 8 / 25]),
        (2.0, 2.0, [4 / 15, 2 / 3]),
    ):
        use = numbers(0.2, 60, strength, damping=damping, batch=1)
        np.testing.assert_allclose(meta_gradient(of, np.zeros(2), use), wanted, rtol=1e-10)


@pytest.mark.usefixtures("eager")
def test_one_product_is_the_best_step_along_the_query_gradient() -> None:
    """B = φ = (1/3)(1, 4) and A = diag(1.5, 3): (b·b)/(b·Ab) b, 17/(1.5 + 48) = 34/99 of b."""
    found = meta_gradient(two_weights(cg_steps=1), np.zeros(2), numbers(0.2, 60, batch=1))
    np.testing.assert_allclose(found, np.array([1, 4]) / 3 * 34 / 99, rtol=1e-10)


class MeanProduct(GivenRegression):
    """Loss mean(output * y): linear in the parameters of a linear model, so its Hessian is 0."""

    def loss(self, outputs: Any, y: Any) -> Any:
        return tf.reduce_mean(outputs * y, axis=[1, 2])


@pytest.mark.usefixtures("eager")
def test_without_curvature_it_is_the_query_gradient() -> None:
    """∇L_query = mean(x y), whatever the weights: (1/2)((1, 0) · 3 + (0, 1) · 5) = (1.5, 2.5)."""
    x = np.eye(2)[np.newaxis]
    task = MeanProduct((x, np.array([[[1.0], [2.0]]])), (x, np.array([[[3.0], [5.0]]])))
    of = program(task, Linear((2,), 1), IMAML(0.2, 3), bound=3)
    found = meta_gradient(of, np.array([1.0, -1.0]), numbers(0.2, 3, batch=1))
    np.testing.assert_allclose(found, [1.5, 2.5])


# -- against back-propagation --------------------------------------------------------------------


def unrolled_gradient(of: Program, theta: np.ndarray, rate: float, steps: int) -> np.ndarray:
    """The meta-gradient back through all of its own inner steps, averaged over the two lanes."""
    episode = of.task.episodes("train", np.zeros((2, 2), np.uint32), tf.float64)
    meta = of.layout.split(tf.constant(np.tile(theta, (2, 1))))
    use = knobs(2, rate, steps, regularization=2.0)
    with tf.GradientTape() as tape:
        tape.watch(meta)
        inner = adapted(of, meta, episode.support, use)
        outputs = of.algorithm.predict(of.problem, inner, use, episode.query.x)
        loss = of.problem.loss(outputs, episode.query.y)
    mean: np.ndarray = np.asarray(of.layout.join(tape.gradient(loss, meta))).mean(axis=0)
    return mean


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("model", [MLP((3,), 1, ()), MLP((3,), 1, (3,), "tanh")])
def test_it_is_back_propagation_through_many_steps(model: Model) -> None:
    of = program(normal_tasks(), model, IMAML(0.2, 1, cg_steps=15), bound=40)
    theta, gaps = point(of), []
    for steps in (3, 10, 40):
        wanted = unrolled_gradient(of, theta, 0.2, steps)
        gaps.append(relative(meta_gradient(of, theta, numbers(0.2, steps)), wanted))
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[0] > 1e-2 and gaps[2] < 1e-6


def nodes(of: Program) -> int:
    """Operations of the traced meta-gradient, its loops' bodies included."""
    graph = of._shard_gradient.get_concrete_function().graph.as_graph_def()
    return len(graph.node) + sum(len(each.node_def) for each in graph.library.function)


def test_the_graph_keeps_nothing_of_a_step() -> None:
    sizes = [
        nodes(program(normal_tasks(), MLP((3,), 1, (3,)), IMAML(0.1, steps), bound=steps))
        for steps in (20, 200)
    ]
    assert sizes[0] == sizes[1]


# -- conjugate gradients -------------------------------------------------------------------------


def solved(matrices: np.ndarray, targets: np.ndarray, steps: int) -> np.ndarray:
    """`conjugate_gradients` of lanes whose unknowns are a pair and a single number."""

    def product(vectors: Any) -> Any:
        flat = tf.concat([vectors[0], vectors[1][:, tf.newaxis]], axis=1)
        image = tf.linalg.matvec(tf.constant(matrices), flat)
        return [image[:, :2], image[:, 2]]

    pair, single = conjugate_gradients(
        product, [tf.constant(targets[:, :2]), tf.constant(targets[:, 2])], steps
    )
    return np.concatenate([pair, single[:, tf.newaxis]], axis=1)


def definite(lanes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric positive definite matrices and right-hand sides."""
    rng = np.random.default_rng(3)
    roots = rng.normal(size=(lanes, 3, 3))
    return roots @ roots.transpose(0, 2, 1) + 0.1 * np.eye(3), rng.normal(size=(lanes, 3))


def test_exact_in_as_many_steps_as_unknowns() -> None:
    matrices, targets = definite()
    wanted = np.linalg.solve(matrices, targets[..., np.newaxis])[..., 0]
    assert relative(solved(matrices, targets, 2), wanted) > 1e-3
    np.testing.assert_allclose(solved(matrices, targets, 3), wanted, rtol=1e-8)
    np.testing.assert_allclose(solved(matrices, targets, 12), wanted, rtol=1e-8)


def test_a_lane_that_is_done_stays_and_leaves_the_others_alone() -> None:
    matrices, targets = definite()
    targets[1] = 0  # solved before the first step
    matrices[2] = 2 * np.eye(3)  # solved by the first
    found = solved(matrices, targets, 5)
    np.testing.assert_array_equal(found[1], 0)
    np.testing.assert_allclose(found[2], targets[2] / 2, rtol=1e-14)
    others = [0, 3]
    np.testing.assert_allclose(found[others], solved(matrices[others], targets[others], 5))


def test_a_matrix_that_is_not_positive_definite() -> None:
    """Curvature -1 along b at once: b itself. diag(1, 1, -1): the curvature shows along b or later.

    From b = (2, 0, 1): b·b = 5 and b·Ab = 3, so x = 5/3 b and r = b - 5/3 (2, 0, -1) =
    (-4, 0, 8)/3. The next direction r + (80/9/5) b = (20, 0, 40)/9 has curvature
    400/81 - 1600/81 < 0: x stays at 5/3 b.
    """
    matrices = np.stack([-np.eye(3), np.diag([1.0, 1.0, -1.0])])
    targets = np.array([[1.0, 2.0, 3.0], [2.0, 0.0, 1.0]])
    wanted = np.array([[1, 2, 3], [10 / 3, 0, 5 / 3]])
    np.testing.assert_allclose(solved(matrices, targets, 1), wanted)
    np.testing.assert_allclose(solved(matrices, targets, 6), wanted)


@pytest.mark.parametrize(
    ("arguments", "setting"),
    [
        ({"inner_lr": -1.0}, "algorithm.inner_lr=-1"),
        ({"inner_steps": 0}, "algorithm.inner_steps=0"),
        ({"regularization": 0.0}, "algorithm.regularization=0"),
        ({"cg_steps": 0}, "algorithm.cg_steps=0"),
        ({"damping": -1.0}, "algorithm.damping=-1"),
    ],
)
def test_bad_settings_are_named(arguments: dict[str, Any], setting: str) -> None:
    with pytest.raises(InputError, match=setting):
        IMAML(**({"inner_lr": 0.1, "inner_steps": 1} | arguments))
