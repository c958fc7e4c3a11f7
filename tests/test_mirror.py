"""The memory of a study says what its tables say, whoever wrote them, and reads little for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import studies as fake
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event

from maml_sweep.search import mirror, storage, study
from maml_sweep.search.copies import Copy
from maml_sweep.search.study import Plan


def tables(folder: Path) -> list[FrozenTrial]:
    """What Optuna itself reads of the study."""
    plain = _plain(study.storage_url(None, folder))
    return plain.get_all_trials(plain.get_study_id_from_name("s"))


@cache
def _plain(url: str) -> RDBStorage:
    return RDBStorage(url, skip_compatibility_check=True)


def opened(folder: Path, count: int, n_trials: int = 6) -> list[optuna.Study]:
    """One study, opened as often as asked for, each with a memory of its own."""
    url = study.storage_url(None, folder)
    study.create(url, fake.plan(n_trials=n_trials), folder)
    return [study.open_study(url, "s", optuna.samplers.RandomSampler(seed=0)) for _ in range(count)]


@contextmanager
def statements(of: optuna.Study) -> Iterator[list[str]]:
    """The SQL that a study's storage runs meanwhile."""
    seen: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        seen.append(statement)

    engine = of._storage.engine  # type: ignore[attr-defined]
    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


def _step(one: optuna.Study, plan: Plan, rng: np.random.Generator) -> None:
    """Something that a worker may do."""
    running = one.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    number = int(rng.choice([trial.number for trial in running])) if running else None
    match int(rng.integers(8)):
        case 0 | 1:
            trial = storage.pop(one, {"worker": "w", "asked_at": float(rng.uniform())})
            if trial is not None:
                with storage.at_once(trial):
                    trial.suggest_float("x", 0, 1)
                    trial.suggest_categorical("kind", ["a", "b"])
        case 2 | 3 if number is not None:
            storage.report_all(one, [(number, int(rng.integers(1, 9)), float(rng.uniform()))])
        case 4 if number is not None:
            one._storage.set_trial_system_attr(one.trials[number]._trial_id, "note", "old")
        case 5 if number is not None:
            one.tell(number, *([0.5] if rng.uniform() < 0.5 else [None, TrialState.PRUNED]))
        case 6:
            attrs = study.slot_attrs(plan, int(rng.integers(6)))
            study.queue(one, {"x": 0.5}, attrs, {1: 0.25, 2: float("inf")})
        case 7:
            waiting = one.get_trials(deepcopy=False, states=(TrialState.WAITING,))
            if waiting:  # one from the middle of the queue, as `Claims.reconcile` may drop it
                chosen = waiting[int(rng.integers(len(waiting)))]
                one._storage.set_trial_user_attr(chosen._trial_id, "reason", "surplus")
                one._storage.set_trial_state_values(chosen._trial_id, TrialState.FAIL)


@pytest.mark.parametrize("seed", range(2))
def test_every_memory_says_what_the_tables_say(tmp_path: Path, seed: int) -> None:
    """Two memories take turns at random; a third only looks. Datetimes: the writer's own differ."""
    workers = opened(tmp_path, 3)
    plan = study.plan_of(workers[0])
    rng = np.random.default_rng(seed)
    for turn in range(30):
        _step(workers[turn % 2], plan, rng)
        whole = tables(tmp_path)
        for each in workers:
            seen = each.get_trials()
            assert len(seen) == len(whole)
            for mine, theirs in zip(seen, whole, strict=True):
                for name in ("datetime_start", "datetime_complete"):
                    setattr(mine, name, getattr(theirs, name))
                assert mine == theirs
                assert list(mine.params) == list(theirs.params)


def test_a_trial_that_began_and_ended_between_two_looks_is_seen(tmp_path: Path) -> None:
    worker, observer = opened(tmp_path, 2)
    assert len(observer.trials) == 6
    for _ in range(2):
        trial = storage.pop(worker, {})
        assert trial is not None
        worker.tell(trial, 1.0)
    with statements(observer) as seen:
        states = [trial.state for trial in observer.get_trials(deepcopy=False)]
    assert states == 2 * [TrialState.COMPLETE] + 4 * [TrialState.WAITING]
    assert len(seen) == 1 + 2 + 4 + 6  # the version, the heads, what grew, the two trials whole


