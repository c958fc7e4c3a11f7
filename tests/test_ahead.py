"""Loading before anything is known: which command lines look like a sweep forked here."""

from __future__ import annotations

import subprocess
import sys

import pytest

from maml_sweep import ahead


@pytest.mark.parametrize(
    ("arguments", "loads"),
    [
        ([], True),
        (["study.name=s", "workers=2", "algorithm.inner_lr=0.1"], True),
        (["--multirun", "seed=1"], True),
        (["-m"], True),
        (["hydra/launcher=local"], True),
        (["hydra/launcher='local'"], True),
        (["hydra/launcher=basic"], False),
        (["seed=1", "hydra/launcher=submitit_slurm"], False),
        (["+hydra/launcher=localhost"], False),
        (["hydra.mode=RUN"], False),
        (["--help"], False),
        (["--cfg", "job"], False),
        (["-cd", "conf"], False),
    ],
)
def test_what_looks_like_a_sweep(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], loads: bool
) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(ahead, "FORKS", True)
    monkeypatch.setattr(ahead, "load_ahead", loaded.append)
    ahead.load(arguments)
    assert loaded == [ahead.LOADED] * loads
    monkeypatch.setattr(ahead, "FORKS", False)
    ahead.load(arguments)
    assert loaded == [ahead.LOADED] * loads


def test_it_comes_before_all_that_takes_time() -> None:
    code = "import sys, maml_sweep.ahead; print({'hydra', 'numpy', 'optuna'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
