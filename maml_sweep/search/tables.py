"""Optuna's tables of trials, read and written in a few statements where Optuna takes many.

Every function takes an open connection and leaves beginning and committing to its caller.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, Row, Table, bindparam, func, insert, select, update
from sqlalchemy.dialects import mysql, postgresql, sqlite

STUDY: Table = models.StudyModel.__table__
TRIAL: Table = models.TrialModel.__table__
PARAM: Table = models.TrialParamModel.__table__
RESULT: Table = models.TrialValueModel.__table__
USER: Table = models.TrialUserAttributeModel.__table__
SYSTEM: Table = models.TrialSystemAttributeModel.__table__
CURVE: Table = models.TrialIntermediateValueModel.__table__

_CHUNK = 500  # ids in one IN (...)
_distribution = cache(json_to_distribution)  # a study has few, and JSON takes long


@dataclass(frozen=True)
class Part:
    """A table that holds a part of each trial, a row an entry.

    Attributes:
      table: its second column is the trial's id.
      columns: of it, after the row's id and the trial's.
      put: enters those columns' values into a trial; whether that changed it.
    """

    table: Table
    columns: tuple[str, ...]
    put: Callable[..., bool]

    @property
    def ids(self) -> Any:
        """The column with the rows' ids: they grow, but for transactions that overtake others."""
        return next(iter(self.table.primary_key))

    @property
    def query(self) -> Any:
        """Selects (row id, trial id, columns), in the order of writing."""
        chosen = (self.table.c[name] for name in self.columns)
        return select(self.ids, self.table.c.trial_id, *chosen).order_by(self.ids)


def _put(entries: dict[Any, Any], key: Any, value: Any) -> bool:
    if key in entries and entries[key] == value:
        return False
    entries[key] = value
    return True


def _put_param(trial: FrozenTrial, name: str, internal: float, text: str) -> bool:
    distribution = _distribution(text)
    trial._distributions.setdefault(name, distribution)
    return _put(trial._params, name, distribution.to_external_repr(internal))


def _put_user(trial: FrozenTrial, key: str, text: str) -> bool:
    return _put(trial._user_attrs, key, json.loads(text))


def _put_system(trial: FrozenTrial, key: str, text: str) -> bool:
    return _put(trial._system_attrs, key, json.loads(text))


def _put_value(trial: FrozenTrial, step: int, value: float | None, kind: Any) -> bool:
    value = models.TrialIntermediateValueModel.stored_repr_to_intermediate_value(value, kind)
    return _put(trial.intermediate_values, step, value)


def _put_result(trial: FrozenTrial, value: float | None, kind: Any) -> bool:
    trial._values = [models.TrialValueModel.stored_repr_to_value(value, kind)]
    return True


PARTS = (  # what grows while a trial runs
    Part(PARAM, ("param_name", "param_value", "distribution_json"), _put_param),
    Part(USER, ("key", "value_json"), _put_user),
    Part(SYSTEM, ("key", "value_json"), _put_system),
    Part(CURVE, ("step", "intermediate_value", "intermediate_value_type"), _put_value),
)
_RESULT = Part(RESULT, ("value", "value_type"), _put_result)


# Reading.


class Heads(NamedTuple):
    """Where trials stand.

    Attributes:
      states: id -> state of those that run, and of the new ones.
      queued: how many of the others wait.
      first: the least id among those, or one beyond all.
    """

    states: dict[int, TrialState]
    queued: int
    first: int


def latest(connection: Connection) -> list[int]:
    """The greatest row id of each of `PARTS`, 0 where there is no row."""
    return [connection.scalar(select(func.max(part.ids))) or 0 for part in PARTS]


def since(connection: Connection, marks: Sequence[int]) -> list[Sequence[Row[Any]]]:
    """The rows of each of `PARTS` above a row id, whichever study they belong to."""
    pairs = zip(PARTS, marks, strict=True)
    return [connection.execute(part.query.where(part.ids > mark)).all() for part, mark in pairs]


def heads(connection: Connection, study: int, settled: int, last: int) -> Heads:
    """Where a study's unfinished trials stand.

    Args:
      connection: an open one.
      study: its id.
      settled: every trial up to this id is known to be finished.
      last: the greatest known id.
    """
    mine = (TRIAL.c.study_id == study, TRIAL.c.trial_id > settled)
    told = (TRIAL.c.state == TrialState.RUNNING) | (TRIAL.c.trial_id > last)
    states = connection.execute(select(TRIAL.c.trial_id, TRIAL.c.state).where(*mine, told)).all()
    queue = select(func.count(), func.min(TRIAL.c.trial_id)).select_from(TRIAL)
    queue = queue.where(*mine, TRIAL.c.state == TrialState.WAITING, TRIAL.c.trial_id <= last)
    count, first = connection.execute(queue).one()
    return Heads({each.trial_id: each.state for each in states}, count, first or last + 1)


