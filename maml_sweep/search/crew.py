"""The workers of a launch: started by Hydra's launcher, replaced when they die.

Launchers differ in how they tell of a job that died: one runs it again (local, Ray), one raises at
once while the others' jobs go on (submitit, Ray), one takes the others down with it (joblib). So
what counts is what the storage says: which slots are open, and which of them a live worker holds.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext
from omegaconf import DictConfig
from optuna.trial import TrialState

from maml_sweep.errors import InputError
from maml_sweep.search import launchers, storage, study
from maml_sweep.search.errand import overrides
from maml_sweep.search.lease import live_workers
from maml_sweep.search.slots import tally
from maml_sweep.search.study import Plan

log = logging.getLogger(__name__)

INTERRUPTED = 130  # exit code
LOOK = 2.0  # seconds between two looks at workers that nobody waits for any more


@dataclass(frozen=True)
class Launch:
    """A study that stands, and how its workers are to be started.

    Attributes:
      config: the composition for the launcher, Hydra's node included.
      plan: what the study was created with.
      folder: of the study's files.
      url: of the study's storage.
    """

    config: DictConfig
    plan: Plan
    folder: Path
    url: str

    @property
    def launcher(self) -> str:
        """The launcher's name."""
        return launchers.kind(self.config.hydra.launcher)


@dataclass
class Outcome:
    """What came of one call of a launcher, or of all of them.

    Attributes:
      returns: what the workers returned that came to their end.
      failures: what the others died of, a line each.
      refused: what the first of them had against its input.
      interrupted: how many were asked to stop.
      loose: whether the launcher gave up while jobs of its may go on.
    """

    returns: list[Any] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    refused: InputError | None = None
    interrupted: int = 0
    loose: bool = False


@dataclass(frozen=True)
class Standing:
    """What the storage says of a study.

    Attributes:
      finished: slots that need no more work.
      open: the others.
      free: those of the open ones that no live worker holds.
      live: workers whose lease holds, on whatever machine.
    """

    finished: int
    open: int
    free: int
    live: int


def job(config: DictConfig) -> int:
    """What launchers run: a worker. A plain number as its result gets through all of them.

    Returns:
      0, or 130 if it was interrupted.

    Raises:
      InputError: its input is wrong; Hydra hands that to the sweeper.
      SystemExit: 1 for what went wrong otherwise, where the launcher starts such a worker again.
    """
    from maml_sweep.search.worker import work  # late: the sweeper's process does not compute

    try:
        work(config)
    except SystemExit as stop:
        if stop.code != INTERRUPTED:
            raise
        return INTERRUPTED
    except InputError:
        raise
    except Exception:
        launcher = launchers.kind(HydraConfig.get().launcher)
        if launcher != launchers.BASIC:
            log.exception("worker %s failed", HydraConfig.get().job.num)
        if launcher == launchers.LOCAL:
            raise SystemExit(1) from None
        raise
    return 0


