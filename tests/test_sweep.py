"""Whole sweeps, from the command line's overrides to the files they leave."""

from __future__ import annotations

import errno
import itertools
import math
import os
import shlex
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from optuna.trial import TrialState
from sweeping import SMALL, TINY, Sweep, interrupt_after, reuse_programs, sweep, train

from maml_sweep import files, streams
from maml_sweep.search import records, study, worker
from maml_sweep.search.claims import Claims
from maml_sweep.search.slots import Counts
from maml_sweep.search.turns import Group, Turns
from maml_sweep.training import checkpoint
from maml_sweep.training.pack import Trainer

FOUR = (
    "algorithm.inner_lr",
    "algorithm.inner_steps",
    "optimizer.meta_lr",
    "training.meta_batch_size",
)
# Parameters that hang on the slot alone, and every trial trained to its end: comparable sweeps.
STEADY = (*SMALL, "study.n_trials=8", "pack.size=4", "sampler=random", "pruner=none")
RUNGS = 4  # 40 iterations, a report every 10
NOISE = 1e-4  # relative, of float32 over 40 iterations


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """24 slots, searched and pruned as by default."""
    return sweep(tmp_path_factory.mktemp("whole"), *SMALL, "study.n_trials=24")


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """8 slots that nothing disturbs."""
    return sweep(tmp_path_factory.mktemp("steady"), *STEADY)


