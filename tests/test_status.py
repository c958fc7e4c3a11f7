"""`maml-sweep status`: who works on a study, how fast, and whose clock says so."""

from __future__ import annotations

import json
import os
import re
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import studies
import synthetic
from optuna.trial import FrozenTrial, TrialState

from maml_sweep import cli
from maml_sweep.analysis import frames
from maml_sweep.commands import status
from maml_sweep.search import latest, outline, roster, storage
from maml_sweep.search.latest import Stand
from maml_sweep.search.lease import PREFIX, Lease
from maml_sweep.search.pace import pace
from maml_sweep.search.slots import Counts

STATES = {1: "pruned", 2: "diverged", 3: "running", 4: "waiting", 5: "failed", 6: "retried"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`done`, and `begun` with every state and a live worker."""
    root = tmp_path_factory.mktemp("outputs")
    synthetic.make(root, "done", n_trials=2, prune="none")
    synthetic.make(root, "begun", n_trials=8, states=STATES, prune="none", lease="live")
    return root


def said(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """What `maml-sweep status` prints."""
    assert cli.main(["status", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_it_names_who_holds_what(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trials = frames.load("begun", root).trials
    held, best = trials.iloc[3], trials["value"].min()
    lines = said(capsys, "begun", "--root", root).splitlines()
    assert lines[0].startswith("begun: 6/8 slots done (3 complete, 1 pruned, 1 diverged, 1 failed,")
    assert lines[1] == f"best mse: {best:.6g} (slot {trials['value'].argmin()})"
    who = f"worker {held['worker']}: lease 3[56]\\d\\d s; 0 trial-steps/s; "
    assert re.match(who + f".+, process {os.getpid()}$", lines[2])
    assert lines[3] == f"  slot 3 at 1000/2000 mse {held['last']:.4g}"
    assert re.match(r"0 trial-steps/s, [\d.e+-]+ trials an hour, .+ left$", lines[4])


def test_json_holds_all_of_it(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trial = frames.load("begun", root).trials.iloc[3]
    found = json.loads(said(capsys, "begun", "--root", root, "--json"))
    (worker,) = found["workers"]
    (held,) = worker["trials"]
    assert (worker["state"], worker["alive"], worker["pid"]) == ("alive", True, os.getpid())
    begun = datetime.fromisoformat(found["at"])
    left = datetime.fromisoformat(worker["expires"]) - begun
    assert left.total_seconds() == pytest.approx(worker["lease"], abs=1e-3)
    assert (held["slot"], held["step"], held["rungs"]) == (3, 1000, 10)
    assert (held["value"], held["iterations"]) == (trial["last"], 2000)
    # five results of this worker, and half of slot 3; one and a half are left
    assert found["pace"]["results"] == 5 and found["pace"]["work"] == 5.5
    assert found["pace"]["left"] == pytest.approx(found["pace"]["seconds"] * 1.5 / 5.5)


def test_it_says_how_to_go_on(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, "done", "--root", root).splitlines()[2:] == [
        "workers that are gone: 1 retired",
        "nothing left to do",
    ]
    synthetic.make(tmp_path, "killed", n_trials=3, states={0: "running"}, lease="dead")
    output = said(capsys, "killed", "--root", tmp_path)
    assert ": dead; whoever works on the study next takes its trials back\n" in output
    again = f"python sweep.py study.name=killed hydra.sweeper.root={tmp_path}"
    assert output.endswith(f"nobody works on it; to go on:\n  {again}\n")
    synthetic.make(tmp_path, "early", n_trials=2, states="waiting", lease="live")
    output = said(capsys, "early", "--root", tmp_path)
    assert output.endswith("\n0 trial-steps/s; too early to tell how long it takes\n")


# -- the roster -------------------------------------------------------------------------------

NOW = 1_000_000.0


def lease(expires: float, **changes: Any) -> dict[str, Any]:
    """One of another machine."""
    values = {"host": "far/boot/1", "pid": 7, "start": "1", "expires": expires, "beat": 3}
    return values | changes


def test_every_worker_is_in_one_state() -> None:
    """Judged by the study's clock alone: this machine's says decades later."""
    told = {"rate": 812.5, "device": "GPU H100 (0)", "launcher": "ray", "trials": [4]}
    here = Lease.of_this_process().to_json() | {"expires": NOW + 9.0, "start": "0"}
    attrs = {
        f"{PREFIX}b-live": lease(NOW + 43.0, **told),
        f"{PREFIX}a-live": lease(NOW + 0.5),
        f"{PREFIX}silent": lease(NOW - 5.0),
        f"{PREFIX}left": lease(0.0),
        f"{PREFIX}killed": here,
        "plan": {},
    }
    held = {0: "b-live", 1: "silent", 2: "nobody", 3: ""}
    trials = [_trial(number, TrialState.RUNNING, worker, 1) for number, worker in held.items()]
    trials += [_trial(4, TrialState.COMPLETE, "left", 1)]
    found = roster.roster(attrs, trials, dict.fromkeys(held, Stand(50, 5, 0.5)), NOW)
    assert {each.worker: each.state for each in found} == {
        "a-live": "alive", "b-live": "alive", "silent": "lapsed", "left": "retired",
        "killed": "dead", "nobody": "unknown", "": "unknown",
    }  # fmt: skip
    assert [each.worker for each in found][:2] == ["a-live", "b-live"]
    live = found[1]
    assert (live.left, live.expires, live.rate) == (43.0, NOW + 43.0, 812.5)
    assert (live.host, live.pid, live.device, live.launcher) == ("far", 7, "GPU H100 (0)", "ray")
    assert [each.slot for each in live.trials] == [0]
    assert live.trials[0].stand == Stand(50, 5, 0.5)
    lefts = {each.worker: each.left for each in found}
    assert (lefts["silent"], lefts["left"], lefts["nobody"]) == (-5.0, None, None)


def test_a_worker_s_line() -> None:
    worker = {"alive": True, "state": "alive", "lease": 42.6, "rate": 8125.4, "host": "far"}
    worker |= {"pid": 7, "device": "GPU H100 (0)", "launcher": "ray"}
    assert status._account(worker) == (
        "lease 43 s; 8,125 trial-steps/s; far, process 7; GPU H100 (0); launcher ray"
    )
    gone = "; whoever works on the study next takes its trials back"
    lapsed = {"alive": False, "state": "lapsed", "lease": -75.0}
    assert status._account(lapsed) == f"lapsed 0:01:15 ago{gone}"
    assert status._account({"alive": False, "state": "retired", "lease": None}) == f"retired{gone}"


def test_a_clock_that_is_off_changes_nothing(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the machine's own clock the lease would have lapsed two hours ago."""
    study_time = time.time()
    monkeypatch.setattr(storage, "now", lambda of: study_time)
    monkeypatch.setattr(time, "time", lambda: study_time + 3 * 3600.0)
    found = json.loads(said(capsys, "begun", "--root", root, "--json"))
    assert found["workers"][0]["alive"]
    assert datetime.fromisoformat(found["at"]).timestamp() == pytest.approx(study_time, abs=1e-3)


# -- where trials stand -----------------------------------------------------------------------


def test_stands_are_what_whole_trials_say(root: Path) -> None:
    """One query, and the same without a database."""
    study = frames.load("begun", root).study
    trials = outline.outline(study)
    whole = {each.number: each.intermediate_values for each in study.trials}
    running = [each.number for each in trials if each.state == TrialState.RUNNING]
    found = latest.stands(study, trials)
    assert list(found) == running == [3]
    curve = whole[3]
    assert found[3] == Stand(max(curve), len(curve), curve[max(curve)])
    unkept = studies.in_memory(studies.plan(n_trials=3))
    for values in ({}, {10: 2.0, 20: float("nan")}):
        trial = unkept.ask()
        for step, value in values.items():
            trial.report(value, step)
    stands = latest.stands(unkept, unkept.get_trials())
    assert stands[0] == Stand()
    assert (stands[1].step, stands[1].rungs, str(stands[1].value)) == (20, 2, "nan")
    assert latest.stands(unkept, []) == {}


# -- the pace ---------------------------------------------------------------------------------

NOON = datetime(2026, 1, 2, 12)


def _trial(number: int, state: TrialState, worker: str, hours: float) -> FrozenTrial:
    """One that a worker began so many hours before noon."""
    begun = NOON - timedelta(hours=hours)
    attrs = {"worker": worker, "slot": number}
    return FrozenTrial(number, state, None, begun, None, {}, {}, attrs, {}, {}, number)


def test_the_pace_leaves_out_those_who_are_gone() -> None:
    """In an hour the live worker did two trials and half of a third; 3.5 are left."""
    complete, pruned, running = TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING
    trials = [
        _trial(0, complete, "gone", 90),
        _trial(1, complete, "here", 1),
        _trial(2, pruned, "here", 0.5),
        _trial(3, running, "here", 0.25),
        _trial(4, running, "gone", 90),
    ]
    counts = Counts(complete=2, pruned=1, running=2, waiting=2)
    found = pace(trials, {"here"}, {3: 0.5, 4: 0.9}, counts, NOON)
    assert found is not None
    assert (found.results, found.work, found.seconds) == (2, 2.5, 3600)
    assert found.per_hour == pytest.approx(2.5)
    assert found.left == pytest.approx(3600 * 3.5 / 2.5)
    assert pace(trials, set(), {}, counts, NOON) is None
    assert pace(trials[1:2], {"here"}, {}, counts, NOON - timedelta(hours=2)) is None


# -- again and again --------------------------------------------------------------------------


@pytest.fixture
def passing(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made; the third is interrupted by Ctrl-C."""
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", pause)
    return pauses


def test_it_watches_until_ctrl_c(
    root: Path, capsys: pytest.CaptureFixture[str], passing: list[float]
) -> None:
    output = said(capsys, "begun", "--root", root, "--watch", "7")
    assert passing == [7.0, 7.0, 7.0]
    blocks = output.split("\n\n")
    assert [each.startswith("begun: 6/8") for each in blocks] == [True, True, True, False]
    assert blocks[3] == ""


def test_it_watches_until_all_is_done(
    root: Path, capsys: pytest.CaptureFixture[str], passing: list[float]
) -> None:
    assert json.loads(said(capsys, "done", "--root", root, "--json", "--watch"))["finished"] == 2
    assert passing == []


def test_a_terminal_shows_the_last_look(
    root: Path,
    capsys: pytest.CaptureFixture[str],
    passing: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    output = said(capsys, "begun", "--root", root, "--watch")
    assert passing == [status.EVERY] * 3
    assert output.count("begun: 6/8") == 4  # three looks, and the last again as it is left there
    assert output.count("\x1b[1A") >= 3  # each is drawn over the one before


def test_a_pause_that_is_none(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status", "--root", str(root), "--watch", "0"]) == 2
    assert capsys.readouterr().err == "--watch=0: expected seconds above 0\n"
