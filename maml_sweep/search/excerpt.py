"""A study as TPE is shown it: running trials where they stand, and of a large one an excerpt.

Optuna's TPE takes a running trial for the worst of all (`constant_liar`) or leaves it out. In a
pack those that run on are the best of what was tried, as the weak ones were pruned; so a trial that
has reported counts as if it ended there. It can only be ranked too low by that, while it improves.

TPE ranks the trials, models the best of them (25 at most) and the rest, and takes time for each.
In a study with more than `BOUND` trials it gets the best `BEST` of them, so that the first of its
models is that of the whole study, and of the others as many as are left to fill the bound, evenly
spread over the study; of the running ones the last `RUNNING`. What it gets
follows from the study alone. A branch that few trials chose may be missing from the sample; its
parameters are then drawn at random, as in a young study.
"""

from __future__ import annotations

import copy
import math
from bisect import insort
from collections.abc import Container, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from maml_sweep.search.pack_pruner import sign
from maml_sweep.search.slots import RESULTS

BOUND = 500
BEST = 100
RUNNING = 250

Worth = tuple[float, ...]


class Ranks:
    """A study's results in TPE's order, the best first: kept, and added to as it grows."""

    def __init__(self) -> None:
        self._ranked: list[tuple[Worth, int]] = []
        self._known: set[int] = set()

    def best(self, results: Sequence[FrozenTrial], better: float, count: int) -> set[int]:
        """The numbers of the best.

        Args:
          results: all trials with a result; who has one keeps it.
          better: 1 if less is better, else -1.
          count: how many.
        """
        for trial in results:
            if trial.number not in self._known:
                self._known.add(trial.number)
                insort(self._ranked, (worth(trial, better), trial.number))
        return {number for _, number in self._ranked[:count]}


def worth(trial: FrozenTrial, better: float) -> Worth:
    """TPE's order, less first: COMPLETE by value, PRUNED by step and value, infeasible ones."""
    violation = sum(each for each in trial.constraints.values() if each > 0)
    if violation > 0:
        return (2.0, violation)
    if trial.state == TrialState.COMPLETE and trial.value is not None:
        return (0.0, better * trial.value)
    if not trial.intermediate_values:
        return (1.0, 1.0, 0.0)
    step, value = max(trial.intermediate_values.items())
    return (1.0, -step, math.inf if math.isnan(value) else better * value)


class Excerpt:
    """A study for one draw of a sampler to look at; all but its trials is the study's own.

    A sampler asks for the trials three times a draw; they are chosen once.

    Args:
      study: the whole.
      ranks: of its results; filled here, kept by the caller.
    """

    def __init__(self, study: optuna.Study, ranks: Ranks) -> None:
        self._study = study
        self._ranks = ranks
        self._shown: list[FrozenTrial] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """See `optuna.Study.get_trials`."""
        return self._get_trials(deepcopy, states)

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        if self._shown is None:
            chosen = self._chosen(self._study._get_trials(deepcopy, None, use_cache))
            self._shown = [_standing(trial) for trial in chosen]
        return [trial for trial in self._shown if states is None or trial.state in states]

    def _chosen(self, trials: list[FrozenTrial]) -> Sequence[FrozenTrial]:
        if len(trials) <= BOUND:
            return trials
        results = [trial for trial in trials if trial.state in RESULTS]
        running = [trial for trial in trials if trial.state == TrialState.RUNNING]
        chosen = [*self._results(results), *running[-RUNNING:]]
        return sorted(chosen, key=lambda trial: trial.number)

    def _results(self, trials: list[FrozenTrial]) -> Sequence[FrozenTrial]:
        if len(trials) <= BOUND:
            return trials
        taken = self._ranks.best(trials, sign(self._study), BEST)
        best = [trial for trial in trials if trial.number in taken]
        rest = [trial for trial in trials if trial.number not in taken]
        room = BOUND - len(best)
        return [*best, *(rest[index * len(rest) // room] for index in range(room))]


def _standing(trial: FrozenTrial) -> FrozenTrial:
    """A running trial that has reported as if it were complete; any other as it is."""
    if trial.state != TrialState.RUNNING or not trial.intermediate_values:
        return trial
    value = trial.intermediate_values[max(trial.intermediate_values)]
    if not math.isfinite(value):
        return trial
    shown = copy.copy(trial)
    shown.state, shown.values = TrialState.COMPLETE, [value]
    shown.datetime_complete = shown.datetime_start  # whoever is complete has one
    return shown
