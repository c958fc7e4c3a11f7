"""The files of a sweep: whole or not at all, and saying what the storage says."""

from __future__ import annotations

import csv
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import studies as fake
import yaml
from optuna.trial import TrialState

from maml_sweep.search import records


class Names:
    """A space whose stored names are `<key>@b`."""

    def values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {name.removesuffix("@b"): value for name, value in params.items()}

    def overrides(self, values: Mapping[str, Any]) -> list[str]:
        return [f"{key}={value}" for key, value in values.items()]


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / records.TRIALS).open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_a_slot_with_all_that_is_known(tmp_path: Path) -> None:
    plan = fake.plan(n_trials=5, max_retries=0)
    study = fake.in_memory(plan)
    claims = fake.claims(study, tmp_path)
    done, pruned, diverged, crashed = (fake.take(claims) for _ in range(4))
    for trial in (done, pruned, diverged):
        trial.suggest_float("algorithm.inner_lr@b", 0, 1)
    for step, value in {100: 0.5, 200: 0.2, 300: 0.3}.items():
        fake.report(claims, done, value, step)
    attrs = {"iterations": 300, "tasks": 7500, "seconds": 1.5}
    claims.release(done)
    done = fake.take(claims)
    assert done.user_attrs["slot"] == 4  # the queue is first come, first served
    done = fake.take(claims)
    done.suggest_float("algorithm.inner_lr@b", 0, 1)
    claims.finish(done, value=0.3, state=TrialState.COMPLETE, attrs=attrs)
    fake.report(claims, pruned, 2.0, 100)
    claims.finish(pruned, value=None, state=TrialState.PRUNED, attrs={})
    fake.report(claims, diverged, float("nan"), 100)
    claims.finish(diverged, value=None, state=TrialState.PRUNED, attrs={"diverged": 57})
    claims.fail(crashed, "out of memory, badly")

    records.write_trials(study, plan, Names(), tmp_path)
    rows = _rows(tmp_path)
    assert [row["slot"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert [row["state"] for row in rows] == ["COMPLETE", "PRUNED", "PRUNED", "FAIL", "RUNNING"]
    assert [row["value"] for row in rows] == ["0.3", "2.0", "", "", ""]
    assert rows[0]["number"] == "5" and rows[0]["attempts"] == "2"
    assert (rows[0]["best_value"], rows[0]["best_step"]) == ("0.2", "200")
    assert (rows[0]["iterations"], rows[0]["tasks"], rows[0]["seconds"]) == ("300", "7500", "1.5")
    assert float(rows[0]["algorithm.inner_lr"]) == done.params["algorithm.inner_lr@b"]
    assert int(rows[0]["trial_seed"]) == done.user_attrs["trial_seed"]
    assert rows[2]["diverged"] == "57" and rows[1]["diverged"] == ""
    assert rows[3]["reason"] == "out of memory, badly"


def test_a_result_stands_for_its_slot_whatever_else_was_tried(tmp_path: Path) -> None:
    study = fake.in_memory(fake.plan(n_trials=1))
    claims = fake.claims(study, tmp_path)
    claims.fail(fake.take(claims), "boom")
    claims.finish(fake.take(claims), value=1.0, state=TrialState.COMPLETE, attrs={})
    study.enqueue_trial({}, user_attrs={"slot": 0})
    assert [t.state.name for t in study.trials] == ["FAIL", "COMPLETE", "WAITING"]
    assert records.standing(study.trials).number == 1
    assert records.standing(study.trials[::2]).number == 2
    assert records.standing(study.trials[:1]).number == 0


def test_the_best_rung_follows_the_direction(tmp_path: Path) -> None:
    plan = fake.plan(n_trials=1, direction="maximize")
    study = fake.in_memory(plan)
    claims = fake.claims(study, tmp_path)
    trial = fake.take(claims)
    for step, value in {1: 0.5, 2: 0.9, 3: 0.7}.items():
        fake.report(claims, trial, value, step)
    assert records.best_trial(study) is None
    claims.finish(trial, value=0.7, state=TrialState.COMPLETE, attrs={})
    row = records.trial_rows(study, plan, Names())[0]
    assert (row["value"], row["best_value"], row["best_step"]) == (0.7, 0.9, 2)


def test_best_yaml_holds_a_line_to_paste(tmp_path: Path) -> None:
    plan = fake.plan(n_trials=2)
    study = fake.in_memory(plan)
    claims = fake.claims(study, tmp_path)
    for value in (0.4, 0.2):
        trial = fake.take(claims)
        trial.suggest_categorical("model.widths", ["[40,40]", "[8, 8]"])
        trial.suggest_float("algorithm.inner_lr@b", 1e-5, 1e-5)
        claims.finish(trial, value=value, state=TrialState.COMPLETE, attrs={})
    best = records.best_trial(study)
    assert best is not None and best.value == 0.2
    records.write_best(best, plan, Names(), tmp_path, {"seed": 0, "model": {"widths": [40, 40]}})
    content = yaml.safe_load((tmp_path / records.BEST).read_text())
    assert content["value"] == 0.2 and content["slot"] == 1
    assert content["parameters"]["algorithm.inner_lr"] == 1e-5
    assert content["config"] == {"seed": 0, "model": {"widths": [40, 40]}}
    widths = best.params["model.widths"]
    assert shlex.split(content["overrides"]) == [
        f"model.widths={widths}",
        "algorithm.inner_lr=1e-05",
    ]


def test_sweep_yaml_is_the_plan(tmp_path: Path) -> None:
    plan = fake.plan(overrides=["algorithm.inner_lr=tag(log, interval(0.01, 1))"], space={"a": 1})
    records.write_sweep(plan, tmp_path)
    assert yaml.safe_load((tmp_path / records.SWEEP).read_text()) == plan.to_json()


def test_an_evaluation_is_read_back(tmp_path: Path) -> None:
    errors = np.arange(6, dtype=np.float32).reshape(2, 3)
    records.write_evaluation(tmp_path, 7, errors=errors)
    with np.load(tmp_path / "evaluations" / "7.npz") as read:
        np.testing.assert_array_equal(read["errors"], errors)


def test_an_evaluation_takes_half_the_room_where_that_loses_nothing(tmp_path: Path) -> None:
    single = np.array([0.1, np.nan, np.inf], np.float32).astype(float)
    double = np.array([0.1, 1e300])
    records.write_evaluation(tmp_path, 7, single=single, double=double, rung=np.arange(3))
    with np.load(tmp_path / "evaluations" / "7.npz") as read:
        assert [read[x].dtype for x in ("single", "double", "rung")] == [
            np.float32, np.float64, np.int64
        ]  # fmt: skip
        np.testing.assert_array_equal(read["single"], single)
        np.testing.assert_array_equal(read["double"], double)


@pytest.mark.parametrize("crash", ["write", "fsync", "replace"])
def test_a_crash_while_writing_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash: str
) -> None:
    path = tmp_path / "trials.csv"
    records.write_atomic(path, "old")

    def fail(*args: Any) -> None:
        raise OSError("no space left")

    if crash == "write":
        with pytest.raises(TypeError):
            records.write_atomic(path, 3)  # type: ignore[arg-type]
    else:
        monkeypatch.setattr(os, crash, fail)
        with pytest.raises(OSError, match="no space"):
            records.write_atomic(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["trials.csv"]


def test_a_kill_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "best.yaml"
    records.write_atomic(path, "old")
    child = os.fork()
    if child == 0:
        os.replace = lambda *_: os._exit(9)
        records.write_atomic(path, "new")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert path.read_text() == "old"


def test_files_are_readable_as_the_umask_says(tmp_path: Path) -> None:
    mask = os.umask(0o022)
    try:
        records.write_atomic(tmp_path / "a" / "b", b"x")
    finally:
        os.umask(mask)
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o644
