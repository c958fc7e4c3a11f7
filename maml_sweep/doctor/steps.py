"""A packed meta-iteration timed at several sizes, compiled by XLA and not, and compared."""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
from omegaconf import OmegaConf

from maml_sweep import build, config, config_algorithms, config_models, config_tasks
from maml_sweep.backend import tf
from maml_sweep.training.devices import Device
from maml_sweep.training.memory import GpuMemory
from maml_sweep.training.program import Program
from maml_sweep.training.run import Run, start
from maml_sweep.training.settings import Settings
from maml_sweep.training.stacking import arguments

CPU_PACKS, GPU_PACKS = (1, 8, 32, 128), (1, 8, 32, 128, 512)
SECONDS = 0.25  # of training behind each rate
# Of a meta-gradient's length. Float32 has 2⁻²⁴; sums of 25 tasks through 40 units, forward and back
# thrice, lose some ten bits of them at worst. TensorFloat-32 or bfloat16 would show.
ALLOWED = 1e-3


class Step(NamedTuple):
    """What was measured at one size.

    Attributes:
      pack: trials.
      compiled: trial-steps a second of the program that XLA compiled.
      plain: the same without XLA, on the CPU.
      compiling: seconds that the first compiled call took.
      difference: of the two meta-gradients, as a share of their length; of the worst trial.
      memory: the most bytes held: of the GPU, or of the process.
    """

    pack: int
    compiled: float
    plain: float
    compiling: float
    difference: float
    memory: int


def measure(device: Device, packs: Sequence[int] = ()) -> list[Step]:
    """Steps of the default trial at each size.

    Args:
      device: what `devices.configure` found.
      packs: sizes; none: those that suit the device.
    """
    composed = _composed()
    parts = build.components(composed)
    compiled = build.own_program(parts, composed, Device(compiled=True))
    shards = 1 if device.gpu else device.shards
    plain = build.own_program(parts, composed, Device(shards))
    sizes = packs or (GPU_PACKS if device.gpu else CPU_PACKS)
    return [_step(compiled, plain, parts.settings, size, device.gpu) for size in sizes]


def _composed() -> Any:
    """The trial that `sweep.py` trains by default, with the plainest optimizer."""
    return OmegaConf.create(
        {
            "task": asdict(config_tasks.Sinusoid()),
            "model": asdict(config_models.MLP()),
            "algorithm": asdict(config_algorithms.MAML()),
            "optimizer": asdict(config.SGD(meta_lr=1e-2)),
            "training": asdict(config.Training()),
        }
    )


def _step(compiled: Program, plain: Program, settings: Settings, size: int, gpu: bool) -> Step:
    runs = [start(plain, settings, seed) for seed in range(size)]
    begin = time.perf_counter()
    found = _moved(compiled, runs)
    compiling = time.perf_counter() - begin
    with tf.device("CPU:0"):
        wanted = _moved(plain, runs)
        plain_rate = _rate(plain, runs)
    lengths = np.linalg.norm(wanted, axis=1)
    difference = np.max(np.linalg.norm(found - wanted, axis=1) / lengths)
    return Step(size, _rate(compiled, runs), plain_rate, compiling, float(difference), _held(gpu))


def _moved(program: Program, runs: Sequence[Run]) -> np.ndarray:
    """How far one meta-iteration moves each run's parameters: float [run, parameter]."""
    state, _ = program.train(*arguments(program, runs, 1))
    return np.stack([state.theta[place] - run.theta for place, run in enumerate(runs)])


def _rate(program: Program, runs: Sequence[Run]) -> float:
    """Trial-steps a second, in calls of growing length until one takes `SECONDS`."""
    count = 1
    while True:
        begin = time.perf_counter()
        program.train(*arguments(program, runs, count))
        elapsed = time.perf_counter() - begin
        if elapsed >= SECONDS:
            return count * len(runs) / elapsed
        count = max(2 * count, int(1.2 * count * SECONDS / elapsed))


def _held(gpu: bool) -> int:
    """The most bytes held so far: of the GPU, else of this process."""
    if gpu:
        return GpuMemory().peak()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # in KiB on Linux
