"""Logistic regression worked by hand, which our MAML passes and the mistakes of tutorials fail."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numerics import GivenClassification, meta_losses, program, run_at, settings, train

from maml_sweep.backend import tf
from maml_sweep.models import MLP
from maml_sweep.tasks import Episode, Examples

pytestmark = pytest.mark.usefixtures("eager")

MetaStep = Callable[[np.ndarray, list[Episode], float, float], np.ndarray]


def logistic_episodes() -> list[Episode]:
    """Support x=1 in class 1, query x=2 in class 0; and support x=1 in class 0, the same query."""

    def one(x: float, y: int) -> Examples:
        return Examples(np.array([[x]]), np.array([y]))

    return [Episode(one(1.0, 1), one(2.0, 0)), Episode(one(1.0, 0), one(2.0, 0))]


def check_logistic(meta_step: MetaStep, order: tuple[int, ...] = (0, 1)) -> None:
    """Logistic regression in two classes, α = 1, from weights w = (0, 0) and biases b = (0, 0).

    Logits are w x + b, p = softmax, L = -log p_y, so ∂L/∂w = x (p - e_y) and ∂L/∂b = p - e_y.

    Task 1. Support x = 1, y = 1 at p = (½, ½): ∂L/∂w = ∂L/∂b = (½, -½), hence
    w' = b' = (-½, ½). Query x = 2, y = 0: logits (-1.5, 1.5), p - e_0 = s (-1, 1) with
    s = σ(3), so the query gradient is s (-2, 2) in w and s (-1, 1) in b. The support Hessian
    couples classes by diag(p) - ppᵀ = ¼ [[1, -1], [-1, 1]] and inputs by (1, 1): applied to it,
    the sum over w and b is s (-3, 3), times the coupling s (-1.5, 1.5), in w and in b alike.
    (I - αH)∇L = s (-½, ½) in w and s (½, -½) in b: the bias moves against first-order MAML.

    Task 2. Support y = 0 gives w' = b' = (½, -½); query logits (1.5, -1.5), p - e_0 = r (-1, 1)
    with r = σ(-3) = 1 - s. The same Hessian: r (-½, ½) and r (½, -½).

    Mean over the tasks: (s + r)/2 = ½ times that: (-¼, ¼) in w, (¼, -¼) in b, without rounding.
    """
    episodes = logistic_episodes()
    theta = meta_step(np.zeros(4), [episodes[task] for task in order], 1.0, 0.4)
    np.testing.assert_allclose(theta, [0.1, -0.1, -0.1, 0.1], rtol=1e-12)


def ours(theta: np.ndarray, episodes: list[Episode], alpha: float, beta: float) -> np.ndarray:
    """A meta-iteration of the package."""
    of = program(GivenClassification.of(episodes, 2), MLP((1,), 2, ()))
    numbers = settings(alpha, 1, batch=len(episodes), meta_lr=beta)
    return train(of, [run_at(theta, numbers)])[0].theta


def cross_entropy(theta: Any, examples: Examples) -> Any:
    """Of the linear model with theta = (w0, w1, b0, b1)."""
    logits = examples.x * theta[:2] + theta[2:]
    return tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=examples.y, logits=logits)
    )


def without_softmax(theta: Any, examples: Examples) -> Any:
    """Takes the model's outputs for probabilities, as Keras's default from_logits=False does."""
    outputs = examples.x * theta[:2] + theta[2:]
    shares = tf.clip_by_value(outputs / tf.reduce_sum(outputs, 1, keepdims=True), 1e-7, 1 - 1e-7)
    return -tf.reduce_mean(tf.math.log(tf.gather(shares, examples.y, axis=1, batch_dims=1)))


def tutorial(
    theta: np.ndarray,
    episodes: list[Episode],
    alpha: float,
    beta: float,
    *,
    loss: Callable[[Any, Examples], Any] = cross_entropy,
    leak: bool = False,
    before: bool = False,
) -> Any:
    """MAML as tutorials write it, a loop over tasks, with their mistakes on request.

    Args:
      theta: parameters before the meta-iteration.
      episodes: its tasks.
      alpha: inner rate.
      beta: meta rate.
      loss: of one example set.
      leak: the next task starts from the weights that this one has adapted.
      before: the meta-gradient is that of the query loss before the inner update.
    """
    initial = tf.constant(theta)
    with tf.GradientTape() as outer:
        outer.watch(initial)
        weights, total = initial, 0.0
        for episode in episodes:
            with tf.GradientTape() as inner:
                inner.watch(weights)
                support = loss(weights, episode.support)
            adapted = weights - alpha * inner.gradient(support, weights)
            total += loss(weights if before else adapted, episode.query) / len(episodes)
            weights = adapted if leak else weights
    return np.subtract(theta, beta * outer.gradient(total, initial))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_logistic_regression_by_hand(order: tuple[int, ...]) -> None:
    check_logistic(ours, order)
    check_logistic(tutorial, order)


@pytest.mark.parametrize(
    "mistake",
    [{"leak": True}, {"before": True}, {"loss": without_softmax}],
    ids=["leak", "before", "no softmax"],
)
def test_the_mistakes_of_tutorials_fail(mistake: dict[str, Any]) -> None:
    def mistaken(*arguments: Any) -> Any:
        return tutorial(*arguments, **mistake)

    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check_logistic(mistaken)


def test_losses_are_means() -> None:
    """The logistic case's query losses are log(1 + e³) and log(1 + e⁻³)."""
    of = program(GivenClassification.of(logistic_episodes(), 2), MLP((1,), 2, ()))
    found = meta_losses(of, np.zeros((1, 4)), settings(1.0, 1))
    wanted = (math.log1p(math.exp(3)) + math.log1p(math.exp(-3))) / 2
    np.testing.assert_allclose(found, [wanted], rtol=1e-12)
