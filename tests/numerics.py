"""Small programs whose numbers can be worked out, for the numeric tests."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from maml_sweep import build, config, streams
from maml_sweep.algorithms import MAML, Algorithm, Inner, Knobs
from maml_sweep.backend import tf
from maml_sweep.models import MLP
from maml_sweep.models.base import Model
from maml_sweep.tasks import Classification, Episode, Examples, Regression, Sinusoid, Split, Task
from maml_sweep.training import devices, optimizers
from maml_sweep.training.optimizers import Optimizer
from maml_sweep.training.pack import Run, Trainer, start
from maml_sweep.training.program import Program
from maml_sweep.training.settings import Rung, Settings

# Threads are fixed once TensorFlow has run, hence at import: pytest imports before it tests.
devices.configure(SimpleNamespace(inter_op=2, intra_op=1, compile=None))


def optimizer(kind: str = "sgd", **changes: Any) -> Optimizer:
    """A meta-optimizer as the configuration would give it."""
    group = config.GROUPS["optimizer"][kind]
    return optimizers.build(OmegaConf.structured(group(**changes)))


def settings(
    inner_lr: float = 0.1,
    inner_steps: int = 1,
    *,
    batch: int = 2,
    rungs: Sequence[int] = (1,),
    inner_clip: float = math.inf,
    knobs: Mapping[str, float] | None = None,
    eval_steps: int | None = None,
    kind: str = "sgd",
    **changes: Any,
) -> Settings:
    """A trial's numbers; `changes` go to its meta-optimizer, whose rate is 1 if not said."""
    return Settings(
        knobs={"inner_lr": inner_lr, "inner_clip": inner_clip, **(knobs or {})},
        inner_steps=inner_steps,
        optimizer=optimizer(kind, **({"meta_lr": 1.0} | changes)),
        meta_batch_size=batch,
        eval_steps=eval_steps or inner_steps,
        rungs=tuple(Rung(step, step) for step in rungs),
    )


class _Given(Task):
    """The same episodes at every iteration: task k is the k-th of those given.

    Lanes come trial by trial, so it serves programs of one shard whose trials all have as many
    tasks as there are episodes.

    Args:
      support: x [task, example, *input_shape] and y.
      query: the same.
      outputs: width of the model's output.
    """

    def __init__(self, support: Any, query: Any, outputs: int = 1) -> None:
        self.arrays = [np.asarray(array) for array in (*support, *query)]
        self.input_shape = self.arrays[0].shape[2:]
        self.outputs = outputs

    def episodes(self, split: Split, keys: Any, dtype: Any) -> Episode:
        """The given episodes, once for each trial."""
        trials = tf.shape(keys)[0] // len(self.arrays[0])

        def tiled(array: np.ndarray) -> Any:
            kind = dtype if array.dtype.kind == "f" else tf.int32
            return tf.tile(tf.constant(array, kind), [trials, *[1] * (array.ndim - 1)])

        support_x, support_y, query_x, query_y = (tiled(array) for array in self.arrays)
        return Episode(Examples(support_x, support_y), Examples(query_x, query_y))


class GivenRegression(_Given, Regression):
    """Given episodes under the mean squared error."""


class GivenClassification(_Given, Classification):
    """Given episodes under cross-entropy."""

    @classmethod
    def of(cls, episodes: Sequence[Episode], ways: int) -> GivenClassification:
        """From episodes of one task each, without a lane axis."""
        support, query = (
            [np.stack(arrays) for arrays in zip(*parts, strict=True)]
            for parts in zip(*((one.support, one.query) for one in episodes), strict=True)
        )
        return cls(support, query, ways)


class Patterns(Classification):
    """Random images, one prototype a class with noise: a stand-in for glyphs that costs nothing."""

    input_shape = (6, 6, 1)

    def __init__(self, ways: int = 3, shots: int = 2) -> None:
        self.outputs, self.shots = ways, shots

    def episodes(self, split: Split, keys: Any, dtype: Any) -> Episode:
        """`shots` examples of each way to learn from, and as many to be asked."""
        count = 2 * self.shots
        draws = streams.uniform(keys, self.outputs * (1 + count) * 36, dtype, -1.0, 1.0)
        draws = tf.reshape(draws, [-1, 1 + count, self.outputs, *self.input_shape])
        x = draws[:, :1] + 0.3 * draws[:, 1:]
        y = tf.broadcast_to(tf.range(self.outputs), tf.shape(x)[:3])
        halves = [
            (x[:, : self.shots], y[:, : self.shots]),
            (x[:, self.shots :], y[:, self.shots :]),
        ]
        flat = (-1, self.shots * self.outputs)
        return Episode(
            *(Examples(tf.reshape(a, (*flat, 6, 6, 1)), tf.reshape(b, flat)) for a, b in halves)
        )


