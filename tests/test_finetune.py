"""Joint training and fine-tuning: the joint loss, the fresh head, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numerics import (
    GivenClassification,
    GivenRegression,
    adapted,
    check_meta_gradient,
    knobs,
    meta_gradient,
    program,
    settings,
)

from maml_sweep import build
from maml_sweep.algorithms import MAML, FineTune
from maml_sweep.backend import tf
from maml_sweep.errors import InputError
from maml_sweep.models import MLP, Conv4, gradients
from maml_sweep.models.base import Model
from maml_sweep.tasks import Episode, Split
from maml_sweep.training.program import Program

pytestmark = pytest.mark.usefixtures("eager")

LABELS = [0, 1, 2, 0, 1, 2], [0, 1, 2, 0, 1, 1]
CLASSES = np.array([[4, 0, 2], [3, 2, 1]])  # of five, behind each label of the two tasks


class OfFive(GivenClassification):
    """Given episodes whose labels stand for classes of a training split of five."""

    classes = 5

    def episodes(self, split: Split, keys: Any, dtype: Any) -> Episode:
        episode = super().episodes(split, keys, dtype)
        trials = tf.shape(keys)[0] // 2
        return episode._replace(classes=tf.tile(tf.constant(CLASSES, tf.int32), [trials, 1]))


def classification(shape: tuple[int, ...] = (2,), seed: int = 1) -> OfFive:
    """Two tasks of normal inputs in three of five classes."""
    rng = np.random.default_rng(seed)
    support, query = ((rng.normal(size=(2, 6, *shape)), np.array([y, y[::-1]])) for y in LABELS)
    return OfFive(support, query, 3)


def regression(seed: int = 1) -> GivenRegression:
    """Two tasks of normal inputs and targets."""
    rng = np.random.default_rng(seed)
    support, query = ((rng.normal(size=(2, n, 2)), rng.normal(size=(2, n, 1))) for n in (4, 6))
    return GivenRegression(support, query)


def point(of: Program) -> np.ndarray:
    """Parameters away from the zeros and ones that training starts with."""
    theta: np.ndarray = of.init(np.array([[1, 2]], np.uint32))[0]
    return theta + 0.1 * np.random.default_rng(0).normal(size=len(theta))


def lanes_of(of: Program, theta: np.ndarray) -> tuple[list[Any], Any]:
    """Parameters and the two given episodes, a lane each."""
    episode = of.task.episodes("train", np.zeros((2, 2), np.uint32), tf.float64)
    return of.layout.split(tf.constant(np.tile(theta, (2, 1)))), episode


def tuned(of: Program, theta: np.ndarray, rate: float, steps: int) -> list[np.ndarray]:
    """The adapted model's parameters, a lane each."""
    meta, episode = lanes_of(of, theta)
    use = knobs(2, rate, steps)
    inner = adapted(of, meta, episode.support, use)
    return [np.asarray(value) for value in of.algorithm.weights(of.problem, inner, use)]


# -- joint training ------------------------------------------------------------------------------


def softmax(logits: np.ndarray) -> np.ndarray:
    """Of the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def test_one_classifier_of_all_classes_is_softmax_regression() -> None:
    """Without a body ∇W = Xᵀ(softmax(XW + b) - onehot)/n on support and query, task by task."""
    task = classification()
    of = program(task, MLP((2,), 3, ()), FineTune(0.1, 1))
    assert of.layout.names == ["classifier/weight", "classifier/bias"]
    theta, (x, y, u, v) = point(of), task.arrays
    inputs, labels = np.concatenate([x, u], 1), np.concatenate([y, v], 1)
    wanted = np.zeros(len(theta))
    for k in range(2):
        excess = softmax(inputs[k] @ theta[:10].reshape(2, 5) + theta[10:])
        excess[np.arange(12), CLASSES[k][labels[k]]] -= 1
        gradient = np.concatenate([(inputs[k].T @ excess).ravel(), excess.sum(axis=0)]) / 12
        wanted += gradient / 2
    for rate in (0.0, 0.7):  # nothing adapts in training
        found = meta_gradient(of, theta, settings(rate, 1))
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-15)


def test_the_joint_gradient_of_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A norm after ReLU has dead channels and kinks everywhere; softplus has neither."""
    monkeypatch.setattr(gradients, "relu", tf.nn.softplus)
    of = program(classification((6, 6, 1)), Conv4((6, 6, 1), 3, 2, "stride"), FineTune(0.1, 1))
    check_meta_gradient(of, point(of), settings(0.1, 1))


