"""The real command line: exit codes, messages, what is written. One process a command."""

from __future__ import annotations

import csv
import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from composing import ROOT

TINY = (
    "training.iterations=20", "training.report_every=10", "training.validation_tasks=8",
    "training.meta_batch_size=4", "model.widths=[8]",
)  # fmt: skip
WORKER = importlib.util.find_spec("maml_sweep.search.worker")


@pytest.fixture
def poison(tmp_path: Path) -> dict[str, str]:
    """An environment in which importing TensorFlow fails."""
    package = tmp_path / "poison" / "tensorflow"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('TensorFlow was imported')\n")
    path = os.pathsep.join([str(package.parent), str(ROOT), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path}


def run(
    cwd: Path, *arguments: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`python sweep.py <arguments>` with outputs below `cwd`."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, str(ROOT / "sweep.py"), *arguments],
        cwd=cwd,
        env=env or {**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--help"], ["python sweep.py", "model: conv4, mlp", "task: glyphs", "inner_lr"]),
        (["--cfg", "job"], ["_target_: maml_sweep.tasks.Sinusoid", "n_trials: 32"]),
        (["-c", "job", "+experiment=glyphs_20w1s"], ["ways: 20", "maml_sweep.models.Conv4"]),
    ],
)
def test_questions_are_answered_at_once(
    tmp_path: Path, poison: dict[str, str], arguments: list[str], words: list[str]
) -> None:
    started = time.monotonic()
    answer = run(tmp_path, *arguments, env=poison)
    assert time.monotonic() - started < 2.0
    assert (answer.returncode, answer.stderr) == (0, "")
    for word in words:
        assert word in answer.stdout
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("arguments", "added"),
    [
        ([], True),
        (["model=mlp,conv4", "algorithm.inner_lr=0.1"], True),
        (["--config-dir", "x"], True),
        (["hydra.mode=RUN"], False),
        (["algorithm.inner_lr=0.1", "hydra.mode='RUN'"], False),
        (["hydra.mode=MULTIRUN"], True),
        (["--multirun"], False),
        (["-m", "a=1"], False),
        (["--run"], False),
        (["--cfg", "job"], False),
        (["-c", "hydra"], False),
        (["--help"], False),
        (["-h"], False),
        (["--hydra-help"], False),
        (["--info"], False),
        (["-i", "plugins"], False),
        (["--shell-completion", "install=bash"], False),
        (["-sc", "query=bash"], False),
    ],
)
def test_it_sweeps_unless_asked_otherwise(arguments: list[str], added: bool) -> None:
    spec = importlib.util.spec_from_file_location("sweep_application", ROOT / "sweep.py")
    assert spec is not None and spec.loader is not None
    application: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(application)
    expected = ["--multirun", *arguments] if added else arguments
    assert application.with_multirun(arguments) == expected


def test_a_folder_of_the_user_s_own_options(tmp_path: Path, poison: dict[str, str]) -> None:
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "deep.yaml").write_text("_target_: my.Model\ndepth: 3\n")
    arguments = ("--config-dir", "mine", "model=deep")
    answer = run(tmp_path, *arguments, "model.depth=7", "--cfg", "job", "-p", "model", env=poison)
    assert answer.stdout.splitlines()[1:] == ["_target_: my.Model", "depth: 7"]
    answer = run(tmp_path, *arguments, "model.dpth=1,2", env=poison)
    assert (answer.returncode, len(answer.stderr.splitlines())) == (2, 1)
    assert "model.dpth" in answer.stderr


