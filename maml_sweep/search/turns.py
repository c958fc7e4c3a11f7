"""Which program of a team advances next: trials of a structure train together, they in turn."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from maml_sweep.build import Structure
from maml_sweep.search.claimed import Claimed
from maml_sweep.training.pack import Trainer


@dataclass
class Group:
    """The trials in flight of one structure, and what trains them.

    Attributes:
      trainer: holds the structure's program.
      trials: in the order in which they came.
      turn: when it last advanced, as a count of turns.
      program: its index among the worker's programs.
      keep_at: when its trials are to be checkpointed next, by the monotonic clock.
    """

    trainer: Trainer
    trials: list[Claimed] = field(default_factory=list)
    turn: int = 0
    program: int = 0
    keep_at: float = -math.inf


class Turns:
    """Every program of a team; the one that has waited longest advances next."""

    def __init__(self) -> None:
        self._groups: dict[Structure, Group] = {}
        self._turn = 0

    @property
    def in_flight(self) -> list[Claimed]:
        """All trials, of every structure."""
        return [trial for group in self._groups.values() for trial in group.trials]

    @property
    def tracing(self) -> float:
        """Seconds inside the programs that first calls took."""
        return sum(group.trainer.tally.tracing for group in self._groups.values())

    def group(self, structure: Structure, build: Callable[[], Group]) -> Group:
        """The group of a structure, made when it is first wanted."""
        if structure not in self._groups:
            self._groups[structure] = build()
        return self._groups[structure]

    def structure(self, trial: Claimed) -> Structure:
        """The structure of a trial in flight."""
        return next(each for each, group in self._groups.items() if trial in group.trials)

    def next(self) -> Group:
        """The group with trials that has waited longest."""
        self._turn += 1
        group = min((g for g in self._groups.values() if g.trials), key=lambda g: g.turn)
        group.turn = self._turn
        return group

    def remove(self, trial: Claimed) -> None:
        """Takes out a trial that has ended; its place is free."""
        for group in self._groups.values():
            if trial in group.trials:
                group.trials.remove(trial)
