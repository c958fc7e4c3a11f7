"""Slots are claimed once, handed back and taken back, whenever a worker is killed."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import studies as fake
from optuna.trial import TrialState

from maml_sweep.search import storage
from maml_sweep.search import study as studies
from maml_sweep.search.claims import Claims
from maml_sweep.search.lease import PREFIX, Lease, host_identity, process_start
from maml_sweep.search.slots import by_slot, failures, slot_state


def assert_sound(study: optuna.Study, n_trials: int, max_retries: int = 3) -> None:
    """Every slot finished and nothing of it active, or exactly one active trial."""
    slots = by_slot(study.trials)
    assert sorted(slots) == list(range(n_trials))
    for attempts in slots.values():
        active = sum(t.state in (TrialState.WAITING, TrialState.RUNNING) for t in attempts)
        open_slot = slot_state(attempts, max_retries) in {"running", "waiting"}
        assert active == int(open_slot)
        assert sum(t.state in (TrialState.COMPLETE, TrialState.PRUNED) for t in attempts) <= 1
    strays = [t for t in study.trials if "slot" not in t.user_attrs]
    assert all(t.state == TrialState.FAIL for t in strays)


def work(claims: Claims, trial: optuna.Trial) -> None:
    """A trial of two rungs: slot 0 completes, 1 is pruned, 2 diverges, others complete."""
    trial.suggest_float("x", 0, 1)
    trial.suggest_float("y", 0, 1)
    slot = trial.user_attrs["slot"]
    fake.report(claims, trial, 1.0 + slot, 1)
    fake.report(claims, trial, float("nan") if slot == 2 else 0.5 + slot, 2)
    state = TrialState.PRUNED if slot in {1, 2} else TrialState.COMPLETE
    attrs = {"iterations": 200} | ({"diverged": 200} if slot == 2 else {})
    claims.finish(trial, value=0.5 + slot, state=state, attrs=attrs)


def test_a_slot_carries_its_seed_and_is_claimed_in_order(tmp_path: Path) -> None:
    study = fake.in_memory(fake.plan(enqueue=[{"x": 0.25}]))
    claims = fake.claims(study, tmp_path)
    first, second = fake.take(claims), fake.take(claims)
    assert first is not None and second is not None
    assert (first.user_attrs["slot"], second.user_attrs["slot"]) == (0, 1)
    assert first.suggest_float("x", 0, 1) == 0.25
    assert first.user_attrs["trial_seed"] != second.user_attrs["trial_seed"]
    assert first.user_attrs["worker"] == "w"
    assert first.user_attrs["attempt"] == 0
    assert first.user_attrs["known_results"] == 0


def test_an_empty_queue_yields_none_and_leaves_no_trial(tmp_path: Path) -> None:
    study = fake.in_memory(fake.plan(n_trials=1))
    claims = fake.claims(study, tmp_path)
    assert claims.claim() is not None
    assert claims.claim() is None
    assert len(study.trials) == 1


def test_workers_that_live_share_what_waits(tmp_path: Path) -> None:
    study = fake.in_memory(fake.plan(n_trials=6))
    one, two = (fake.claims(study, tmp_path, name) for name in ("w", "v"))
    assert fake.take(one) is not None
    assert one.share(busy=False) == 5  # nobody else has signed on
    two.renew()
    assert (one.share(busy=False), two.share(busy=True)) == (3, 2)
    assert fake.take(two) is not None
    assert one.share(busy=False) == one.share(busy=True) == 2
    two.retire()
    assert one.share(busy=True) == 4
    for _ in range(3):
        fake.take(one)
    two.renew()
    assert (one.share(busy=True), two.share(busy=False)) == (0, 1)
    fake.take(two)
    assert one.share(busy=True) == 1  # so that it looks for what may be taken back


def test_known_results_counts_results_at_the_first_ask(tmp_path: Path) -> None:
    study = fake.in_memory(fake.plan())
    claims = fake.claims(study, tmp_path)
    first, second = fake.take(claims), fake.take(claims)
    second.suggest_float("x", 0, 1)
    claims.finish(first, value=1.0, state=TrialState.COMPLETE, attrs={})
    third = fake.take(claims)
    assert third.user_attrs["known_results"] == 1
    claims.release(second)
    fake.take(claims)
    again = fake.take(claims)
    assert again.user_attrs["slot"] == 1
    assert again.user_attrs["known_results"] == 0  # its parameters were drawn then


def test_a_release_keeps_parameters_seed_and_curve_and_is_no_failure(tmp_path: Path) -> None:
    study = fake.in_memory(fake.plan(n_trials=1))
    claims = fake.claims(study, tmp_path)
    trial = fake.take(claims)
    x = trial.suggest_float("x", 0, 1)
    fake.report(claims, trial, 3.0, 1)
    claims.release(trial)
    assert claims.lost(trial)
    again = fake.take(claims)
    assert again.suggest_float("x", 0, 1) == x
    assert again.user_attrs["trial_seed"] == trial.user_attrs["trial_seed"]
    assert again.user_attrs["attempt"] == 0
    assert fake.report(claims, again, 99.0, 1)  # known before: passed over, no warning
    fake.report(claims, again, 2.0, 2)
    assert study.trials[again.number].intermediate_values == {1: 3.0, 2: 2.0}


def test_crashes_are_retried_and_then_given_up(tmp_path: Path) -> None:
    study = fake.in_memory(fake.plan(n_trials=1, max_retries=2))
    claims = fake.claims(study, tmp_path)
    for attempt in range(3):
        trial = fake.take(claims)
        assert trial.user_attrs["attempt"] == attempt
        claims.fail(trial, "out of memory")
    assert claims.claim() is None
    assert claims.counts().failed == 1
    assert claims.counts().finished == 1
    claims.reconcile()
    assert_sound(study, 1, max_retries=2)


def test_a_dead_worker_loses_its_trials_at_once_and_a_live_one_keeps_them(tmp_path: Path) -> None:
    study = fake.in_memory(fake.plan())
    dead, alive = fake.claims(study, tmp_path, "dead"), fake.claims(study, tmp_path, "alive")
    trial, kept = fake.take(dead), fake.take(alive)
    observer = fake.claims(study, tmp_path, "observer")
    assert observer.reap() == 0
    fake.kill(study, "dead")
    assert observer.reap() == 1
    assert observer.reap() == 0
    assert dead.lost(trial) and not alive.lost(kept)
    assert failures(by_slot(study.trials)[trial.user_attrs["slot"]]) == 1


def test_a_lease_of_another_machine_lapses_by_time(tmp_path: Path) -> None:
    study = fake.in_memory(fake.plan())
    far = fake.claims(study, tmp_path, "far")
    fake.take(far)
    lease = study.user_attrs[PREFIX + "far"]
    study.set_user_attr(PREFIX + "far", lease | {"host": "elsewhere", "pid": 1})
    observer = fake.claims(study, tmp_path, "observer")
    assert observer.reap() == 0
    study.set_user_attr(PREFIX + "far", lease | {"host": "elsewhere", "expires": time.time() - 1})
    assert observer.reap() == 1


def test_only_the_clock_that_all_share_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers, their clocks an hour slow and an hour fast, and a server that has it right."""
    study = fake.in_memory(fake.plan())
    server = 5000.0
    monkeypatch.setattr(storage, "now", lambda study: server)
    slow, fast = fake.claims(study, tmp_path, "slow"), fake.claims(study, tmp_path, "fast")
    monkeypatch.setattr(time, "time", lambda: server - 3600)
    fake.take(slow)
    elsewhere = study.user_attrs[PREFIX + "slow"] | {"host": "elsewhere"}
    study.set_user_attr(PREFIX + "slow", elsewhere)
    monkeypatch.setattr(time, "time", lambda: server + 3600)
    assert fast.reap() == 0
    server += 59.9
    assert fast.reap() == 0
    server += 0.2  # a lease lasts 60 s
    assert fast.reap() == 1