def test_version_is_answered(tmp_path: Path, poison: dict[str, str]) -> None:
    answer = run(tmp_path, "--version", env=poison)
    assert (answer.returncode, answer.stdout.split()[0]) == (0, "Hydra")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["algorithm.inner_lrr=interval(0.1,1)"], ["inner_lrr", "'algorithm.inner_lr'"]),
        (["algorithm.inner_steps=one,two"], ["algorithm.inner_steps", "one", "Integer"]),
        (["model=mlp,convv4"], ["model=convv4", "'conv4'"]),
        (["algorithm.inner_lr=interval(1,1)"], ["algorithm.inner_lr", "empty"]),
        (["algorithm.inner_lr=interval(1,0.1)"], ["algorithm.inner_lr", "interval(0.1, 1)"]),
        (["algorithm.inner_lr=tag(log, interval(0,1))"], ["algorithm.inner_lr", "above 0"]),
        (["algorithm.inner_steps=shuffle(1,2)"], ["algorithm.inner_steps", "shuffle"]),
        (["seed=1,2"], ["seed", "cannot be searched"]),
        (["study.n_trials=2,4"], ["study.n_trials", "cannot be searched"]),
        (["search=none"], ["nothing to search", "hydra.mode=RUN"]),
        (["study.n_trials=0"], ["study.n_trials=0", "at least 1"]),
        (["study.enqueue=[{algorithm.inner_lr:5}]"], ["study.enqueue[0]", "inner_lr=5", "0.1"]),
        (["study.enqueue=[{inner_lr:0.1}]"], ["study.enqueue[0]", "'algorithm.inner_lr'"]),
        (["study.name=a/b"], ["study.name", "path separator", "'a/b'"]),
        (["hydra.sweeper.root=file"], ["hydra.sweeper.root", "cannot write", "file"]),
        (["study.storage=sqlite:///file"], ["study.storage", "file", "no SQLite database"]),
        (["task=glyphs", "model=conv4", "task.ways=300"], ["task.ways=300"]),
        (["task=glyphs", "model=conv4", "task.queries=20"], ["task.shots", "task.queries", "20"]),
    ],
)  # fmt: skip
def test_wrong_input_ends_with_one_line_and_no_study(
    tmp_path: Path, poison: dict[str, str], arguments: list[str], words: list[str]
) -> None:
    """Exit 2, before TensorFlow is loaded and before anything is written."""
    work = tmp_path / "work"
    work.mkdir()
    (work / "file").write_text("something that is neither a folder nor a database")
    answer = run(work, *arguments, env=poison)
    assert answer.returncode == 2, answer.stderr
    assert len(answer.stderr.splitlines()) == 1, answer.stderr
    for word in words:
        assert word in answer.stderr
    assert [path.name for path in work.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["algorithm.inner_lrr=0.1"], ["algorithm.inner_lrr", "Key 'inner_lrr' not in 'MAML'"]),
        # Hydra would report the sweep instead if it had to find out the mode by composing
        (["algorithm.inner_lrr=0.1", "model=mlp,conv4"], ["algorithm.inner_lrr"]),
        (["algorithm.inner_steps=one"], ["algorithm.inner_steps=one", "Integer"]),
        (["task=glyph"], ["task/glyph", "glyphs"]),
    ],
)
def test_hydra_s_own_refusals(
    tmp_path: Path, poison: dict[str, str], arguments: list[str], words: list[str]
) -> None:
    answer = run(tmp_path, *arguments, env=poison)
    assert answer.returncode == 1
    assert "Traceback" not in answer.stderr and "Ambiguous" not in answer.stderr
    for word in words:
        assert word in answer.stderr
    assert not (tmp_path / "outputs").exists()


def test_one_trial(tmp_path: Path) -> None:
    answer = run(tmp_path, "hydra.mode=RUN", *TINY)
    assert answer.returncode == 0, answer.stderr
    assert "iteration 20: mse" in answer.stdout
    assert [path.name for path in (tmp_path / "outputs").iterdir()] == ["runs"]


def test_one_trial_with_a_wrong_value(tmp_path: Path, poison: dict[str, str]) -> None:
    answer = run(tmp_path, "hydra.mode=RUN", "algorithm.inner_lr=-1", env=poison)
    assert (answer.returncode, len(answer.stderr.splitlines())) == (2, 1)
    assert "algorithm.inner_lr=-1" in answer.stderr


def test_another_sweeper_runs_two_whole_trials(tmp_path: Path) -> None:
    answer = run(
        tmp_path, "hydra/sweeper=basic", "search=none", "algorithm.inner_lr=0.01,0.1", *TINY
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("iteration 20: mse") == 2
    assert len(list(tmp_path.glob("outputs/runs/*/*/[01]/.hydra/config.yaml"))) == 2


@pytest.mark.skipif(WORKER is None, reason="needs maml_sweep.search.worker")
def test_a_sweep_its_resumption_and_its_refusal(tmp_path: Path) -> None:
    name = "study.name=s"
    swept = ("algorithm.inner_lr=tag(log, interval(0.01, 0.1))", "algorithm.inner_steps=1,2")
    first = run(tmp_path, name, "study.n_trials=3", *swept, *TINY)
    assert first.returncode == 0, first.stderr
    assert _states(tmp_path) == 3
    more = run(tmp_path, name, "study.n_trials=4")
    assert more.returncode == 0, more.stderr
    assert _states(tmp_path) == 4
    other = run(tmp_path, name, "algorithm.inner_steps=3", "task.shots=5")
    assert other.returncode == 2
    assert "task.shots: 10 -> 5" in other.stderr
    assert "search of algorithm.inner_steps: integers 1 … 2 -> absent" in other.stderr
    assert _states(tmp_path) == 4


def _states(root: Path) -> int:
    """How many slots are finished in trials.csv, all of them checked."""
    with (root / "outputs" / "s" / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["slot"]) for row in rows] == list(range(len(rows)))
    assert {row["state"] for row in rows} <= {"COMPLETE", "PRUNED"}
    return len(rows)
