"""Memory: what does not fit is done in parts, with the same numbers; a dry run sizes packs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numerics import settings, sinusoid_program

from maml_sweep.backend import tf
from maml_sweep.training import dry_run, memory
from maml_sweep.training.devices import Device
from maml_sweep.training.memory import DoesNotFit, GpuMemory, Limit, Memory
from maml_sweep.training.pack import Run, Trainer, start
from maml_sweep.training.program import Program
from maml_sweep.training.settings import Settings

GPU = Device(compiled=True, gpu=True)
XLA = "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 98304 bytes."


class Small:
    """Stands for a program on a device that holds so many lanes.

    Attributes:
      train_calls: lanes of every training call, those that failed included.
      score_calls: the same of every judging call.
    """

    def __init__(self, of: Program, train: int = 10**9, judge: int = 10**9) -> None:
        self._of, self._most = of, {"train": train, "judge": judge}
        self.train_calls: list[int] = []
        self.score_calls: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._of, name)

    def train(self, state: Any, trials: Any, lanes: Any, count: int) -> Any:
        self._take("train", self.train_calls, lanes)
        return self._of.train(state, trials, lanes, count)

    def scores(self, theta: Any, knobs: Any, lanes: Any, split: Any, **options: Any) -> Any:
        self._take("judge", self.score_calls, lanes)
        return self._of.scores(theta, knobs, lanes, split, **options)

    def _take(self, kind: str, calls: list[int], lanes: Sequence[Any]) -> None:
        calls.append(sum(len(shard.owner) for shard in lanes))
        if calls[-1] > self._most[kind]:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")


@pytest.fixture(scope="module")
def sines() -> Program:
    return sinusoid_program((4,), bound=2, precision="float32")


def numbers(place: int) -> Settings:
    """Of 4 tasks each, different otherwise."""
    kind = ("adam", "sgd", "adamw")[place % 3]
    return settings(0.01 * (1 + place), 1 + place % 2, batch=4, kind=kind, meta_lr=0.01)


def pack(of: Program, size: int) -> list[Run]:
    return [start(of, numbers(place), place) for place in range(size)]


def advance(trainer: Trainer, runs: Sequence[Run], until: int = 3) -> list[Run]:
    for _ in trainer.advance(runs, [until] * len(runs)):
        pass
    return list(runs)


def trainer_of(program: Any) -> Trainer:
    return Trainer(program, slice_seconds=0.0)  # an iteration a call


def assert_equal(found: Sequence[Run], wanted: Sequence[Run]) -> None:
    """To the last bit."""
    for one, other in zip(found, wanted, strict=True):
        for name in ("theta", "moment1", "moment2", "iteration", "loss", "diverged"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


# -- training --------------------------------------------------------------------------------------


def test_a_pack_that_does_not_fit_trains_in_halves(sines: Program) -> None:
    """Six trials of 4 tasks where 9 fit: 24 fails and 12, so 6 is the limit: one trial a call."""
    small = Small(sines, train=9)
    trainer = trainer_of(small)
    found = advance(trainer, pack(sines, 6), until=1)
    assert small.train_calls == [24, 12, 4, 4, 4, 4, 4, 4]
    assert trainer.most_lanes == 6
    wanted = advance(trainer_of(sines), pack(sines, 6), until=1)
    assert_equal(found, wanted)


def test_the_numbers_are_those_of_the_whole_pack(sines: Program) -> None:
    wanted = advance(trainer_of(sines), pack(sines, 6))
    for most in (4, 8, 13, 23, 24):
        assert_equal(advance(trainer_of(Small(sines, train=most)), pack(sines, 6)), wanted)


def test_what_did_not_fit_is_not_tried_again(sines: Program) -> None:
    small = Small(sines, train=9)
    trainer = trainer_of(small)
    advance(trainer, pack(sines, 2))
    assert small.train_calls == [8, 8, 8]
    advance(trainer, pack(sines, 3), until=1)
    assert small.train_calls[3:] == [12, 4, 4, 4]  # the limit is now 6: half of what failed
    advance(trainer, pack(sines, 2), until=1)
    assert small.train_calls[7:] == [4, 4]
    assert max(small.train_calls[4:]) <= trainer.most_lanes == 6


def test_one_run_that_does_not_fit_says_what_to_change(sines: Program) -> None:
    runs = pack(sines, 2)
    runs[0].settings = settings(0.02, 2, batch=30)
    with pytest.raises(DoesNotFit) as caught:
        advance(trainer_of(Small(sines, train=9)), runs, until=1)
    assert caught.value.run is runs[0]
    assert str(caught.value) == (
        "training.meta_batch_size=30: one trial by itself, with inner steps 2, does not fit in the "
        "device's memory; take a smaller meta-batch or model, fewer inner steps, "
        "algorithm.first_order=true or training.precision=mixed_bfloat16"
    )
    fresh = start(sines, runs[0].settings, 0)
    assert_equal(runs[:1], [fresh])  # as it was
    assert [run.iteration for run in runs] == [0, 0]
    advance(trainer_of(Small(sines, train=9)), runs[1:])
    assert_equal(runs[1:], advance(trainer_of(sines), pack(sines, 2))[1:])


def test_the_first_parts_keep_what_they_have_learnt(sines: Program) -> None:
    """Of two halves the first trains; then the second turns out not to fit even alone."""
    runs = pack(sines, 2)
    runs[0].settings = settings(0.02, 1, batch=30)  # sorted last: fewer steps
    with pytest.raises(DoesNotFit):
        advance(trainer_of(Small(sines, train=9)), runs, until=2)
    assert [run.iteration for run in runs] == [0, 1]


def test_other_errors_are_no_matter_of_memory(sines: Program) -> None:
    def broken(*given: Any) -> Any:
        raise tf.errors.InvalidArgumentError(None, None, "Incompatible shapes")

    small = Small(sines)
    small.train = broken  # type: ignore[method-assign, assignment]
    with pytest.raises(tf.errors.InvalidArgumentError, match="Incompatible shapes"):
        advance(trainer_of(small), pack(sines, 2))


@pytest.mark.parametrize(
    ("error", "known"),
    [
        (lambda: tf.errors.ResourceExhaustedError(None, None, "whatever"), True),
        (lambda: tf.errors.InternalError(None, None, XLA), True),
        (lambda: tf.errors.InternalError(None, None, "CUBLAS_STATUS_ALLOC_FAILED"), True),
        (lambda: tf.errors.UnknownError(None, None, "CUDA_ERROR_OUT_OF_MEMORY"), True),
        (lambda: tf.errors.InternalError(None, None, "CUDA_ERROR_ILLEGAL_ADDRESS"), False),
        (lambda: ValueError("shapes"), False),
    ],
)
def test_how_memory_runs_out(error: Callable[[], Exception], known: bool) -> None:
    assert memory.exhausted(error()) is known


# -- judging ---------------------------------------------------------------------------------------


def test_judging_goes_on_in_smaller_blocks(sines: Program) -> None:
    """Three trials, 8 tasks a block: 24 lanes; 7 fit, so 12 fail, too, and blocks of 6 are left."""
    runs = pack(sines, 3)
    small = Small(sines, judge=7)
    trainer = trainer_of(small)
    found = trainer.evaluate(runs, "validation", 0, 8)
    assert small.score_calls == [24, 12, 6, 6, 6, 6]
    np.testing.assert_array_equal(found, trainer_of(sines).evaluate(runs, "validation", 0, 8))
    assert trainer.most_lanes == float("inf")  # training may be another matter


@pytest.mark.parametrize("most", [1, 2, 3, 5, 11])
def test_curves_in_parts_are_the_same(sines: Program, most: int) -> None:
    """Down to one task of one run at a time, each to its own steps."""
    runs = pack(sines, 5)
    small = Small(sines, judge=most)
    found = trainer_of(small).curves(runs, "validation", 3, 5)
    wanted = trainer_of(sines).curves(runs, "validation", 3, 5)
    assert [len(curve) for curve in found] == [3, 5, 3, 5, 3]
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-6)


def test_one_task_that_does_not_fit_says_what_to_change(sines: Program) -> None:
    (run,) = pack(sines, 1)
    with pytest.raises(DoesNotFit) as caught:
        trainer_of(Small(sines, judge=0)).evaluate([run], "validation", 0, 4)
    assert str(caught.value) == (
        "training.eval_steps=1: one task by itself does not fit in the device's memory; take a "
        "smaller model, fewer task.shots or task.queries, or training.precision=mixed_bfloat16"
    )
    assert caught.value.run is run


def test_blocks_follow_what_training_found(sines: Program) -> None:
    """Six lanes fit while training, so twelve in judging: three runs on four tasks at a time."""
    small = Small(sines, train=6)
    trainer = trainer_of(small)
    runs = advance(trainer, pack(sines, 3), until=1)
    assert trainer.most_lanes == 6
    trainer.evaluate(runs, "validation", 0, 6)
    assert small.score_calls == [12, 6]


def test_a_limit_starts_open() -> None:
    assert Limit().lanes == float("inf")


# -- the dry run -----------------------------------------------------------------------------------


class Line(Memory):
    """A device whose peak is so many bytes, and so many more for each lane of the last call."""

    def __init__(self, small: Small, total: int | None, base: int, each: int) -> None:
        self.small, self.size, self.base, self.each = small, total, base, each
        self.resets = 0

    def total(self) -> int | None:
        return self.size

    def peak(self) -> int:
        return self.base + self.each * self.small.train_calls[-1]

    def reset(self) -> None:
        self.resets += 1


def fits(of: Any, total: int | None, *, workers: int = 1, base: int = 1000, each: int = 10) -> Any:
    line = Line(of, total, base, each)
    found = dry_run.fitting(of, numbers(0), GPU, tasks=5, workers=workers, memory=line)
    assert total is None or line.resets
    return found


def test_as_many_as_a_straight_line_allows(sines: Program) -> None:
    """1,000 bytes and 10 a lane, 5 lanes a trial: 0.8 * 5,000 bytes hold 300 lanes."""
    small = Small(sines)
    assert fits(small, 5000) == 60
    assert small.train_calls == [5, 5, 10, 10]  # each once to compile, once to measure
    assert fits(Small(sines), 5000, workers=2) == 20  # 2,000 bytes, 100 lanes
    assert fits(Small(sines), 1312) == 1  # 1,049.6 bytes: less than one takes
    assert fits(Small(sines), 10**9) == dry_run.MOST
    assert fits(Small(sines), 10**9, each=0) == dry_run.MOST


def test_padding_of_compiled_shapes_counts() -> None:
    """300 lanes fit: 51 trials have 255 and are compiled for 256, 52 for 320."""
    compiled = Small(sinusoid_program(bound=2, compiled=True, precision="float32"))
    compiled.train = lambda state, trials, lanes, count: compiled.train_calls.append(  # type: ignore[method-assign]
        len(lanes[0].owner)
    )
    assert fits(compiled, 5000) == 51


def test_no_number_without_a_gpu_or_a_driver(sines: Program) -> None:
    small = Small(sines)
    assert dry_run.fitting(small, numbers(0), Device(2), tasks=5) is None  # type: ignore[arg-type]
    assert fits(small, None) is None
    assert small.train_calls == []


@pytest.mark.parametrize("most", [3, 7])
def test_a_dry_run_that_does_not_fit_leaves_one(sines: Program, most: int) -> None:
    assert fits(Small(sines, train=most), 5000) == 1


def test_a_dry_run_changes_nothing(sines: Program) -> None:
    runs, wanted = pack(sines, 3), pack(sines, 3)
    trainer = trainer_of(sines)
    advance(trainer, runs, until=1)
    traces = sines.traces
    fits(Small(sines), 5000)
    advance(trainer, runs, until=3)
    assert_equal(runs, advance(trainer_of(sines), wanted, until=3))
    assert sines.traces == traces


# -- what the driver says --------------------------------------------------------------------------


def driver(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts a program in nvidia-smi's place."""
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_free_and_held_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """1,000 MiB are free, and 5 bytes are this process's already."""
    driver(tmp_path, 'echo "$@" >&2; echo 1000; echo 2000', monkeypatch)
    info = {"current": 5, "peak": 7}
    monkeypatch.setattr(tf.config.experimental, "get_memory_info", lambda device: info)
    assert GpuMemory().total() == 1000 * 2**20 + 5
    assert GpuMemory().peak() == 7


def test_only_the_gpus_that_are_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver(tmp_path, 'echo "$3, $4"; echo "$1"', monkeypatch)
    assert memory.driver("name", "uuid")[1] == ["--query-gpu=name", "uuid"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    assert memory.driver("name")[0] == ["-i", "2"]


@pytest.mark.parametrize("script", ["exit 9", "sleep 60"])
def test_a_driver_that_fails(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver(tmp_path, script, monkeypatch)
    if "sleep" in script:

        def late(*given: Any, **options: Any) -> Any:
            raise subprocess.TimeoutExpired("nvidia-smi", 20)

        monkeypatch.setattr(subprocess, "run", late)
    assert memory.driver("name") == []
    assert GpuMemory().total() is None


def test_no_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert memory.driver("name") == []
