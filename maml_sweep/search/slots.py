"""What the trials of a study say about its slots.

A slot's state is derived from its trials, never stored beside them, so that there is nothing to
fall out of step when a process is killed between two storage calls:

    finished    a trial of it is COMPLETE or PRUNED, or more than `max_retries` attempts failed
    running     its lowest-numbered unfinished trial is RUNNING
    waiting     its lowest-numbered unfinished trial is WAITING, or none is left: it was lost in
                a kill, and `Claims.reconcile` will queue it again
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

Attempts = Sequence[FrozenTrial]  # a slot's trials, in the order of their numbers

ACTIVE = (TrialState.RUNNING, TrialState.WAITING)
RESULTS = (TrialState.COMPLETE, TrialState.PRUNED)


def by_slot(trials: Sequence[FrozenTrial]) -> dict[int, list[FrozenTrial]]:
    """Groups trials by slot, in the order of their numbers; those of no slot are left out."""
    slots: dict[int, list[FrozenTrial]] = {}
    for trial in sorted(trials, key=lambda trial: trial.number):
        if "slot" in trial.user_attrs:
            slots.setdefault(trial.user_attrs["slot"], []).append(trial)
    return slots


class Index:
    """Which trials are attempts at which slot: a trial has its slot from its making, for good."""

    def __init__(self) -> None:
        self._numbers: dict[int, list[int]] = {}
        self._seen = 0

    def attempts(self, trials: Sequence[FrozenTrial], slot: int) -> list[FrozenTrial]:
        """The trials of one slot, in the order of their numbers.

        Args:
          trials: all of the study, in that order; looked through once.
          slot: whose.
        """
        for trial in trials[self._seen :]:
            if "slot" in trial.user_attrs:
                self._numbers.setdefault(trial.user_attrs["slot"], []).append(trial.number)
        self._seen = len(trials)
        return [trials[number] for number in self._numbers.get(slot, [])]


@dataclass(frozen=True)
class Counts:
    """Slots by state; `pruned` leaves out the diverged ones, `failed` were given up."""

    complete: int = 0
    pruned: int = 0
    diverged: int = 0
    failed: int = 0
    running: int = 0
    waiting: int = 0

    @property
    def finished(self) -> int:
        """Slots that need no more work."""
        return self.complete + self.pruned + self.diverged + self.failed


def failures(attempts: Attempts) -> int:
    """How many attempts at a slot count as failed; one that others told FAIL does too."""
    failed = [trial for trial in attempts if trial.state == TrialState.FAIL]
    return sum(int(trial.user_attrs.get("blame", 1)) for trial in failed)


def begun(attempts: Attempts) -> int:
    """How many workers began a slot."""
    return sum("worker" in trial.user_attrs for trial in attempts)


def drawn(attempts: Attempts) -> dict[str, Any]:
    """The parameters of a slot, as stored: what all attempts at it drew."""
    return {name: value for trial in attempts for name, value in trial.params.items()}


def reported(attempts: Attempts) -> dict[int, float]:
    """The curve of a slot: step -> value that an attempt at it reported."""
    return {k: value for trial in attempts for k, value in trial.intermediate_values.items()}


def slot_state(attempts: Attempts, max_retries: int) -> str:
    """One of the fields of `Counts`; a lost slot counts as waiting."""
    for trial in attempts:
        if trial.state in RESULTS:
            if "diverged" in trial.user_attrs:
                return "diverged"
            return trial.state.name.lower()
    if failures(attempts) > max_retries:
        return "failed"
    active = next((trial for trial in attempts if trial.state in ACTIVE), None)
    return "running" if active is not None and active.state == TrialState.RUNNING else "waiting"


def tally(trials: Sequence[FrozenTrial], max_retries: int) -> Counts:
    """How many of a study's slots are in which state."""
    counts = dict.fromkeys(Counts.__dataclass_fields__, 0)
    for attempts in by_slot(trials).values():
        counts[slot_state(attempts, max_retries)] += 1
    return Counts(**counts)


def finished(trials: Sequence[FrozenTrial], max_retries: int) -> list[int]:
    """The slots of a study that need no more work."""
    states = {slot: slot_state(each, max_retries) for slot, each in by_slot(trials).items()}
    return [slot for slot, state in states.items() if state not in {"running", "waiting"}]
