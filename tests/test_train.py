"""maml-sweep train: what it prints, what it refuses, and trainings that diverge."""

from __future__ import annotations

import io
import json
import math
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from planned import CONFIG
from rich.console import Console
from sweeping import interrupt_after
from synthetic import make
from winning import digests, files, quick, results, short_calls, synthetic

import maml_sweep
from maml_sweep.analysis import loading
from maml_sweep.cli import main
from maml_sweep.errors import InputError
from maml_sweep.search.interruption import Interruption
from maml_sweep.search.study import plan_of
from maml_sweep.tasks import Sinusoid
from maml_sweep.training.pack import Trainer
from maml_sweep.winners import outcome as outcomes
from maml_sweep.winners import retrain as retraining
from maml_sweep.winners.choice import Request, choose
from maml_sweep.winners.outcome import Mean, lines, mean_of
from maml_sweep.winners.retrain import retrain
from maml_sweep.winners.view import View

TASKS = 9


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """The folder of a study with three complete trials."""
    return synthetic(tmp_path, points=[{"algorithm.inner_lr": 0.01}] * 3)


def opened(folder: Path) -> optuna.Study:
    """The study in a folder."""
    return loading.opened(loading.locate(folder))


# -- divergence -------------------------------------------------------------------------------


def test_a_diverged_seed_is_named_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second seed's meta-test metric is not finite; an older file of it goes."""
    folder = synthetic(tmp_path, points=[{"algorithm.inner_lr": 0.01}], n_trials=1)
    curves = Trainer.curves

    def spoilt(self: Trainer, *args: Any) -> list[np.ndarray]:
        found = curves(self, *args)
        found[1][:] = np.nan
        return found

    retrain(opened(folder), folder, Request(tasks=TASKS), Interruption())
    assert (folder / "winners" / "0-1.npz").exists()
    monkeypatch.setattr(Trainer, "curves", spoilt)
    (found,) = retrain(opened(folder), folder, Request(tasks=TASKS), Interruption())
    assert (list(found.curves), found.diverged) == ([0, 2], {1: 20})
    assert found.over_seeds is not None and found.over_seeds.n == 2
    assert "  seed 1 diverged after 20 iterations and is left out" in lines(found)
    assert not (folder / "winners" / "0-1.npz").exists()
    second = results(folder)["winners"][0]["seeds"][1]
    assert (second["diverged"], second["meta_test"], second["weights"]) == (20, None, None)


def test_every_seed_diverges(tmp_path: Path) -> None:
    folder = synthetic(tmp_path, points=[{"algorithm.inner_lr": 9e8}], n_trials=1)
    (found,) = retrain(opened(folder), folder, Request(seeds=2, tasks=TASKS), Interruption())
    assert sorted(found.diverged) == [0, 1]
    assert "  meta-test mse: every seed diverged" in lines(found)
    (entry,) = results(folder)["winners"]
    nothing: dict[str, Any] = {
        "over_tasks": None,
        "over_seeds": None,
        "adaptation": [],
        "measures": {},
    }
    assert entry["meta_test"] == nothing
    assert [name for name in files(folder) if name.startswith("winners/")] == [
        "winners/results.json"
    ]


# -- the command ------------------------------------------------------------------------------


