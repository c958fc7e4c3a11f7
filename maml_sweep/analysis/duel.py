"""The winners of two studies against each other, over the validation tasks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from maml_sweep.analysis import evaluations, selection, statistics
from maml_sweep.analysis.frames import Frames
from maml_sweep.analysis.statistics import Array, Interval, Paired
from maml_sweep.search.differences import flat


@dataclass(frozen=True)
class Winner:
    """The best trial that came to its end.

    Attributes:
      slot: its slot.
      value: the objective.
      interval: of its mean over validation tasks, 95%; None without its evaluation.
      parameters: group or config key -> value.
    """

    slot: int
    value: float
    interval: Interval | None
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Duel:
    """Two winners.

    Attributes:
      words: on which tasks they were judged, or why nothing can be said.
      paired: whether task by task; else by Welch's interval.
      difference: of their means, first - second, and p; None where one has no evaluation.
      better: 1 or 2 if the first or the second is better for sure, at 95%; else 0.
    """

    words: str
    paired: bool = False
    difference: Paired | None = None
    better: int = 0


def winner(study: Frames) -> Winner | None:
    """A study's; None while no trial has come to its end."""
    slot = selection.best(study)
    if slot is None:
        return None
    tasks = _tasks(study, slot)
    interval = None if tasks is None else statistics.interval(tasks)
    held = study.slots[slot]
    assert held.trial.value is not None  # it came to its end
    return Winner(slot, held.trial.value, interval, held.values)


def duel(first: Frames, second: Frames) -> Duel:
    """Compares the winners of two studies of one metric."""
    studies = (first, second)
    winners = [winner(study) for study in studies]
    slots = [each.slot for each in winners if each is not None]
    if len(slots) < 2:
        return Duel(f"no winner in {_those(studies, winners)}")
    values = [_tasks(study, slot) for study, slot in zip(studies, slots, strict=True)]
    one, other = values
    if one is None or other is None:
        return Duel(f"the winner's evaluation is missing in {_those(studies, values)}")
    why = _apart(first, second, slots)
    if not why and one.size != other.size:
        why = f"{one.size} and {other.size} of them"
    told = welch(one, other) if why else statistics.paired(one, other)
    words = f"on different tasks ({why})" if why else f"on the same {one.size} tasks"
    return Duel(words, not why, told, _better(told.interval, first.sign))


def welch(first: ArrayLike, second: ArrayLike) -> Paired:
    """Compares two trials that were judged on different tasks (B. L. Welch 1947, Biometrika 34).

    Args:
      first: [task].
      second: [task], others.

    Returns:
      The mean of first - second, its 95% interval (`n` is the smaller number of tasks) and p; both
      NaN with fewer than two tasks in either.
    """
    x, y = np.asarray(first, np.float64), np.asarray(second, np.float64)
    gap, n = float(x.mean() - y.mean()), min(x.size, y.size)
    if n < 2:
        return Paired(Interval(gap, math.nan, math.nan, n), math.nan)
    a, b = x.var(ddof=1) / x.size, y.var(ddof=1) / y.size
    error = math.sqrt(a + b)
    if error == 0:
        return Paired(Interval(gap, gap, gap, n), 0.0 if gap else 1.0)
    freedom = (a + b) ** 2 / (a**2 / (x.size - 1) + b**2 / (y.size - 1))
    reach = float(stats.t.ppf((1 + statistics.LEVEL) / 2, freedom)) * error
    p = float(2 * stats.t.sf(abs(gap) / error, freedom))
    return Paired(Interval(gap, gap - reach, gap + reach, n), p)


def _tasks(study: Frames, slot: int) -> Array | None:
    """Float64 [task]: what a slot was judged by; None without its evaluation.

    Reads one file, where `Frames.evaluations` reads those of all slots.
    """
    found = evaluations.read(study.folder, [slot])
    return found[slot].rung_metric[-1] if found else None


def _those(studies: tuple[Frames, Frames], found: list[Any]) -> str:
    """The names of the studies that have nothing."""
    return " and ".join(
        study.name for study, each in zip(studies, found, strict=True) if each is None
    )


def _apart(first: Frames, second: Frames, slots: list[int]) -> str:
    """Why the studies' validation tasks are not the same; empty if they are.

    A task's own settings and the study's seed fix them, in the order of drawing.
    """
    one, other = (
        flat(study.config(slot).get("task", {}))
        for study, slot in zip((first, second), slots, strict=True)
    )
    keys = sorted(key for key in {**one, **other} if one.get(key) != other.get(key))
    if keys:
        return "other " + ", ".join(f"task.{key}" for key in keys)
    if first.plan.seed != second.plan.seed:
        return f"seed={first.plan.seed} and seed={second.plan.seed}"
    return ""


def _better(difference: Interval, sign: int) -> int:
    if difference.low <= 0 <= difference.high or math.isnan(difference.low):
        return 0
    return 1 if sign * difference.mean < 0 else 2
