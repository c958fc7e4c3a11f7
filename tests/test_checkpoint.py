"""Checkpoints: whole or not at all, and never someone else's."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numerics import settings

from maml_sweep.training import checkpoint
from maml_sweep.training.pack import Run
from maml_sweep.training.trial import Trial

RUNGS = (10, 20, 30)


def trial(seed: int = 5, size: int = 4, repeats: int = 2, dtype: str = "float32") -> Trial:
    """A fresh trial of small numbers; no program is needed."""
    numbers = settings(rungs=RUNGS)
    zero = np.zeros(size, dtype)
    runs = [Run(seed + k, numbers, zero + k, zero, zero) for k in range(repeats)]
    return Trial(seed, numbers, runs)


def trained(**options: Any) -> Trial:
    """The same at iteration 23 of its first run and 20 of its second, after two rungs."""
    found = trial(**options)
    rng = np.random.default_rng(0)
    for k, run in enumerate(found.runs):
        run.theta, run.moment1, run.moment2 = rng.normal(size=(3, 4)).astype(run.theta.dtype)
        run.iteration, run.seconds = 23 - 3 * k, 1.5 + k
    found.values += [4.0, 2.5]
    found.per_task += [np.array([3.0, 5.0]), np.array([2.0, 3.0])]
    return found


def contents(found: Trial) -> list[Any]:
    """Everything a checkpoint holds, comparable."""
    runs = [
        (r.theta.tolist(), r.moment1.tolist(), r.moment2.tolist(), r.iteration, r.seconds)
        for r in found.runs
    ]
    return [found.seed, runs, found.values, [values.tolist() for values in found.per_task]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A checkpoint of `trained()`."""
    path = checkpoint.path_of(tmp_path, 3)
    checkpoint.save(path, trained())
    return path


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def assert_refused(path: Path, caplog: pytest.LogCaptureFixture, reason: str = "") -> None:
    """With one warning that names the file, and the trial as it was."""
    caplog.clear()
    fresh = trial()
    before = contents(fresh)
    assert not checkpoint.restore(path, fresh)
    assert contents(fresh) == before
    (message,) = warnings(caplog)
    assert str(path) in message
    assert reason in message
    assert "starts anew" in message


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_round_trip(tmp_path: Path, dtype: str) -> None:
    path, saved, fresh = tmp_path / "c.npz", trained(dtype=dtype), trial(dtype=dtype)
    checkpoint.save(path, saved)
    assert checkpoint.restore(path, fresh)
    assert contents(fresh) == contents(saved)
    assert fresh.runs[0].theta.dtype == dtype
    assert (fresh.iteration, fresh.next_rung.step, fresh.diverged) == (20, 30, None)
    fresh.runs[0].theta[0] = 7  # its own memory


def test_before_the_first_rung(tmp_path: Path) -> None:
    saved, fresh = trial(), trial()
    saved.runs[0].iteration = 4
    checkpoint.save(tmp_path / "c.npz", saved)
    assert checkpoint.restore(tmp_path / "c.npz", fresh)
    assert contents(fresh) == contents(saved)
    assert fresh.values == []


def test_a_newer_checkpoint_replaces_the_older(path: Path) -> None:
    later = trained()
    later.runs[0].iteration = 29
    checkpoint.save(path, later)
    fresh = trial()
    assert checkpoint.restore(path, fresh)
    assert fresh.runs[0].iteration == 29
    assert [file.name for file in path.parent.iterdir()] == ["3.npz"]


def test_no_checkpoint_is_no_cause_for_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert not checkpoint.restore(tmp_path / "none.npz", trial())
    assert not warnings(caplog)


def test_a_failed_write_leaves_the_old_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the disk is full, or the process killed before the rename."""

    def full(*_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        checkpoint.save(path, trial())
    monkeypatch.undo()
    assert [file.name for file in path.parent.iterdir()] == ["3.npz"]
    fresh = trial()
    assert checkpoint.restore(path, fresh)
    assert contents(fresh) == contents(trained())


def npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


def pickled() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, seed=np.array([{"a": object}], dtype=object))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[:10],
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[:-1],
        lambda whole: b"no checkpoint at all",
        lambda whole: b"\0" * len(whole),
        lambda whole: npy(),
        lambda whole: pickled(),
    ],
    ids=["empty", "head", "half", "last byte", "text", "zeros", "another kind", "pickle"],
)
def test_a_damaged_file_is_refused(
    path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[bytes], bytes]
) -> None:
    path.write_bytes(damage(path.read_bytes()))
    assert_refused(path, caplog)


def test_a_flipped_byte_is_found_or_harmless(path: Path) -> None:
    """Wherever it sits: the trial starts anew, or has every number as saved; nothing raises."""
    whole, saved, new = path.read_bytes(), contents(trained()), contents(trial())
    outcomes = {True: 0, False: 0}
    for position in range(0, len(whole), 7):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x41]) + whole[position + 1 :])
        fresh = trial()
        restored = checkpoint.restore(path, fresh)
        assert contents(fresh) == (saved if restored else new), position
        outcomes[restored] += 1
    assert outcomes[False] > 100
    assert outcomes[True] > 0


def test_a_folder_in_its_place_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert_refused(tmp_path, caplog)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"seed": 6}, "trial seed 6, not 5"),
        ({"size": 4, "repeats": 1}, "expected (2, 4)"),
        ({"dtype": "float64"}, "theta"),
    ],
    ids=["seed", "repeats", "precision"],
)
def test_a_foreign_checkpoint_is_refused(
    path: Path, caplog: pytest.LogCaptureFixture, other: dict[str, Any], reason: str
) -> None:
    checkpoint.save(path, trained(**other))
    assert_refused(path, caplog, reason)


def test_another_models_checkpoint_is_refused(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint.save(path, trial(size=9))
    assert_refused(path, caplog, "expected (2, 4)")


def test_a_checkpoint_of_more_rungs_is_refused(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    longer = trained()
    longer.values.append(2.0)
    longer.per_task.append(np.array([1.0, 3.0]))
    checkpoint.save(path, longer)
    assert_refused(path, caplog, "more rungs")


@pytest.mark.parametrize("name", ["theta", "moment2", "iteration", "seconds", "values", "per_task"])
def test_a_checkpoint_that_lacks_a_part_is_refused(
    path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    with np.load(path) as file:
        arrays = {key: file[key] for key in file.files if key != name}
    np.savez(path, **arrays)
    assert_refused(path, caplog, name)
