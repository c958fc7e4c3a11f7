"""Samplers: one random state a trial, and a diverged trial never ranked above a finite one."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import optuna
import pytest
import studies as fake
from optuna.samplers import RandomSampler
from optuna.samplers._tpe.sampler import _split_trials
from optuna.trial import TrialState

from maml_sweep.errors import InputError
from maml_sweep.search import samplers

TPE = {"_target_": "optuna.samplers.TPESampler", "n_startup_trials": 4, "group": True}
NODES: dict[str, dict[str, Any]] = {
    "tpe": TPE | {"multivariate": True, "constant_liar": True},
    "random": {"_target_": "optuna.samplers.RandomSampler"},
    "qmc": {"_target_": "optuna.samplers.QMCSampler", "scramble": True},
    "cmaes": {
        "_target_": "optuna.samplers.CmaEsSampler",
        "n_startup_trials": 4,
        "with_margin": True,
    },
    "nsgaii": {"_target_": "optuna.samplers.NSGAIISampler", "population_size": 4},
    "grid": {"_target_": "optuna.samplers.GridSampler"},
}


class Mine(RandomSampler):
    """A user's sampler."""

    def __init__(self, flavour: str) -> None:
        super().__init__(seed=0)
        self.flavour = flavour


def _suggest(trial: optuna.Trial) -> dict[str, Any]:
    model = trial.suggest_categorical("model", ["mlp", "conv4"])
    values = {
        "model": model,
        "lr": trial.suggest_float("lr", 1e-3, 1e-1, log=True),
        "steps": trial.suggest_int("steps", 1, 5),
    }
    if model == "conv4":
        values["filters"] = trial.suggest_int("filters", 8, 64)
    return values


def _sweep(node: dict[str, Any], folder: Path, pack: int, n_trials: int) -> list[dict[str, Any]]:
    """Trials in packs; a high rate diverges, others are pruned or complete; params by slot."""
    study = fake.in_memory(fake.plan(n_trials=n_trials))
    study.sampler = samplers.PerTrial(node, seed=3)
    claims = fake.claims(study, folder)
    drawn = {}
    while riding := [trial for _ in range(pack) if (trial := claims.claim()) is not None]:
        for trial in riding:
            values = drawn[trial.user_attrs["slot"]] = _suggest(trial)
            if values["lr"] > 0.05:
                fake.report(claims, trial, float("nan"), 3)
                claims.finish(trial, value=None, state=TrialState.PRUNED, attrs={"diverged": 3})
            elif values["steps"] == 1:
                fake.report(claims, trial, values["lr"], 1)
                claims.finish(trial, value=None, state=TrialState.PRUNED, attrs={})
            else:
                claims.finish(trial, value=values["lr"], state=TrialState.COMPLETE, attrs={})
    return [drawn[slot] for slot in range(n_trials)]


@pytest.mark.parametrize("name", NODES)
def test_every_sampler_draws_a_sweep_again_as_it_was(name: str, tmp_path: Path) -> None:
    drawn = _sweep(NODES[name], tmp_path, pack=4, n_trials=20)
    # A genetic algorithm hands values down; all others never draw one twice.
    assert len({values["lr"] for values in drawn}) >= (8 if name == "nsgaii" else 20)
    assert drawn == _sweep(NODES[name], tmp_path, pack=4, n_trials=20)


def test_random_search_hangs_on_the_trial_alone(tmp_path: Path) -> None:
    node = NODES["random"]
    assert _sweep(node, tmp_path, 1, 12) == _sweep(node, tmp_path, 5, 12)


def test_interleaved_trials_draw_from_their_own_states(tmp_path: Path) -> None:
    def draw(order: list[int]) -> list[list[float]]:
        study = fake.in_memory(fake.plan(n_trials=2))
        study.sampler = samplers.PerTrial(NODES["random"], seed=0)
        claims = fake.claims(study, tmp_path)
        pack = [fake.take(claims), fake.take(claims)]
        for index in order:
            trial = pack[index]
            trial.suggest_float("b" if "a" in trial.params else "a", 0, 1)
        return [list(trial.params.values()) for trial in pack]

    assert draw([0, 1, 0, 1]) == draw([0, 0, 1, 1]) == draw([1, 0, 1, 0])


