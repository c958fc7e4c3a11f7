"""The default pruner: a trial goes on while it is among the best of all that came so far."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import optuna

from maml_sweep.errors import InputError
from maml_sweep.search.pack_pruner import PackPruner, Report, sign
from maml_sweep.search.standings import Curve, Followed, Standings


class RungPruner(PackPruner):
    """Lets a trial go on while it is among the best of all that came so far.

    At step s of a budget of `iterations`, the best fraction

        max(keep, min(1, grace * iterations / s))

    of the trials known at that step goes on, counting itself and rounding up. So every trial has
    the first `grace` of its budget for free, half of them get twice that, a third three times, as
    in successive halving (Jamieson & Talwalkar 2016, arXiv:1502.07943) and its asynchronous form
    (Li et al. 2020, arXiv:1810.05934), but without rungs far apart where a slow starter dies at
    one blow. Never fewer than `keep` go on: late pruning saves little and risks the winner.

    All trials count, whatever their state: a running one by its values, a pruned one by the
    values it got to and as worse beyond them, a diverged one as worst. Without that, each rung
    would compare only with those who survived up to it, and a first pack would not be pruned.
    Trials are compared by the mean of their last `smooth` values, as single values bounce.
    """

    def __init__(
        self, iterations: int, grace: float = 0.12, keep: float = 0.2, smooth: int = 2
    ) -> None:
        """Sets the rule.

        Args:
          iterations: the steps of a whole trial.
          grace: fraction of a trial's steps that it gets in any case, in (0, 1].
          keep: fraction of the trials that goes on to the end at least, in (0, 1].
          smooth: how many of the last values are averaged, at least 1.

        Raises:
          InputError: a value out of its range.
        """
        for name, value in {"grace": grace, "keep": keep}.items():
            if not 0.0 < value <= 1.0:
                raise InputError(f"pruner.{name}: expected a number in (0, 1], got {value}")
        if smooth < 1:
            raise InputError(f"pruner.smooth: expected an integer of at least 1, got {smooth}")
        self.iterations = iterations
        self.grace = grace
        self.keep = keep
        self.smooth = smooth
        self._followed: Followed | None = None

    def decide(self, study: optuna.Study, reports: Sequence[Report]) -> set[int]:
        """See `PackPruner.decide`."""
        if self._followed is None or self._followed.study is not study:
            self._followed = Followed(study, Standings(self.smooth, sign(study)))
        standings = self._followed.standings()
        stop = self._stop(standings, {(r.slot, r.step) for r in reports})
        return {report.number for report in reports if report.slot in stop}

    def judge(
        self,
        curves: Mapping[int, Curve],
        ended: set[int],
        at: set[tuple[int, int]],
        direction: float = 1.0,
    ) -> set[int]:
        """The rule itself, on plain data.

        Args:
          curves: every slot's curve so far, those under judgement included.
          ended: slots whose trial was pruned or diverged.
          at: (slot, step) under judgement.
          direction: 1 to minimise the values, -1 to maximise them.

        Returns:
          The slots to prune.
        """
        standings = Standings(self.smooth, direction)
        for slot in {*curves, *ended}:
            standings.note(slot, curves.get(slot, {}), slot in ended)
        return self._stop(standings, at)

    def _stop(self, standings: Standings, at: set[tuple[int, int]]) -> set[int]:
        stop = set()
        for slot, step in at:
            score, better, known = standings.place(slot, step)
            if better >= self._room(step, known) or math.isinf(score):
                stop.add(slot)
        return stop

    def _room(self, step: int, known: int) -> int:
        """How many of the known trials go on beyond a step."""
        if step >= self.iterations:
            return known
        fraction = max(self.keep, min(1.0, self.grace * self.iterations / step))
        return max(1, math.ceil(fraction * known - 1e-9))
