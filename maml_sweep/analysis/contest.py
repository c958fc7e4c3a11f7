"""Several studies' curves of the best so far, read at the same costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from maml_sweep.analysis import race
from maml_sweep.analysis.race import COSTS, LEAST, Array, Track

SHARES = (0.25, 0.5, 1.0)


@dataclass(frozen=True)
class Best:
    """What a study had found at some cost.

    Attributes:
      value: NaN if nothing.
      low: lower end of its 95% band; NaN if there is none, or with fewer than five slots.
      high: upper end. A NaN at the worse end alone: it may well have found nothing.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class At:
    """All studies when each had spent the same.

    Attributes:
      cost: tasks, seconds or slots.
      share: of what the smallest study that found something cost in all.
      spent: that much.
      best: a study each, in their order.
    """

    cost: str
    share: float
    spent: float
    best: tuple[Best, ...]


@dataclass(frozen=True)
class Race:
    """Two studies' curves.

    Attributes:
      cost: tasks, seconds or slots.
      leads: chance that the first leads once both have spent what the smallest study did.
      overlap: share of the cost up to there at which the 95% bands overlap.
    """

    cost: str
    leads: float
    overlap: float


class Contest:
    """The studies' curves, redrawn once for all pairs.

    Studies that found nothing neither take part nor set the limit; a cost that one of the others
    did not record is left out.
    """

    def __init__(self, sign: int, tracks: Sequence[Track]) -> None:
        """Redraws the curves.

        Args:
          sign: 1 where less is better, -1 where more is.
          tracks: one a study.
        """
        self._sign = sign
        self._tracks = tracks
        totals = {cost: [x.total(cost) for x in tracks if x.found] for cost in COSTS}
        known = {cost: each for cost, each in totals.items() if each and all(x > 0 for x in each)}
        self._costs = {cost: race.grid(min(each)) for cost, each in known.items()}
        self._redrawn = [self._redraw(each) for each in tracks]  # study -> cost -> [draw, cost]

    def _redraw(self, track: Track) -> dict[str, Array]:
        if not track.found or track.loss.size < LEAST:
            return {}
        return {cost: track.redrawn(cost, spent) for cost, spent in self._costs.items()}

    def at(self) -> tuple[At, ...]:
        """Every cost's shares, in order."""
        return tuple(
            At(cost, share, float(share * spent[-1]), self._bests(cost, share))
            for cost, spent in self._costs.items()
            for share in SHARES
        )

    def _bests(self, cost: str, share: float) -> tuple[Best, ...]:
        place = round(share * self._costs[cost].size) - 1
        return tuple(self._best(study, cost, place) for study in range(len(self._tracks)))

    def _best(self, study: int, cost: str, place: int) -> Best:
        spent = self._costs[cost][[place]]
        value = self._metric(self._tracks[study].best(cost, spent)[0])
        if not self._redrawn[study]:
            return Best(value, math.nan, math.nan)
        ends = race.band(self._redrawn[study][cost][:, [place]])
        good, bad = (self._metric(end[0]) for end in ends)
        return Best(value, good, bad) if self._sign > 0 else Best(value, bad, good)

    def _metric(self, loss: float) -> float:
        return float(self._sign * loss) if math.isfinite(loss) else math.nan

    def races(self, first: int, second: int) -> tuple[Race, ...]:
        """Two studies', one a cost; empty if one found nothing, or fewer than five slots ended."""
        one, other = self._redrawn[first], self._redrawn[second]
        return tuple(
            Race(cost, race.leads(one[cost][:, -1], other[cost][:, -1]),
                 race.overlap(one[cost], other[cost]))
            for cost in self._costs
            if one and other
        )  # fmt: skip
