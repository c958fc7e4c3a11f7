"""Sweeps in processes of their own that are killed and interrupted: nothing may be lost."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from composing import ROOT
from optuna.trial import TrialState
from sweeping import QUICK, TASK, Sweep, train

from maml_sweep.search import study
from maml_sweep.search.claims import Claims
from maml_sweep.search.interruption import Interrupted, listening
from maml_sweep.search.slots import Counts, by_slot

N_TRIALS = 12
TRIAL = (
    *QUICK,
    *TASK,
    "model.widths=[8]",
    "training.iterations=120",
    "training.report_every=6",
    "training.meta_batch_size=4",
    "algorithm.inner_steps=2",
)
# A kill before a trial's first new rung counts against its slot: that is not what is tested here.
SWEEP = (*TRIAL, f"study.n_trials={N_TRIALS}", "pack.size=4", "study.max_retries=99")
PATIENCE = 120.0  # seconds


class Process:
    """`python sweep.py study.name=s …` with its outputs below `root`."""

    def __init__(self, root: Path, *arguments: str) -> None:
        self.folder = root / "outputs" / "s"
        command = [sys.executable, str(ROOT / "sweep.py"), "study.name=s", *arguments]
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            command,
            cwd=root,
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.communicate()

    def wait_for(self, reached: Callable[[], bool]) -> bool:
        """Looks until something is so; False if the process ended before."""
        deadline = time.monotonic() + PATIENCE
        while not reached():
            assert time.monotonic() < deadline, "nothing came of it"
            if self.process.poll() is not None:
                return False
            time.sleep(0.01)
        return True

    def wait_for_reports(self, count: int) -> bool:
        """Waits until so many values were reported."""
        return self.wait_for(lambda: self.reports() >= count)

    def catches(self, number: signal.Signals) -> bool:
        """Whether the process has a handler of its own for a signal."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("SigCgt"))
        return bool(int(line.split()[1], 16) >> (number - 1) & 1)

    def end(self) -> tuple[int, str]:
        """The exit code and all that was printed."""
        output, _ = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, output

    def reports(self) -> int:
        """Values reported so far, by all trials of all processes."""
        try:
            with closing(sqlite3.connect(f"file:{self.folder}/study.db?mode=ro", uri=True)) as file:
                rows = file.execute("SELECT count(*) FROM trial_intermediate_values")
                return int(rows.fetchone()[0])
        except sqlite3.OperationalError:  # no file or no table yet, or locked for a moment
            return 0

    @property
    def outcome(self) -> Sweep:
        """The files."""
        return Sweep(self.folder, 0, "", "", [], [])


def counts(done: Sweep) -> Counts:
    """The slots of a sweep by state."""
    return Claims(done.study, study.plan_of(done.study), done.folder, "test").counts()


def test_killed_again_and_again(tmp_path: Path) -> None:
    """SIGKILL while the study is created or TensorFlow starts, then twice in training."""
    moment = random.Random(2)
    for life in range(3):
        # The first kill may come before there is a study to resume, so it is described twice.
        with Process(tmp_path, *(SWEEP if life < 2 else ())) as process:
            if life == 0:
                assert process.wait_for((process.folder / "study.db").exists), process.end()
            else:
                assert process.wait_for_reports(1 + process.reports()), process.end()
            time.sleep(moment.uniform(0.0, 0.3))
            process.process.send_signal(signal.SIGKILL)
            assert process.end()[0] == -signal.SIGKILL
    assert counts(process.outcome).finished < N_TRIALS
    with Process(tmp_path) as process:
        code, output = process.end()
    assert code == 0, output
    _assert_nothing_lost(process.outcome)
    assert "goes on at iteration" in output
    _assert_a_retried_trial_trained_as_if_alone(process.outcome)


