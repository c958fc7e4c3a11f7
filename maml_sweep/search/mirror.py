"""Optuna's database storage behind a memory of our own, patient with a server that restarts.

Optuna's own cache reads every unfinished trial again, whole, whenever the trials are asked for:
with thousands of them queued or running that takes seconds each time. Here all trials stay in
memory, and a look at the tables brings

    which trials are unfinished (ids and states), so who began, ended or is new: those are read
    the rows that parameters, attributes and curves grew by since the last look, by their ids

What this process writes it also enters in its memory, so it always sees its own writes. Others'
are seen at once while a study has fewer than `LARGE` trials, later after `PAUSE` seconds at most;
whoever must not miss one calls `expire` (`maml_sweep.search.storage.exclusive` does).

Row ids are given before their transaction commits, so a row may appear below ids that were read:
on a server every look goes back by some seconds. SQLite has one writer at a time.

A call whose connection breaks is repeated (`maml_sweep.search.patience`), though it may have been
done and only its answer lost. That does no harm: entering an attribute, a parameter or a value
twice changes nothing; a slot that is queued twice is a surplus, which whoever pops it drops; a
trial that turns out to be in the wanted state was told by us; `pop` knows a trial that it popped
by its marks.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import RLock
from typing import Any, TypeVar

from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from maml_sweep.search.copies import Copy, clone
from maml_sweep.search.database import Database

LARGE = 1000  # trials
PAUSE = 1.0  # seconds between two looks at a study of that size
SLACK = 2000  # rows that a server's first look goes back

T = TypeVar("T")
Drawn = tuple[str, float, BaseDistribution]  # name, internal value, what it was drawn from


class Mirror(Database):
    """What `maml_sweep.search.storage.connect` opens.

    Args:
      backend: Optuna's storage, not wrapped.
      url: as the user wrote it.
      clock: seconds that only grow, or a test's.
    """

    def __init__(
        self, backend: RDBStorage, url: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        from maml_sweep.search import tables  # SQLAlchemy: as slow to import as a database

        super().__init__(backend, url)
        self._tables = tables
        self._clock = clock
        self._copies: dict[int, Copy] = {}
        self._drawn: list[Drawn] | None = None
        self._noted: Mapping[str, Any] = {}
        self._lock = RLock()

    def delete_study(self, study_id: int) -> None:
        """See `optuna.storages.BaseStorage`, here and below."""
        with self._lock:
            self._copies.pop(study_id, None)
        super().delete_study(study_id)

    # Trials, from memory.

    def expire(self) -> None:
        """Has the next look at any trial see all that others have written."""
        with self._lock:
            for each in self._copies.values():
                each.looked = -math.inf

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """The trials of a study in the order of their numbers; without `deepcopy` do not touch."""
        with self._lock:
            trials = self._look(study_id).trials
            chosen = [each for each in trials if states is None or each.state in states]
        return copy.deepcopy(chosen) if deepcopy else chosen

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """A trial of the caller's own; KeyError where there is none."""
        with self._lock:
            known = self._known(trial_id)
            held = known is not None and trial_id in known[0].own
            if known is not None and (held or known[1].state.is_finished()):
                return clone(known[1])
            found = self.run(self._tables.whole, [trial_id])
            if not found:
                raise KeyError(f"no trial with id {trial_id}")
            if known is not None:
                known[0].put(found[0])
            return clone(found[0])

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        """The id of a trial; KeyError where there is none."""
        with self._lock:
            trials = self._copy(study_id).trials
            if trial_number >= len(trials):
                trials = self._look(study_id).trials
        if not 0 <= trial_number < len(trials):
            raise KeyError(f"no trial number {trial_number} in study {study_id}")
        return trials[trial_number]._trial_id

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """The COMPLETE trial with the best value; ValueError where there is none."""
        if study_id in self._copies:
            return super().get_best_trial(study_id)
        return self.do(self._backend.get_best_trial, study_id)  # no need to read all of it

    def _known(self, trial_id: int) -> tuple[Copy, FrozenTrial] | None:
        for each in self._copies.values():
            trial = each.get(trial_id)
            if trial is not None:
                return each, trial
        return None

    def _copy(self, study_id: int) -> Copy:
        """The study's copy as it is."""
        if study_id not in self._copies:
            self._copies[study_id] = self.run(self._read_all, study_id)
        return self._copies[study_id]

    def _look(self, study_id: int) -> Copy:
        """The study's copy, as fresh as it must be."""
        known = self._copy(study_id)
        if self._clock() - known.looked >= (PAUSE if len(known.trials) >= LARGE else 0.0):
            self.run(self._catch_up, study_id, known)
        return known

    def _read_all(self, connection: Any, study_id: int) -> Copy:
        looked, marks = self._clock(), self._tables.latest(connection)
        if self._on_server:
            marks = [mark - SLACK for mark in marks]
        return Copy(self._tables.everything(connection, study_id), marks, looked)

    def _catch_up(self, connection: Any, study_id: int, known: Copy) -> None:
        """Brings a copy up to date; nothing is changed if the connection breaks meanwhile."""
        looked = self._clock()
        if self._unchanged(connection, study_id, known):
            known.looked = looked
            return
        heads = self._tables.heads(connection, study_id, known.settled, known.last)
        queue = known.still_waiting(heads.states, heads.first)
        if len(queue) != heads.queued:  # somebody was taken from the middle of the queue
            queue = self._tables.waiting(connection, study_id, known.settled)
        changed = known.changed(heads.states, queue)
        trials = self._tables.whole(connection, changed) if changed else []
        marks = known.marks_to_read(looked) if self._on_server else known.marks[-1][1]
        parts = self._tables.since(connection, marks)
        for trial in trials:
            known.put(trial)
        self._grow(known, parts)
        ends = [rows[-1][0] if rows else 0 for rows in parts]
        known.marks.append(
            (looked, [max(pair) for pair in zip(ends, known.marks[-1][1], strict=True)])
        )
        known.looked = looked

    def _unchanged(self, connection: Any, study_id: int, known: Copy) -> bool:
        """Whether nobody else has written since this connection was last asked: SQLite knows.

        What it wrote itself, this process has entered in its memory, or the copy has expired.
        """
        if self._on_server:
            return False
        version = connection.exec_driver_sql("PRAGMA data_version").scalar()
        before = connection.info.get(study_id)
        connection.info[study_id] = (known, version)
        return before == (known, version) and math.isfinite(known.looked)

    @property
    def _on_server(self) -> bool:
        return bool(self.engine.name != "sqlite")

    def _grow(self, known: Copy, parts: Iterable[Sequence[Any]]) -> None:
        """Enters rows into the running trials that they belong to."""
        grown: dict[int, FrozenTrial] = {}
        for part, rows in zip(self._tables.PARTS, parts, strict=True):
            for _, trial_id, *columns in rows:
                if trial_id not in known.unfinished:
                    continue  # another study's, or read whole when it ended
                trial = grown.get(trial_id) or clone(known.trials[known.places[trial_id]])
                if part.put(trial, *columns):
                    grown[trial_id] = trial
        for trial in grown.values():
            known.put(trial)

    # Trials, written: to the tables, then to memory.

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Adds a trial, running or like the template; returns its id."""
        with self._lock:
            made = self.do(self._backend._create_new_trial, study_id, template_trial)
            self.expire()
            if template_trial is None and study_id in self._copies:
                self._look(study_id).own.add(made._trial_id)
            return made._trial_id

    def queue_all(self, study_id: int, templates: Sequence[FrozenTrial]) -> None:
        """Adds waiting trials that have nothing but attributes, all or none."""
        if templates:
            self.run(self._tables.queue_all, study_id, templates)
            self.expire()

    def pop(self, study_id: int, marks: Mapping[str, Any]) -> int | None:
        """Sets the first waiting trial RUNNING and marks it, in one transaction.

        Args:
          study_id: Optuna's.
          marks: user attributes that no other call gives; one that the trial has stays.

        Returns:
          Its id; it is this process's own from then on. None where none waits.
        """
        with self._lock:
            known, now = self._copy(study_id), datetime.now(UTC)
            first = known.first_waiting
            popped: int | None = self.run(self._pop, study_id, first, marks, now, [])
            if popped is not None:
                known.put(self._begun(known.get(popped), popped, marks, now))
                known.own.add(popped)
            return popped

    def _begun(
        self, waited: FrozenTrial | None, trial_id: int, marks: Mapping[str, Any], now: datetime
    ) -> FrozenTrial:
        """A trial that was popped; one that waits is never changed, so what we know of it holds."""
        if waited is None or waited.state != TrialState.WAITING:
            whole: FrozenTrial = self.run(self._tables.whole, [trial_id])[0]
            return whole
        begun = clone(waited)
        begun.state, begun.datetime_start = TrialState.RUNNING, self._tables.local_time(now)
        begun._user_attrs = {**marks, **begun._user_attrs}
        return begun

    def _pop(
        self, connection: Any, study_id: int, first: int, marks: Any, now: datetime, tried: Any
    ) -> Any:
        for trial_id in tried:
            if self._tables.marked(connection, trial_id, marks):
                return trial_id  # the commit came through, its answer did not
        popped = self._tables.pop(connection, study_id, first, marks, now)
        tried.append(popped)
        return popped

    @contextmanager
    def noting(self, attrs: Mapping[str, Any]) -> Iterator[None]:
        """Has the trial that is ended within get user attributes in the same transaction."""
        with self._lock:
            self._noted = attrs
            try:
                yield
            finally:
                self._noted = {}

    def report_all(self, study_id: int, values: Sequence[tuple[int, int, float]]) -> set[int]:
        """See `maml_sweep.search.storage.report_all`."""
        with self._lock:
            ids = [self.get_trial_id_from_study_id_trial_number(study_id, n) for n, *_ in values]
            rows = [(i, step, float(x)) for i, (_, step, x) in zip(ids, values, strict=True)]
            alive = self.run(self._tables.report, rows)
            for trial_id, step, value in rows:
                known = self._known(trial_id)
                if trial_id in alive and known and step not in known[1].intermediate_values:
                    self._enter(trial_id, "intermediate_values", step, value)
            gone = {each[0] for i, each in zip(ids, values, strict=True) if i not in alive}
            if gone:
                self.expire()
            return gone

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """Enters a parameter of a trial, in Optuna's internal representation."""
        with self._lock:
            known = self._known(trial_id)
            drawn = known[0].distributions if known else {}
            before = drawn.setdefault(param_name, distribution)
            row = (param_name, param_value_internal, distribution)
            if self._drawn is not None:
                check_distribution_compatibility(before, distribution)
                self._drawn.append(row)
            else:
                self._write(trial_id, self._backend._set_trial_param, trial_id, *row, before)
            self._enter(trial_id, "_distributions", param_name, distribution)
            value = distribution.to_external_repr(param_value_internal)
            self._enter(trial_id, "_params", param_name, value)

    @contextmanager
    def at_once(self, trial_id: int) -> Iterator[None]:
        """Keeps the parameters that are drawn within, and enters all of them in one transaction."""
        with self._lock:
            rows: list[Drawn] = []
            self._drawn = rows
            try:
                yield
            finally:
                self._drawn = None
            if not self.run(self._tables.put_params, trial_id, rows):
                self.expire()  # somebody ended it: whoever reports of it will be told

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """Enters a value of a trial's curve."""
        with self._lock:
            write = self._backend.set_trial_intermediate_value
            self._write(trial_id, write, trial_id, step, intermediate_value)
            self._enter(trial_id, "intermediate_values", step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Writes a user attribute of a trial."""
        with self._lock:
            self._write(trial_id, self._backend.set_trial_user_attr, trial_id, key, value)
            self._enter(trial_id, "_user_attrs", key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Writes a system attribute of a trial."""
        with self._lock:
            self._write(trial_id, self._backend.set_trial_system_attr, trial_id, key, value)
            self._enter(trial_id, "_system_attrs", key, value)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Sets a trial's state; False if it was to be RUNNING and does not wait any more."""
        with self._lock:
            done = self._write(trial_id, self._tell, trial_id, state, values, [])
            known = self._known(trial_id)
            if known is not None and trial_id in known[0].own and state.is_finished():
                ended = clone(known[1])
                ended.state, ended.values = state, values
                ended._user_attrs |= self._noted
                ended.datetime_complete = datetime.now()
                known[0].put(ended)
            elif known is not None:
                known[0].put(self.run(self._tables.whole, [trial_id])[0])
                if done and state == TrialState.RUNNING:
                    known[0].own.add(trial_id)
            return done

    def _tell(self, trial_id: int, state: TrialState, values: Any, tried: list[int]) -> bool:
        tried.append(trial_id)
        try:
            if state.is_finished():
                return self._end(trial_id, state, values)
            return self._backend.set_trial_state_values(trial_id, state, values)
        except UpdateFinishedTrialError:
            if len(tried) > 1 and self._backend.get_trial(trial_id).state == state:
                return True  # the commit came through, its answer did not
            raise

    def _end(self, trial_id: int, state: TrialState, values: Any) -> bool:
        with self.engine.begin() as connection:
            if not self._tables.end(connection, trial_id, state, values, self._noted):
                raise UpdateFinishedTrialError(f"trial {trial_id} is finished already")
        return True

    def _write(self, trial_id: int, write: Callable[..., T], *args: Any) -> T:
        try:
            return self.do(write, *args)
        except UpdateFinishedTrialError:  # by somebody else, whose doing is to be seen at once
            self.expire()
            raise

    def _enter(self, trial_id: int, field: str, key: Any, value: Any) -> None:
        known = self._known(trial_id)
        if known is not None:
            trial = clone(known[1])
            getattr(trial, field)[key] = value
            known[0].put(trial)
