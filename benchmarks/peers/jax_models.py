"""The workloads in JAX: networks, losses, tasks drawn inside the compiled program.

An episode is (x, y, query_x, query_y): of one task, or with a leading axis of tasks.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax, random

Weights = list[Any]
Episode = tuple[Any, Any, Any, Any]


class Sinusoid:
    """Waves a sin(x - p), 10 points to learn from and 10 to be judged on; an MLP 1-40-40-1.

    Args:
      width: units of a hidden layer.
    """

    tasks = 25
    inner_lr = 0.01
    meta_lr = 1e-3

    def __init__(self, width: int = 40) -> None:
        self.widths = (1, width, width, 1)

    def init(self, key: Any) -> Weights:
        """Fresh weights."""
        weights: Weights = []
        for inputs, outputs in pairwise(self.widths):
            key, own = random.split(key)
            weights += [random.normal(own, (inputs, outputs)) / math.sqrt(inputs)]
            weights += [jnp.zeros(outputs)]
        return weights

    def apply(self, weights: Weights, x: Any) -> Any:
        """The predictions [example, 1] at x [example, 1]."""
        x = jax.nn.relu(x @ weights[0] + weights[1])
        x = jax.nn.relu(x @ weights[2] + weights[3])
        return x @ weights[4] + weights[5]

    def loss(self, predicted: Any, y: Any) -> Any:
        """Mean squared error."""
        return jnp.mean((predicted - y) ** 2)

    def draw(self, key: Any, tasks: int) -> Episode:
        """New tasks."""
        unit = random.uniform(key, (tasks, 22, 1))
        amplitude, phase = 0.1 + 4.9 * unit[:, :1], math.pi * unit[:, 1:2]
        x = 10.0 * unit[:, 2:] - 5.0
        y = amplitude * jnp.sin(x - phase)
        return x[:, :10], y[:, :10], x[:, 10:], y[:, 10:]


class Images:
    """Five classes, one image of each to learn from and 15 to be judged on; Conv4.

    The images are noise: 50 classes of 20, drawn once; a constant of the program.

    Args:
      filters: of each block.
      queries: of each class.
      convolution: of `CONVOLUTIONS`.
    """

    tasks = 16
    inner_lr = 0.4
    meta_lr = 1e-3
    ways = 5

    def __init__(self, filters: int = 64, queries: int = 15, convolution: str = "lax") -> None:
        self.convolved = CONVOLUTIONS[convolution]
        self.filters = filters
        self.queries = queries
        self.pool = random.uniform(random.key(1), (50, 20, 28, 28, 1))

    def init(self, key: Any) -> Weights:
        """Fresh weights."""
        weights: Weights = []
        for inputs in (1, *[self.filters] * 3):
            key, own = random.split(key)
            kernel = random.normal(own, (3, 3, inputs, self.filters)) / math.sqrt(9 * inputs)
            weights += [kernel, jnp.ones(self.filters), jnp.zeros(self.filters)]
        head = random.normal(key, (self.filters, self.ways)) / math.sqrt(self.filters)
        return [*weights, head, jnp.zeros(self.ways)]

    def apply(self, weights: Weights, x: Any) -> Any:
        """The logits [example, 5] of images [example, 28, 28, 1]."""
        for block in range(4):
            kernel, scale, offset = weights[3 * block : 3 * block + 3]
            x = self.convolved(x, kernel)
            x = halved(jax.nn.relu(normed(x) * scale + offset))
        return x.reshape(x.shape[0], -1) @ weights[12] + weights[13]

    def loss(self, predicted: Any, y: Any) -> Any:
        """Cross-entropy."""
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(predicted), y[:, None], 1))

    def draw(self, key: Any, tasks: int) -> Episode:
        """New tasks: classes, and images of each, without repetition."""
        each = 1 + self.queries
        one, other = random.split(key)
        classes = jnp.argsort(random.uniform(one, (tasks, 50)))[:, : self.ways, None]
        drawn = jnp.argsort(random.uniform(other, (tasks, self.ways, 20)))[:, :, :each]
        x = self.pool[classes, drawn]  # [task, way, example, 28, 28, 1]
        y = jnp.broadcast_to(jnp.arange(self.ways)[None, :, None], (tasks, self.ways, each))

        def flat(some: Any) -> Any:  # [task, way * example, ...]
            return some.reshape(tasks, -1, *some.shape[3:])

        return flat(x[:, :, :1]), flat(y[:, :, :1]), flat(x[:, :, 1:]), flat(y[:, :, 1:])


def convolution(x: Any, kernel: Any) -> Any:
    """Of x [example, row, column, channel] by a kernel [3, 3, channel, filter], as JAX has it."""
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout)


def product(x: Any, kernel: Any) -> Any:
    """The same as one product of matrices: all nine shifted images side by side, by the kernel."""
    rows, columns = x.shape[1:3]
    wide = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifts = [wide[:, i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    return jnp.concatenate(shifts, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])


CONVOLUTIONS = {"lax": convolution, "product": product}


def normed(x: Any) -> Any:
    """Batch norm by the batch's own statistics, before scale and offset."""
    mean = x.mean((0, 1, 2))
    variance = jnp.mean((x - mean) ** 2, (0, 1, 2))
    return (x - mean) * lax.rsqrt(variance + 1e-5)


def halved(x: Any) -> Any:
    """Largest of each 2x2; reduce_window has no second derivative that is as fast as this one."""
    count, rows, columns, channels = x.shape
    x = x[:, : rows // 2 * 2, : columns // 2 * 2]
    return x.reshape(count, rows // 2, 2, columns // 2, 2, channels).max((2, 4))


def workload(name: str, queries: int, convolution: str) -> Any:
    """The workload of the command line; `queries` and `convolution` as in `Images`."""
    return Sinusoid() if name == "sinusoid" else Images(64, queries, convolution)