class Crew:
    """Starts the workers of a launch and stays until the work is done or cannot be.

    Args:
      launch: what to start.
      context: Hydra's loader and callbacks.
      clock: seconds, monotonic.
      pause: waits so many seconds.
    """

    def __init__(
        self,
        launch: Launch,
        context: HydraContext,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._launch = launch
        self._context = context
        self._clock = clock
        self._pause = pause
        self._begin = clock()
        self._started = 0  # workers so far: each has a number and a folder of its own

    def run(self) -> Outcome:
        """Runs the workers, and others in place of those that die.

        Raises:
          InputError: the launcher could not start any.
        """
        outcome = self._start(self._launch.config.workers)
        if self._launch.launcher in {launchers.BASIC, launchers.LOCAL}:
            return outcome  # nothing to replace; dead ones were started again already
        return self._tend(outcome)

    # -- replacing the dead -------------------------------------------------------------------

    def _tend(self, outcome: Outcome) -> Outcome:
        """Starts as many workers as died, as long as that brings the sweep further.

        A launcher that raises tells of one death; the rest of its jobs nobody waits for any more,
        so once it has, the study is watched until all its slots are done.
        """
        lost, loose = _lost(outcome), outcome.loose
        tries, before = 0, -1
        while lost or loose:
            now = look(self._launch)
            if now.open == 0 or self._time_is_up():
                break
            if now.free == 0 or (not lost and now.live):
                self._pause(LOOK)
                continue
            tries = 1 if now.finished > before else tries + 1
            before = now.finished
            if tries > self._launch.plan.max_retries:
                break
            more = self._start(min(now.free, lost if now.live else self._launch.config.workers))
            _add(outcome, more)
            lost, loose = _lost(more), loose or more.loose
        return outcome

    def _time_is_up(self) -> bool:
        limit = self._launch.config.study.timeout
        return limit is not None and self._clock() - self._begin >= limit

    # -- one call of the launcher -------------------------------------------------------------

    def _start(self, count: int) -> Outcome:
        """Has the launcher start some workers and waits for them."""
        if self._started:
            log.warning("starting again where workers ended before their time: %d", count)
        config = self._config()
        HydraConfig.instance().set_config(config)  # launchers hand it to their jobs
        launcher = Plugins.instance().instantiate_launcher(
            task_function=job, config=config, hydra_context=self._context
        )
        jobs = [overrides(config, self._launch.plan, self._launch.folder)] * count
        first, self._started = self._started, self._started + count
        try:
            with _stderr_of(self._launch.launcher):
                results = launcher.launch(jobs, initial_job_idx=first)
        except InputError:
            raise
        except Exception as error:
            if not launchers.is_death(error):
                log.debug("the launcher failed", exc_info=True)
                raise launchers.refusal(error, config.hydra.launcher) from None
            log.warning("a worker died: %s", launchers.reason(error))
            return Outcome(failures=[launchers.reason(error)], loose=True)
        return self._outcome(results)

    def _config(self) -> DictConfig:
        """The composition, with the time that is left."""
        config = deepcopy(self._launch.config)
        if config.study.timeout is not None:
            config.study.timeout = max(1.0, config.study.timeout - (self._clock() - self._begin))
        return config

    def _outcome(self, results: Sequence[JobReturn]) -> Outcome:
        outcome = Outcome()
        for result in results:
            value = result._return_value
            if isinstance(value, InputError):
                outcome.refused = outcome.refused or value
            elif result.status == JobStatus.COMPLETED and value != INTERRUPTED:
                outcome.returns.append(value)
            elif value == INTERRUPTED or getattr(value, "code", None) == INTERRUPTED:
                outcome.interrupted += 1
            elif self._launch.launcher == launchers.BASIC:
                outcome.returns.append(result.return_value)  # raises, with the whole traceback
            else:
                outcome.failures.append(launchers.reason(value))
        return outcome


def look(launch: Launch) -> Standing:
    """Asks the storage how the study stands."""
    opened = study.open_study(launch.url, launch.plan.name)
    plan = study.plan_of(opened)
    trials = opened.get_trials(deepcopy=False)
    live = live_workers(opened.user_attrs, storage.now(opened))
    finished = tally(trials, plan.max_retries).finished
    held = {
        trial.user_attrs.get("slot")
        for trial in trials
        if trial.state == TrialState.RUNNING and trial.user_attrs.get("worker") in live
    }
    left = plan.n_trials - finished
    return Standing(finished, left, left - len(held), len(live))


def _lost(outcome: Outcome) -> int:
    """How many workers ended before their time, though nobody interrupted the sweep."""
    return len(outcome.failures) + outcome.interrupted


def _add(outcome: Outcome, more: Outcome) -> None:
    """What came of the replacements; whom they replace is no longer interrupted."""
    outcome.returns += more.returns
    outcome.failures += more.failures
    outcome.refused = outcome.refused or more.refused
    outcome.interrupted = more.interrupted


@contextlib.contextmanager
def _stderr_of(launcher: str) -> Any:
    """Keeps back what submitit prints of sbatch besides raising it: we say it once, in one line."""
    if launcher != launchers.SLURM:
        yield
        return
    heard = io.StringIO()
    try:
        with contextlib.redirect_stderr(heard):
            yield
    except Exception as error:
        if launchers.is_death(error):
            sys.stderr.write(heard.getvalue())
        raise
