"""A sweep's study in Optuna's storage: created whole, opened, resumed, its budget raised.

A study is *ours* once its user attribute `plan` is written; before that it is a half-made one,
which the next `create` takes over. Slots are WAITING trials queued in the order of their numbers;
those that a kill left unqueued are added when the study is next created, extended or reconciled
(`maml_sweep.search.claims`). So no moment of being killed leaves a study that cannot be resumed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from maml_sweep.errors import InputError
from maml_sweep.search.storage import (
    DATABASE,
    connect,
    exclusive,
    exclusive_for,
    masked,
    queue_all,
    sqlite_path,
    storage_url,
)
from maml_sweep.streams import trial_seed

__all__ = [
    "DATABASE",
    "PLAN",
    "Plan",
    "connect",
    "create",
    "exists",
    "extend",
    "first_params",
    "folder",
    "load_plan",
    "open_study",
    "plan_of",
    "queue",
    "queue_missing",
    "slot_attrs",
    "storage_url",
]

PLAN = "plan"  # the study user attribute that makes a study a sweep of ours


@dataclass(frozen=True)
class Plan:
    """What a worker must know to join a sweep; stored with the study, JSON both ways.

    Attributes:
      name: the study's name.
      direction: "minimize" or "maximize".
      metric: what the task measures, such as "mse" or "accuracy".
      n_trials: the budget, in slots.
      seed: fixes every slot's trial seed and the validation tasks.
      repeats: trial seeds a trial's objective is averaged over.
      max_retries: how often a slot is tried again after a crash.
      overrides: the user's command line, fixed and swept, for a resume.
      fixed: the task overrides that every trial is composed with.
      config: the resolved base configuration, less what a resume may change.
      configs: the same of each branch, by its name; with what a trial drew, all it trains with.
      space: `Space.describe()`.
      enqueue: stored parameters of the first slots; the sampler draws what they leave open.
      versions: package name -> version.
    """

    name: str
    direction: str
    metric: str
    n_trials: int
    seed: int
    repeats: int
    max_retries: int
    overrides: list[str]
    fixed: list[str]
    config: dict[str, Any]
    configs: dict[str, dict[str, Any]]
    space: dict[str, Any]
    enqueue: list[dict[str, Any]]
    versions: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain values that JSON and YAML can hold."""
        return asdict(self)

    @property
    def sign(self) -> int:
        """1 to minimise, -1 to maximise: `sign * value` is a loss in either case."""
        return -1 if self.direction == "maximize" else 1

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Plan:
        """The inverse of `to_json`; keys of a newer version are passed over."""
        return cls(**{field.name: values[field.name] for field in fields(cls)})


def folder(root: str | Path, name: str) -> Path:
    """Where the study's files lie.

    Raises:
      InputError: the name cannot be a folder's name.
    """
    if not re.fullmatch(r"[\w.+=,@ -]{1,120}", name) or name in {".", ".."} or name != name.strip():
        raise InputError(
            f"study.name: expected a folder name (letters, digits and . _ + = , @ -, at most 120 "
            f"characters, no path separator), got {name!r}"
        )
    return Path(root) / name


def _load(url: str, name: str) -> optuna.Study | None:
    """The study of that name, None where there is none; creates no file."""
    path = sqlite_path(url)
    if path is not None and not path.exists():
        return None
    try:
        return optuna.load_study(study_name=name, storage=connect(url))
    except KeyError:
        return None


def exists(url: str, name: str) -> bool:
    """Whether that sweep was created; one that was killed before its plan was written was not."""
    study = _load(url, name)
    return study is not None and PLAN in study.user_attrs


def load_plan(url: str, name: str) -> Plan:
    """The plan of an existing sweep.

    Raises:
      InputError: no sweep of that name lies there.
    """
    study = _load(url, name)
    if study is None or PLAN not in study.user_attrs:
        raise InputError(f"study.name: expected a sweep stored in {masked(url)}, got {name!r}")
    return plan_of(study)


def plan_of(study: optuna.Study) -> Plan:
    """The plan stored with an open study; its `n_trials` follows what others raised it to."""
    return Plan.from_json(study.user_attrs[PLAN])


