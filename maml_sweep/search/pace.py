"""How fast a study's live workers come along, from when its trials began and ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from optuna.trial import FrozenTrial, TrialState

from maml_sweep.search.slots import RESULTS, Counts


@dataclass(frozen=True)
class Pace:
    """What the live workers did since the first of them began.

    Attributes:
      seconds: since then.
      results: trials that they finished.
      work: the same, and the done shares of those that run, in trials.
      per_hour: work an hour.
      left: seconds until the budget is used up; None while nothing can be said.
    """

    seconds: float
    results: int
    work: float
    per_hour: float
    left: float | None


def pace(
    trials: Sequence[FrozenTrial],
    live: set[str],
    shares: Mapping[int, float],
    counts: Counts,
    now: datetime,
) -> Pace | None:
    """The pace of a study.

    Only trials of live workers count: a study that slept for a week is not slow.

    Args:
      trials: its outline, with the attribute `worker`.
      live: the workers whose lease holds.
      shares: number of a running trial -> the share of its rungs that it has reported.
      counts: of its slots.
      now: local time without a zone, as Optuna's.

    Returns:
      None where no live worker has begun a trial, or all did so later than now: a worker writes
      its own clock's time, which may be fast.
    """
    held = [each for each in trials if each.user_attrs.get("worker") in live]
    begun = [each.datetime_start for each in held if each.datetime_start is not None]
    seconds = (now - min(begun, default=now)).total_seconds()
    if seconds <= 0:
        return None
    results = sum(each.state in RESULTS for each in held)
    running = sum(shares.get(each.number, 0.0) for each in held if _runs(each))
    work = results + running
    todo = counts.running + counts.waiting - running
    left = todo * seconds / work if work > 0 else None
    return Pace(seconds, results, work, 3600.0 * work / seconds, left)


def _runs(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.RUNNING
