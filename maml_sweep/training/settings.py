"""A trial's numbers, read from its configuration and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from maml_sweep.algorithms.base import Algorithm
from maml_sweep.checks import number, one_of, positive
from maml_sweep.training import optimizers
from maml_sweep.training.optimizers import Optimizer

# training.precision: the type of parameters, losses and updates, and that of a model's products
PRECISIONS = {
    "float32": ("float32", None),
    "float64": ("float64", None),
    "mixed_bfloat16": ("float32", "bfloat16"),
}


@dataclass(frozen=True)
class Settings:
    """What one trial trains with.

    Attributes:
      knobs: the algorithm's runtime numbers by name, such as the inner rate `inner_lr`.
      inner_steps: inner steps on the support set while training.
      optimizer: the meta-optimizer with its rate β.
      meta_batch_size: tasks a meta-iteration.
      eval_steps: inner steps when it is judged.
      rungs: when it is judged, in increasing order.
    """

    knobs: Mapping[str, float]
    inner_steps: int
    optimizer: Optimizer
    meta_batch_size: int
    eval_steps: int
    rungs: tuple[Rung, ...]

    @property
    def iterations(self) -> int:
        """Meta-iterations of the whole training."""
        return self.rungs[-1].iteration


@dataclass(frozen=True)
class Rung:
    """A moment of reporting.

    Attributes:
      step: what all trials of a study share at this rung: iterations, or with
        `training.budget=tasks` iterations of the reference meta-batch.
      iteration: the trial's own meta-iterations by then.
    """

    step: int
    iteration: int


def read(config: Any, algorithm: Algorithm) -> Settings:
    """Reads `training`, `optimizer` and the algorithm's knobs.

    Raises:
      InputError: a value out of range.
    """
    training = config.training
    batch = positive("training.meta_batch_size", training.meta_batch_size)
    number("training.max_loss", training.max_loss, above=0.0)
    one_of("training.precision", training.precision, tuple(PRECISIONS))
    positive("training.validation_tasks", training.validation_tasks)
    positive("training.test_tasks", training.test_tasks)
    steps = training.eval_steps if algorithm.inner_steps else None
    return Settings(
        knobs=algorithm.knobs,
        inner_steps=algorithm.inner_steps,
        optimizer=optimizers.build(config.optimizer, algorithm.schedule),
        meta_batch_size=batch,
        eval_steps=algorithm.inner_steps
        if steps is None
        else positive("training.eval_steps", steps),
        rungs=_rungs(training, batch),
    )


def _rungs(training: Any, batch: int) -> tuple[Rung, ...]:
    """A rung every `report_every` steps and one at the end."""
    total = positive("training.iterations", training.iterations)
    every = positive("training.report_every", training.report_every)
    budget = one_of("training.budget", training.budget, ("iterations", "tasks"))
    reference = positive("training.reference_meta_batch_size", training.reference_meta_batch_size)
    scale = reference / batch if budget == "tasks" else 1.0
    steps = [*range(every, total, every), total]
    return tuple(Rung(step, max(1, round(step * scale))) for step in steps)
