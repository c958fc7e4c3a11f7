"""Two given tasks of a few examples, parameters to look at them from, and a small normed model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numerics import GivenClassification, GivenRegression, run_at, train

from maml_sweep.backend import tf
from maml_sweep.models.base import Model, Parameter, Statistics
from maml_sweep.training.program import Program
from maml_sweep.training.settings import Settings

LABELS = [0, 1, 2, 0, 1, 2], [0, 1, 2, 0, 1, 1]


def regression(shape: tuple[int, ...] = (2,), outputs: int = 2, seed: int = 1) -> GivenRegression:
    """Two tasks of normal inputs and targets."""
    rng = np.random.default_rng(seed)
    support, query = (
        (rng.normal(size=(2, n, *shape)), rng.normal(size=(2, n, outputs))) for n in (4, 6)
    )
    return GivenRegression(support, query, outputs)


def classification(shape: tuple[int, ...] = (2,), seed: int = 1) -> GivenClassification:
    """Two tasks of normal inputs in three classes."""
    rng = np.random.default_rng(seed)
    support, query = ((rng.normal(size=(2, 6, *shape)), np.array([y, y[::-1]])) for y in LABELS)
    return GivenClassification(support, query, 3)


def given(support: Any, query: Any) -> GivenRegression:
    """One task of one output: x [example, input] and y [example] of each part."""
    (x, y), (u, v) = (
        (np.array(x, float)[np.newaxis], np.array(y, float)[np.newaxis, :, np.newaxis])
        for x, y in (support, query)
    )
    return GivenRegression((x, y), (u, v))


class Normed(Model):
    """One dense layer, a batch norm over examples, tanh and a head: the least model with a norm."""

    def __init__(
        self, input_shape: tuple[int, ...] = (2,), outputs: int = 3, width: int = 3
    ) -> None:
        (self.inputs,) = input_shape
        self.outputs, self.width = outputs, width

    @property
    def body(self) -> Sequence[Parameter]:
        """weight; scale, offset."""
        shape = (self.width,)
        return [
            Parameter("hidden/weight", (self.inputs, self.width), 1.0),
            Parameter("norm/scale", shape, mean=1.0, role="norm"),
            Parameter("norm/offset", shape, role="norm"),
        ]

    def features(
        self, params: Sequence[Any], x: Any, statistics: Statistics | None = None
    ) -> tuple[Any, Statistics]:
        """See `Model.features`; with statistics as that says, [lane, channels] each."""
        weight, scale, offset = params
        x = tf.matmul(x, weight)
        mean = tf.reduce_mean(x, axis=1)
        variance = tf.reduce_mean(tf.square(x - mean[:, tf.newaxis]), axis=1)
        found = [(mean, variance)]
        ((mean, variance),) = statistics or found
        y = (x - mean[:, tf.newaxis]) * (scale * tf.math.rsqrt(variance + 1e-3))[:, tf.newaxis]
        return tf.tanh(y + offset[:, tf.newaxis]), found


def point(of: Program, numbers: Settings | None = None, seed: int = 0) -> np.ndarray:
    """Parameters away from what training starts with, so that no two of a set agree."""
    knobs = [numbers.knobs] if numbers else None
    theta: np.ndarray = of.init(np.array([[1, 2]], np.uint32), knobs)[0]
    return theta + 0.05 * np.random.default_rng(seed).normal(size=len(theta))


def two_lanes(of: Program, theta: np.ndarray) -> tuple[list[Any], Any]:
    """Meta-parameters and the two given episodes, a lane each."""
    episode = of.task.episodes("train", np.zeros((2, 2), np.uint32), tf.float64)
    return of.layout.split(tf.constant(np.tile(theta, (2, 1)))), episode


def named_gradient(
    of: Program, theta: Any, numbers: Settings, iteration: int = 0
) -> dict[str, np.ndarray]:
    """The meta-gradient by parameter: what one step of SGD at rate 1 subtracts.

    Args:
      of: the program.
      theta: where, [parameter].
      numbers: of the trial.
      iteration: how many of its `rungs[-1]` iterations are over.
    """
    run = run_at(theta, numbers)
    run.iteration = iteration
    train(of, [run])
    return of.layout.named(np.subtract(theta, run.theta))
