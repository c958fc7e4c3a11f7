"""The storage on a real PostgreSQL: errors, the shared clock and lock, a restart, many at once."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest
import studies as fake
from engines.postgres import Postgres
from optuna.trial import TrialState

from maml_sweep.errors import InputError
from maml_sweep.search import storage, study

pytestmark = pytest.mark.engines


def _opened(url: str, folder: Path, n_trials: int = 6) -> optuna.Study:
    study.create(url, fake.plan(n_trials=n_trials), folder)
    return study.open_study(url, "s", optuna.samplers.RandomSampler(seed=0))


def test_errors_are_one_line_without_the_password(postgres: Postgres, postgres_url: str) -> None:
    wrong = {
        postgres.url("postgres", "not-this-one"): "refuses this user or password",
        postgres.url("nowhere"): "has no such database",
        postgres_url.replace(f":{postgres.port}/", ":1/"): "cannot reach",
    }
    for url, words in wrong.items():
        with pytest.raises(InputError, match=words) as caught:
            storage.connect(url)
        assert "\n" not in str(caught.value) and "***" in str(caught.value)
        for secret in (postgres.password, "not-this-one"):
            assert secret not in str(caught.value)


def test_memories_agree_with_the_tables(postgres_url: str, tmp_path: Path) -> None:
    worker = _opened(postgres_url, tmp_path)
    observer = study.open_study(postgres_url, "s")
    assert len(observer.trials) == 6
    for number in range(3):
        trial = storage.pop(worker, {"worker": "w"})
        assert trial is not None and trial.number == number
        with storage.at_once(trial):
            trial.suggest_float("x", 0, 1)
        storage.report_all(worker, [(number, 1, float("nan")), (number, 2, 0.5)])
    worker.tell(0, 0.5)
    for mine, theirs in zip(
        observer.trials, study.open_study(postgres_url, "s").trials, strict=True
    ):
        assert mine.params == theirs.params and mine.state == theirs.state
        assert mine.user_attrs == theirs.user_attrs
        assert list(mine.intermediate_values) == list(theirs.intermediate_values)
    assert observer.best_value == 0.5


def test_a_slot_is_popped_once_by_many_at_once(postgres_url: str, tmp_path: Path) -> None:
    _opened(postgres_url, tmp_path, n_trials=60)
    taken: list[int] = []

    def work(name: str) -> None:
        mine = study.open_study(postgres_url, "s")
        while (trial := storage.pop(mine, {"worker": name})) is not None:
            taken.append(trial.number)

    threads = [threading.Thread(target=work, args=(f"w{index}",)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(taken) == dict.fromkeys(range(60), 1)


def test_the_lock_is_the_servers_and_ends_with_its_holder(
    postgres: Postgres, postgres_url: str, tmp_path: Path
) -> None:
    one = _opened(postgres_url, tmp_path)
    other = study.open_study(postgres_url, "s")
    entered = threading.Event()

    def enter() -> None:
        with storage.exclusive(other, None):
            entered.set()

    assert storage.is_exclusive(one) and not storage.lives_here(one)
    with storage.exclusive(one, None):
        thread = threading.Thread(target=enter)
        thread.start()
        assert not entered.wait(0.3)
        postgres.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
        )  # as when the holder's machine dies
        assert entered.wait(20)
    thread.join()


def test_the_clock_is_the_servers(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = _opened(postgres_url, tmp_path)
    before = time.time()
    monkeypatch.setattr(time, "time", lambda: before + 3600.0)  # this machine's is an hour off
    assert abs(storage.now(one) - before) < 60.0


def test_a_restart_in_the_middle_of_a_sweep_loses_nothing(
    postgres: Postgres, postgres_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = _opened(postgres_url, tmp_path)
    trial = storage.pop(one, {"worker": "w"})
    assert trial is not None
    postgres.stop()
    back = threading.Thread(target=postgres.start)
    back.start()
    with caplog.at_level(logging.WARNING):
        assert storage.report_all(one, [(0, 1, 0.5)]) == set()
    back.join()
    for mode in ("fast", "immediate"):
        postgres.restart(mode)
        trial.set_user_attr(mode, 1)
        assert storage.now(one) > 0
        with storage.exclusive(one, None):
            assert len(one.trials) == 6
    one.tell(0, 0.25)
    seen = study.open_study(postgres_url, "s").trials
    assert [each.state for each in seen] == [TrialState.COMPLETE] + 5 * [TrialState.WAITING]
    assert seen[0].intermediate_values == {1: 0.5}
    said = [record.getMessage() for record in caplog.records]
    assert any("trying again" in line for line in said)
    assert any("is back after" in line for line in said)
    assert postgres.password not in caplog.text


def test_ten_thousand_slots_are_queued_in_one_go(postgres_url: str, tmp_path: Path) -> None:
    one = _opened(postgres_url, tmp_path, n_trials=10_000)
    trials = one.get_trials(deepcopy=False)
    assert [trial.user_attrs["slot"] for trial in trials] == list(range(10_000))
