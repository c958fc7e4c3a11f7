"""A study's trials in memory, beside the tables that they came from."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Container, Mapping, Sequence

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

OVERLAP = 2.0  # seconds that a look at a server's tables goes back
_WAITING = TrialState.WAITING


def clone(trial: FrozenTrial) -> FrozenTrial:
    """A trial that can be added to while others read the old one."""
    made = copy.copy(trial)
    made._params = dict(trial._params)
    made._distributions = dict(trial._distributions)
    made._user_attrs = dict(trial._user_attrs)
    made._system_attrs = dict(trial._system_attrs)
    made.intermediate_values = dict(trial.intermediate_values)
    return made


class Copy:
    """A study's trials in memory.

    Attributes:
      trials: in the order of their numbers, which are their indices; replaced, never changed.
      places: trial id -> index.
      unfinished: ids.
      own: ids of the running trials that this process popped: nobody else adds to them.
      marks: (time, greatest row ids) of the last looks, the oldest first.
      looked: when the trials were last looked at.
      distributions: parameter -> one that a trial drew it from.
    """

    def __init__(self, trials: Sequence[FrozenTrial], marks: list[int], looked: float) -> None:
        self.trials: list[FrozenTrial] = []
        self.places: dict[int, int] = {}
        self.unfinished: set[int] = set()
        self.own: set[int] = set()
        self.marks = deque([(looked, marks)])
        self.looked = looked
        self.distributions: dict[str, BaseDistribution] = {}
        self._settled = self._begun = 0  # how many of the first trials are finished; do not wait
        for trial in trials:
            self.put(trial)

    def get(self, trial_id: int) -> FrozenTrial | None:
        """The trial with an id, if it is known."""
        place = self.places.get(trial_id)
        return None if place is None else self.trials[place]

    def put(self, trial: FrozenTrial) -> None:
        """Enters a trial, new or changed."""
        place = self.places.setdefault(trial._trial_id, len(self.trials))
        if place == len(self.trials):
            self.trials.append(trial)
        self.trials[place] = trial
        if trial.state.is_finished():
            self.unfinished.discard(trial._trial_id)
            self.own.discard(trial._trial_id)
        else:
            self.unfinished.add(trial._trial_id)

    @property
    def last(self) -> int:
        """The greatest id."""
        return self.trials[-1]._trial_id if self.trials else 0

    @property
    def settled(self) -> int:
        """All trials up to this id are finished, and will stay so; 0 if the first is not."""
        while self._settled < len(self.trials) and self.trials[self._settled].state.is_finished():
            self._settled += 1
        return self.trials[self._settled - 1]._trial_id if self._settled else 0

    @property
    def first_waiting(self) -> int:
        """No trial below this id waits: who began never waits again."""
        while self._begun < len(self.trials) and self.trials[self._begun].state != _WAITING:
            self._begun += 1
        return (
            self.last + 1 if self._begun == len(self.trials) else self.trials[self._begun]._trial_id
        )

    def changed(self, states: Mapping[int, TrialState], waiting: Container[int]) -> set[int]:
        """The ids of the trials to read whole.

        Args:
          states: id -> state of all trials that run, and of the new ones.
          waiting: the ids of the others that wait.
        """
        ended = {each for each in self.unfinished if each not in states and each not in waiting}
        return ended | {
            trial_id
            for trial_id, state in states.items()
            if trial_id not in self.places or self.trials[self.places[trial_id]].state != state
        }

    def still_waiting(self, states: Container[int], first: int) -> set[int]:
        """Who may wait yet: waited, does not run, and is not before the first of the queue."""
        return {
            each
            for each in self.unfinished
            if each >= first and each not in states
            and self.trials[self.places[each]].state == _WAITING
        }  # fmt: skip

    def marks_to_read(self, looked: float) -> list[int]:
        """The row ids from which a look must read: those of `OVERLAP` seconds ago."""
        while len(self.marks) > 1 and self.marks[1][0] <= looked - OVERLAP:
            self.marks.popleft()
        return self.marks[0][1]
