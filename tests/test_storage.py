"""The storage: errors in one line without passwords, patience, and packs in one transaction."""

from __future__ import annotations

import fcntl
import logging
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
import studies as fake
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState
from sqlalchemy.exc import DataError, OperationalError

from maml_sweep.errors import InputError, StorageLost
from maml_sweep.search import storage, study
from maml_sweep.search.lock import LOCK
from maml_sweep.search.patience import Patience
from maml_sweep.search.refusals import refusal

SECRET = "hunter2"
URL = f"postgresql+psycopg://me:{SECRET}@db.example/sweeps"


class Driver(Exception):
    """What a database driver raises."""

    def __init__(self, text: str, sqlstate: str | None = None) -> None:
        super().__init__(text)
        self.sqlstate = sqlstate


def lost(text: str = "server closed the connection unexpectedly") -> OperationalError:
    """A connection that broke in the middle of a statement."""
    return OperationalError("SELECT 1", {}, Driver(text), connection_invalidated=True)


def on_disk(folder: Path, n_trials: int = 4) -> optuna.Study:
    """A study in SQLite, its slots queued."""
    url = study.storage_url(None, folder)
    study.create(url, fake.plan(n_trials=n_trials), folder)
    return study.open_study(url, "s")


@pytest.fixture(params=["memory", "sqlite"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> optuna.Study:
    """A study of four slots."""
    return on_disk(tmp_path) if request.param == "sqlite" else fake.in_memory(fake.plan())


# Errors in one line.


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (URL, "postgresql+psycopg://me:***@db.example/sweeps"),
        (f"mysql://me:a@{SECRET}@host/x", "mysql://me:***@host/x"),
        (f"postgresql://host/x?user=me&password={SECRET}&a=1", "postgresql://host/x?user=me&password=***&a=1"),
        ("sqlite:////a/b:c@d.db", "sqlite:////a/b:c@d.db"),
    ],
)  # fmt: skip
def test_a_password_is_masked_wherever_it_stands(url: str, shown: str) -> None:
    assert storage.masked(url) == shown


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ('FATAL:  password authentication failed for user "me"',
         "{url} refuses this user or password: {said}; check both, and what the server allows"),
        ('FATAL:  database "sweeps" does not exist',
         "{url} has no such database: {said}; create it (createdb) or name another"),
        ("connection to server at db.example failed: Connection refused",
         "cannot reach {url}: {said}; is the server running, and does it listen there?"),
        ("FATAL:  sorry, too many clients already",
         "{url} takes no more connections: {said}; raise max_connections above the workers"),
        ("database is locked",
         "{url} was busy for too long: {said}; does another program hold it open?"),
        ("database or disk is full", "{url} cannot grow: {said}; free space, then go on"),
        ("something new", "cannot open {url} as an Optuna database: {said}"),
    ],
)  # fmt: skip
def test_what_a_database_says_is_told_in_one_line(said: str, line: str) -> None:
    error = OperationalError(None, None, Driver(f"{said}\nand a second line"))
    expected = line.format(url="postgresql+psycopg://me:***@db.example/sweeps", said=said)
    assert str(refusal(error, URL)) == f"study.storage: {expected}"


def test_no_exceptions_text_tells_a_password() -> None:
    quoted = "postgresql+psycopg://me:p%40ss%2Fword@host/x"
    for url, text in ((URL, f"cannot parse {URL}"), (quoted, "no user me with p@ss/word")):
        said = str(refusal(OperationalError(None, None, Driver(text)), url))
        assert "***" in said
        for secret in (SECRET, "p%40ss%2Fword", "p@ss/word"):
            assert secret not in said


def test_an_unknown_kind_of_database_is_refused_with_examples() -> None:
    with pytest.raises(InputError) as caught:
        storage.connect(f"nosuch://me:{SECRET}@host/db")
    assert str(caught.value) == (
        "study.storage: cannot open nosuch://me:***@host/db: no database goes by 'nosuch'; "
        "expected sqlite:///FILE, postgresql+psycopg://USER:PASSWORD@HOST/DATABASE or mysql+pymysql://..."
    )
    with pytest.raises(InputError, match=r"cannot open no url: expected a URL like sqlite:///FILE"):
        storage.connect("no url")


