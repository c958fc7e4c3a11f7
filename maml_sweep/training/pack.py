"""Packs: many trainings advanced together by one program.

A `Run` is one training from one seed, its state held in NumPy on the host, so that it can be
checkpointed, dropped or moved between two calls. A pack is just the list of runs a call is made
with: whoever leaves makes room for whoever comes, and a run's numbers do not depend on either.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, field

import numpy as np

from maml_sweep import streams
from maml_sweep.algorithms.base import Knobs
from maml_sweep.backend import tf
from maml_sweep.tasks.base import Split
from maml_sweep.training.lanes import Lanes, arrange, padded
from maml_sweep.training.optimizers import Coefficients, State
from maml_sweep.training.program import Program
from maml_sweep.training.settings import Settings
from maml_sweep.training.signatures import Trials

LANE_UNIT, PLACE_UNIT = 64, 8  # what numbers of lanes and places are rounded up to for XLA
SLICE_SECONDS = 0.5  # a call's length: how long an interruption or the display may have to wait


@dataclass
class Run:
    """One training from one seed.

    Attributes:
      seed: fixes its initial weights and its tasks.
      settings: its numbers.
      theta: parameters, float [parameter].
      moment1: the meta-optimizer's first moment, float [parameter].
      moment2: its second moment, float [parameter].
      iteration: completed meta-iterations.
      diverged: iterations completed when its loss went bad; None: it did not.
      loss: the last meta-training loss.
      seconds: its share of the time spent in programs.
    """

    seed: int
    settings: Settings
    theta: np.ndarray
    moment1: np.ndarray
    moment2: np.ndarray
    iteration: int = 0
    diverged: int | None = None
    loss: float = float("nan")
    seconds: float = 0.0
    key: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.key = streams.key("tasks", self.seed)

    @property
    def active(self) -> bool:
        """Whether it has not diverged."""
        return self.diverged is None


@dataclass
class Tally:
    """What a trainer has done so far.

    Attributes:
      training: seconds inside training calls.
      judging: seconds inside evaluation calls.
      tracing: as many of both as first calls took, which trace the program.
      iterations: meta-iterations of the program, whatever it trained at once.
      trial_iterations: the same, each times the runs it trained.
      lane_steps: inner steps of all runs' tasks, what the arithmetic grows with.
    """

    training: float = 0.0
    judging: float = 0.0
    tracing: float = 0.0
    iterations: int = 0
    trial_iterations: int = 0
    lane_steps: int = 0

    def since(self, before: Tally) -> Tally:
        """What came to it since an earlier copy."""
        then, now = astuple(before), astuple(self)
        return Tally(*(after - first for first, after in zip(then, now, strict=True)))


def start(program: Program, settings: Settings, seed: int) -> Run:
    """A run before its first iteration."""
    theta = program.init(streams.key("weights", seed)[np.newaxis], [settings.knobs])[0]
    return Run(seed, settings, theta, np.zeros_like(theta), np.zeros_like(theta))


class Trainer:
    """Advances runs of one program in short calls.

    Args:
      program: shared by all runs.
      after_call: run after every call of the program; to show signs of life, say.
      slice_seconds: how long one call should last about.
    """

    def __init__(
        self,
        program: Program,
        after_call: Callable[[], None] = lambda: None,
        slice_seconds: float = SLICE_SECONDS,
    ) -> None:
        self.program = program
        self.after_call = after_call
        self.slice_seconds = slice_seconds
        self._lane_rate = 0.0  # lane-iterations a second, of the last call
        self._called: set[str] = set()  # kinds of calls made before, hence traced
        self.tally = Tally()

    @property
    def busy(self) -> float:
        """Seconds spent inside the program."""
        return self.tally.training + self.tally.judging

    def advance(self, runs: Sequence[Run], targets: Sequence[int]) -> Iterator[None]:
        """Trains each run up to its target iteration, yielding after every call.

        Between two calls the runs are whole: they may be stored, or the iterator dropped.
        """
        goals = {id(run): target for run, target in zip(runs, targets, strict=True)}
        while True:
            behind = [run for run in runs if run.active and run.iteration < goals[id(run)]]
            if not behind:
                return
            behind.sort(key=lambda run: -run.settings.inner_steps)
            remaining = min(goals[id(run)] - run.iteration for run in behind)
            self._train(behind, min(remaining, self._slice(behind)))
            yield

    def _slice(self, runs: Sequence[Run]) -> int:
        """Iterations that fit in a slice; a first call is short, for it also traces."""
        lanes = sum(run.settings.meta_batch_size for run in runs)
        return max(1, int(self._lane_rate * self.slice_seconds / lanes))

    def _train(self, runs: Sequence[Run], count: int) -> None:
        begin = time.perf_counter()
        settings = [run.settings for run in runs]
        steps = np.array([s.inner_steps for s in settings], dtype=np.int32)
        tasks = np.array([s.meta_batch_size for s in settings], dtype=np.int32)
        lanes = self._arrange(steps, tasks, self.program.bound)
        state, trials = self._stack(runs, steps)
        state, progress = self.program.train(state, trials, lanes, count)
        for place, run in enumerate(runs):
            run.theta, run.moment1, run.moment2 = (values[place].copy() for values in state)
            run.loss = float(progress.loss[place])
            diverged = int(progress.diverged[place])
            run.diverged = None if diverged < 0 else diverged
            run.iteration = run.iteration + count if diverged < 0 else diverged
        elapsed = time.perf_counter() - begin
        self.tally.training += elapsed
        self.tally.iterations += count
        self.tally.trial_iterations += count * len(runs)
        self.tally.lane_steps += count * int((steps * tasks).sum())
        self._charge("train", runs, elapsed)
        self._lane_rate = count * int(tasks.sum()) / elapsed
        self.after_call()

    def _charge(self, call: str, runs: Sequence[Run], elapsed: float) -> None:
        """Shares out a call's time; a first call's is the program's, not its runs'."""
        if call not in self._called:
            self._called.add(call)
            self.tally.tracing += elapsed
            return
        weights = [run.settings.meta_batch_size * max(1, run.settings.inner_steps) for run in runs]
        for run, weight in zip(runs, weights, strict=True):
            run.seconds += elapsed * weight / sum(weights)

    def _stack(self, runs: Sequence[Run], steps: np.ndarray) -> tuple[State, Trials]:
        """The runs' state and numbers as the program's arrays, a row a run."""
        floats = self.program.dtype.as_numpy_dtype
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
        trials = Trials(iterations, self._knobs(runs, steps), coefficients)
        return self._with_spares((state, trials))

    def _knobs(self, runs: Sequence[Run], steps: np.ndarray) -> Knobs:
        floats = self.program.dtype.as_numpy_dtype
        settings = [run.settings for run in runs]
        over = [run.iteration / run.settings.iterations for run in runs]
        return Knobs(
            steps=steps,
            trained=np.array([s.inner_steps for s in settings], np.int32),
            progress=np.array(over, floats),
            key=np.stack([run.key for run in runs]),
            values={
                name: np.array([s.knobs[name] for s in settings], floats)
                for name in self.program.algorithm.knobs
            },
        )

    def _arrange(self, steps: np.ndarray, tasks: np.ndarray, bound: int) -> list[Lanes]:
        """Lanes of all tasks; where XLA compiles every shape anew, of few different numbers."""
        lanes = arrange(steps, tasks, bound, self.program.shards)
        if self.program.compiled:
            lanes = [padded(shard, LANE_UNIT, len(tasks)) for shard in lanes]
        return lanes

    def _with_spares(self, stacked: tuple[State, Trials]) -> tuple[State, Trials]:
        """Repeats the last place for padding lanes to belong to, where XLA compiles."""
        if not self.program.compiled:
            return stacked
        count = len(stacked[1].iteration)
        size = -(-(count + 1) // PLACE_UNIT) * PLACE_UNIT
        places = np.minimum(np.arange(size), count - 1)
        spared: tuple[State, Trials] = tf.nest.map_structure(lambda part: part[places], stacked)
        return spared

    # -- judging ------------------------------------------------------------------------------

    def evaluate(
        self, runs: Sequence[Run], split: Split, seed: int, tasks: int, measure: str = ""
    ) -> np.ndarray:
        """Each run's metric on a fixed set of tasks, after its own `eval_steps`.

        Args:
          runs: which to judge.
          split: where the tasks come from.
          seed: fixes the tasks, the same for every run.
          tasks: how many.
          measure: one of the task's further `measures` in place of its metric.

        Returns:
          float [run, task].
        """
        scores: np.ndarray = self._scores(runs, split, seed, tasks, False, measure)[0]
        return scores

    def curves(self, runs: Sequence[Run], split: Split, seed: int, tasks: int) -> list[np.ndarray]:
        """Each run's metric after 0 … 2S steps, S its own `eval_steps`: float [step, task]."""
        scores = self._scores(runs, split, seed, tasks, True)
        return [scores[: 2 * run.settings.eval_steps + 1, place] for place, run in enumerate(runs)]

    def _scores(
        self,
        runs: Sequence[Run],
        split: Split,
        seed: int,
        tasks: int,
        curve: bool,
        measure: str = "",
    ) -> np.ndarray:
        """Scores in blocks of tasks: [step (1 without curve), run, task]."""
        steps = np.array([run.settings.eval_steps for run in runs], np.int32)
        order = np.argsort(-steps, kind="stable")
        state, trials = self._stack([runs[place] for place in order], steps[order])
        key = streams.key("evaluation", split, seed)
        knobs = trials.knobs._replace(key=np.tile(key, (len(trials.iteration), 1)))
        scores = np.empty((2 * self.program.eval_bound + 1 if curve else 1, len(runs), tasks))
        for first, last in self._blocks(runs, tasks):
            begin = time.perf_counter()
            counts = np.full(len(runs), last - first)
            lanes = self._arrange(steps[order], counts, self.program.eval_bound)
            lanes = [shard._replace(task=shard.task + np.int32(first)) for shard in lanes]
            found = self.program.scores(
                state.theta, knobs, lanes, split, curve=curve, measure=measure
            )
            for shard, values in zip(lanes, found, strict=True):
                real = shard.owner < len(runs)
                places = order[shard.owner[real]]
                scores[:, places, shard.task[real]] = np.atleast_2d(values)[:, real]
            elapsed = time.perf_counter() - begin
            self.tally.judging += elapsed
            self._charge(f"{split} {curve} {measure}", runs, elapsed)
            self.after_call()
        return scores

    @staticmethod
    def _blocks(runs: Sequence[Run], tasks: int) -> list[tuple[int, int]]:
        """Ranges of tasks with no more lanes than a training step, hence no more memory."""
        lanes = sum(run.settings.meta_batch_size for run in runs)
        size = max(1, lanes // len(runs))
        return [(first, min(first + size, tasks)) for first in range(0, tasks, size)]