def _assert_nothing_lost(done: Sweep) -> None:
    """Every slot finished by one trial; whatever else was tried is FAIL."""
    assert [int(row["slot"]) for row in done.rows] == list(range(N_TRIALS))
    slots = by_slot(done.study.trials)
    assert sorted(slots) == list(range(N_TRIALS))
    for attempts in slots.values():
        states = [trial.state for trial in attempts]
        assert sum(s in (TrialState.COMPLETE, TrialState.PRUNED) for s in states) == 1
        assert {TrialState.RUNNING, TrialState.WAITING}.isdisjoint(states)
        assert len({trial.user_attrs["trial_seed"] for trial in attempts}) == 1
    states = [trial.state for trial in done.study.trials]
    assert {TrialState.RUNNING, TrialState.WAITING}.isdisjoint(states)
    tally = counts(done)
    assert (tally.finished, tally.failed) == (N_TRIALS, 0)
    for row in done.rows:
        if row["diverged"] == "":
            rungs = int(row["iterations"]) // 6
            assert done.evaluation(int(row["slot"]))["rung_metric"].shape == (rungs, 8)
    assert done.best["value"] == min(
        float(row["value"]) for row in done.rows if row["state"] == "COMPLETE"
    )


def _assert_a_retried_trial_trained_as_if_alone(done: Sweep) -> None:
    retried = [r for r in done.rows if r["state"] == "COMPLETE" and int(r["attempts"]) > 1]
    row = max(retried, key=lambda row: int(row["attempts"]))
    drawn = [f"{key}={row[key]}" for key in ("algorithm.inner_lr", "optimizer.meta_lr")]
    value = train(*TRIAL, *drawn, f"trial_seed={row['trial_seed']}")
    assert value == pytest.approx(float(row["value"]), rel=1e-3)


def test_two_processes_share_a_sweep(tmp_path: Path) -> None:
    """Started together: one creates the study, the other joins; neither takes a slot twice."""
    with Process(tmp_path, *SWEEP) as first, Process(tmp_path, *SWEEP) as second:
        for process in (first, second):
            code, output = process.end()
            assert code == 0, output
            assert "was taken over" not in output
    done = first.outcome
    _assert_nothing_lost(done)
    assert len(done.study.trials) == N_TRIALS
    assert len({trial.user_attrs["worker"] for trial in done.study.trials}) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop(tmp_path: Path, number: signal.Signals) -> None:
    """Exit 130, all slots handed back, the line to go on with."""
    with Process(tmp_path, *SWEEP) as process:
        assert process.wait_for_reports(8), process.end()
        process.process.send_signal(number)
        code, output = process.end()
    assert code == 130, output
    assert "Traceback" not in output
    last = output.splitlines()[-2:]
    tally = counts(process.outcome)
    assert last[0].startswith(
        f"interrupted: {tally.finished} slots done, {tally.waiting} waiting, state kept in "
    )
    assert last[1].strip() == f"python {ROOT / 'sweep.py'} study.name=s"
    assert (tally.running, tally.finished + tally.waiting) == (0, N_TRIALS)
    done = process.outcome
    assert len(done.rows) == N_TRIALS
    curves = [trial for trial in done.study.trials if trial.intermediate_values]
    in_flight = {t.user_attrs["slot"] for t in curves if t.state == TrialState.WAITING}
    assert in_flight
    assert {f"{slot}.npz" for slot in in_flight} <= set(done.checkpoints)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_asked_twice(tmp_path: Path) -> None:
    """The second SIGINT ends the process where it stands: here, while TensorFlow starts."""
    with Process(tmp_path, *SWEEP, "hydra/launcher=basic") as process:
        assert process.wait_for(lambda: process.catches(signal.SIGTERM)), process.end()
        process.process.send_signal(signal.SIGINT)
        assert process.wait_for(lambda: not process.catches(signal.SIGINT)), process.end()
        process.process.send_signal(signal.SIGINT)
        code, output = process.end()
    assert (code, "interrupted" in output) == (-signal.SIGINT, False), output
    assert counts(process.outcome) == Counts(waiting=N_TRIALS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_listening(number: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with listening() as interruption:
        interruption.check()
        os.kill(os.getpid(), number)
        with pytest.raises(Interrupted):
            interruption.check()
        assert signal.getsignal(number) == signal.SIG_DFL  # the same once more kills
        (other,) = {signal.SIGINT, signal.SIGTERM} - {number}
        os.kill(os.getpid(), other)  # as a launcher hands on: one wish with the first
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
