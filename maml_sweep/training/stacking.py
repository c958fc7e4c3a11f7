"""Runs as the arrays of a program: a row a run, a lane a task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maml_sweep.algorithms.base import Knobs
from maml_sweep.backend import tf
from maml_sweep.training.lanes import Lanes, arrange, padded, rounded
from maml_sweep.training.optimizers import Coefficients, State
from maml_sweep.training.program import Program
from maml_sweep.training.run import Run
from maml_sweep.training.signatures import Trials

PLACE_UNIT = 8  # what numbers of places are rounded up to for XLA


def stacked(program: Program, runs: Sequence[Run], steps: np.ndarray) -> tuple[State, Trials]:
    """The runs' state and numbers, a row a run.

    Args:
      program: of the runs.
      runs: in decreasing order of steps.
      steps: inner steps each is to take, int32 [run].
    """
    floats = program.dtype.as_numpy_dtype
    state = State(*(np.stack([getattr(r, name) for r in runs]) for name in State._fields))
    columns = {
        name: [getattr(run.settings.optimizer, name) for run in runs]
        for name in Coefficients._fields[:-1]
    }
    columns["iterations"] = [run.settings.iterations for run in runs]
    coefficients = Coefficients(
        **{name: np.array(c, floats)[:, np.newaxis] for name, c in columns.items()}
    )
    iterations = np.array([run.iteration for run in runs], np.int32)
    trials = Trials(iterations, _knobs(program, runs, steps), coefficients)
    return _with_spares((state, trials)) if program.compiled else (state, trials)


def _knobs(program: Program, runs: Sequence[Run], steps: np.ndarray) -> Knobs:
    floats = program.dtype.as_numpy_dtype
    settings = [run.settings for run in runs]
    over = [run.iteration / run.settings.iterations for run in runs]
    return Knobs(
        steps=steps,
        trained=np.array([s.inner_steps for s in settings], np.int32),
        progress=np.array(over, floats),
        key=np.stack([run.key for run in runs]),
        values={
            name: np.array([s.knobs[name] for s in settings], floats)
            for name in program.algorithm.knobs
        },
    )


def _with_spares(given: tuple[State, Trials]) -> tuple[State, Trials]:
    """Repeats the last place for padding lanes to belong to, where XLA compiles."""
    count = len(given[1].iteration)
    size = -(-(count + 1) // PLACE_UNIT) * PLACE_UNIT
    places = np.minimum(np.arange(size), count - 1)
    spared: tuple[State, Trials] = tf.nest.map_structure(lambda part: part[places], given)
    return spared


def arranged(program: Program, steps: np.ndarray, tasks: np.ndarray, bound: int) -> list[Lanes]:
    """Lanes of all tasks; where XLA compiles every shape anew, of few different numbers.

    Args:
      program: says into how many shards.
      steps: inner steps, int32 [run], in decreasing order.
      tasks: int [run].
      bound: the number of unrolled inner steps.
    """
    lanes = arrange(steps, tasks, bound, program.shards)
    if program.compiled:
        lanes = [padded(shard, rounded(len(shard.owner)), len(tasks)) for shard in lanes]
    return lanes


def arguments(
    program: Program, runs: Sequence[Run], count: int
) -> tuple[State, Trials, list[Lanes], int]:
    """What `Program.train` takes to advance runs by so many meta-iterations.

    Args:
      program: of the runs.
      runs: in decreasing order of inner steps.
      count: of meta-iterations.
    """
    steps = np.array([run.settings.inner_steps for run in runs], dtype=np.int32)
    tasks = np.array([run.settings.meta_batch_size for run in runs], dtype=np.int32)
    state, trials = stacked(program, runs, steps)
    return state, trials, arranged(program, steps, tasks, program.bound), count
