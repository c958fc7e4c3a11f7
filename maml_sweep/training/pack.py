"""Packs: many trainings advanced together by one program.

A `Run` is one training from one seed, its state held in NumPy on the host, so that it can be
checkpointed, dropped or moved between two calls. A pack is just the list of runs a call is made
with: whoever leaves makes room for whoever comes, and a run's numbers do not depend on either.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import partial

import numpy as np

from maml_sweep import streams
from maml_sweep.tasks.base import Split
from maml_sweep.training.lanes import Lanes
from maml_sweep.training.memory import Limit
from maml_sweep.training.parts import Iterations, Judgement
from maml_sweep.training.program import Program
from maml_sweep.training.run import Run, start
from maml_sweep.training.stacking import arguments, arranged, stacked

__all__ = ["Run", "Tally", "Trainer", "start"]

SLICE_SECONDS = 0.5  # a call's length: how long an interruption or the display may have to wait


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


class Trainer:
    """Advances runs of one program in short calls.

    Args:
      program: shared by all runs.
      after_call: run after every call of the program; to show signs of life, say.
      slice_seconds: how long one call should last about.
      portion: of the device that it has; the others' calls take their time meanwhile.
    """

    def __init__(
        self,
        program: Program,
        after_call: Callable[[], None] = lambda: None,
        slice_seconds: float = SLICE_SECONDS,
        portion: float = 1.0,
    ) -> None:
        self.program = program
        self.after_call = after_call
        self.slice_seconds = slice_seconds
        self.portion = portion
        self._started = program.starting  # what is not this trainer's
        self._lane_rate = 0.0  # lane-iterations a second, of the last call
        self._called: set[str] = set()  # kinds of calls made before, hence traced
        self._training, self._judging = Limit(), Limit()
        self.tally = Tally()

    @property
    def most_lanes(self) -> float:
        """The most tasks that a training call may have; infinite while memory has sufficed."""
        return self._training.lanes

    @property
    def busy(self) -> float:
        """Seconds spent inside the program."""
        starting = self.program.starting - self._started
        return self.tally.training + self.tally.judging + starting

    def advance(self, runs: Sequence[Run], targets: Sequence[int]) -> Iterator[None]:
        """Trains each run up to its target iteration, yielding after every call.

        Between two calls the runs are whole: they may be stored, or the iterator dropped. What
        does not fit in memory at once is trained in parts.

        Raises:
          DoesNotFit: one run alone does not fit; every run is whole.
        """
        goals = {id(run): target for run, target in zip(runs, targets, strict=True)}
        while True:
            behind = [run for run in runs if run.active and run.iteration < goals[id(run)]]
            if not behind:
                return
            behind.sort(key=lambda run: -run.settings.inner_steps)
            remaining = min(goals[id(run)] - run.iteration for run in behind)
            count = min(remaining, self._slice(behind))
            self._training.each([Iterations(behind)], partial(self._train, count=count))
            yield

    def _slice(self, runs: Sequence[Run]) -> int:
        """Iterations that fit in a slice; a first call is short, for it also traces."""
        lanes = sum(run.settings.meta_batch_size for run in runs)
        return max(1, int(self._lane_rate * self.slice_seconds / lanes))

    def _train(self, part: Iterations, count: int) -> None:
        """Trains some runs by so many iterations; only a call that succeeds changes them."""
        begin, runs = time.perf_counter(), part.runs
        state, trials, lanes, _ = arguments(self.program, runs, count)
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
        self.tally.lane_steps += count * sum(map(_inner_steps, runs))
        self._charge(f"train {self._shape(lanes, len(runs))}", runs, elapsed)
        self._lane_rate = count * part.lanes / elapsed
        self.after_call()

    def _shape(self, lanes: Sequence[Lanes], places: int) -> str:
        """What XLA compiles a program for anew; nothing where it does not."""
        return f"{len(lanes[0].owner)} {places}" if self.program.compiled else ""

    def _charge(self, call: str, runs: Sequence[Run], elapsed: float) -> None:
        """Shares out a call's time; a first call's is the program's, not its runs'."""
        if call not in self._called:
            self._called.add(call)
            self.tally.tracing += elapsed
            return
        weights = [run.settings.meta_batch_size * max(1, run.settings.inner_steps) for run in runs]
        for run, weight in zip(runs, weights, strict=True):
            run.seconds += self.portion * elapsed * weight / sum(weights)

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

        Raises:
          DoesNotFit: one task of one run does not fit in memory.
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
        runs, steps = [runs[place] for place in order], steps[order]
        state, trials = stacked(self.program, runs, steps)
        key = streams.key("evaluation", split, seed)
        knobs = trials.knobs._replace(key=np.tile(key, (len(trials.iteration), 1)))
        scores = np.empty((2 * self.program.eval_bound + 1 if curve else 1, len(runs), tasks))

        def judge(part: Judgement) -> None:
            begin = time.perf_counter()
            lanes = self._judged_lanes(part, steps)
            found = self.program.scores(
                state.theta, knobs, lanes, split, curve=curve, measure=measure
            )
            for shard, values in zip(lanes, found, strict=True):
                real = shard.owner < len(runs)
                places = order[shard.owner[real]]
                scores[:, places, shard.task[real]] = np.atleast_2d(values)[:, real]
            elapsed = time.perf_counter() - begin
            self.tally.judging += elapsed
            kind = f"{split} {curve} {measure} {self._shape(lanes, len(runs))}"
            self._charge(kind, runs[part.low : part.high], elapsed)
            self.after_call()

        self._judging.each(self._blocks(runs, tasks), judge)
        return scores

    def _judged_lanes(self, part: Judgement, steps: np.ndarray) -> list[Lanes]:
        """Lanes of a part's tasks; its places are those among all that are judged."""
        counts = np.zeros(len(steps), np.int64)
        counts[part.low : part.high] = part.last - part.first
        lanes = arranged(self.program, steps, counts, self.program.eval_bound)
        return [shard._replace(task=shard.task + np.int32(part.first)) for shard in lanes]

    def _blocks(self, runs: Sequence[Run], tasks: int) -> list[Judgement]:
        """Ranges of tasks of no more memory than a training step takes.

        A judged lane needs less than half of a trained one's: no way back, nothing to keep for it.
        Where a kernel judges it is the examples alone, and fewer calls are quicker.
        """
        judged = 8 if self.program.kernels.mlp else 2  # in the room of a trained one
        lanes = judged * min(Iterations(runs).lanes, self._training.lanes)
        size = max(1, int(lanes // len(runs)))
        return [
            Judgement(runs, 0, len(runs), first, min(first + size, tasks))
            for first in range(0, tasks, size)
        ]


def _inner_steps(run: Run) -> int:
    """Inner steps of all its tasks in one meta-iteration."""
    return run.settings.inner_steps * run.settings.meta_batch_size
