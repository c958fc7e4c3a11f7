"""The studies that the analysis is tested with are what a sweep would have left."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import optuna
import stored
import synthetic
from simulated import Course

from maml_sweep.search import study as studies
from maml_sweep.search.lease import live_workers
from maml_sweep.search.slots import Counts, tally
from maml_sweep.search.space import Space

STATES = {1: "pruned", 2: "diverged", 3: "running", 4: "waiting", 5: "failed", 6: "retried"}


def opened(folder: Path) -> optuna.Study:
    return studies.open_study(studies.storage_url(None, folder), folder.name)


def test_the_rows_are_those_that_optuna_would_write(tmp_path: Path) -> None:
    groups = {"optimizer": {"adam": {}, "sgd": {"optimizer.momentum": "0.1,0.5,0.9"}}}
    folder = synthetic.make(tmp_path, n_trials=8, states=STATES, groups=groups)
    study = opened(folder)
    plan, trials = studies.plan_of(study), study.get_trials()
    again = optuna.create_study(direction=study.direction, storage="sqlite://")
    again.add_trials(trials)
    assert list(map(_written, trials)) == list(map(_written, again.get_trials()))
    space = Space.from_description(plan.space)
    course = Course(0, space.values(trials[0].params), "complete", {100: 0.5})
    assert stored.trials([course], plan, space)[0].distributions == trials[0].distributions


def _written(trial: optuna.trial.FrozenTrial) -> list[str]:
    """All of a trial, whatever the order of its attributes; as text, for NaN equals nothing."""
    parts = {name: part for name, part in vars(trial).items() if name != "_trial_id"}
    return sorted(
        f"{name}: {sorted(part.items()) if isinstance(part, dict) else part}"
        for name, part in parts.items()
    )


def test_the_states_are_as_asked(tmp_path: Path) -> None:
    study = opened(synthetic.make(tmp_path, n_trials=8, states=STATES, prune="none"))
    counts = tally(study.get_trials(), studies.plan_of(study).max_retries)
    assert counts == Counts(complete=3, pruned=1, diverged=1, failed=1, running=1, waiting=1)
    diverged = study.get_trials()[2]
    assert math.isnan(diverged.intermediate_values[200]) and diverged.user_attrs["diverged"] == 175
    assert diverged.system_attrs["constraints:diverged"] == 1 / 176
    assert [t.user_attrs["slot"] for t in study.get_trials()[8:]] == [5, 5, 5, 6]


def test_leases(tmp_path: Path) -> None:
    live = {
        kind: len(live_workers(opened(synthetic.make(tmp_path, kind, lease=kind)).user_attrs))
        for kind in ("live", "dead", "retired")
    }
    assert live == {"live": 1, "dead": 0, "retired": 0}


def test_evaluations_have_the_reported_means(tmp_path: Path) -> None:
    folder = synthetic.make(tmp_path, n_trials=6)
    trial = opened(folder).get_trials()[1]
    with np.load(folder / "evaluations" / "1.npz") as file:
        evaluation = dict(file)
    steps = trial.params["algorithm.inner_steps"]
    assert evaluation["metric"].shape == (2 * steps + 1, 20)
    assert list(evaluation["rung_step"]) == list(trial.intermediate_values)
    curve = list(trial.intermediate_values.values())
    np.testing.assert_allclose(evaluation["rung_metric"].mean(axis=1), curve, rtol=1e-12)
    assert (evaluation["metric"][steps] == evaluation["rung_metric"][-1]).all()


def test_an_empty_study(tmp_path: Path) -> None:
    assert opened(synthetic.make(tmp_path, n_trials=0)).get_trials() == []
