"""Standings kept as curves grow are those counted anew."""

from __future__ import annotations

import math

import numpy as np

from maml_sweep.search.rungs import RungPruner
from maml_sweep.search.standings import Standings


def _counted(
    curves: dict[int, dict[int, float]], ended: set[int], slot: int, step: int
) -> tuple[float, int, int]:
    """The definition: means of the last two values at or before the step, less is better."""

    def score(curve: dict[int, float]) -> float:
        last = [curve[at] for at in sorted(curve) if at <= step][-2:]
        mean = sum(last) / len(last) if last else math.inf
        return mean if math.isfinite(mean) else math.inf

    scores = {
        each: score(curve) if curve and max(curve) >= step else math.inf
        for each, curve in curves.items()
        if (curve and max(curve) >= step) or each in ended
    }
    better = sum(value < scores[slot] for value in scores.values())
    return scores[slot], better, len(scores)


def test_standings_that_grow_are_those_counted_anew() -> None:
    """Slots advance by one to three rungs at a time; some diverge, some are pruned."""
    rng = np.random.default_rng(0)
    standings = Standings(2, 1.0)
    curves: dict[int, dict[int, float]] = {slot: {} for slot in range(30)}
    ended: set[int] = set()
    for _ in range(150):
        slot = int(rng.integers(30))
        if slot in ended:
            continue
        for _ in range(int(rng.integers(1, 4))):
            value = float("nan") if rng.uniform() < 0.05 else round(float(rng.uniform()), 1)
            curves[slot][len(curves[slot]) + 1] = value
        if rng.uniform() < 0.1:
            ended.add(slot)
        standings.note(slot, dict(curves[slot]), slot in ended)
        step = len(curves[slot])
        assert standings.place(slot, step) == _counted(curves, ended, slot, step)


def test_a_pruner_follows_whatever_study_it_is_asked_about() -> None:
    """Plain data and standings are one rule: of four at step 50 of 100, the better half goes on."""
    rule = RungPruner(iterations=100, grace=0.25, keep=0.2, smooth=1)
    curves = {slot: {50: float(slot)} for slot in range(4)}
    at = {(slot, 50) for slot in range(4)}
    assert rule.judge(curves, set(), at) == {2, 3}
    assert rule.judge(curves, set(), at, direction=-1.0) == {0, 1}
