"""Learning curves in place of training: of a study, or of a synthetic family of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import FloatDistribution, IntDistribution, distribution_to_json
from optuna.trial import TrialState
from sqlalchemy import Connection, bindparam, insert, select, update

from maml_sweep.search import study as studies
from maml_sweep.search import tables
from maml_sweep.search.space import Branch, Space

RUNGS = [100 * (rung + 1) for rung in range(20)]  # a whole trial's, as in the default sweep


@dataclass(frozen=True)
class Recording:
    """Learning curves of points of a space.

    Attributes:
      space: where the points lie.
      points: float [trial, parameter], each parameter on [0, 1] of its own scale.
      curves: a trial's values at its rungs; shorter, and NaN at the end, if it diverged.
    """

    space: Space
    points: NDArray[np.float64]
    curves: list[list[float]]

    def curve(self, values: Mapping[str, Any], seed: int) -> list[float]:
        """The curve of the trial that is nearest to some values, whatever the seed."""
        place = place_of(self.space, values)
        return self.curves[int(np.argmin(((self.points - place) ** 2).sum(axis=1)))]


def place_of(space: Space, values: Mapping[str, Any]) -> NDArray[np.float64]:
    """Where a point of a space's first branch lies, each parameter on [0, 1]."""
    place = []
    for key, each in space.branches[0].distributions.items():
        assert isinstance(each, FloatDistribution | IntDistribution), f"{key} is no number"
        ends = np.array([each.low, each.high, values.get(key, each.low)], dtype=np.float64)
        low, high, x = np.log(ends) if each.log else ends
        place.append((x - low) / max(high - low, 1e-12))
    return np.array(place)


def values_at(space: Space, point: NDArray[np.float64]) -> dict[str, float | int]:
    """The values at a point of a space's first branch, the inverse of `place_of`."""
    values: dict[str, float | int] = {}
    for (key, each), place in zip(space.branches[0].distributions.items(), point, strict=True):
        assert isinstance(each, FloatDistribution | IntDistribution), f"{key} is no number"
        ends = np.array([each.low, each.high], dtype=np.float64)
        low, high = np.log(ends) if each.log else ends
        value = low + place * (high - low)
        value = float(np.exp(value) if each.log else value)
        values[key] = round(value) if isinstance(each, IntDistribution) else value
    return values


def synthetic(count: int = 512, seed: int = 0) -> Recording:
    """Curves like those of few-shot sinusoids: power laws to a floor that the four decide."""
    space = Space((Branch("", {}, {
        "algorithm.inner_lr": FloatDistribution(1e-3, 1e-1, log=True),
        "algorithm.inner_steps": IntDistribution(1, 5),
        "optimizer.meta_lr": FloatDistribution(3e-4, 1e-2, log=True),
        "training.meta_batch_size": IntDistribution(8, 64, log=True),
    }),))  # fmt: skip
    rng = np.random.default_rng(seed)
    points = rng.uniform(size=(count, 4))
    alpha, steps, beta, batch = points.T
    floor = 0.3 + 2.0 * (alpha + 0.3 * steps - 0.9) ** 2 + 1.5 * (beta - 0.6) ** 2
    rate = 0.3 + 0.7 * beta
    curves = []
    for index in range(count):
        progress = np.arange(1, len(RUNGS) + 1) / len(RUNGS)
        curve = floor[index] + 3.0 * np.exp(-6.0 * rate[index] * progress)
        curve *= rng.lognormal(sigma=0.06 - 0.03 * batch[index], size=len(RUNGS))
        values = [float(value) for value in curve]
        if alpha[index] + beta[index] > 1.85:
            values = [*values[: rng.integers(1, 6)], float("nan")]
        curves.append(values)
    return Recording(space, points, curves)


def recorded(folder: Path) -> Recording:
    """The unpruned and diverged trials of a study of one branch."""
    study = studies.open_study(studies.storage_url(None, folder), folder.name)
    space = Space.from_description(studies.plan_of(study).space)
    done = [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state == TrialState.COMPLETE or "diverged" in trial.user_attrs
    ]
    points = np.stack([place_of(space, space.values(trial.params)) for trial in done])
    return Recording(space, points, [list(t.intermediate_values.values()) for t in done])


def fill(connection: Connection, study: int, recording: Recording, count: int) -> None:
    """Writes results for the first slots of a study, as if half were pruned on the way.

    Args:
      connection: to a database where the study's slots wait.
      study: its id.
      recording: whose points they get, in turn.
      count: how many slots.
    """
    rng = np.random.default_rng(1)
    ids = select(tables.TRIAL.c.trial_id).where(tables.TRIAL.c.study_id == study)
    ids = ids.order_by(tables.TRIAL.c.trial_id).limit(count)
    drawn, curves, results, ended = [], [], [], []
    for index, trial_id in enumerate(connection.scalars(ids).all()):
        curve = recording.curves[index % len(recording.curves)]
        length = len(curve) if rng.uniform() < 0.5 else int(rng.integers(1, len(curve) + 1))
        whole = length == len(RUNGS)
        drawn += [{"trial_id": trial_id, **row} for row in _params(recording, index)]
        curves += [(trial_id, RUNGS[rung], curve[rung]) for rung in range(length)]
        state = TrialState.COMPLETE if whole else TrialState.PRUNED
        ended.append({"one": trial_id, "state": state, "datetime_complete": datetime.now(UTC)})
        if np.isfinite(curve[length - 1]):
            results.append({"trial_id": trial_id, "objective": 0, "value": curve[length - 1],
                            "value_type": "FINITE"})  # fmt: skip
    running = update(tables.TRIAL).where(tables.TRIAL.c.trial_id.in_([e["one"] for e in ended]))
    connection.execute(running.values(state=TrialState.RUNNING, datetime_start=datetime.now(UTC)))
    connection.execute(insert(tables.PARAM), drawn)
    tables.report(connection, curves)
    connection.execute(insert(tables.RESULT), results)
    connection.execute(
        update(tables.TRIAL).where(tables.TRIAL.c.trial_id == bindparam("one")), ended
    )


def _params(recording: Recording, index: int) -> list[dict[str, Any]]:
    """One point's rows of Optuna's table."""
    point = recording.points[index % len(recording.points)]
    distributions = recording.space.branches[0].distributions
    rows = []
    for key, value in values_at(recording.space, point).items():
        each = distributions[key]
        rows.append({"param_name": key, "param_value": each.to_internal_repr(value),
                     "distribution_json": distribution_to_json(each)})  # fmt: skip
    return rows