def program(
    task: Task, model: Model, algorithm: Algorithm | None = None, **options: Any
) -> Program:
    """A program in float64 of one step, unless said otherwise."""
    chosen: dict[str, Any] = {"precision": "float64", "bound": 1} | options
    return Program(task, build.problem(task, model), algorithm or MAML(0.1, 1), **chosen)


def sinusoid_program(widths: Sequence[int] = (8,), **options: Any) -> Program:
    """An MLP on sine waves of five shots."""
    return program(Sinusoid(5, 5), MLP((1,), 1, widths), **options)


def run_at(theta: Any, numbers: Settings, seed: int = 0) -> Run:
    """A run that starts from these parameters."""
    theta = np.array(theta)
    return Run(seed, numbers, theta, np.zeros_like(theta), np.zeros_like(theta))


def train(program: Program, runs: Sequence[Run], iterations: int = 1) -> list[Run]:
    """Advances runs by so many iterations each, as a pack."""
    trainer = Trainer(program)
    for _ in trainer.advance(runs, [run.iteration + iterations for run in runs]):
        pass
    return list(runs)


def started(program: Program, numbers: Settings, seed: int = 0) -> Run:
    """A run before its first iteration."""
    return start(program, numbers, seed)


def meta_gradient(program: Program, theta: Any, numbers: Settings) -> Any:
    """The meta-gradient [parameter]: one step of SGD at rate 1 subtracts it."""
    (run,) = train(program, [run_at(theta, numbers)])
    return np.subtract(theta, run.theta)


def meta_losses(program: Program, thetas: np.ndarray, numbers: Settings) -> np.ndarray:
    """The query loss after adaptation from each of `thetas` [place, parameter]: [place]."""
    runs = train(program, [run_at(theta, numbers) for theta in thetas])
    return np.array([run.loss for run in runs])


def central_differences(
    program: Program, theta: np.ndarray, numbers: Settings, step: float = 1e-5
) -> np.ndarray:
    """The meta-gradient by five-point differences, every point a place of one pack.

    Its error is step⁴ times the fifth derivative, and rounding over the step: about 1e-10.
    """
    shifts = step * np.eye(len(theta))
    thetas = np.concatenate([theta + factor * shifts for factor in (1, -1, 2, -2)])
    a, b, c, d = np.split(meta_losses(program, thetas, numbers), 4)
    differences: np.ndarray = (8 * (a - b) - (c - d)) / (12 * step)
    return differences


def check_meta_gradient(program: Program, theta: np.ndarray, numbers: Settings) -> None:
    """Asserts that the meta-gradient is right, as a whole and in every parameter's part."""
    found = meta_gradient(program, theta, numbers)
    wanted = central_differences(program, theta, numbers)
    assert relative(found, wanted) < 1e-8
    ends = np.cumsum(program.layout.sizes)[:-1]
    for part, reference in zip(np.split(found, ends), np.split(wanted, ends), strict=True):
        assert relative(part, reference) < 1e-7


def relative(found: Any, wanted: Any) -> float:
    """|found - wanted| / |wanted| in the Euclidean norm."""
    return float(np.linalg.norm(np.subtract(found, wanted)) / np.linalg.norm(wanted))


def knobs(lanes: int, inner_lr: float, inner_steps: int, **values: float) -> Knobs:
    """The same knobs for every lane, in float64; `values` are the algorithm's further ones."""
    numbers = {"inner_lr": inner_lr, "inner_clip": math.inf} | values
    return Knobs(
        steps=tf.fill([lanes], inner_steps),
        trained=tf.fill([lanes], inner_steps),
        progress=tf.zeros([lanes], tf.float64),
        key=tf.constant(np.stack([streams.key("inner", lane) for lane in range(lanes)])),
        values={name: tf.fill([lanes], tf.constant(x, tf.float64)) for name, x in numbers.items()},
    )


def adapted(of: Program, meta: Sequence[Any], support: Examples, use: Knobs) -> Inner:
    """Lanes after as many inner steps as the first one takes."""
    inner = of.algorithm.start(of.problem, meta, support, use, training=True)
    return of.algorithm.adapt(of.problem, inner, use, [None] * int(use.steps[0]))


def query_loss(of: Program, params: Sequence[Any], episode: Episode) -> Any:
    """The loss of the model's own parameters on the query sets: float [lane]."""
    outputs = of.problem.outputs(params, episode.support, episode.query.x)
    return of.problem.loss(outputs, episode.query.y)