def test_a_missing_driver_is_named_with_its_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(InputError) as caught:
        storage.connect(URL)
    assert str(caught.value) == (
        "study.storage: cannot open postgresql+psycopg://me:***@db.example/sweeps: it needs the "
        "package psycopg, which is not installed; pip install 'maml-sweep[postgres]'"
    )


def test_a_full_disk_and_a_locked_file_are_one_line_and_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = on_disk(tmp_path)
    trial = storage.pop(opened, {})
    assert trial is not None
    calls = []

    def fail(*_: Any) -> None:
        calls.append(1)
        raise OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))

    backend: Any = opened._storage._backend  # type: ignore[attr-defined]
    monkeypatch.setattr(backend, "set_trial_user_attr", fail)
    with pytest.raises(InputError, match=r"study.db cannot grow: database or disk is full"):
        trial.set_user_attr("a", 1)
    assert len(calls) == 1


# Patience.


class Clock:
    """Time that passes in sleep alone."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    @property
    def patience(self) -> Patience:
        """One that lives by this clock."""
        return Patience("db", clock=lambda: self.now, sleep=self.sleep)


def failing(times: int, error: Callable[[], Exception]) -> Callable[[], str]:
    """A call that fails so many times."""
    left = [error() for _ in range(times)]

    def call() -> str:
        if left:
            raise left.pop()
        return "done"

    return call


def test_a_broken_connection_is_tried_again_with_growing_pauses(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    with caplog.at_level(logging.WARNING):
        assert clock.patience(failing(8, lost)) == "done"
    assert clock.pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert [record.getMessage() for record in caplog.records] == [
        "study.storage: lost db (server closed the connection unexpectedly); trying again",
        "study.storage: db is back after 16.3 s",
    ]


def test_patience_ends() -> None:
    """0.1 + ... + 3.2 = 6.3 s, then 5 s each: past 120 s after 23 of those."""
    clock = Clock()
    with pytest.raises(StorageLost) as caught:
        clock.patience(failing(1000, lost))
    assert clock.now == pytest.approx(6.3 + 23 * 5.0)
    assert str(caught.value) == (
        "study.storage: db did not come back within 120 s (server closed the connection "
        "unexpectedly); the study is kept: run the same command again once it is reachable"
    )


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (lost(), True),
        (OperationalError(None, None, Driver("Connection refused")), True),
        (OperationalError("SELECT", {}, Driver("starting up", "57P03")), True),
        (OperationalError("SELECT", {}, Driver("too many clients", "53300")), True),
        (OperationalError("SELECT", {}, Driver("deadlock detected", "40P01")), True),
        (OperationalError("SELECT", {}, Driver("could not extend file", "53100")), False),
        (OperationalError(None, None, sqlite3.OperationalError("unable to open")), False),
        (DataError("SELECT", {}, Driver("value too long", "22001")), False),
        (KeyError("no such study"), False),
    ],
)
def test_only_what_breaks_with_the_connection_is_tried_again(error: Exception, again: bool) -> None:
    clock = Clock()
    call = failing(1, lambda: error)
    if again:
        assert clock.patience(call) == "done"
    else:
        with pytest.raises(type(error)):
            clock.patience(call)
    assert len(clock.pauses) == int(again)


def test_what_optuna_wraps_is_seen_through() -> None:
    def call() -> None:
        raise optuna.exceptions.StorageInternalError("during the commit") from lost()

    clock = Clock()
    with pytest.raises(StorageLost):
        clock.patience(call)


# An acknowledgement that was lost.


class Deaf:
    """An engine whose next transaction is committed, but nobody hears of it."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.armed = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    @contextmanager
    def begin(self) -> Iterator[Any]:
        with self.engine.begin() as connection:
            yield connection
        if self.armed:
            self.armed = False
            raise lost()


def deafen(opened: optuna.Study) -> None:
    """Has the storage's next transaction answered by a broken connection."""
    mirror: Any = opened._storage
    mirror.engine = Deaf(mirror.engine)
    mirror.patience = Clock().patience


def test_a_pop_whose_answer_was_lost_pops_no_second_trial(tmp_path: Path) -> None:
    opened = on_disk(tmp_path)
    deafen(opened)
    trial = storage.pop(opened, {"worker": "w", "asked_at": 1.5})
    assert trial is not None and trial.number == 0
    states = [each.state for each in opened.get_trials()]
    assert states == [TrialState.RUNNING] + 3 * [TrialState.WAITING]


