"""Whether the optimum lies at a bound, and the wider range: rates and known answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import FloatDistribution, IntDistribution
from simulated import BATCH, RATE, STEPS
from synthetic import make

from maml_sweep.analysis import bounds, frames
from maml_sweep.analysis.bounds import Bound, reached
from maml_sweep.analysis.standing import standings
from maml_sweep.analysis.widening import widened
from maml_sweep.search.grammar import distribution

STUDIES = 150


def alarms(optimum: float, weights: tuple[float, ...] = (1, 1, 1, 0), cliff: float = 9.0) -> Any:
    """Random searches of 40 trials over a, b (five integers), c and the idle d.

    Returns:
      The shares of studies that name the upper end of a, and anything else.
    """
    rng = np.random.default_rng(0)
    upper = other = 0
    for _ in range(STUDIES):
        units = pd.DataFrame(rng.uniform(size=(40, 4)), columns=list("abcd"))
        units["b"] = rng.integers(0, 5, 40) / 4
        away = (units - [optimum, 0.5, 0.5, 0.5]) ** 2
        loss = (away * list(weights)).sum(axis=1) + rng.normal(scale=0.1, size=40)
        loss[units["a"] > cliff] = 99.0
        found = {(key, side) for key, side, _ in reached(units, loss.rank() / 40)}
        upper += ("a", "high") in found
        other += bool(found - {("a", "high")})
    return upper / STUDIES, other / STUDIES


def test_an_optimum_outside_is_found() -> None:
    upper, other = alarms(1.5)
    assert upper > 0.85 and other < 0.05


def test_an_optimum_just_outside_is_mostly_found() -> None:
    upper, other = alarms(1.2)
    assert upper > 0.55 and other < 0.05


def test_no_alarm_inside() -> None:
    assert alarms(0.5)[0] < 0.02 and alarms(0.8)[0] < 0.03


def test_no_alarm_where_nothing_matters() -> None:
    upper, other = alarms(0.5, weights=(0, 0, 0, 0))
    assert upper + other < 0.08


def test_no_alarm_behind_a_cliff() -> None:
    """The loss falls up to 85% of the range; beyond, training diverges."""
    assert alarms(1.5, cliff=0.85)[0] < 0.03


def test_few_trials_say_nothing() -> None:
    units = pd.DataFrame({"a": np.linspace(0, 1, 11)})
    assert reached(units, 1 - units["a"]) == []
    units = pd.DataFrame({"a": np.linspace(0, 1, 12)})
    assert [(key, side) for key, side, _ in reached(units, 1 - units["a"])] == [("a", "high")]


def test_a_trend_is_not_enough() -> None:
    """The ranks improve up to the upper end, but the best tenth lies near the other one."""
    unit = np.linspace(0, 1, 60)
    ranks = pd.Series(1.0 - 0.9 * unit)
    ranks[6:12] = np.linspace(0, 0.05, 6)
    assert reached(pd.DataFrame({"a": unit}), ranks) == []
    ranks[6:12] = 1.0 - 0.9 * unit[6:12]
    assert [side for _, side, _ in reached(pd.DataFrame({"a": unit}), ranks)] == ["high"]


def at_bounds(root: Path, objective: Any, **settings: Any) -> list[Bound]:
    study = frames.load(make(root, n_trials=60, objective=objective, **settings))
    return bounds.at_bounds(study, standings(study))


def test_the_bound_of_a_study(tmp_path: Path) -> None:
    """Best: a rate of 1, tenfold beyond the bound; pruned trials count as well."""

    def objective(values: Mapping[str, Any], step: int) -> float:
        return float(np.log10(values[RATE]) ** 2 + np.exp(-step / 500))

    (found,) = at_bounds(tmp_path, objective)
    assert (found.parameter, found.branch, found.side, found.bound) == (RATE, "", "high", 0.1)
    assert 0.05 < found.best <= 0.1 and found.p < 0.01
    assert found.wider == "tag(log, interval(0.001, 0.3))"


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_natural_limits_are_respected(direction: str, tmp_path: Path) -> None:
    """Fewer steps are better: there are none below 1. More tasks are better: there are more."""
    sign = 1 if direction == "minimize" else -1

    def objective(values: Mapping[str, Any], step: int) -> float:
        return sign * (float(values[STEPS]) - 2 * float(np.log2(values[BATCH])))

    (found,) = at_bounds(tmp_path, objective, direction=direction, metric="m")
    assert (found.parameter, found.side) == (BATCH, "high")
    assert found.wider == "tag(log, int(interval(8, 128)))"


def test_the_branch_of_the_best_is_judged(tmp_path: Path) -> None:
    """Momentum is best as high as can be, but adam is better and has none."""

    def objective(values: Mapping[str, Any], step: int) -> float:
        return -float(values.get("x.size", 0)) - 100.0 * float(values["optimizer"] == "adam")

    groups = {"optimizer": {"adam": {}, "sgd": {"x.size": "interval(0.1, 0.5)"}}}
    assert at_bounds(tmp_path, objective, groups=groups) == []


def test_no_best_no_bound(tmp_path: Path) -> None:
    assert at_bounds(tmp_path, lambda values, step: float(values[RATE]), states="pruned") == []


CASES: list[tuple[str, Any, str, str]] = [
    (RATE, FloatDistribution(1e-3, 0.1, log=True), "high", "tag(log, interval(0.001, 0.3))"),
    (RATE, FloatDistribution(1e-3, 0.1, log=True), "low", "tag(log, interval(0.0003, 0.1))"),
    (RATE, FloatDistribution(0.05, 3.0, log=True), "high", "tag(log, interval(0.05, 10.0))"),
    (RATE, FloatDistribution(0.05, 1.0, log=True), "high", "tag(log, interval(0.05, 3.0))"),
    (RATE, FloatDistribution(0.0, 1.0), "high", "interval(0.0, 1.8)"),
    (RATE, FloatDistribution(0.0, 1.0), "low", ""),
    (RATE, FloatDistribution(0.3, 1.0), "low", "interval(0.1, 1.0)"),
    (RATE, FloatDistribution(-1.0, 1.0), "low", "interval(-2.5, 1.0)"),
    (RATE, FloatDistribution(0.1, 0.5, step=0.1), "high", "range(0.1, 0.9, 0.1)"),
    (RATE, FloatDistribution(0.1, 0.5, step=0.1), "low", ""),
    (RATE, FloatDistribution(0.3, 0.5, step=0.1), "low", "range(0.1, 0.6, 0.1)"),
    (STEPS, IntDistribution(1, 5), "high", "range(1, 9)"),
    (STEPS, IntDistribution(1, 5), "low", ""),
    (STEPS, IntDistribution(3, 5), "low", "range(1, 6)"),
    (STEPS, IntDistribution(4, 12, step=4), "high", "range(4, 24, 4)"),
    (STEPS, IntDistribution(-2, 2), "low", "range(-5, 3)"),
    (BATCH, IntDistribution(8, 64, log=True), "high", "tag(log, int(interval(8, 128)))"),
    (BATCH, IntDistribution(8, 64, log=True), "low", "tag(log, int(interval(4, 64)))"),
    (BATCH, IntDistribution(1, 64, log=True), "low", ""),
    ("optimizer.beta1", FloatDistribution(0.5, 0.9), "high", "interval(0.5, 0.9667)"),
    ("optimizer.momentum", FloatDistribution(0.0, 1.0), "high", ""),
]


@pytest.mark.parametrize(("key", "old", "side", "wanted"), CASES)
def test_wider_ranges(key: str, old: Any, side: str, wanted: str) -> None:
    found = widened(key, old, side)
    assert found == wanted
    if not found:
        return
    override = OverridesParser.create().parse_override(f"{key}={found}")
    new: Any = distribution(override, int if isinstance(old, IntDistribution) else float)
    assert (type(new), new.log, new.step) == (type(old), old.log, old.step)
    ends = (new.low, old.high) if side == "low" else (old.low, new.high)
    assert (new.low, new.high) == pytest.approx(ends)
    assert new.low < old.low if side == "low" else new.high > old.high