def test_a_quasi_random_point_hangs_on_the_trial_and_not_on_who_asks_first(tmp_path: Path) -> None:
    def draw(order: list[int]) -> list[float]:
        study = fake.in_memory(fake.plan(n_trials=4))
        study.sampler = samplers.PerTrial(NODES["qmc"], seed=0)
        claims = fake.claims(study, tmp_path)
        first = fake.take(claims)
        first.suggest_float("x", 0, 1)
        claims.finish(first, value=1.0, state=TrialState.COMPLETE, attrs={})
        pack = [fake.take(claims) for _ in range(3)]
        for index in order:
            pack[index].suggest_float("x", 0, 1)
        return [trial.params["x"] for trial in pack]

    assert draw([0, 1, 2]) == draw([2, 0, 1])


@pytest.mark.parametrize("some_complete", [False, True])
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_tpe_ranks_a_diverged_trial_behind_every_finite_one(
    tmp_path: Path, direction: str, some_complete: bool
) -> None:
    """Slot 0 diverges late, with the best value until then; slots 1-5 are pruned early and bad.

    By value and step alone TPE would call slot 0 the best of those that are not COMPLETE; the
    split into the best `n` and the rest must take it last, for every n.
    """
    study = fake.in_memory(fake.plan(n_trials=6, direction=direction))
    claims = fake.claims(study, tmp_path)
    sign = 1.0 if direction == "minimize" else -1.0
    for slot in range(6):
        trial = fake.take(claims)
        trial.suggest_float("x", 0, 1)
        fake.report(claims, trial, sign * (10.0 if slot else 0.1), 1)
        if slot == 0:
            fake.report(claims, trial, sign * 0.1, 9)
            fake.report(claims, trial, float("nan"), 10)
            claims.finish(trial, value=None, state=TrialState.PRUNED, attrs={"diverged": 1000})
        elif slot == 5 and some_complete:
            claims.finish(trial, value=sign * 11.0, state=TrialState.COMPLETE, attrs={})
        else:
            claims.finish(trial, value=None, state=TrialState.PRUNED, attrs={})
    for n_below in range(1, 6):
        below, above = _split_trials(study, study.get_trials(), n_below)
        assert 0 in [trial.number for trial in above]
        assert len(below) == n_below
    unmarked = [t for t in study.get_trials() if t.state == TrialState.PRUNED]
    for frozen in unmarked:
        frozen.system_attrs.clear()
    below, _ = _split_trials(study, unmarked, 1)
    assert [trial.number for trial in below] == [0]  # what would happen without the constraint


def test_later_divergence_is_the_smaller_fault(tmp_path: Path) -> None:
    study = fake.in_memory(fake.plan(n_trials=3))
    claims = fake.claims(study, tmp_path)
    for iteration in (10, 500, 100):
        trial = fake.take(claims)
        claims.finish(trial, value=None, state=TrialState.PRUNED, attrs={"diverged": iteration})
    below, _ = _split_trials(study, study.get_trials(), 1)
    assert [trial.user_attrs["diverged"] for trial in below] == [500]


def test_a_users_sampler_works_through_target() -> None:
    node = {"_target_": f"{__name__}.Mine", "flavour": "plum"}
    assert samplers.build(node, 0, 0).flavour == "plum"  # type: ignore[attr-defined]


def test_an_argument_that_is_a_node_is_built_too() -> None:
    node = {"_target_": f"{__name__}.Mine", "flavour": {"_target_": "builtins.str", "object": 7}}
    assert samplers.build(node, 0, 0).flavour == "7"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"_target_": "optuna.samplers.TPESampl"}, "sampler._target_: expected a class"),
        ({"_target_": "nosuch.module.Sampler"}, "sampler._target_: expected a class"),
        ({}, "sampler._target_: expected a class"),
        (TPE | {"n_startup": 3}, "sampler: .*n_startup"),
        (TPE | {"multivariate": False}, "sampler: .*multivariate"),
        ({"_target_": "builtins.dict"}, "expected an optuna.samplers.BaseSampler"),
    ],
)
def test_a_wrong_node_is_refused_in_one_line(node: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        samplers.PerTrial(node, 0)
    assert "\n" not in str(caught.value)


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"cmaes.*pip install 'maml-sweep\[samplers\]'"):
        samplers.PerTrial(NODES["cmaes"], 0)
