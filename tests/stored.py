"""Courses of a sweep as Optuna's trials, and many of those into SQLite at once."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    distribution_to_json,
)
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState, create_trial
from simulated import BATCH, BEGIN, Course
from sqlalchemy import insert

from maml_sweep.search import study as studies
from maml_sweep.search.space import Space
from maml_sweep.search.study import Plan

STATES = {
    "complete": TrialState.COMPLETE,
    "retried": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "diverged": TrialState.PRUNED,
    "running": TrialState.RUNNING,
}


def trials(courses: Sequence[Course], plan: Plan, space: Space) -> list[FrozenTrial]:
    """The first attempts in the order of the slots, then the retries."""
    first, again = [], []
    for course in courses:
        attempts = list(_attempts(course, plan, space))
        first.append(attempts[0])
        again += attempts[1:]
    return first + again


def store(plan: Plan, folder: Path, trials: Sequence[FrozenTrial]) -> optuna.Study:
    """Creates the study with these trials in one transaction; Optuna takes one a trial.

    Returns:
      The open study; `Study.get_trials` reads what `Study.add_trials` would have written.
    """
    url = studies.storage_url(None, folder)
    studies.create(url, replace(plan, n_trials=0), folder)
    study = studies.open_study(url, plan.name)
    study.set_user_attr(studies.PLAN, plan.to_json())
    backend: Any = study._storage
    with backend.engine.begin() as connection:
        for model, rows in _rows(study._study_id, trials).items():
            if rows:
                connection.execute(insert(model), rows)
    return studies.open_study(url, plan.name)


def _attempts(course: Course, plan: Plan, space: Space) -> Iterator[FrozenTrial]:
    params = space.stored(course.values)
    drawn: dict[str, Any] = {"params": params, "distributions": _named(space, course.values)}
    attrs = studies.slot_attrs(plan, course.slot)
    if course.state == "waiting":
        yield _trial(TrialState.WAITING, attrs)
        return
    held = {"worker": course.worker, "asked_at": course.started}
    held |= {"known_results": course.known_results}
    if course.state == "failed":
        for attempt in range(plan.max_retries + 1):
            attrs |= {"attempt": attempt, "reason": "it ran out of memory", "blame": 1} | held
            yield _trial(TrialState.FAIL, attrs, **drawn)
        return
    if course.state == "retried":
        half = dict(list(course.curve.items())[: len(course.curve) // 2])
        lost = attrs | held | {"reason": "lease lapsed", "blame": 0}
        yield _trial(TrialState.FAIL, lost, course, intermediate_values=half, **drawn)
        held |= {"resumed": len(half)}
    yield _trial(STATES[course.state], attrs | held | _result(course), course,
                 intermediate_values=course.curve, **drawn)  # fmt: skip


def _result(course: Course) -> dict[str, Any]:
    """What `Claimed.attrs` adds to a finished trial."""
    if course.finished is None:
        return {}
    tasks = course.iterations * int(course.values.get(BATCH, 25))
    attrs = {"iterations": course.iterations, "tasks": tasks, "seconds": round(course.seconds, 3)}
    return attrs if course.diverged is None else attrs | {"diverged": course.diverged}


def _named(space: Space, values: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """Stored name -> distribution, of one point's branch, in the order of the point's names."""
    branch = space.branch(values)
    named: dict[str, BaseDistribution] = {}
    for key in values:
        if key in space.groups:
            named[key] = CategoricalDistribution(space.groups[key])
        else:
            named[space._name(branch, key)] = branch.distributions[key]
    return named


def _trial(
    state: TrialState, attrs: Mapping[str, Any], course: Course | None = None, **kwargs: Any
) -> FrozenTrial:
    system: dict[str, Any] = {"fixed_params": {}}
    if "diverged" in attrs:
        system["constraints:diverged"] = 1.0 / (1.0 + attrs["diverged"])
    last = list(kwargs.get("intermediate_values", {}).values())[-1:]
    told = state in {TrialState.COMPLETE, TrialState.PRUNED} and last and math.isfinite(last[0])
    trial = create_trial(
        state=state,
        value=last[0] if told else None,
        user_attrs=dict(attrs),
        system_attrs=system,
        **kwargs,
    )
    begun = course.started if course is not None else None
    ended = course.finished if course is not None else None
    if state == TrialState.FAIL:
        begun, ended = begun or BEGIN, ended or BEGIN
    trial.datetime_start = datetime.fromtimestamp(begun) if begun else None
    trial.datetime_complete = datetime.fromtimestamp(ended) if ended else None
    return trial


def _rows(study_id: int, trials: Sequence[FrozenTrial]) -> dict[Any, list[dict[str, Any]]]:
    """Each table's rows, for an empty database."""
    rows: dict[Any, list[dict[str, Any]]] = {
        models.TrialModel: [],
        models.TrialValueModel: [],
        models.TrialParamModel: [],
        models.TrialUserAttributeModel: [],
        models.TrialSystemAttributeModel: [],
        models.TrialIntermediateValueModel: [],
    }
    heads, values, params, users, systems, curves = rows.values()
    for number, trial in enumerate(trials):
        row = {"trial_id": number + 1}
        heads.append(
            row | {"number": number, "study_id": study_id, "state": trial.state} | _times(trial)
        )
        if trial.value is not None:
            kind = models.TrialValueModel.TrialValueType.FINITE
            values.append(row | {"objective": 0, "value": trial.value, "value_type": kind})
        for name, value in trial.params.items():
            each = trial.distributions[name]
            params.append(row | {"param_name": name, "param_value": each.to_internal_repr(value),
                                 "distribution_json": distribution_to_json(each)})  # fmt: skip
        users += [
            row | {"key": k, "value_json": json.dumps(x)} for k, x in trial.user_attrs.items()
        ]
        systems += [
            row | {"key": k, "value_json": json.dumps(x)} for k, x in trial.system_attrs.items()
        ]
        for step, value in trial.intermediate_values.items():
            model = models.TrialIntermediateValueModel
            stored, type_ = model.intermediate_value_to_stored_repr(value)
            curves.append(row | {"step": step, "intermediate_value": stored,
                                 "intermediate_value_type": type_})  # fmt: skip
    return rows


def _times(trial: FrozenTrial) -> dict[str, Any]:
    """As the table has them: UTC without a zone."""
    times = {"datetime_start": trial.datetime_start, "datetime_complete": trial.datetime_complete}
    return {key: at and at.astimezone(UTC).replace(tzinfo=None) for key, at in times.items()}