@pytest.fixture(autouse=True)
def _programs_of_earlier_sweeps(whole: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spares the tests most of their tracing, except for `whole`, which has its own program."""
    reuse_programs(monkeypatch)


@pytest.fixture
def short_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program's call trains 3 iterations, so that interruptions fall between two rungs."""
    monkeypatch.setattr(Trainer, "_slice", lambda self, runs: 3)


def counts(done: Sweep) -> Counts:
    """The slots of a sweep by state."""
    return Claims(done.study, study.plan_of(done.study), done.folder, "test").counts()


def assert_each_slot_once(done: Sweep, n_trials: int) -> None:
    """Every slot of the budget finished by exactly one trial, and nothing left over."""
    assert [int(row["slot"]) for row in done.rows] == list(range(n_trials))
    ended = [t for t in done.study.trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    assert sorted(t.user_attrs["slot"] for t in ended) == list(range(n_trials))
    rest = {t.state for t in done.study.trials} - {TrialState.COMPLETE, TrialState.PRUNED}
    assert rest <= {TrialState.FAIL}
    assert done.checkpoints == []


def assert_same_curves(done: Sweep, expected: Sweep, tolerance: float = NOISE) -> None:
    """The same parameters, and the same values at every rung, for every validation task."""
    assert done.parameters(*FOUR, "trial_seed") == expected.parameters(*FOUR, "trial_seed")
    np.testing.assert_allclose(done.values, expected.values, rtol=tolerance)
    for slot in range(len(expected.rows)):
        ours, theirs = done.evaluation(slot), expected.evaluation(slot)
        assert ours.keys() == theirs.keys()
        for name in ours:
            np.testing.assert_allclose(ours[name], theirs[name], rtol=100 * tolerance, atol=1e-4)


# -- a sweep that nothing disturbs ------------------------------------------------------------


def test_a_structure_is_traced_once(whole: Sweep) -> None:
    assert [program.traces for program in whole.programs] == [1]


def test_every_slot_is_finished_once(whole: Sweep) -> None:
    assert whole.code == 0
    assert_each_slot_once(whole, 24)
    assert len(whole.study.trials) == 24  # none was tried twice
    assert set(whole.states) == {"COMPLETE", "PRUNED"}


def test_trials_csv(whole: Sweep) -> None:
    before = ["slot", "number", "state", "value"]
    after = ["iterations", "tasks", "seconds", "trial_seed", "attempts", "best_value", "best_step"]
    columns = [*before, *FOUR, *after, "diverged", "known_results", "reason"]
    assert list(whole.rows[0]) == columns
    for row in whole.rows:
        slot, batch = int(row["slot"]), int(row["training.meta_batch_size"])
        assert int(row["trial_seed"]) == streams.trial_seed(0, slot)
        assert (int(row["algorithm.inner_steps"]) in {1, 2}, 2 <= batch <= 6) == (True, True)
        iterations = int(row["iterations"])
        assert int(row["tasks"]) == iterations * batch
        assert (iterations == 40) if row["state"] == "COMPLETE" else (iterations in {10, 20, 30})
        assert float(row["best_value"]) <= float(row["value"])
        assert (row["attempts"], row["diverged"], row["reason"]) == ("1", "", "")


def test_the_sampler_has_something_to_learn_from(whole: Sweep) -> None:
    """A pack is a quarter of the budget at most: 6 places of 24.

    The k-th to be asked has at most 5 beside it, so k - 5 results are known; half of all were
    asked after 6 or more.
    """
    known = [trial.user_attrs["known_results"] for trial in whole.study.trials]
    assert all(count >= k - 5 for k, count in enumerate(known))
    assert sum(count >= 6 for count in known) >= 12
    values = {key: {row[key] for row in whole.rows} for key in FOUR}
    assert len(values["algorithm.inner_lr"]) == len(values["optimizer.meta_lr"]) == 24


def test_evaluations(whole: Sweep) -> None:
    """The metric of 8 tasks after 0 … 2S steps; after S it is the value at the last rung."""
    for row in whole.rows:
        found = whole.evaluation(int(row["slot"]))
        steps, rungs = int(row["algorithm.inner_steps"]), int(row["iterations"]) // 10
        assert found["metric"].shape == (2 * steps + 1, 8)
        assert found["rung_metric"].shape == (rungs, 8)
        assert found["rung_step"].tolist() == [10 * (k + 1) for k in range(rungs)]
        np.testing.assert_allclose(found["metric"][steps].mean(), float(row["value"]), rtol=1e-5)
        number = int(row["number"])
        reported = whole.study.trials[number].intermediate_values
        assert list(reported.values()) == pytest.approx(found["rung_metric"].mean(axis=1))


def test_best_yaml_and_the_line_to_paste(whole: Sweep) -> None:
    """Both say how to train the winner again, and that gives its value again."""
    complete = [row for row in whole.rows if row["state"] == "COMPLETE"]
    winner = min(complete, key=lambda row: float(row["value"]))
    assert whole.best["value"] == float(winner["value"])
    assert whole.best["slot"] == int(winner["slot"])
    assert {key: str(value) for key, value in whole.best["parameters"].items()} == {
        key: winner[key] for key in FOUR
    }
    assert whole.best["config"]["algorithm"]["inner_lr"] == float(winner["algorithm.inner_lr"])
    line = next(line for line in whole.output.splitlines() if "hydra.mode=RUN" in line)
    command = shlex.split(line)
    assert command[:3] == ["python", "sweep.py", "hydra.mode=RUN"]
    assert train(*command[3:]) == pytest.approx(whole.best["value"], rel=NOISE)
    assert f"files: {whole.folder}" in whole.output


def test_a_row_of_trials_csv_trains_to_its_value_again(whole: Sweep) -> None:
    row = [row for row in whole.rows if row["state"] == "COMPLETE"][-1]
    fixed = [override for override in SMALL if override.partition("=")[0] not in FOUR]
    drawn = [f"{key}={row[key]}" for key in (*FOUR, "trial_seed")]
    assert train(*fixed, *drawn) == pytest.approx(float(row["value"]), rel=NOISE)


def test_plain_lines_tell_of_every_trial(whole: Sweep) -> None:
    told = [line for line in whole.lines if line.startswith("INFO: slot ")]
    assert len(told) == 24
    assert sum(" done: mse " in line for line in told) == whole.states.count("COMPLETE")
    assert sum(" pruned at " in line for line in told) == whole.states.count("PRUNED")


# -- interrupted ------------------------------------------------------------------------------


@pytest.mark.usefixtures("short_calls")
def test_interrupted_and_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steady: Sweep
) -> None:
    """Interrupted between rungs, while claiming, and again later: the curves do not show it."""
    arguments: tuple[str, ...] = STEADY
    done = 0
    for checks in (6, 2, 24):
        with monkeypatch.context() as patch:
            interrupt_after(patch, checks)
            stopped = sweep(tmp_path, *arguments)
        assert stopped.code == 130
        assert "python sweep.py study.name=s" in stopped.output
        tally = counts(stopped)
        assert (tally.running, tally.finished + tally.waiting) == (0, 8)
        assert f"{tally.finished} slots done, {tally.waiting} waiting" in stopped.output
        assert tally.finished >= done
        arguments, done = (), tally.finished
    assert 0 < done < 8
    assert len(stopped.checkpoints) > 0
    resumed = sweep(tmp_path)
    assert resumed.code == 0
    assert any("goes on at iteration" in line for line in resumed.lines)
    assert_each_slot_once(resumed, 8)
    assert_same_curves(resumed, steady)
    assert max(int(row["attempts"]) for row in resumed.rows) >= 3
    failed = [t for t in resumed.study.trials if t.state == TrialState.FAIL]
    assert {(t.user_attrs["reason"], t.user_attrs["blame"]) for t in failed} == {("released", 0)}


@pytest.mark.usefixtures("short_calls")
def test_corrupt_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steady: Sweep
) -> None:
    """Garbage, half a file, another trial's: a warning each, and those trials begin anew."""
    with monkeypatch.context() as patch:
        interrupt_after(patch, 4 + 4 + 1)  # 4 claims, 3 + 3 + 3 + 1 iterations, 3, and then 3
        stopped = sweep(tmp_path, *STEADY)
    assert stopped.checkpoints == ["0.npz", "1.npz", "2.npz", "3.npz"]
    folder = stopped.folder / "checkpoints"
    (folder / "0.npz").write_bytes(b"no checkpoint at all")
    (folder / "1.npz").write_bytes((folder / "1.npz").read_bytes()[:500])
    (folder / "2.npz").write_bytes((folder / "3.npz").read_bytes())
    resumed = sweep(tmp_path)
    warnings = [line for line in resumed.lines if line.startswith("WARNING")]
    assert len(warnings) == 3
    for slot, warning in enumerate(warnings):
        assert f"{slot}.npz cannot be used" in warning and "starts anew" in warning
    assert [line for line in resumed.lines if "goes on" in line] == [
        "INFO: slot 3 goes on at iteration 16"
    ]
    assert_each_slot_once(resumed, 8)
    assert_same_curves(resumed, steady)


