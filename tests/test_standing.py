"""The rank of all trials, and the winner table of a study."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from composing import ROOT
from scipy.stats import spearmanr
from synthetic import make

from maml_sweep.analysis import frames, selection
from maml_sweep.analysis.standing import _order, standings
from maml_sweep.search.rungs import RungPruner

NAN = np.nan
ONE = {"algorithm.inner_lr": "interval(0.0, 1.0)"}


def points(*values: float) -> list[dict[str, Any]]:
    return [{"algorithm.inner_lr": value} for value in values]


def distance(values: Mapping[str, Any], step: int) -> float:
    """Falls by 1 a hundred steps; ends at the one value that is searched."""
    return float(values["algorithm.inner_lr"]) + 10 - step / 100


def test_a_pruned_trial_takes_its_place_among_those_that_went_on() -> None:
    """At rung 0 slot 3 was behind slot 0 and before slots 1 and 2, which end in the order 1, 0, 2.

    One was better than it there, so it goes behind the first of that order.
    """
    losses = np.array([[1.0, 0.5], [3.0, 0.4], [4.0, 0.9], [2.0, NAN]])
    assert _order(losses, [0, 1, 2, 3]) == [1, 3, 0, 2]


def test_early_values_are_not_taken_for_results() -> None:
    """Slot 2 stopped at 5 when the others stood at 9 and 8, which have 0.1 and 0.2 now."""
    losses = np.array([[9.0, 0.1], [8.0, 0.2], [5.0, NAN]])
    assert _order(losses, [0, 1, 2]) == [2, 0, 1]
    losses[2, 0] = 8.5
    assert _order(losses, [0, 1, 2]) == [0, 2, 1]


def test_later_rungs_are_settled_first() -> None:
    """Slot 2 stopped at rung 1 behind both; slot 1 at rung 0, where it was better than slot 2."""
    losses = np.array([[1.0, 1.0, 1.0], [2.0, NAN, NAN], [3.0, 3.0, NAN]])
    assert _order(losses, [0, 1, 2]) == [0, 1, 2]
    losses[1, 0] = 4.0
    assert _order(losses, [0, 1, 2]) == [0, 2, 1]


def test_several_in_one_place_keep_their_order() -> None:
    losses = np.array([[1.0, 1.0], [5.0, NAN], [4.0, NAN], [6.0, NAN]])
    assert _order(losses, [0, 1, 2, 3]) == [0, 2, 1, 3]


def test_a_draw_at_a_rung_goes_to_the_one_that_went_on() -> None:
    losses = np.array([[2.0, NAN], [2.0, 9.0]])
    assert _order(losses, [0, 1]) == [1, 0]


def test_standings_of_a_study(tmp_path: Path) -> None:
    """Complete by value, then slot 3, stopped as the worst there; slot 0 diverged."""
    make(
        tmp_path,
        space=ONE,
        n_trials=5,
        points=points(0.9, 0.4, 0.2, 0.6, 0.5),
        objective=distance,
        prune="none",
        states={0: "diverged", 3: "pruned", 4: "waiting"},
    )
    found = standings(frames.load("s", tmp_path))
    assert found.to_dict() == {0: 1.0, 1: pytest.approx(1 / 3), 2: 0.0, 3: pytest.approx(2 / 3)}


def test_a_later_divergence_is_better(tmp_path: Path) -> None:
    """Both diverge; the batch has nothing to do with it, the iteration has."""
    make(tmp_path, space=ONE, n_trials=3, states="diverged", objective=distance)
    study = frames.load("s", tmp_path)
    study.trials["diverged"] = [150, 190, 170]
    assert list(standings(study).sort_values().index) == [1, 2, 0]


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_either_direction(direction: str, tmp_path: Path) -> None:
    make(tmp_path, space=ONE, n_trials=3, points=points(0.1, 0.9, 0.5), direction=direction,
         objective=distance, prune="none")  # fmt: skip
    study = frames.load("s", tmp_path)
    wanted = [0, 2, 1] if direction == "minimize" else [1, 2, 0]
    assert list(standings(study).sort_values().index) == wanted
    assert selection.best(study) == wanted[0]
    table = selection.winner_table(study)
    assert table["slot"][0] == wanted[0] and (table["difference"] >= 0).all()


def test_standings_agree_with_the_unpruned_truth() -> None:
    """100 recorded sinusoid curves, pruned by the default rule in four orders."""
    with np.load(ROOT / "tests" / "data" / "curves.npz") as file:
        curves = file["values"]
    curves = curves[np.isfinite(curves).all(axis=1)]
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(len(curves))
        known = pruned(curves, order)
        assert np.isnan(known).mean() > 0.5
        found = _order(known, list(range(len(curves))))
        rank = np.argsort(found)
        assert spearmanr(rank, curves[:, -1]).statistic > 0.8
        assert len({*found[:10]} & {*np.argsort(curves[:, -1])[:10]}) >= 9


def pruned(curves: np.ndarray, order: np.ndarray) -> np.ndarray:
    """What is known of curves that ride in packs of eight; NaN beyond where they were pruned."""
    rungs = curves.shape[1]
    pruner = RungPruner(2000)
    steps = [round((rung + 1) * 2000 / rungs) for rung in range(rungs)]
    queue, riding, ended = [int(slot) for slot in order], list[int](), set[int]()
    known: dict[int, dict[int, float]] = {}
    while queue or riding:
        while queue and len(riding) < 8:
            riding.append(queue.pop(0))
            known[riding[-1]] = {}
        for slot in riding:
            rung = len(known[slot])
            known[slot][steps[rung]] = float(curves[slot, rung])
        at = {(slot, steps[len(known[slot]) - 1]) for slot in riding}
        ended |= pruner.judge(known, ended, at)
        riding = [slot for slot in riding if slot not in ended and len(known[slot]) < rungs]
    table = np.full(curves.shape, NAN)
    for slot, curve in known.items():
        table[slot, : len(curve)] = list(curve.values())
    return table


def test_the_winner_table(tmp_path: Path) -> None:
    """0.300 and 0.301 are closer than tasks can tell, 0.9 is not; the pruned one is not asked."""
    make(
        tmp_path,
        space=ONE,
        n_trials=4,
        points=points(0.301, 0.300, 0.9, 0.3005),
        objective=lambda values, step: float(values["algorithm.inner_lr"]),
        prune="none",
        states={3: "pruned"},
    )
    study = frames.load("s", tmp_path)
    table = selection.winner_table(study)
    assert list(table["slot"]) == [1, 0] and selection.best(study) == 1
    assert list(table["difference"]) == pytest.approx([0.0, 0.001])
    assert list(table["mean"]) == pytest.approx([0.300, 0.301])
    assert table["p"][0] == 1.0 and table["low"][1] < 0.001 < table["high"][1]
    interval = selection.best_interval(study, 1)
    assert interval is not None and interval.n == 20
    assert interval.mean == pytest.approx(0.30)


def test_no_winners_without_evaluations(tmp_path: Path) -> None:
    make(tmp_path, n_trials=3, evaluations=False, prune="none")
    study = frames.load("s", tmp_path)
    assert selection.best(study) is not None
    assert selection.best_interval(study, selection.best(study)) is None
    assert selection.winner_table(study).empty
    make(tmp_path, "none", n_trials=0)
    nothing = frames.load("none", tmp_path)
    assert selection.best(nothing) is None and selection.winner_table(nothing).empty
    assert standings(nothing).empty
