"""A worker's pack in teams, which train side by side.

Shards of one program wait for each other at every step, and while the search layer is at work all
of them do. Teams advance by themselves: what one leaves idle another takes, and while one is heard
the others train.

Were they heard as they come, what the sampler and the pruner know would hang on the clock, and no
sweep could be repeated; and a team of cheap trials would have its results known first, which the
sampler takes for advice to draw cheap ones. So teams are heard in turns, one after the other, as if
they were one pack. Who is ready early waits, and the others have its core.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field

from maml_sweep.search.claimed import Claimed
from maml_sweep.search.turns import Group, Turns


@dataclass(eq=False)
class Team:
    """Trials that train side by side with other teams'.

    Attributes:
      turns: its programs and trials.
      round: of its last turn; whose is the first is heard next.
      group: whose turn it is; None between turns.
      turn: what comes of it.
    """

    turns: Turns = field(default_factory=Turns)
    round: int = 0
    group: Group | None = None
    turn: Future[None] | None = None


class Teams:
    """All of a worker's.

    Args:
      count: how many.
    """

    def __init__(self, count: int) -> None:
        self._all = [Team() for _ in range(count)]
        self._round = 0  # of the turn that was heard last
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="team")
        self.inside = Inside()

    @property
    def in_flight(self) -> list[Claimed]:
        """All trials, of every team."""
        return [trial for team in self._all for trial in team.turns.in_flight]

    @property
    def tracing(self) -> float:
        """Seconds inside programs that first calls took, of which teams wait for one another's."""
        return max(team.turns.tracing for team in self._all)

    @property
    def idle(self) -> list[Team]:
        """Those between two turns."""
        return [team for team in self._all if team.group is None]

    def of(self, trial: Claimed) -> Team:
        """The team that holds a trial."""
        return next(team for team in self._all if trial in team.turns.in_flight)

    def places(self, team: Team, size: int) -> int:
        """How many trials of a pack of some size a team is to hold."""
        return size // len(self._all) + (self._all.index(team) < size % len(self._all))

    def begin(self, team: Team, train: Callable[[Group], None]) -> None:
        """Begins the turn of a team's group that has waited longest, in a thread."""
        team.group = team.turns.next()
        team.round = max(team.round, self._round) + 1
        team.turn = self._pool.submit(train, team.group)

    def next(self) -> Team | None:
        """The team whose turn is to be heard next; None where nobody trains."""
        busy = [team for team in self._all if team.group is not None]
        return min(busy, key=lambda team: team.round, default=None)

    def end(self, team: Team, every: float, meanwhile: Callable[[], None]) -> Group:
        """Waits for the end of a team's turn.

        Args:
          team: one that trains.
          every: seconds between two calls of `meanwhile`.
          meanwhile: what to do until then.

        Returns:
          The group that has trained; what its training raises, this raises, too.
        """
        turn, group = team.turn, team.group
        assert turn is not None and group is not None
        while not wait([turn], every).done:
            meanwhile()
        team.group, team.turn, self._round = None, None, team.round
        turn.result()
        return group

    def halt(self) -> list[tuple[Team, Group]]:
        """Waits until nobody trains; whoever does is to find out by itself that it should end.

        Returns:
          The teams whose turn came to its end all the same, and the groups that trained.
        """
        busy = sorted((team for team in self._all if team.turn), key=lambda team: team.round)
        over = []
        for team in busy:
            turn, group = team.turn, team.group
            assert turn is not None and group is not None
            if turn.exception() is None:
                over.append((team, group))
            team.turn = team.group = None
        return over

    def close(self) -> None:
        """Ends the threads."""
        self._pool.shutdown()


class Inside:
    """How long at least one thread was inside a program.

    Attributes:
      seconds: until the last moment at which none was.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._lock = threading.Lock()
        self._count = 0
        self._since = 0.0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Counts the block, in whichever thread."""
        with self._lock:
            self._since = self._since if self._count else time.perf_counter()
            self._count += 1
        try:
            yield
        finally:
            with self._lock:
                self._count -= 1
                self.seconds += 0.0 if self._count else time.perf_counter() - self._since