def test_a_full_disk_costs_files_not_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steady: Sweep
) -> None:
    """Checkpoints and evaluations cannot be written; the study, which lies elsewhere, can."""

    def full(path: Path, content: bytes | str, **how: bool) -> None:
        if path.suffix == ".npz":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        files.write_atomic(path, content, **how)

    monkeypatch.setattr(worker, "KEEP", 0.0)
    monkeypatch.setattr(worker, "KEEP_SHARE", math.inf)  # so at every rung
    monkeypatch.setattr(checkpoint, "write_atomic", full)
    monkeypatch.setattr(records, "write_atomic", full)
    done = sweep(tmp_path, *STEADY)
    assert done.code == 0
    assert done.values == pytest.approx(steady.values, rel=NOISE)
    warnings = [line for line in done.lines if line.startswith("WARNING")]
    what = [f"the checkpoint of slot {slot}" for slot in range(8) for _ in range(RUNGS - 1)]
    what += [f"the evaluation of slot {slot}" for slot in range(8)]
    assert sorted(warnings) == sorted(
        f"WARNING: {each} cannot be written (No space left on device); going on without"
        for each in what
    )


def test_one_worker_after_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steady: Sweep
) -> None:
    """`study.timeout` ends each worker after a few turns, by a clock that ticks once a look."""
    clock = itertools.count()
    monkeypatch.setattr(worker, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    done = sweep(tmp_path, *STEADY, "study.timeout=3")
    finished = [counts(done).finished]
    while finished[-1] < 8 and len(finished) < 9:
        assert done.code == 0
        assert "to go on:\n  python sweep.py study.name=s" in done.output
        assert (counts(done).running, counts(done).waiting) == (0, 8 - finished[-1])
        done = sweep(tmp_path)
        finished.append(counts(done).finished)
    assert finished[0] == 0
    assert len(finished) >= 3
    assert "to go on" not in done.output
    assert_each_slot_once(done, 8)
    assert_same_curves(done, steady)


# -- divergence -------------------------------------------------------------------------------


def test_divergence_ends_that_trial_alone(tmp_path: Path) -> None:
    """The same four trials in one pack, the first with alpha = 1e6 and with 0.02."""
    rates = "algorithm.inner_lr=0.005,0.02,1e6"
    curves = []
    for first in ("1e6", "0.02"):
        sets = ",".join(f"{{algorithm.inner_lr:{rate}}}" for rate in (first, "0.005", "0.02"))
        done = sweep(tmp_path / first, *STEADY, rates, f"study.enqueue=[{sets}]", "pack.size=3")
        assert done.code == 0
        assert_each_slot_once(done, 8)
        enqueued = [row["algorithm.inner_lr"] for row in done.rows[:3]]
        assert [float(rate) for rate in enqueued] == [float(first), 0.005, 0.02]
        curves.append(done)
    bad, good = curves
    trial = bad.study.trials[0]
    assert (trial.state, trial.user_attrs["diverged"]) == (TrialState.PRUNED, 0)
    assert list(trial.intermediate_values) == [10]
    assert math.isnan(trial.intermediate_values[10])
    assert (bad.rows[0]["diverged"], bad.rows[0]["best_value"]) == ("0", "")
    assert not (bad.folder / "evaluations" / "0.npz").exists()
    assert "INFO: slot 0 diverged after 0 iterations" in "".join(bad.lines[:3])
    assert counts(bad).diverged == counts(good).diverged + 1
    mates = [slot for slot in range(1, 8) if good.rows[slot]["diverged"] == ""]
    assert {1, 2} <= set(mates)
    for slot in mates:
        ours, theirs = (done.study.trials[slot].intermediate_values for done in (bad, good))
        assert list(ours) == [10, 20, 30, 40]
        assert list(ours.values()) == pytest.approx(list(theirs.values()), rel=1e-5)


def test_a_diverged_single_trial_returns_the_worst_value() -> None:
    assert train(*TINY, "algorithm.inner_lr=1e6") == math.inf


# -- settings of the sweep --------------------------------------------------------------------


def test_repeats_are_averaged(tmp_path: Path) -> None:
    beta = "optimizer.meta_lr=0.01"
    searched = ("study.n_trials=1", "algorithm.inner_lr=0.01,0.02", beta)
    done = sweep(tmp_path, *TINY, *searched, "study.repeats=2")
    seed, rate = int(done.rows[0]["trial_seed"]), done.rows[0]["algorithm.inner_lr"]
    fixed = (*TINY, f"algorithm.inner_lr={rate}", beta)
    values = [train(*fixed, f"trial_seed={streams.repeat_seed(seed, k)}") for k in (0, 1)]
    assert values[0] != pytest.approx(values[1], rel=0.01)
    assert done.values == [pytest.approx(sum(values) / 2, rel=NOISE)]


def test_a_budget_of_tasks(tmp_path: Path) -> None:
    """160 tasks for everyone: 80 iterations of 2 tasks, 53 of 3, 40 of 4, 32 of 5, 27 of 6."""
    budget = ("training.budget=tasks", "training.reference_meta_batch_size=4")
    done = sweep(tmp_path, *STEADY, *budget, "study.n_trials=5", "algorithm.inner_steps=1")
    for row, trial in zip(done.rows, done.study.trials, strict=True):
        batch = int(row["training.meta_batch_size"])
        assert int(row["iterations"]) == {2: 80, 3: 53, 4: 40, 5: 32, 6: 27}[batch]
        assert list(trial.intermediate_values) == [10, 20, 30, 40]
    assert len({row["training.meta_batch_size"] for row in done.rows}) > 1


def test_structures_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two structures of three trials each: while both have trials, they advance alternately."""
    turns: list[tuple[Group, int]] = []
    choose = Turns.next

    def note(self: Turns) -> Group:
        waiting = sum(bool(group.trials) for group in self._groups.values())
        turns.append((choose(self), waiting))
        return turns[-1][0]

    monkeypatch.setattr(Turns, "next", note)
    space = ("search=none", "sampler=grid", "model.activation=relu,tanh")
    more = ("algorithm.inner_lr=0.01,0.02,0.05", "pruner=none", "pack.size=6")
    done = sweep(tmp_path, *TINY, *space, *more)
    assert_each_slot_once(done, 6)
    assert done.states == ["COMPLETE"] * 6
    assert [program.traces for program in done.programs] == [1, 1]
    assert len(turns) == 4  # two rungs each
    assert all(a is not b for (a, many), (b, _) in itertools.pairwise(turns) if many > 1)


def test_branches_and_enqueued_sets(tmp_path: Path) -> None:
    """A group is searched, and a parameter that one of its options has; sets come first."""
    sets = "study.enqueue=[{optimizer:sgd,optimizer.meta_lr:0.001},{optimizer:adam}]"
    space = ("optimizer=adam,sgd", "optimizer.beta1=interval(0.5, 0.9)")
    done = sweep(tmp_path, *TINY, *space, sets)
    assert_each_slot_once(done, 6)
    assert [row["optimizer"] for row in done.rows[:2]] == ["sgd", "adam"]
    assert float(done.rows[0]["optimizer.meta_lr"]) == 0.001
    for row in done.rows:
        assert (row["optimizer.beta1"] == "") == (row["optimizer"] == "sgd")
    assert [program.traces for program in done.programs] == [1]  # optimizers share a program


@pytest.mark.parametrize(
    ("sampler", "pruner"),
    [
        (["tpe", "n_startup_trials=2"], ["rungs", "grace=0.5", "keep=0.3"]),
        (["random"], ["median", "n_startup_trials=1"]),
        (["qmc"], ["percentile", "n_startup_trials=1"]),
        (["cmaes", "n_startup_trials=2"], ["halving", "min_resource=10", "reduction_factor=2"]),
        (["nsgaii", "population_size=2"], ["hyperband", "min_resource=10"]),
        (["grid"], ["wilcoxon", "p_threshold=0.4", "grace=0.5"]),
        (["random"], ["none"]),
    ],
    ids=lambda choice: choice[0],
)
def test_every_sampler_and_every_pruner(
    tmp_path: Path, sampler: list[str], pruner: list[str]
) -> None:
    """Each past its start-up phase; a grid of 3 times 2 points is the budget."""
    chosen = [f"sampler={sampler[0]}", *(f"sampler.{x}" for x in sampler[1:])]
    chosen += [f"pruner={pruner[0]}", *(f"pruner.{x}" for x in pruner[1:])]
    if sampler == ["grid"]:
        chosen += ["algorithm.inner_lr=0.01,0.02,0.05", "optimizer.meta_lr=0.001,0.003"]
    done = sweep(tmp_path, *TINY, *chosen, "pack.size=2")
    assert (done.code, done.errors) == (0, "")
    assert_each_slot_once(done, 6)
    assert "COMPLETE" in done.states
    drawn = done.parameters("algorithm.inner_lr", "optimizer.meta_lr")
    assert len(set(drawn)) == 6
    if pruner == ["none"]:
        assert done.states == ["COMPLETE"] * 6


def test_a_larger_budget_and_a_refused_resumption(tmp_path: Path) -> None:
    first = sweep(tmp_path, *TINY, "study.n_trials=2")
    rows = list(first.rows)
    more = sweep(tmp_path, "study.n_trials=4")
    assert_each_slot_once(more, 4)
    assert more.rows[:2] == rows
    files = {path: path.read_bytes() for path in more.folder.glob("*.*")}
    for argument, words in {
        "training.iterations=30": "training.iterations: 20 -> 30",
        "algorithm.inner_lr=interval(0.1, 1)": "algorithm.inner_lr: 0.001 … 0.1 (log) -> 0.1 … 1",
        "study.n_trials=3": "study.n_trials",
    }.items():
        refused = sweep(tmp_path, argument)
        assert (refused.code, refused.programs) == (2, [])
        assert words in refused.errors
        assert len(refused.errors.splitlines()) == 1
    assert files == {path: path.read_bytes() for path in more.folder.glob("*.*")}


def test_a_finished_sweep_is_not_trained_again(tmp_path: Path) -> None:
    done = sweep(tmp_path, *TINY, "study.n_trials=1")
    again = sweep(tmp_path)
    assert (again.code, again.programs, again.rows) == (0, [], done.rows)
    assert "1/1 slots done" in again.output
