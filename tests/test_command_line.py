"""The real command line: exit codes, messages, what is written. One process a command."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
from composing import ROOT

from maml_sweep import application
from maml_sweep.search import launchers

FOUR = [
    "algorithm.inner_lr",
    "algorithm.inner_steps",
    "optimizer.meta_lr",
    "training.meta_batch_size",
]
# Two shards would have the step traced twice.
SIZE = (
    "training.iterations=20",
    "training.report_every=10",
    "training.validation_tasks=4",
    "device.inter_op=1",
)
TINY = (*SIZE, "training.meta_batch_size=4", "model.widths=[8]")
GLYPHS = (*SIZE, "training.iterations=2", "task=glyphs", "task.ways=2", "task.queries=1")


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
        (
            ["--help"],
            [
                f"python {ROOT / 'sweep.py'} task=glyphs model=conv4  ",
                "model: boxes_conv, conv4, keras, linear",
                "task: boxes, cifar_fs, embeddings, glyphs",
                "inner_lr",
            ],
        ),
        (["--cfg", "job"], ["_target_: maml_sweep.tasks.Sinusoid", "n_trials: 32"]),
        (["-c", "job", "+experiment=glyphs_20w1s"], ["ways: 20", "maml_sweep.models.Conv4"]),
    ],
)
def test_questions_are_answered_without_tensorflow(
    tmp_path: Path, poison: dict[str, str], arguments: list[str], words: list[str]
) -> None:
    answer = run(tmp_path, *arguments, env=poison)
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


def test_interrupted_while_hydra_is_imported(tmp_path: Path, poison: dict[str, str]) -> None:
    hydra = tmp_path / "poison" / "hydra"
    hydra.mkdir()
    (hydra / "__init__.py").write_text("raise KeyboardInterrupt\n")
    answer = run(tmp_path, "--cfg", "job", env=poison)
    assert (answer.returncode, answer.stdout, answer.stderr) == (130, "", "")


def test_a_launcher_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, before Hydra names a file that it cannot find."""
    monkeypatch.setattr(launchers, "installed", lambda name: False)
    with pytest.raises(SystemExit) as stop:
        application.main(["hydra/launcher=ray", "workers=2"], "maml-sweep sweep", Path())
    assert stop.value.code == 2
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1
    assert said.err.startswith("hydra/launcher=ray: that launcher is not installed; pip install ")


def test_version_is_answered(tmp_path: Path, poison: dict[str, str]) -> None:
    answer = run(tmp_path, "--version", env=poison)
    assert (answer.returncode, answer.stdout.split()[0]) == (0, "Hydra")


# The setting, what was expected of it, and what came.
WRONG = [
    (["algorithm.inner_lrr=interval(0.1,1)"],
     ["algorithm.inner_lrr", "no such setting", "did you mean 'algorithm.inner_lr'?"]),
    (["algorithm.inner_lrr=0.1,1", "model=mlp"],
     ["algorithm.inner_lrr", "no such setting", "did you mean 'algorithm.inner_lr'?"]),
    (["algorithm.inner_steps=one,two"], ["algorithm.inner_steps", "'one'", "Integer"]),
    (["model=mlp,convv4"], ["model=convv4", "expected one of boxes_conv, conv4, keras"]),
    (["algorithm.inner_lr=interval(1,1)"], ["algorithm.inner_lr=interval(1,1)", "is empty"]),
    (["algorithm.inner_lr=interval(1,0.1)"],
     ["algorithm.inner_lr=interval(1,0.1)", "low before high", "interval(0.1, 1)"]),
    (["algorithm.inner_lr=tag(log, interval(0,1))"],
     ["algorithm.inner_lr=", "above 0", "got 0"]),
    (["algorithm.inner_steps=shuffle(1,2)"], ["algorithm.inner_steps", "shuffle"]),
    (["seed=1,2"], ["seed", "cannot be searched", "one value"]),
    (["study.n_trials=2,4"], ["study.n_trials", "cannot be searched", "one value"]),
    (["study.name=a,b"], ["study.name", "cannot be searched", "one value"]),
    (["pack.size=2,4"], ["pack.size", "cannot be searched", "one value"]),
    (["search=none"], ["nothing to search", "hydra.mode=RUN"]),
    (["study.n_trials=0"], ["study.n_trials=0", "expected an integer of at least 1"]),
    (["study.enqueue=[{algorithm.inner_lr:5}]"],
     ["study.enqueue[0]", "algorithm.inner_lr=5", "expected a value of 0.001 … 0.1"]),
    (["study.enqueue=[{inner_lr:0.1}]"],
     ["study.enqueue[0]", "inner_lr is not searched", "did you mean 'algorithm.inner_lr'?"]),
    (["study.name=a/b"], ["study.name", "no path separator", "got 'a/b'"]),
    (["hydra.sweeper.root=file"], ["hydra.sweeper.root", "cannot write to file"]),
    (["study.storage=sqlite:///file"], ["study.storage", "file is no SQLite database"]),
    (["study.name=s"], ["study.storage", "outputs/s/study.db is no SQLite database"]),
    (["task=glyphs", "model=conv4", "task.ways=300"],
     ["task.ways=300", "validation split", "91 classes", "choose at most 91"]),
    (["task=glyphs", "model=conv4", "task.ways=range(5,100,5)"],
     ["task.ways=95", "validation split", "91 classes", "choose at most 91"]),
    (["task=glyphs", "model=conv4", "task.queries=20"],
     ["task.shots=1 and task.queries=20", "a class of glyphs has 20 examples"]),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "words"), WRONG, ids=[" ".join(row[0]) for row in WRONG])