def test_a_worker_elsewhere_must_prove_once_that_it_lives(tmp_path: Path) -> None:
    study = fake.in_memory(fake.plan())
    near, far = fake.claims(study, tmp_path, "near"), fake.claims(study, tmp_path, "far")
    idle = fake.claims(study, tmp_path, "idle")
    assert idle.unproven() == set()
    fake.take(near)
    fake.take(far)
    lease = study.user_attrs[PREFIX + "far"] | {"host": "elsewhere"}
    study.set_user_attr(PREFIX + "far", lease)
    assert idle.unproven() == idle.unproven() == {"far"}
    study.set_user_attr(PREFIX + "far", lease | {"beat": 2})
    assert idle.unproven() == set()
    study.set_user_attr(PREFIX + "far", lease | {"beat": 2, "expires": 1.0})
    assert idle.reap() == 1
    assert idle.unproven() == set()


def test_a_lease_says_what_its_worker_does(tmp_path: Path) -> None:
    study = fake.in_memory(fake.plan())
    claims = fake.claims(study, tmp_path, "w")
    claims.tell(device="GPU 1", launcher="ray")
    claims.renew()
    claims.tell(rate=812.5, trials=[3, 7])
    claims.retire()
    told = Lease.from_json(study.user_attrs[PREFIX + "w"] | {"later": "version"})
    assert (told.device, told.launcher, told.rate, told.trials) == ("GPU 1", "ray", 812.5, [3, 7])
    assert (told.beat, told.expires) == (2, 0.0)