def waiting(connection: Connection, study: int, settled: int) -> set[int]:
    """The ids of a study's waiting trials."""
    mine = (TRIAL.c.study_id == study, TRIAL.c.trial_id > settled)
    waits = select(TRIAL.c.trial_id).where(*mine, TRIAL.c.state == TrialState.WAITING)
    return set(connection.scalars(waits))


def whole(connection: Connection, ids: Iterable[int]) -> list[FrozenTrial]:
    """All of the trials with these ids; an id that is unknown is left out."""
    ordered = sorted(ids)
    chunks = [ordered[start : start + _CHUNK] for start in range(0, len(ordered), _CHUNK)]
    return [trial for chunk in chunks for trial in _assemble(connection, chunk)]


def everything(connection: Connection, study: int) -> list[FrozenTrial]:
    """All trials of a study."""
    return _assemble(connection, select(TRIAL.c.trial_id).where(TRIAL.c.study_id == study))


def outline(connection: Connection, study: int, keys: Sequence[str]) -> list[FrozenTrial]:
    """All trials of a study with no more than these user attributes."""
    rows = connection.execute(
        select(TRIAL).where(TRIAL.c.study_id == study).order_by(TRIAL.c.trial_id)
    )
    trials = {row.trial_id: _bare(row) for row in rows}
    attrs = select(USER.c.trial_id, USER.c.key, USER.c.value_json).join(TRIAL)
    attrs = attrs.where(TRIAL.c.study_id == study, USER.c.key.in_(keys))
    for trial_id, key, text in connection.execute(attrs):
        if trial_id in trials:  # else it was queued since
            _put_user(trials[trial_id], key, text)
    return list(trials.values())


def _assemble(connection: Connection, ids: Any) -> list[FrozenTrial]:
    """The trials whose ids are in a list or come of a query."""
    mine = select(TRIAL).where(TRIAL.c.trial_id.in_(ids)).order_by(TRIAL.c.trial_id)
    trials = {row.trial_id: _bare(row) for row in connection.execute(mine)}
    for part in (*PARTS, _RESULT):
        rows = connection.execute(part.query.where(part.table.c.trial_id.in_(ids)))
        for _, trial_id, *columns in rows:
            if trial_id in trials:  # else it was queued since
                part.put(trials[trial_id], *columns)
    return list(trials.values())


def _bare(row: Row[Any]) -> FrozenTrial:
    return FrozenTrial(
        number=row.number,
        state=row.state,
        value=None,
        datetime_start=local_time(row.datetime_start),
        datetime_complete=local_time(row.datetime_complete),
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
        trial_id=row.trial_id,
    )


def local_time(utc: datetime | None) -> datetime | None:
    """Optuna stores UTC and shows local time, both without a zone."""
    return utc and utc.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)


# Writing. Each may be repeated after a commit whose acknowledgement was lost.


def pop(
    connection: Connection, study: int, first: int, marks: Mapping[str, Any], now: datetime
) -> int | None:
    """Sets the study's first waiting trial RUNNING and marks it, in one transaction.

    Args:
      connection: an open one.
      study: its id.
      first: no trial below this id waits.
      marks: user attributes; one that the trial has stays.
      now: when it begins, UTC.

    Returns:
      The trial's id; None where none waits.
    """
    waits = (TRIAL.c.study_id == study, TRIAL.c.state == TrialState.WAITING)
    head = select(TRIAL.c.trial_id).where(*waits, TRIAL.c.trial_id >= first)
    head = head.order_by(TRIAL.c.trial_id).limit(1).with_for_update(skip_locked=True)
    while (trial_id := connection.scalar(head)) is not None:
        mine = update(TRIAL).where(TRIAL.c.trial_id == trial_id, *waits)
        begun = {"state": TrialState.RUNNING, "datetime_start": now}
        if connection.execute(mine.values(begun)).rowcount:  # SQLite locks no row
            put_attrs(connection, trial_id, marks)
            return int(trial_id)
    return None


def marked(connection: Connection, trial_id: int, marks: Mapping[str, Any]) -> bool:
    """Whether the trial has these user attributes."""
    mine = select(USER.c.key, USER.c.value_json).where(USER.c.trial_id == trial_id)
    found = {key: json.loads(text) for key, text in connection.execute(mine)}
    return marks.items() <= found.items()