def test_one_model_of_all_tasks_is_regression() -> None:
    """Without hidden layers ∇w = 2/n Xᵀ(Xw - y) on the ten examples of each task, of its mean."""
    task = regression()
    of = program(task, MLP((2,), 1, ()), FineTune(0.1, 1))
    theta, (x, y, u, v) = np.array([0.5, -1.0, 0.3]), task.arrays
    inputs, targets = np.concatenate([x, u], 1), np.concatenate([y, v], 1)[..., 0]
    inputs = np.concatenate([inputs, np.ones((2, 10, 1))], 2)
    wanted = sum(X.T @ (X @ theta - t) for X, t in zip(inputs, targets, strict=True)) / 10
    np.testing.assert_allclose(meta_gradient(of, theta, settings(0.3, 1)), wanted, rtol=1e-12)


# -- fine-tuning ---------------------------------------------------------------------------------


def test_a_fresh_head_takes_the_steps() -> None:
    """From zeros all three ways are equally likely: one step is -α Fᵀ(1/3 - onehot)/n."""
    task = classification()
    of = program(task, MLP((2,), 3, (4,), "tanh"), FineTune(0.1, 1))
    theta, (x, y) = point(of), task.arrays[:2]
    hidden, bias, head, head_bias = tuned(of, theta, 0.5, 1)
    np.testing.assert_array_equal(hidden, np.tile(theta[:8].reshape(2, 4), (2, 1, 1)))
    np.testing.assert_array_equal(bias, np.tile(theta[8:12], (2, 1)))
    features = np.tanh(x @ theta[:8].reshape(2, 4) + theta[8:12])
    excess = 1 / 3 - np.eye(3)[y]
    np.testing.assert_allclose(head, -0.5 * features.transpose(0, 2, 1) @ excess / 6, atol=1e-15)
    np.testing.assert_allclose(head_bias, -0.5 * excess.mean(axis=1), atol=1e-15)


def test_the_body_moves_where_all_adapts() -> None:
    """Under a head of zeros the body has no gradient, so it moves from the second step on."""
    task, model = classification(), MLP((2,), 3, (4,), "tanh")
    whole, head = (program(task, model, FineTune(0.1, 2, part)) for part in ("all", None))
    theta = point(whole)
    for once, alone in zip(tuned(whole, theta, 0.5, 1), tuned(head, theta, 0.5, 1), strict=True):
        np.testing.assert_allclose(once, alone, atol=1e-15)
    twice, alone = (tuned(of, theta, 0.5, 2)[0] for of in (whole, head))
    assert np.abs(twice - alone).min() > 0


@pytest.mark.parametrize("part", [None, "all", "head"])
def test_regression_adapts_as_maml_does(part: str | None) -> None:
    """All of the model unless told otherwise, from the jointly trained weights."""
    task, model = regression(), MLP((2,), 1, (4,))
    of = program(task, model, FineTune(0.1, 3, part))
    other = program(task, model, MAML(0.1, 3, adapts=part or "all"))
    theta = point(of)
    for found, wanted in zip(tuned(of, theta, 0.1, 3), tuned(other, theta, 0.1, 3), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_query_never_moves_the_adapted_weights() -> None:
    """Judged on other queries, a lane starts from the same weights: nothing is learnt from them."""
    given = classification()
    x, y, u, v = given.arrays
    model = MLP((2,), 3, (4,))
    of, other = (
        program(task, model, FineTune(0.1, 2, "all"))
        for task in (given, OfFive((x, y), (-u, v), 3))
    )
    theta = point(of)
    for value, reference in zip(tuned(of, theta, 0.1, 2), tuned(other, theta, 0.1, 2), strict=True):
        np.testing.assert_array_equal(value, reference)
    found, moved = (meta_gradient(each, theta, settings(0.1, 2)) for each in (of, other))
    assert not np.allclose(found, moved)  # joint training does learn from them


# -- refusals ------------------------------------------------------------------------------------


def test_classes_without_number_are_refused() -> None:
    arrays = classification().arrays
    model: Model = MLP((2,), 3, ())
    task = GivenClassification(arrays[:2], arrays[2:], 3)
    with pytest.raises(InputError, match="algorithm=finetune: it trains one classifier of all"):
        FineTune(0.1, 1).check(build.problem(task, model))
    FineTune(0.1, 1).check(build.problem(classification(), model))


@pytest.mark.parametrize(
    ("arguments", "setting"),
    [
        ({"inner_lr": -1.0}, "algorithm.inner_lr=-1"),
        ({"inner_steps": 0}, "algorithm.inner_steps=0"),
        ({"adapts": "body"}, "algorithm.adapts=body"),
    ],
)
def test_bad_settings_are_named(arguments: dict[str, Any], setting: str) -> None:
    with pytest.raises(InputError, match=setting):
        FineTune(**({"inner_lr": 0.1, "inner_steps": 1} | arguments))