def test_a_recycled_process_id_fools_nobody() -> None:
    lease = Lease.of_this_process().renewed(time.time() + 60)
    assert not lease.lapsed()
    assert replace(lease, start=lease.start + "1").lapsed()
    assert lease.lapsed(now=lease.expires + 1)


def test_a_process_that_ended_has_no_start() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert process_start(child) is None  # a zombie in the process table
    os.waitpid(child, 0)
    assert process_start(child) is None
    assert (process_start(os.getpid()) or "").isdigit()
    assert host_identity().count("/") == 2


def test_a_lapse_after_progress_is_no_failure(tmp_path: Path) -> None:
    """Killed after every rung for ever: never given up. Killed without a new rung: given up."""
    study = fake.in_memory(fake.plan(n_trials=1, max_retries=1))
    observer = fake.claims(study, tmp_path, "observer")
    for step in range(1, 6):
        claims = fake.claims(study, tmp_path, f"w{step}")
        fake.report(claims, fake.take(claims), 1.0, step)
        fake.kill(study, f"w{step}")
        observer.reconcile()
    assert observer.counts().waiting == 1
    for attempt in range(2):
        fake.claims(study, tmp_path, f"v{attempt}").claim()
        fake.kill(study, f"v{attempt}")
        observer.reconcile()
    assert observer.counts().failed == 1


def test_a_zombie_can_neither_report_nor_finish(tmp_path: Path) -> None:
    study = fake.in_memory(fake.plan(n_trials=1))
    zombie = fake.claims(study, tmp_path, "zombie")
    trial = fake.take(zombie)
    x = trial.suggest_float("x", 0, 1)
    fake.kill(study, "zombie")
    heir = fake.claims(study, tmp_path, "heir")
    heir.reconcile()
    again = fake.take(heir)
    assert zombie.lost(trial)
    assert fake.report(zombie, trial, 1.0, 1) is False
    assert zombie.finish(trial, value=1.0, state=TrialState.COMPLETE, attrs={"a": 1}) is False
    zombie.release(trial)
    zombie.fail(trial, "late")
    assert again.suggest_float("x", 0, 1) == x
    assert heir.finish(again, value=2.0, state=TrialState.COMPLETE, attrs={}) is True
    assert_sound(study, 1)
    assert study.best_value == 2.0


def test_a_worker_renews_seldom_and_says_goodbye(tmp_path: Path) -> None:
    study = fake.in_memory(fake.plan())
    claims = fake.claims(study, tmp_path, "w")
    fake.take(claims)
    claims.renew()
    assert study.user_attrs[PREFIX + "w"]["beat"] == 1
    claims.retire()
    assert fake.claims(study, tmp_path, "observer").reap() == 1
    assert failures(study.trials) == 0


def test_complete_needs_a_finite_value(tmp_path: Path) -> None:
    claims = fake.claims(fake.in_memory(fake.plan()), tmp_path)
    trial = fake.take(claims)
    for value in (None, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="finite"):
            claims.finish(trial, value=value, state=TrialState.COMPLETE, attrs={})


def test_foreign_and_doubled_trials_are_dropped(tmp_path: Path) -> None:
    """A trial without a slot, a slot queued twice, and a finished slot queued again."""
    study = fake.in_memory(fake.plan(n_trials=2))
    study.enqueue_trial({})
    study.enqueue_trial({}, user_attrs={"slot": 0, "trial_seed": 1, "attempt": 0})
    claims = fake.claims(study, tmp_path)
    done = fake.take(claims)
    claims.finish(done, value=1.0, state=TrialState.COMPLETE, attrs={})
    assert fake.take(claims).user_attrs["slot"] == 1
    assert claims.claim() is None
    assert_sound(study, 2)
    study.enqueue_trial({}, user_attrs={"slot": 0, "trial_seed": 1, "attempt": 0})
    claims.reconcile()
    assert_sound(study, 2)