def put_attrs(connection: Connection, trial_id: int, attrs: Mapping[str, Any]) -> None:
    """Gives a trial user attributes; one that it has stays."""
    _insert_new(connection, USER, [
        {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
        for key, value in attrs.items()
    ])  # fmt: skip


def put_params(
    connection: Connection, trial_id: int, drawn: Sequence[tuple[str, float, BaseDistribution]]
) -> bool:
    """Enters (name, internal value, distribution) of a trial that runs; whether it does."""
    alive = bool(running(connection, [trial_id]))
    if alive:
        _insert_new(connection, PARAM, [
            {"trial_id": trial_id, "param_name": name, "param_value": value,
             "distribution_json": distribution_to_json(distribution)}
            for name, value, distribution in drawn
        ])  # fmt: skip
    return alive


_RUNNING = select(TRIAL.c.trial_id).where(
    TRIAL.c.trial_id.in_(bindparam("ids", expanding=True)), TRIAL.c.state == TrialState.RUNNING
)


def running(connection: Connection, ids: Iterable[int]) -> set[int]:
    """Which of the trials run."""
    return set(connection.scalars(_RUNNING, {"ids": list(ids)}))


def end(
    connection: Connection,
    trial_id: int,
    state: TrialState,
    values: Sequence[float] | None,
    attrs: Mapping[str, Any],
) -> bool:
    """Ends a trial that runs or waits, with values and further user attributes; whether it did."""
    mine = update(TRIAL).where(
        TRIAL.c.trial_id == trial_id, TRIAL.c.state.in_([TrialState.RUNNING, TrialState.WAITING])
    )
    ended = {"state": state, "datetime_complete": datetime.now(UTC)}
    if not connection.execute(mine.values(ended)).rowcount:
        return False
    rows = []
    for objective, value in enumerate(values or ()):
        stored, kind = models.TrialValueModel.value_to_stored_repr(value)
        rows.append({"trial_id": trial_id, "objective": objective, "value": stored,
                     "value_type": kind})  # fmt: skip
    _insert_new(connection, RESULT, rows)
    put_attrs(connection, trial_id, attrs)
    return True


def report(connection: Connection, values: Iterable[tuple[int, int, float]]) -> set[int]:
    """Enters (trial id, step, value) of trials that run; a known step keeps its value.

    Returns:
      The trials that run.
    """
    values = list(values)
    alive = running(connection, {trial_id for trial_id, *_ in values})
    rows = []
    for trial_id, step, value in values:
        if trial_id in alive:
            model = models.TrialIntermediateValueModel
            stored, kind = model.intermediate_value_to_stored_repr(value)
            rows.append({"trial_id": trial_id, "step": step, "intermediate_value": stored,
                         "intermediate_value_type": kind})  # fmt: skip
    _insert_new(connection, CURVE, rows)
    return alive


def _insert_new(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Inserts the rows but those whose key is taken."""
    if not rows:
        return
    name = connection.dialect.name
    if name in {"mysql", "mariadb"}:
        connection.execute(mysql.insert(table).prefix_with("IGNORE"), rows)
    else:
        dialect: Any = postgresql if name == "postgresql" else sqlite
        connection.execute(dialect.insert(table).on_conflict_do_nothing(), rows)


def queue_all(connection: Connection, study: int, templates: Sequence[FrozenTrial]) -> None:
    """Adds waiting trials that have nothing but attributes."""
    taken = update(STUDY).where(STUDY.c.study_id == study)
    # Numbers count the trials before: one writer at a time, as `RDBStorage.create_new_trial`.
    connection.execute(taken.values(study_name=STUDY.c.study_name))
    mine = TRIAL.c.study_id == study
    count = connection.scalar(select(func.count()).select_from(TRIAL).where(mine)) or 0
    waits = {"study_id": study, "state": TrialState.WAITING}
    connection.execute(
        insert(TRIAL), [waits | {"number": count + i} for i in range(len(templates))]
    )
    new = select(TRIAL.c.trial_id).where(mine, TRIAL.c.number >= count).order_by(TRIAL.c.number)
    ids = connection.scalars(new).all()
    for table, attrs in ((USER, "user_attrs"), (SYSTEM, "system_attrs")):
        rows = [
            {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
            for trial_id, template in zip(ids, templates, strict=True)
            for key, value in getattr(template, attrs).items()
        ]
        if rows:
            connection.execute(insert(table), rows)
