"""A trained initialisation in use: adapt it to a few examples, then predict.

learner = maml_sweep.load("outputs/first/winners/26-0.npz")
predict = learner.adapt(x_support, y_support)
y = predict(x_query)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from maml_sweep import build, streams
from maml_sweep.algorithms import Inner, Knobs
from maml_sweep.backend import tf
from maml_sweep.checks import not_negative, one_of, positive
from maml_sweep.errors import InputError
from maml_sweep.tasks.base import SPLITS, Classification, Examples, Split, Task
from maml_sweep.training import given, weights
from maml_sweep.training.devices import Device
from maml_sweep.training.pack import Run, Trainer
from maml_sweep.training.weights import Meta

__all__ = ["Adapted", "Learner", "load"]


def load(path: str | Path) -> Learner:
    """Loads weights that `maml-sweep train` saved.

    Raises:
      InputError: no such file, a damaged or a newer one, or a task or model that cannot be built
        here (a class of your own must be importable).
    """
    return Learner(*weights.read(path), name=str(path))


class Learner:
    """A meta-learnt initialisation, with its model and its inner loop.

    Args:
      arrays: weights by name, each of its parameter's shape.
      meta: what they are.
      name: stands in messages.

    Attributes:
      weights: the same arrays, in the order of the model's layers.
      meta: the same.
      task: the distribution of tasks it was trained on.
      steps: inner steps it was judged with.

    Raises:
      InputError: the arrays are not those of the model.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], meta: Meta, name: str = "weights") -> None:
        config = OmegaConf.create(meta.config)
        parts = build.components(config)
        self._program = build.own_program(parts, config, Device())
        self._settings = parts.settings
        self._floats = self._program.dtype.as_numpy_dtype
        layout = self._program.layout
        _check(name, arrays, layout.names, layout.shapes, self._floats)
        self.weights = {parameter: arrays[parameter] for parameter in layout.names}
        self.meta = meta
        self.task = parts.task
        self.steps = parts.settings.eval_steps
        # Traced once for every shape they meet; the number of steps is no shape.
        self._adapt = tf.function(self._adapted, autograph=False)
        self._outputs = tf.function(self._predicted, autograph=False)

    def adapt(self, x_support: Any, y_support: Any, steps: int | None = None) -> Adapted:
        """Takes inner gradient steps on labelled examples of a new task.

        Args:
          x_support: [example, *task.input_shape].
          y_support: int [example] from 0 to ways - 1 (classes), or float [example, outputs].
          steps: how many, 0 for none; None: as many as it was judged with.

        Returns:
          `predict`, a function of query examples. With a transductive norm (conv4's default) an
          answer hangs on the whole set that is asked at once, as in the papers; with
          `model.norm=support` it does not.

        Raises:
          InputError: no example, a wrong shape or type, a label out of range.
        """
        count = self.steps if steps is None else not_negative("steps", steps)
        x = given.examples("x_support", x_support, self.task, self._floats)
        y = given.targets("y_support", y_support, len(x), self.task, self._floats)
        lane = tf.constant(x[np.newaxis])  # [1, example, *input_shape]
        theta = tf.constant(self._program.layout.row(self.weights)[np.newaxis])
        inner = self._adapt(theta, lane, tf.constant(y[np.newaxis]), tf.constant(count))
        params = self._program.algorithm.weights(self._program.problem, inner, self._knobs())
        names = [parameter.name for parameter in self._program.problem.model.parameters]
        arrays = [np.array(value[0]) for value in params]
        adapted = dict(zip(names, arrays, strict=True))
        return Adapted(self.task, adapted, partial(self._outputs, inner))

    def evaluate(self, split: Split = "test", tasks: int = 600, measure: str = "") -> np.ndarray:
        """The metric of each task of a meta-split after `steps` steps: float [task].

        The meta-test tasks are those of `maml-sweep train`, and so are the numbers.

        Args:
          split: train, validation or test.
          tasks: how many.
          measure: one of the task's further `measures` in place of its metric.

        Raises:
          InputError: no such split or measure, or no task.
        """
        one_of("split", split, SPLITS)
        if measure:
            one_of("measure", measure, tuple(self.task.measures))
        theta = self._program.layout.row(self.weights)
        run = Run(self.meta.seed, self._settings, theta, theta, theta)
        seed = int(self.meta.test["seed"])
        trainer, count = Trainer(self._program), positive("tasks", tasks)
        scores: np.ndarray = trainer.evaluate([run], split, seed, count, measure)[0]
        return scores

    def _adapted(self, theta: Any, x: Any, y: Any, steps: Any) -> Inner:
        """Traced: a lane adapted to examples [1, example, ...]; theta [1, parameter]."""
        return self._program.adapt(theta, Examples(x, y), self._knobs(), steps)

    def _predicted(self, inner: Inner, x: Any) -> Any:
        """Traced: outputs [1, example, outputs]."""
        of = self._program
        return of.algorithm.predict(of.problem, inner, self._knobs(), x)

    def _knobs(self) -> Knobs:
        """Those of the one lane; what an algorithm draws comes from a stream of its own."""
        settings, dtype = self._settings, self._program.dtype
        return Knobs(
            steps=tf.constant([self.steps]),
            trained=tf.constant([settings.inner_steps]),
            progress=tf.ones([1], dtype),
            key=tf.constant(streams.key("adapt", self.meta.seed)[np.newaxis]),
            values={name: tf.constant([x], dtype) for name, x in settings.knobs.items()},
        )


class Adapted:
    """A learner adapted to one task: call it with query examples.

    Attributes:
      weights: the adapted parameters by name.
    """

    def __init__(
        self, task: Task, weights: dict[str, np.ndarray], outputs: Callable[[Any], Any]
    ) -> None:
        self.weights = weights
        self._task = task
        self._outputs = outputs
        self._floats = next(iter(weights.values())).dtype

    def __call__(self, x_query: Any) -> np.ndarray:
        """The model's outputs: float [example, outputs], logits where there are classes.

        Raises:
          InputError: no example, or of a wrong shape or type.
        """
        x = given.examples("x_query", x_query, self._task, self._floats)
        outputs: np.ndarray = np.array(self._outputs(tf.constant(x[np.newaxis]))[0])
        return outputs

    def classes(self, x_query: Any) -> np.ndarray:
        """The likeliest class of each query example: int [example].

        Raises:
          InputError: as for a call, or the task has no classes.
        """
        if not isinstance(self._task, Classification):
            raise InputError("classes: the task has values, no classes; call predict(x_query)")
        classes: np.ndarray = np.argmax(self(x_query), axis=-1)
        return classes


def _check(
    name: str, arrays: Mapping[str, np.ndarray], names: list[str], shapes: list[Any], floats: Any
) -> None:
    """Raises InputError unless the arrays are the model's parameters."""
    kind = np.dtype(floats)
    for parameter, shape in zip(names, shapes, strict=True):
        array = arrays.get(parameter)
        if array is None or array.shape != tuple(shape) or array.dtype != kind:
            found = "nothing" if array is None else given.got(array)
            raise InputError(
                f"{name}: {parameter}: expected {kind} of {given.described(*shape)}, got {found}; "
                f"the file is damaged, or the model has changed since"
            )
