"""What people see of a sweep: a live view on a terminal, plain lines elsewhere, the outcome."""

from __future__ import annotations

import logging
import math
import shlex
import sys
import time
from pathlib import Path
from types import TracebackType

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.live import Live
from rich.table import Table

from maml_sweep.search import records
from maml_sweep.search.again import resume_line
from maml_sweep.search.claimed import Claimed
from maml_sweep.search.claims import Claims
from maml_sweep.search.slots import Counts
from maml_sweep.search.space import Space
from maml_sweep.search.study import Plan
from maml_sweep.search.teams import Teams

log = logging.getLogger(__name__)

REFRESH = 1.0  # seconds between two looks at the storage for the live view
LINE_EVERY = 10.0  # seconds between two plain lines


class Progress:
    """The view of one worker on the whole sweep.

    Used as a context manager. On a terminal a table is redrawn in place; elsewhere a line is
    logged for every trial that ends and now and then for the sweep.
    """

    def __init__(
        self, study: optuna.Study, plan: Plan, space: Space, console: Console | None = None
    ) -> None:
        self._study = study
        self._plan = plan
        self._space = space
        self._console = console or Console()
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._interactive = self._console.is_terminal
        self._begin = time.monotonic()
        self._looked = -math.inf
        self._steps_done = 0  # meta-iterations of trials that ended here
        self._steps_before: dict[int, int] = {}  # slot -> iterations it came with
        self._finished_before: int | None = None

    def __enter__(self) -> Progress:
        if self._interactive:
            self._live.start()
            self._route_log()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._interactive:
            self._live.stop()
            self._route_log()

    def _route_log(self) -> None:
        """Has log lines appear above the live view: while it runs, `sys.stdout` is its own."""
        for handler in logging.getLogger().handlers:
            if type(handler) is logging.StreamHandler:
                handler.setStream(sys.stdout)

    def admit(self, claimed: Claimed) -> None:
        """Notes where a trial begins, so that only steps trained here count."""
        self._steps_before[claimed.slot] = claimed.training.trial_steps

    def tell(self, claimed: Claimed, state: TrialState) -> None:
        """Notes a trial that ended."""
        training = claimed.training
        self._steps_done += training.trial_steps - self._steps_before.pop(claimed.slot, 0)
        line = " ".join(self._space.overrides(claimed.values))
        if training.diverged is not None:
            outcome = f"diverged after {training.diverged} iterations"
        elif state == TrialState.PRUNED:
            outcome = f"pruned at {training.rung.step}: {self._metric(training.values[-1])}"
        else:
            outcome = f"done: {self._metric(training.values[-1])}"
        if not self._interactive:
            log.info("slot %d %s  (%s)", claimed.slot, outcome, line)

    def update(self, teams: Teams, claims: Claims) -> None:
        """Looks at the sweep, but not more often than is of use."""
        now = time.monotonic()
        if now - self._looked < (REFRESH if self._interactive else LINE_EVERY):
            return
        self._looked = now
        counts = claims.counts()
        if self._finished_before is None:
            self._finished_before = counts.finished
        if self._interactive:
            self._live.update(self._table(counts, teams), refresh=True)
        else:
            log.info("%s", self._line(counts, teams))

    # -- figures ------------------------------------------------------------------------------

    def _metric(self, value: float) -> str:
        return f"{self._plan.metric} {value:.4g}"

    def rate(self, teams: Teams) -> float:
        """Trial-steps a second since the worker began."""
        running = sum(
            each.training.trial_steps - self._steps_before.get(each.slot, 0)
            for each in teams.in_flight
        )
        return (self._steps_done + running) / max(time.monotonic() - self._begin, 1e-9)

    def _left(self, counts: Counts, teams: Teams) -> str:
        """Time left, from the share of the work done since this worker began."""
        before = self._finished_before or 0
        share = sum(
            len(each.training.values) / len(each.training.settings.rungs)
            for each in teams.in_flight
        )
        done = counts.finished - before + share
        total = self._plan.n_trials - before
        if done <= 0:
            return "?"
        return _duration((time.monotonic() - self._begin) * (total - done) / done)

    def _tally(self, counts: Counts) -> str:
        parts = [f"{counts.running} running", f"{counts.pruned} pruned"]
        parts += [f"{counts.diverged} diverged"]
        if counts.failed:
            parts.append(f"{counts.failed} failed")
        return f"{counts.finished}/{self._plan.n_trials} done, " + ", ".join(parts)

    def _line(self, counts: Counts, teams: Teams) -> str:
        best = records.best_trial(self._study)
        value = "none yet" if best is None or best.value is None else self._metric(best.value)
        return (
            f"{self._tally(counts)}; best {value}; {self.rate(teams):.0f} trial-steps/s; "
            f"{self._left(counts, teams)} left"
        )

    def _table(self, counts: Counts, teams: Teams) -> Table:
        """The live view: the sweep's figures, then a row a trial in flight."""
        table = Table.grid(padding=(0, 2))
        table.add_row("[bold]study", self._plan.name)
        table.add_row("[bold]slots", self._tally(counts))
        best = records.best_trial(self._study)
        if best is not None and best.value is not None:
            line = records.override_line(self._space, best.params)
            table.add_row("[bold]best", f"{self._metric(best.value)}  [dim]{line}")
        rate = f"{self.rate(teams):.0f} trial-steps/s, {self._left(counts, teams)} left"
        table.add_row("[bold]speed", rate)
        for claimed in sorted(teams.in_flight, key=lambda each: each.slot):
            training = claimed.training
            last = self._metric(training.values[-1]) if training.values else ""
            where = f"{training.iteration}/{training.settings.iterations}"
            table.add_row(f"[dim]slot {claimed.slot}", f"[dim]{where:>11}  {last}")
        return table


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


def say_interrupted(name: str, counts: Counts, folder: Path, url: str) -> None:
    """Says that nothing is lost and how to go on."""
    print(
        f"interrupted: {counts.finished} slots done, {counts.waiting} waiting, state kept in "
        f"{folder}; to go on:\n  {resume_line(name, folder, url)}",
        flush=True,
    )


def say_outcome(
    plan: Plan, counts: Counts, best: FrozenTrial | None, space: Space, folder: Path, url: str
) -> None:
    """Says what came out, as an override line to paste, and where the files lie."""
    print(
        f"\n{plan.name}: {counts.finished}/{plan.n_trials} slots done "
        f"({counts.complete} to the end, {counts.pruned} pruned, {counts.diverged} diverged, "
        f"{counts.failed} failed)"
    )
    if best is None:
        print("no trial has come to its end yet")
    else:
        print(f"best {plan.metric}: {best.value:.6g} (slot {best.user_attrs['slot']})")
        print(f"  {records.run_line(best, plan, space)}")
    if counts.finished < plan.n_trials:
        print(f"to go on:\n  {resume_line(plan.name, folder, url)}")
    print(f"files: {folder}")
    print(f"what they say: {shlex.join(['maml-sweep', 'report', str(folder)])}", flush=True)