def test_wrong_input_ends_with_one_line_and_no_study(
    tmp_path: Path, poison: dict[str, str], arguments: list[str], words: list[str]
) -> None:
    """Exit 2, before TensorFlow is loaded and before anything is written."""
    work = tmp_path / "work"
    (work / "outputs" / "s").mkdir(parents=True)
    for file in (work / "file", work / "outputs" / "s" / "study.db"):
        file.write_text("something that is neither a folder nor a database")
    before = _tree(work)
    answer = run(work, *arguments, env=poison)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert len(answer.stderr.splitlines()) == 1, answer.stderr
    for word in words:
        assert word in answer.stderr
    assert _tree(work) == before


def _tree(root: Path) -> dict[str, str | None]:
    """Every file's content, and every folder."""
    return {
        str(path.relative_to(root)): path.read_text() if path.is_file() else None
        for path in root.rglob("*")
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["algorithm.inner_lrr=0.1"], ["algorithm.inner_lrr", "Key 'inner_lrr' not in 'MAML'"]),
        # Hydra would report the sweep instead if it had to find out the mode by composing
        (["algorithm.inner_lrr=0.1", "model=mlp,conv4"], ["Key 'inner_lrr' not in 'MAML'"]),
        (["algorithm.inner_steps=one"], ["algorithm.inner_steps=one", "'one'", "Integer"]),
        (["task=glyph"], ["task/glyph", "glyphs"]),
        (["tasks=glyphs"], ["Could not override 'tasks'"]),
    ],
)
def test_hydra_s_own_refusals(
    tmp_path: Path, poison: dict[str, str], arguments: list[str], words: list[str]
) -> None:
    """Exit 1 for what is unknown or of a wrong type and fixed."""
    answer = run(tmp_path, *arguments, env=poison)
    assert answer.returncode == 1
    assert "Traceback" not in answer.stderr and "Ambiguous" not in answer.stderr
    for word in words:
        assert word in answer.stderr
    assert not (tmp_path / "outputs").exists()


def test_one_trial(tmp_path: Path) -> None:
    answer = run(tmp_path, "hydra.mode=RUN", *TINY)
    assert answer.returncode == 0, answer.stderr
    assert "iteration 20: mse" in answer.stdout and "objective: mse" in answer.stdout
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


def test_what_is_named_is_searched_over_the_ranges_of_its_task(tmp_path: Path) -> None:
    """Groups included; one of the four that is fixed leaves the others searched."""
    named = ("algorithm.inner_lr=tag(log, interval(0.01, 1))", "model=mlp,conv4")
    # A set for each model, so that both are trained.
    sets = "study.enqueue=[{model:mlp},{model:conv4}]"
    fixed = ("algorithm.inner_steps=1", "task.shots=1", *GLYPHS)
    answer = run(tmp_path, "study.name=s", "study.n_trials=2", *named, sets, *fixed)
    assert answer.returncode == 0, answer.stderr
    assert "best accuracy: " in answer.stdout
    rows = _rows(tmp_path / "outputs" / "s", 2)
    assert [row["model"] for row in rows] == ["mlp", "conv4"]
    for row in rows:
        assert _searched(row) == sorted({*FOUR, "model"} - {"algorithm.inner_steps"})
        assert 0.01 <= float(row["algorithm.inner_lr"]) <= 1
        assert 3e-4 <= float(row["optimizer.meta_lr"]) <= 5e-3
        assert int(row["training.meta_batch_size"]) in range(8, 33)


def test_a_sweep_its_resumption_and_its_refusal(tmp_path: Path) -> None:
    """`python sweep.py`, but for its size: rates, steps and meta-batches of a sinusoid MLP."""
    first = run(tmp_path, "study.n_trials=3", *SIZE, "model.widths=[4]")
    assert first.returncode == 0, first.stderr
    (folder,) = (tmp_path / "outputs").iterdir()
    assert folder.name.startswith("sinusoid-mlp-maml-")
    assert f"files: outputs/{folder.name}" in first.stdout
    rows = _rows(folder, 3)
    for row in rows:
        assert _searched(row) == FOUR
        assert 1e-3 <= float(row["algorithm.inner_lr"]) <= 1e-1
        assert 3e-4 <= float(row["optimizer.meta_lr"]) <= 1e-2
        assert int(row["algorithm.inner_steps"]) in range(1, 6)
        assert int(row["training.meta_batch_size"]) in range(8, 65)
    name = f"study.name={folder.name}"
    more = run(tmp_path, name, "study.n_trials=4")
    assert more.returncode == 0, more.stderr
    assert _rows(folder, 4)[:3] == rows
    files = {path: path.read_bytes() for path in folder.glob("*.*")}
    other = run(tmp_path, name, "algorithm.inner_steps=3", "task.shots=5")
    assert (other.returncode, len(other.stderr.splitlines())) == (2, 1)
    assert f"{name} exists with other settings" in other.stderr
    assert "task.shots: 10 -> 5" in other.stderr
    assert "search of algorithm.inner_steps: integers 1 … 5 -> absent" in other.stderr
    assert files == {path: path.read_bytes() for path in folder.glob("*.*")}


def _rows(folder: Path, n_trials: int) -> list[dict[str, str]]:
    """trials.csv of a sweep that has come to its end."""
    with (folder / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["slot"]) for row in rows] == list(range(n_trials))
    assert {row["state"] for row in rows} <= {"COMPLETE", "PRUNED"}
    assert {path.name for path in folder.iterdir()} >= {"study.db", "sweep.yaml", "best.yaml"}
    return rows


def _searched(row: dict[str, str]) -> list[str]:
    """The parameters among the columns."""
    return sorted(key for key in row if "." in key or key == "model")