def test_while_nobody_else_writes_nothing_is_read_again(tmp_path: Path) -> None:
    """SQLite tells in one word whether others wrote; what we wrote, the memory has already."""
    mine, other = opened(tmp_path, 2)
    assert len(mine.trials) == 6
    trial = storage.pop(mine, {})
    assert trial is not None
    storage.report_all(mine, [(trial.number, 1, 0.5)])
    with statements(mine) as seen:
        assert mine.get_trials(deepcopy=False)[0].intermediate_values == {1: 0.5}
    assert seen == ["PRAGMA data_version"]
    popped = storage.pop(other, {})
    assert popped is not None
    storage.report_all(other, [(popped.number, 1, 0.25)])
    with statements(mine) as seen:
        states = [each.state for each in mine.get_trials(deepcopy=False)]
    assert states == 2 * [TrialState.RUNNING] + 4 * [TrialState.WAITING]
    assert len(seen) > 1 and mine.trials[1].intermediate_values == {1: 0.25}


def test_a_look_takes_as_many_statements_whatever_the_size(tmp_path: Path) -> None:
    for n_trials in (5, 60):
        one, other = opened(tmp_path / str(n_trials), 2, n_trials)
        assert len(one.trials) == n_trials
        other.set_user_attr("beat", 1)
        with statements(one) as seen:
            one.get_trials(deepcopy=False)
        assert len(seen) == 1 + 2 + 4


def test_slots_are_queued_in_as_many_statements_whatever_their_number(tmp_path: Path) -> None:
    counted = []
    for n_trials in (5, 60):
        one, _ = opened(tmp_path / str(n_trials), 2, n_trials)
        plan = fake.plan(n_trials=2 * n_trials, enqueue=[{"x": 0.5}])
        assert len(one.trials) == n_trials
        with statements(one) as seen:
            study.queue_missing(one, plan)
        counted.append(len(seen))
        whole = tables(tmp_path / str(n_trials))
        assert [trial.number for trial in whole] == list(range(2 * n_trials))
        assert [trial.user_attrs["slot"] for trial in whole] == list(range(2 * n_trials))
    assert counted[0] == counted[1] <= 12


def test_others_writes_to_a_large_study_are_seen_after_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "LARGE", 6)
    worker, observer = opened(tmp_path, 2)
    clock = [0.0]
    observer._storage._clock = lambda: clock[0]  # type: ignore[attr-defined]
    running = {"states": (TrialState.RUNNING,), "deepcopy": False}
    assert not observer.get_trials(**running)  # type: ignore[arg-type]
    mine, theirs = storage.pop(observer, {}), storage.pop(worker, {})
    assert mine is not None and theirs is not None
    assert [each.number for each in observer.get_trials(**running)] == [0]  # type: ignore[arg-type]
    clock[0] = mirror.PAUSE
    assert [each.number for each in observer.get_trials(**running)] == [0, 1]  # type: ignore[arg-type]
    storage.report_all(worker, [(1, 1, 0.5)])
    assert not observer.get_trials(deepcopy=False)[1].intermediate_values
    with storage.exclusive(observer, tmp_path):
        assert observer.get_trials(deepcopy=False)[1].intermediate_values == {1: 0.5}


def test_what_was_taken_from_us_is_known_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "LARGE", 0)
    zombie, heir = opened(tmp_path, 2)
    trial = storage.pop(zombie, {})
    assert trial is not None
    heir.tell(0, state=TrialState.FAIL)
    assert zombie.get_trials(deepcopy=False)[0].state == TrialState.RUNNING
    with pytest.raises(UpdateFinishedTrialError), storage.noting(trial, {"iterations": 1}):
        zombie.tell(0, 1.0)
    assert zombie.get_trials(deepcopy=False)[0].state == TrialState.FAIL
    assert "iterations" not in tables(tmp_path)[0].user_attrs


def test_what_was_read_is_never_changed_afterwards(tmp_path: Path) -> None:
    (one,) = opened(tmp_path, 1)
    trial = storage.pop(one, {})
    before = one.get_trials(deepcopy=False)[0]
    storage.report_all(one, [(0, 1, 0.5)])
    assert trial is not None and not before.intermediate_values
    trial._cached_frozen_trial.params["x"] = 1.0
    assert not one.get_trials(deepcopy=False)[0].params


def test_a_servers_looks_overlap_by_some_seconds() -> None:
    """Looks at 0, 1, 2 and 5 s: one at 5 s goes back to that of 2 s, one at 3 s to that of 1 s."""
    copy = Copy([], [0], 0.0)
    for at in (1, 2):
        copy.marks.append((float(at), [10 * at]))
    assert copy.marks_to_read(1.5) == [0]
    assert copy.marks_to_read(3.0) == [10]
    copy.marks.append((3.0, [30]))
    assert copy.marks_to_read(5.0) == [30]
    assert copy.marks_to_read(9.0) == [30]
