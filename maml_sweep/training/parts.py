"""What a trainer's calls are made of, and how each is halved where it does not fit in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from maml_sweep.training.memory import DoesNotFit
from maml_sweep.training.run import Run


@dataclass(frozen=True)
class Iterations:
    """Meta-iterations of some runs.

    Attributes:
      runs: in decreasing order of inner steps.
    """

    runs: Sequence[Run]

    @property
    def lanes(self) -> int:
        """Tasks of one iteration."""
        return sum(run.settings.meta_batch_size for run in self.runs)

    def halves(self) -> Sequence[Iterations]:
        """The first and the last runs; one run alone cannot be divided."""
        middle = len(self.runs) // 2
        if not middle:
            return ()
        return Iterations(self.runs[:middle]), Iterations(self.runs[middle:])

    def refusal(self) -> DoesNotFit:
        """What to say of one run that does not fit."""
        (run,) = self.runs
        return DoesNotFit(
            f"training.meta_batch_size={run.settings.meta_batch_size}: one trial by itself, with "
            f"inner steps {run.settings.inner_steps}, does not fit in the device's memory; take a "
            "smaller meta-batch or model, fewer inner steps, algorithm.first_order=true or "
            "training.precision=mixed_bfloat16",
            run,
        )


@dataclass(frozen=True)
class Judgement:
    """Some tasks of some runs, to be judged.

    Attributes:
      runs: all that are judged, in decreasing order of steps.
      low: the first place among them.
      high: the one after the last.
      first: task.
      last: the one after the last.
    """

    runs: Sequence[Run]
    low: int
    high: int
    first: int
    last: int

    @property
    def lanes(self) -> int:
        """How many tasks in all."""
        return (self.high - self.low) * (self.last - self.first)

    def halves(self) -> Sequence[Judgement]:
        """Fewer tasks of each run; where there is one of each, fewer runs."""
        task, place = (self.first + self.last) // 2, (self.low + self.high) // 2
        if task > self.first:
            return replace(self, last=task), replace(self, first=task)
        if place > self.low:
            return replace(self, high=place), replace(self, low=place)
        return ()

    def refusal(self) -> DoesNotFit:
        """What to say of one task that does not fit."""
        run = self.runs[self.low]
        return DoesNotFit(
            f"training.eval_steps={run.settings.eval_steps}: one task by itself does not fit in "
            "the device's memory; take a smaller model, fewer task.shots or task.queries, or "
            "training.precision=mixed_bfloat16",
            run,
        )
