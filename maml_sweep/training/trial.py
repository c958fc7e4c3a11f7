"""One trial: its runs, its rungs and its value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from maml_sweep import streams
from maml_sweep.training import pack
from maml_sweep.training.pack import Run, Trainer
from maml_sweep.training.program import Program
from maml_sweep.training.settings import Rung, Settings


@dataclass
class Trial:
    """One setting trained from one or more seeds at once.

    Attributes:
      seed: the trial's; its runs' seeds follow from it.
      settings: what it trains with.
      runs: one a repeat.
      values: the metric at each rung so far, averaged over tasks and runs.
      per_task: the same before averaging over tasks, float [task] a rung.
    """

    seed: int
    settings: Settings
    runs: list[Run]
    values: list[float] = field(default_factory=list)
    per_task: list[np.ndarray] = field(default_factory=list)

    @property
    def next_rung(self) -> Rung:
        """The rung it is training towards."""
        return self.settings.rungs[len(self.values)]

    @property
    def rung(self) -> Rung:
        """The rung at which it was judged last."""
        return self.settings.rungs[len(self.values) - 1]

    @property
    def finished(self) -> bool:
        """Whether it has been judged at its last rung."""
        return len(self.values) == len(self.settings.rungs)

    @property
    def diverged(self) -> int | None:
        """The iteration at which its first run diverged; None: none did."""
        return min((run.diverged for run in self.runs if run.diverged is not None), default=None)

    @property
    def iteration(self) -> int:
        """Completed meta-iterations, of the run that has come least far."""
        return min(run.iteration for run in self.runs)

    @property
    def trial_steps(self) -> int:
        """Completed meta-iterations of all its runs."""
        return sum(run.iteration for run in self.runs)

    @property
    def seconds(self) -> float:
        """Its share of the time spent in programs."""
        return sum(run.seconds for run in self.runs)

    def judge(self, scores: np.ndarray) -> None:
        """Records float [run, task] at the rung it has reached, unless it has diverged there."""
        for run, values in zip(self.runs, scores, strict=True):
            if not np.isfinite(values).all():
                run.diverged = run.iteration
        if self.diverged is None:
            mean = scores.mean(axis=0)
            self.per_task.append(mean)
            self.values.append(float(mean.mean()))


def start(program: Program, settings: Settings, seed: int, repeats: int = 1) -> Trial:
    """A trial before its first iteration."""
    seeds = [streams.repeat_seed(seed, repeat) for repeat in range(repeats)]
    return Trial(seed, settings, [pack.start(program, settings, each) for each in seeds])


def advance(trainer: Trainer, trials: Sequence[Trial]) -> Iterator[None]:
    """Trains trials to their next rungs, as `Trainer.advance` does runs."""
    runs = [run for trial in trials for run in trial.runs]
    targets = [trial.next_rung.iteration for trial in trials for _ in trial.runs]
    return trainer.advance(runs, targets)


def judge(trainer: Trainer, trials: Sequence[Trial], seed: int, tasks: int) -> None:
    """Judges trials at the rungs they have reached, on the study's validation tasks.

    Those that have diverged are passed over; a metric that is not finite counts as divergence at
    that iteration.
    """
    trials = [trial for trial in trials if trial.diverged is None]
    if not trials:
        return
    runs = [run for trial in trials for run in trial.runs]
    scores = trainer.evaluate(runs, "validation", seed, tasks)
    first = 0
    for trial in trials:
        trial.judge(scores[first : first + len(trial.runs)])
        first += len(trial.runs)