def test_a_report_whose_answer_was_lost_is_there_once(tmp_path: Path) -> None:
    opened = on_disk(tmp_path)
    assert storage.pop(opened, {}) is not None
    deafen(opened)
    assert storage.report_all(opened, [(0, 1, 0.5)]) == set()
    found = study.open_study(study.storage_url(None, tmp_path), "s").trials[0]
    assert found.intermediate_values == {1: 0.5}


def test_a_result_whose_answer_was_lost_was_told_by_us(tmp_path: Path) -> None:
    opened = on_disk(tmp_path)
    trial = storage.pop(opened, {})
    assert trial is not None
    deafen(opened)
    with storage.noting(trial, {"iterations": 7}):
        opened.tell(0, 0.25)
    for each in (opened, study.open_study(study.storage_url(None, tmp_path), "s")):
        ended = each.trials[0]
        assert (ended.state, ended.value) == (TrialState.COMPLETE, 0.25)
        assert ended.user_attrs["iterations"] == 7
    mirror: Any = opened._storage
    with pytest.raises(UpdateFinishedTrialError):  # but not what others told
        mirror.set_trial_state_values(1, TrialState.FAIL)


def test_what_is_noted_comes_with_the_result_or_not_at_all(opened: optuna.Study) -> None:
    trial, other = storage.pop(opened, {}), storage.pop(opened, {})
    assert trial is not None and other is not None
    with storage.noting(trial, {"iterations": 7}):
        opened.tell(trial.number, 0.25)
    opened.tell(other.number, state=TrialState.FAIL)
    with pytest.raises((UpdateFinishedTrialError, ValueError)), storage.noting(other, {"late": 1}):
        opened.tell(other.number, 0.5)
    attrs = [each.user_attrs for each in opened.trials[:2]]
    assert [each.get("iterations") for each in attrs] == [7, None]
    assert "late" not in attrs[1]


# Packs in one transaction.


def test_a_pack_is_reported_at_once(opened: optuna.Study) -> None:
    """Trial 1 has ended, trial 0 knows step 1 already, trial 2 never ran."""
    pack = [storage.pop(opened, {}) for _ in range(2)]
    assert None not in pack
    assert storage.report_all(opened, [(0, 1, 3.0), (1, 1, float("nan"))]) == set()
    opened.tell(1, state=TrialState.FAIL)
    assert storage.report_all(opened, [(0, 1, 9.0), (1, 2, 9.0), (0, 2, 2.0)]) == {1}
    values = [trial.intermediate_values for trial in opened.trials]
    assert values[0] == {1: 3.0, 2: 2.0} and list(values[1]) == [1]
    assert values[1][1] != values[1][1]


def test_a_trial_is_popped_with_its_marks(opened: optuna.Study) -> None:
    trial = storage.pop(opened, {"worker": "w", "attempt": 9})
    assert trial is not None and trial.number == 0
    frozen = opened.trials[0]
    assert frozen.state == TrialState.RUNNING and frozen.datetime_start is not None
    assert (frozen.user_attrs["worker"], frozen.user_attrs["attempt"]) == ("w", 0)
    for _ in range(3):
        assert storage.pop(opened, {}) is not None
    assert storage.pop(opened, {}) is None
    assert len(opened.trials) == 4


def test_parameters_drawn_at_once_are_all_there(opened: optuna.Study) -> None:
    trial = storage.pop(opened, {})
    assert trial is not None
    with storage.at_once(trial):
        drawn = {"x": trial.suggest_float("x", 0, 1), "n": trial.suggest_int("n", 1, 9)}
        assert trial.params == drawn
    assert opened.trials[0].params == drawn
    assert list(opened.trials[0].distributions) == ["x", "n"]
    other = storage.pop(opened, {})
    assert other is not None
    with storage.at_once(other), pytest.raises(ValueError, match="distribution"):
        other.suggest_categorical("x", ["a", "b"])
    assert not opened.trials[1].params


def test_one_at_a_time_is_let_in(opened: optuna.Study, tmp_path: Path) -> None:
    def free() -> bool:
        with (tmp_path / LOCK).open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

    assert storage.lives_here(opened) and storage.is_exclusive(opened)
    with storage.exclusive(opened, tmp_path):
        assert not free()
    assert free()


def test_the_clock_of_what_lives_here_is_this_machines(opened: optuna.Study) -> None:
    before = time.time()
    assert before <= storage.now(opened) <= storage.now(opened._storage) <= time.time()