def open_study(
    url: str, name: str, sampler: BaseSampler | None = None, pruner: BasePruner | None = None
) -> optuna.Study:
    """Opens an existing sweep's study to ask and tell."""
    pruner = pruner or optuna.pruners.NopPruner()
    try:
        storage = connect(url)
        return optuna.load_study(study_name=name, storage=storage, sampler=sampler, pruner=pruner)
    except KeyError:
        raise InputError(
            f"study.name: expected a sweep stored in {masked(url)}, got {name!r}"
        ) from None


def make_folder(folder: Path) -> None:
    """Makes the study's folder.

    Raises:
      InputError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"study folder: cannot write {folder}: {error.strerror}") from None


def create(url: str, plan: Plan, folder: Path) -> None:
    """Creates the study and queues its slots, or completes one that was killed on the way.

    Raises:
      InputError: a sweep or somebody else's study of that name exists already.
    """
    make_folder(folder)
    storage = connect(url)
    with exclusive_for(storage, plan.name, folder):
        direction = StudyDirection[plan.direction.upper()]
        study = optuna.create_study(
            study_name=plan.name, storage=storage, direction=direction, load_if_exists=True
        )
        if PLAN in study.user_attrs or study.get_trials(deepcopy=False):
            raise InputError(
                f"study.name: {plan.name!r} exists already in {masked(url)}; choose another name"
            )
        if study.direction != direction:  # half-made, for another metric
            optuna.delete_study(study_name=plan.name, storage=storage)
            study = optuna.create_study(study_name=plan.name, storage=storage, direction=direction)
        study.set_user_attr(PLAN, plan.to_json())
        queue_missing(study, plan)


def extend(url: str, name: str, n_trials: int, folder: Path | None = None) -> None:
    """Raises the budget to `n_trials` slots; never lowers it.

    Raises:
      InputError: `n_trials` is below what the study has.
    """
    path = sqlite_path(url)
    study = open_study(url, name)
    with exclusive(study, folder or (path.parent if path else None)):
        plan = plan_of(study)
        if n_trials < plan.n_trials:
            raise InputError(
                f"study.n_trials: expected at least the {plan.n_trials} of the existing study "
                f"{name!r}, got {n_trials}"
            )
        plan = replace(plan, n_trials=n_trials)
        study.set_user_attr(PLAN, plan.to_json())
        queue_missing(study, plan)


def queue_missing(study: optuna.Study, plan: Plan) -> None:
    """Queues every slot of the budget that no trial stands for yet."""
    known = {trial.user_attrs.get("slot") for trial in study.get_trials(deepcopy=False)}
    missing = [slot for slot in range(plan.n_trials) if slot not in known]
    queue_all(
        study, [_waiting(first_params(plan, slot), slot_attrs(plan, slot)) for slot in missing]
    )


def first_params(plan: Plan, slot: int) -> dict[str, Any]:
    """What the user fixed for a slot: `study.enqueue` and grids fill the first ones."""
    return dict(plan.enqueue[slot]) if slot < len(plan.enqueue) else {}


def slot_attrs(plan: Plan, slot: int) -> dict[str, Any]:
    """User attributes of a slot's first trial."""
    return {"slot": slot, "trial_seed": trial_seed(plan.seed, slot), "attempt": 0}


def queue(
    study: optuna.Study,
    params: Mapping[str, Any],
    attrs: Mapping[str, Any],
    curve: Mapping[int, float] | None = None,
) -> None:
    """Queues one trial in a single storage call.

    As `Study.enqueue_trial`, which cannot carry a `curve`: the values that an earlier attempt at
    the slot reported, step -> value. A retry goes on where that one stopped, and pruners, samplers
    and plots should see its whole curve.
    """
    study.add_trial(_waiting(params, attrs, curve))


def _waiting(
    params: Mapping[str, Any], attrs: Mapping[str, Any], curve: Mapping[int, float] | None = None
) -> FrozenTrial:
    return create_trial(
        state=TrialState.WAITING,
        user_attrs=dict(attrs),
        system_attrs={"fixed_params": dict(params)},
        intermediate_values=dict(curve or {}),
    )