def test_the_command(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It prints what the file holds, and touches nothing else."""
    before = digests(study)
    options = ["--root", str(study.parent), "--seeds", "2", "--tasks", str(TASKS)]
    assert main(["train", "made", *options]) == 0
    said = capsys.readouterr()
    assert digests(study) == before
    (entry,) = results(study)["winners"]
    test = entry["meta_test"]
    assert f"slot {entry['slot']}: algorithm.inner_lr=0.01 algorithm.inner_steps=" in said.out
    assert f"{entry['search_value']:.4g} in the search" in said.out
    assert said.out.count("(95%, over 9 tasks)") == said.out.count("(95%, over 2 seeds)") == 1
    assert f" ± {test['over_tasks']['half_width']:.2g}".rstrip("0") in said.out
    assert f"  by step  0: {test['adaptation'][0]['mean']:.4g}  1: " in said.out
    assert f"{study / 'winners' / str(entry['slot'])}-1.npz" in said.out
    assert "2 trainings, 40 iterations in all\n" in said.err
    assert main(["train", "made", *options, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == results(study)


def test_the_command_is_interrupted(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(study.parent)
    with monkeypatch.context() as patch:
        short_calls(patch)
        interrupt_after(patch, 2)
        assert main(["train", "made", "--root", root, "--seeds", "1", "--iterations", "15"]) == 130
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.endswith(
        "interrupted, state kept; to go on:\n"
        f"  maml-sweep train made --root {root} --seeds 1 --iterations 15\n"
    )


def test_a_task_of_the_users_own_is_found_beside_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its further measures are reported beside its metric: the mean of three tasks' errors."""
    (tmp_path / "own_waves.py").write_text(
        "import tensorflow as tf\n"
        "from maml_sweep.tasks import Sinusoid\n\n\n"
        "class Waves(Sinusoid):\n"
        "    measures = {'mae': lambda outputs, y: tf.reduce_mean(abs(outputs - y), [1, 2])}\n"
    )
    config = deepcopy(CONFIG)
    config["task"]["_target_"] = "own_waves.Waves"
    config["model"]["widths"] = [4]
    options: dict[str, Any] = {"n_trials": 1, "rungs": (5,), "prune": "none", "tasks": 4}
    make(tmp_path / "outputs", "own", config=config, **options)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
    arguments = ["train", "own", "--root", str(tmp_path / "outputs"), "--seeds", "1"]
    assert main(arguments) == 2
    assert "task: cannot build own_waves.Waves" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert main([*arguments, "--tasks", "3"]) == 0
    assert "meta-test mae: " in capsys.readouterr().out
    (winner,) = results(tmp_path / "outputs" / "own")["winners"]
    learner = maml_sweep.load(tmp_path / "outputs" / "own" / "winners" / "0-0.npz")
    errors = learner.evaluate(tasks=3, measure="mae")
    assert winner["meta_test"]["measures"]["mae"]["mean"] == pytest.approx(errors.mean(), rel=1e-5)
    assert errors.shape == (3,) and (errors**2 <= learner.evaluate(tasks=3)).all()  # Jensen's
    with pytest.raises(InputError, match="measure=r2: expected one of mae"):
        learner.evaluate(measure="r2")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--top", "4"], "--top=4: expected at most 3, as many trials have come to their end"),
        (["--top", "0"], "--top=0: expected an integer of at least 1"),
        (["--seeds", "0"], "--seeds=0: expected an integer of at least 1"),
        (["--tasks", "0"], "--tasks=0: expected an integer of at least 1"),
        (["--iterations", "-5"], "--iterations=-5: expected an integer of at least 1"),
        (["--slots", "1,x"], "--slots=1,x: expected numbers of slots, such as 3,7"),
        (["--slots", "1,1"], "--slots=1,1: expected every slot once"),
        (["--slots", "1", "--each", "a"], "--each=a: chooses by itself; leave --slots out"),
        (["--top", "2", "--each", "a"], "--each=a: chooses by itself; leave --top out"),
        (
            ["--each", "model"],
            (
                "--each=model: expected something that the study searched: algorithm.inner_lr, "
                "algorithm.inner_steps, optimizer.meta_lr, training.meta_batch_size"
            ),
        ),
        (
            ["--slots", "1,7"],
            "--slots=7: expected slots whose trial came to its end, which are 0,1,2",
        ),
    ],
)
def test_wrong_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    synthetic(tmp_path)
    assert main(["train", "made", "--root", str(tmp_path), *options]) == 2
    assert capsys.readouterr().err == f"{message}\n"
    assert not (tmp_path / "made" / "winners").exists()


def test_no_trial_has_come_to_its_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    synthetic(tmp_path, states="running")
    assert main(["train", "made", "--root", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        "made: no trial has come to its end yet; go on with `python sweep.py study.name=made`\n"
    )


def test_a_task_without_a_meta_test_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said before anything is trained."""
    draw = Sinusoid.episodes

    def episodes(self: Sinusoid, split: Any, keys: Any, dtype: Any) -> Any:
        if split == "test":
            raise ValueError("no classes are left\nfor test")
        return draw(self, split, keys, dtype)

    monkeypatch.setattr(Sinusoid, "episodes", episodes)
    with pytest.raises(InputError, match=r"task Sinusoid: .*no classes are left for test\)"):
        retrain(opened(synthetic(tmp_path)), tmp_path, Request(), Interruption())


def test_best_is_largest_where_the_metric_is_maximised(tmp_path: Path) -> None:
    study = opened(synthetic(tmp_path, direction="maximize", n_trials=5))
    values = [trial.value for trial in study.get_trials(deepcopy=False)]
    chosen = choose(study, plan_of(study), Request(top=5))
    assert [each.value for each in chosen] == sorted(values, key=lambda v: -float(v or 0))


# -- words ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mean", "text"),
    [
        (Mean(0.08712, 0.00521, 600), "0.0871 ± 0.0052 (95%, over 600 tasks)"),
        (Mean(0.87123, 0.0123, 1000), "0.871 ± 0.012 (95%, over 1,000 tasks)"),
        (Mean(123.4, 21.7, 9), "123 ± 22 (95%, over 9 tasks)"),
        (Mean(0.5, 0.0, 9), "0.5000 ± 0.0000 (95%, over 9 tasks)"),
        (Mean(0.5, None, 1), "0.5 (an interval needs 2 tasks or more)"),
    ],
)
def test_a_mean_in_words(mean: Mean, text: str) -> None:
    assert outcomes.with_half(mean, "tasks") == text


def test_a_mean_of_few() -> None:
    """Of 1 and 3: mean 2, deviation √2, half width 12.706 · √2 / √2."""
    found = mean_of(np.array([1.0, 3.0]))
    assert (found.mean, found.n) == (2.0, 2)
    assert found.half == pytest.approx(12.706205)
    assert mean_of(np.array([7.0])) == Mean(7.0, None, 1)


@pytest.mark.parametrize("terminal", [True, False])
def test_progress(study: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    """A bar on a terminal; elsewhere a line at the first rung, then one in ten seconds."""
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=80)
    monkeypatch.setattr(retraining, "View", lambda metric: View(metric, console))
    retrain(opened(study), study, Request(seeds=1, tasks=TASKS), Interruption())
    shown = text.getvalue().splitlines()
    assert "1 training, 20 iterations in all" in text.getvalue()
    if terminal:
        assert "20/20" in text.getvalue() and "\x1b" in text.getvalue()
    else:
        assert shown[1].startswith("10/20 iterations; mse ")
        assert math.isfinite(float(shown[1].split()[-1]))
