"""Studies whose winners train quickly, and what their training leaves."""

from __future__ import annotations

import hashlib
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from planned import CONFIG, FOUR
from sweeping import reuse_programs
from synthetic import make

from maml_sweep.training import devices
from maml_sweep.training.devices import Device
from maml_sweep.training.pack import Trainer


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One shard, and no structure traced twice."""
    monkeypatch.setattr(devices, "configure", lambda settings: Device())
    reuse_programs(monkeypatch)


def short_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program's call trains 3 iterations, so that interruptions fall between two rungs."""
    monkeypatch.setattr(Trainer, "_slice", lambda self, runs: 3)


def synthetic(root: Path, name: str = "made", **options: Any) -> Path:
    """A study that nobody trained, whose winners train quickly."""
    config = deepcopy(CONFIG)
    config["model"]["widths"] = [4]
    config["task"] |= {"shots": 3, "queries": 3}
    numbers: dict[str, Any] = {"n_trials": 3, "rungs": (10, 20), "prune": "none", "tasks": 4}
    space = {**FOUR, "algorithm.inner_steps": "1,2", "algorithm.inner_lr": "interval(0.001, 1e9)"}
    space["training.meta_batch_size"] = "int(interval(2, 4))"
    return make(root, name, space=space, config=config, **(numbers | options))


def results(folder: Path) -> dict[str, Any]:
    """What `results.json` says."""
    found = json.loads((folder / "winners" / "results.json").read_text())
    assert isinstance(found, dict)
    return found


def files(folder: Path) -> list[str]:
    """Names of all files below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def digests(folder: Path) -> dict[str, str]:
    """Every file of a study but the winners': its name and a hash of its bytes."""
    return {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in files(folder)
        if not name.startswith("winners/")
    }
