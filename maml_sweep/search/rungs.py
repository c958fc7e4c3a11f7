"""The default pruner: a trial goes on while it is among the best of all that came so far."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from maml_sweep.errors import InputError
from maml_sweep.search.pack_pruner import PackPruner, Report, sign
from maml_sweep.search.slots import by_slot

Curve = Mapping[int, float]  # step -> reported value; the union over a slot's attempts


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

    def decide(self, study: optuna.Study, reports: Sequence[Report]) -> set[int]:
        """See `PackPruner.decide`."""
        attempts = by_slot(study.get_trials(deepcopy=False))
        curves = {slot: _curve(trials) for slot, trials in attempts.items()}
        ended = {slot for slot, trials in attempts.items() if _pruned(trials)}
        stop = self.judge(curves, ended, {(r.slot, r.step) for r in reports}, sign(study))
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
        stop = set()
        for step in sorted({step for _, step in at}):
            scores = self._scores(curves, ended, step, direction)
            room = self._room(step, len(scores))
            for slot in (slot for slot, at_step in at if at_step == step):
                better = sum(score < scores[slot] for score in scores.values())
                if better >= room or math.isinf(scores[slot]):
                    stop.add(slot)
        return stop

    def _room(self, step: int, known: int) -> int:
        """How many of the known trials go on beyond a step."""
        if step >= self.iterations:
            return known
        fraction = max(self.keep, min(1.0, self.grace * self.iterations / step))
        return max(1, math.ceil(fraction * known - 1e-9))

    def _scores(
        self, curves: Mapping[int, Curve], ended: set[int], step: int, direction: float
    ) -> dict[int, float]:
        """Scores at a step, less is better; trials that run but are not there yet are left out."""
        scores = {}
        for slot, curve in curves.items():
            if curve and max(curve) >= step:
                scores[slot] = self._score(curve, step, direction)
            elif slot in ended:
                scores[slot] = math.inf
        return scores

    def _score(self, curve: Curve, step: int, direction: float) -> float:
        last = sorted(at for at in curve if at <= step)[-self.smooth :]
        score = direction * sum(curve[at] for at in last) / len(last) if last else math.inf
        return score if math.isfinite(score) else math.inf


def _curve(attempts: Sequence[FrozenTrial]) -> Curve:
    curve: dict[int, float] = {}
    for trial in attempts:
        curve |= trial.intermediate_values
    return curve


def _pruned(attempts: Sequence[FrozenTrial]) -> bool:
    return any(trial.state == TrialState.PRUNED for trial in attempts)
