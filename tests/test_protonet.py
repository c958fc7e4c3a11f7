"""Prototypes against NumPy, their gradient against differences, and a program without steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numerics import (
    GivenClassification,
    GivenRegression,
    Patterns,
    check_meta_gradient,
    knobs,
    program,
    run_at,
    settings,
    started,
    train,
)

from maml_sweep import build
from maml_sweep.algorithms import ProtoNet
from maml_sweep.algorithms.protonet import prototype_head
from maml_sweep.backend import tf
from maml_sweep.errors import InputError
from maml_sweep.models import MLP, Conv4, Linear, gradients
from maml_sweep.models.base import Model
from maml_sweep.tasks import Task
from maml_sweep.training.pack import Trainer
from maml_sweep.training.program import Program

LABELS = [0, 1, 2, 0, 1, 2], [0, 1, 2, 0, 1, 1]


def classification(shape: tuple[int, ...] = (2,), seed: int = 1) -> GivenClassification:
    """Two tasks of normal inputs in three classes."""
    rng = np.random.default_rng(seed)
    support, query = ((rng.normal(size=(2, 6, *shape)), np.array([y, y[::-1]])) for y in LABELS)
    return GivenClassification(support, query, 3)


def prototypes(task: Task, model: Model, **options: Any) -> Program:
    """A program of prototypes: it has no inner step."""
    return program(task, model, ProtoNet(), bound=0, **options)


def point(of: Program) -> np.ndarray:
    """Parameters away from the zeros and ones that training starts with."""
    theta: np.ndarray = of.init(np.array([[1, 2]], np.uint32))[0]
    return theta + 0.1 * np.random.default_rng(0).normal(size=len(theta))


def test_by_hand() -> None:
    """Class 0 at (1, 0) and (3, 0): c = (2, 0); class 1 at (0, 1): weights 2c, biases -4 and -1."""
    features = tf.constant([[[1.0, 0.0], [0.0, 1.0], [3.0, 0.0]]])
    weight, bias = prototype_head(features, tf.constant([[0, 1, 0]]), 3)
    np.testing.assert_array_equal(weight[0, :, :2], [[4, 0], [0, 2]])
    np.testing.assert_array_equal(bias[0, :2], [-4, -1])
    assert bias[0, 2] < -1e8  # a class of no example


@pytest.mark.usefixtures("eager")
def test_outputs_are_distances_up_to_what_classes_share() -> None:
    """In NumPy: -|f - c|² differs from the outputs by the same for all classes of an example."""
    task, model = classification(), MLP((2,), 3, (4,), "tanh")
    of = prototypes(task, model)
    theta, (x, y, u, v) = point(of), task.arrays
    weight, bias = theta[:8].reshape(2, 4), theta[8:]
    support, query = np.tanh(x @ weight + bias), np.tanh(u @ weight + bias)
    centres = [[f[y[k] == way].mean(axis=0) for way in range(3)] for k, f in enumerate(support)]
    distances = np.square(query[:, :, np.newaxis] - np.array(centres)[:, np.newaxis]).sum(axis=3)

    episode = task.episodes("train", np.zeros((2, 2), np.uint32), tf.float64)
    meta, use = of.layout.split(tf.constant(np.tile(theta, (2, 1)))), knobs(2, 0.0, 0)
    inner = of.algorithm.start(of.problem, meta, episode.support, use, training=True)
    outputs = of.algorithm.predict(of.problem, inner, use, episode.query.x).numpy()

    shared = outputs + distances
    np.testing.assert_allclose(shared, np.broadcast_to(shared[..., :1], shared.shape), atol=1e-12)
    chances = np.exp(-distances) / np.exp(-distances).sum(axis=2, keepdims=True)
    entropy = -np.log(np.take_along_axis(chances, v[..., np.newaxis], 2)).mean()
    (run,) = train(of, [run_at(theta, settings(inner_steps=0))])
    np.testing.assert_allclose(run.loss, entropy, rtol=1e-12)


@pytest.mark.usefixtures("eager")
def test_the_gradient_of_dense_layers() -> None:
    of = prototypes(classification(), MLP((2,), 3, (5, 4), "gelu"))
    check_meta_gradient(of, point(of), settings(inner_steps=0))


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("norm", ["transductive", "support"])
def test_the_gradient_of_convolutions(norm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A norm after ReLU has dead channels and kinks everywhere; softplus has neither."""
    monkeypatch.setattr(gradients, "relu", tf.nn.softplus)
    of = prototypes(classification((6, 6, 1)), Conv4((6, 6, 1), 3, 2, "stride", norm))
    check_meta_gradient(of, point(of), settings(inner_steps=0))


@pytest.mark.parametrize("compiled", [False, True])
def test_a_program_without_inner_steps(compiled: bool) -> None:
    """It trains, is judged, and has a curve of the one point at which it is judged."""
    of = prototypes(Patterns(), MLP((6, 6, 1), 3, (8,)), precision="float32", compiled=compiled)
    numbers = settings(inner_steps=0, meta_lr=0.01)
    runs = train(of, [started(of, numbers, seed) for seed in (0, 1)], 3)
    trainer = Trainer(of)
    scores = trainer.evaluate(runs, "validation", 0, 4)
    curves = trainer.curves(runs, "validation", 0, 4)
    assert all(np.isfinite(run.loss) and run.iteration == 3 for run in runs)
    np.testing.assert_array_equal(np.concatenate(curves), scores)
    assert of.traces == 1


@pytest.mark.parametrize(
    ("task", "model", "words"),
    [
        (GivenRegression, MLP((2,), 1, (3,)), "ProtoNet serves classification tasks"),
        (GivenClassification, Linear((2,), 3), "Linear has not hidden layers"),
        (GivenClassification, MLP((2,), 3, ()), "MLP has not hidden layers"),
    ],
)
def test_refusals(task: Any, model: Model, words: str) -> None:
    x, y = np.zeros((1, 1, 2)), np.zeros((1, 1), np.int32)
    with pytest.raises(InputError, match=words):
        ProtoNet().check(build.problem(task((x, y), (x, y)), model))
