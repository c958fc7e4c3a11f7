"""What people see while winners train: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from maml_sweep.winners.packs import Pack, Training

LINE_EVERY = 10.0  # seconds between two plain lines


class View:
    """Progress of all packs, on stderr: stdout is for the results.

    Args:
      metric: of the study.
      console: where to.
    """

    def __init__(self, metric: str, console: Console | None = None) -> None:
        self._trainings: list[Training] = []
        self._metric = metric
        self._console = console or Console(stderr=True)
        self._said = -math.inf
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            auto_refresh=False,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("preparing", total=None)

    def follow(self, packs: Sequence[Pack]) -> None:
        """Says what is to be trained, and follows it from here on."""
        self._trainings = [each for pack in packs for each in pack.trainings]
        self._bar.update(self._task, total=self._total, completed=self._done)
        count = len(self._trainings)
        begun = f", {self._done:,} of them done" if self._done else ""
        text = f"{count} training{'s' * (count > 1)}, {self._total:,} iterations in all{begun}"
        self._console.print(text, highlight=False)

    def __enter__(self) -> View:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def update(self) -> None:
        """Redraws the bar; after a call of a program."""
        self._bar.update(self._task, completed=self._done, description=self._last, refresh=True)

    def rung(self) -> None:
        """Says how far it is, where there is no bar; after a rung."""
        now = time.monotonic()
        if self._console.is_terminal or now - self._said < LINE_EVERY:
            return
        self._said = now
        line = f"{self._done:,}/{self._total:,} iterations; {self._last}"
        self._console.print(line, highlight=False, soft_wrap=True)

    @property
    def _total(self) -> int:
        return sum(each.trial.settings.iterations for each in self._trainings)

    @property
    def _done(self) -> int:
        """Iterations of all runs; of one that diverged all of them: none is left to do."""
        return sum(_done(each) for each in self._trainings)

    @property
    def _last(self) -> str:
        """The latest validation value of every training."""
        values = [f"{each.trial.values[-1]:.4g}" for each in self._trainings if each.trial.values]
        return f"{self._metric} {' '.join(values)}" if values else "training"


def _done(training: Training) -> int:
    trial = training.trial
    return trial.iteration if trial.diverged is None else trial.settings.iterations