def _sweep(study: optuna.Study, folder: Path, worker: str) -> None:
    """One worker that releases its first trial, fails its second, and works through the rest."""
    claims = fake.claims(study, folder, worker)
    claims.reconcile()
    pack = [claims.claim() for _ in range(3)]
    if pack[0] is not None:
        pack[0].suggest_float("x", 0, 1)
        claims.release(pack[0])
    if pack[1] is not None:
        fake.report(claims, pack[1], 1.0, 1)
        claims.fail(pack[1], "boom")
    if pack[2] is not None:
        work(claims, pack[2])
    while (trial := claims.claim()) is not None:
        work(claims, trial)
    claims.retire()


def test_a_kill_between_any_two_storage_calls_loses_nothing(tmp_path: Path) -> None:
    """Kills the sweep before its n-th write for every n, then resumes it and checks each slot."""
    writes = 0
    while True:
        storage = fake.MortalStorage()
        study = fake.in_memory(fake.plan(), storage)
        storage.arm(writes)
        try:
            _sweep(study, tmp_path, "first")
        except fake.Killed:
            storage.arm(None)
        else:
            break
        fake.kill(study, "first")
        resumed = fake.claims(study, tmp_path, "second")
        resumed.reconcile()
        assert_sound(study, 4)
        drawn = {t.user_attrs["slot"]: t.params for t in study.trials if t.params}
        _sweep(study, tmp_path, "second")
        assert_sound(study, 4)
        counts = resumed.counts()
        assert (counts.complete, counts.pruned, counts.diverged) == (2, 1, 1)
        for slot, attempts in by_slot(study.trials).items():
            assert len({t.user_attrs["trial_seed"] for t in attempts}) == 1
            final = attempts[-1].params
            assert all(final[name] == value for name, value in drawn.get(slot, {}).items())
        writes += 1
    assert writes >= 50


def test_a_kill_during_repair_is_repaired(tmp_path: Path) -> None:
    """The repair itself is killed before its n-th write, for every n."""
    writes = 0
    while True:
        storage = fake.MortalStorage()
        study = fake.in_memory(fake.plan(), storage)
        dead = fake.claims(study, tmp_path, "dead")
        for _ in range(3):
            fake.take(dead).suggest_float("x", 0, 1)
        fake.kill(study, "dead")
        study.enqueue_trial({}, user_attrs={"slot": 3, "trial_seed": 1, "attempt": 0})
        storage.arm(writes)
        try:
            fake.claims(study, tmp_path, "repair").reconcile()
        except fake.Killed:
            storage.arm(None)
        else:
            break
        fake.claims(study, tmp_path, "second").reconcile()
        assert_sound(study, 4)
        assert max(failures(attempts) for attempts in by_slot(study.trials).values()) == 1
        writes += 1
    assert writes > 10


def _claim_all(url: str, folder: Path, worker: str, out: multiprocessing.Queue) -> None:  # type: ignore[type-arg]
    study = studies.open_study(url, "s", optuna.samplers.RandomSampler(seed=0))
    claims = fake.claims(study, folder, worker)
    taken = []
    while (trial := claims.claim()) is not None:
        taken.append(trial.user_attrs["slot"])
        trial.suggest_float("x", 0, 1)
        claims.finish(trial, value=0.0, state=TrialState.COMPLETE, attrs={})
    out.put(taken)


def test_processes_claim_each_slot_of_a_sqlite_study_once(tmp_path: Path) -> None:
    url = studies.storage_url(None, tmp_path)
    studies.create(url, fake.plan(n_trials=24), tmp_path)
    context = multiprocessing.get_context("spawn")
    out = context.Queue()
    workers = [
        context.Process(target=_claim_all, args=(url, tmp_path, f"w{index}", out))
        for index in range(3)
    ]
    for process in workers:
        process.start()
    taken = Counter(slot for _ in workers for slot in out.get(timeout=60))
    for process in workers:
        process.join()
    assert taken == dict.fromkeys(range(24), 1)
    assert_sound(studies.open_study(url, "s"), 24)
