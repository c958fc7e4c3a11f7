"""Small studies, and a storage that is killed on request, for the tests of the search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection

from maml_sweep.search import study as studies
from maml_sweep.search.claims import Claims
from maml_sweep.search.lease import PREFIX
from maml_sweep.search.study import Plan

WRITES = (
    "create_new_study",
    "create_new_trial",
    "set_study_user_attr",
    "set_trial_intermediate_value",
    "set_trial_param",
    "set_trial_state_values",
    "set_trial_user_attr",
    "set_trial_system_attr",
)


def plan(**changes: Any) -> Plan:
    """A plan of four slots to minimise."""
    values: dict[str, Any] = {
        "name": "s",
        "direction": "minimize",
        "metric": "mse",
        "n_trials": 4,
        "seed": 0,
        "repeats": 1,
        "max_retries": 3,
    }
    lists: dict[str, Any] = {"overrides": [], "fixed": [], "enqueue": []}
    maps: dict[str, Any] = {"config": {}, "configs": {}, "space": {}, "versions": {}}
    return Plan(**(values | lists | maps | changes))


def in_memory(plan: Plan, storage: InMemoryStorage | None = None) -> optuna.Study:
    """A study of that plan without files, its slots queued."""
    direction = StudyDirection[plan.direction.upper()]
    study = optuna.create_study(
        study_name=plan.name, storage=storage or InMemoryStorage(), direction=direction
    )
    study.set_user_attr(studies.PLAN, plan.to_json())
    studies.queue_missing(study, plan)
    return study


def claims(study: optuna.Study, folder: Path, worker: str = "w", **kwargs: Any) -> Claims:
    """A worker's claims on an open study."""
    return Claims(study, studies.plan_of(study), folder, worker, **kwargs)


def take(claims: Claims) -> optuna.Trial:
    """Claims a slot, which must be there."""
    trial = claims.claim()
    assert trial is not None
    return trial


def report(claims: Claims, trial: optuna.Trial, value: float, step: int) -> bool:
    """Reports one trial's value; False if the trial was taken from the worker."""
    return not claims.report([(trial, step, value)])


def kill(study: optuna.Study, worker: str) -> None:
    """Makes a worker's lease that of a process which has ended, as kill -9 would."""
    lease = study.user_attrs.get(PREFIX + worker)
    if lease is not None:
        study.set_user_attr(PREFIX + worker, lease | {"start": "0"})


class Killed(BaseException):
    """Stands for SIGKILL: nothing may catch it."""


class MortalStorage(InMemoryStorage):
    """Dies before its n-th write, counted from `arm`."""

    def __init__(self) -> None:
        super().__init__()
        self.left: int | None = None

    def arm(self, writes: int | None) -> None:
        """Lets that many more writes pass; None lets all."""
        self.left = writes

    def _spend(self) -> None:
        if self.left is not None:
            if self.left == 0:
                raise Killed
            self.left -= 1


def _mortal(name: str) -> Any:
    def write(self: MortalStorage, *args: Any, **kwargs: Any) -> Any:
        self._spend()
        return getattr(InMemoryStorage, name)(self, *args, **kwargs)

    return write


for _name in WRITES:
    setattr(MortalStorage, _name, _mortal(_name))
