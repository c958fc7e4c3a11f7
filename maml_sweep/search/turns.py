"""Which program advances next: trials of one structure train together, the structures in turn."""

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
    """Every program of a worker; the one that has waited longest advances next."""

    def __init__(self) -> None:
        self._groups: dict[Structure, Group] = {}
        self._turn = 0

    @property
    def in_flight(self) -> list[Claimed]:
        """All trials, of every structure."""
        return [trial for group in self._groups.values() for trial in group.trials]

    @property
    def busy(self) -> float:
        """Seconds spent inside the programs."""
        return sum(group.trainer.busy for group in self._groups.values())

    @property
    def tracing(self) -> float:
        """As many of them as first calls took."""
        return sum(group.trainer.tally.tracing for group in self._groups.values())

    def group(self, structure: Structure, build: Callable[[], Trainer]) -> Group:
        """The group of a structure; its program is built when it is first wanted."""
        if structure not in self._groups:
            self._groups[structure] = Group(build(), program=len(self._groups))
        return self._groups[structure]

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
