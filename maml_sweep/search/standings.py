"""Who is better than whom at a step, kept as curves grow instead of counted anew each time.

A slot's score at a step is final as soon as it is known, so each value that is reported costs one
entry in a sorted list, however many slots the study has.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Mapping

import optuna
from optuna.trial import FrozenTrial, TrialState

Curve = Mapping[int, float]  # step -> reported value; the union over a slot's attempts


class Standings:
    """Scores of slots at the steps that were asked about; less is better.

    Args:
      smooth: how many of a curve's last values a score averages.
      direction: 1 to minimise the values, -1 to maximise them.
    """

    def __init__(self, smooth: int, direction: float) -> None:
        self._smooth = smooth
        self._direction = direction
        self._curves: dict[int, Curve] = {}
        self._ended: set[int] = set()
        self._scores: dict[int, dict[int, float]] = {}  # step -> slot -> score
        self._sorted: dict[int, list[float]] = {}  # step -> all of them

    def note(self, slot: int, curve: Curve, ended: bool) -> None:
        """Enters a slot's curve so far, and whether its trial was pruned or diverged."""
        self._curves[slot] = curve
        if ended:
            self._ended.add(slot)
        for step, scores in self._scores.items():
            if slot not in scores:
                self._enter(step, slot)

    def place(self, slot: int, step: int) -> tuple[float, int, int]:
        """Where a slot that reported at a step stands there.

        Returns:
          Its score; how many are better; how many are known. Who was pruned before counts as
          worse, who runs but is not there yet is left out.
        """
        if step not in self._scores:
            self._scores[step], self._sorted[step] = {}, []
            for each in self._curves:
                self._enter(step, each)
        score = self._scores[step][slot]
        return score, bisect_left(self._sorted[step], score), len(self._sorted[step])

    def _enter(self, step: int, slot: int) -> None:
        curve = self._curves[slot]
        if curve and max(curve) >= step:
            score = self._score(curve, step)
        elif slot in self._ended:
            score = math.inf
        else:
            return
        self._scores[step][slot] = score
        insort(self._sorted[step], score)

    def _score(self, curve: Curve, step: int) -> float:
        last = sorted(at for at in curve if at <= step)[-self._smooth :]
        score = self._direction * sum(curve[at] for at in last) / len(last) if last else math.inf
        return score if math.isfinite(score) else math.inf


class Followed:
    """A study whose trials' curves go into standings as they grow.

    Args:
      study: its storage puts a new object in place of a trial that changed, as all of Optuna's do.
      standings: empty.
    """

    def __init__(self, study: optuna.Study, standings: Standings) -> None:
        self.study = study
        self._standings = standings
        self._seen: list[FrozenTrial] = []
        self._attempts: dict[int, dict[int, FrozenTrial]] = {}  # slot -> number -> trial

    def standings(self) -> Standings:
        """Those of this moment."""
        trials = self.study.get_trials(deepcopy=False)
        fresh = len(self._seen)
        changed = [new for new, old in zip(trials, self._seen, strict=False) if new is not old]
        for trial in [*changed, *trials[fresh:]]:
            if "slot" in trial.user_attrs:
                self._note(trial.user_attrs["slot"], trial)
        self._seen = trials
        return self._standings

    def _note(self, slot: int, trial: FrozenTrial) -> None:
        attempts = self._attempts.setdefault(slot, {})
        attempts[trial.number] = trial
        curve: dict[int, float] = {}
        for number in sorted(attempts):
            curve |= attempts[number].intermediate_values
        pruned = any(each.state == TrialState.PRUNED for each in attempts.values())
        self._standings.note(slot, curve, pruned)
