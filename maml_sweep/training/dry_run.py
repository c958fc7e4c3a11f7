"""How many trials fit in a GPU's memory, by training one and two of them for an iteration."""

from __future__ import annotations

import logging
from dataclasses import replace

from maml_sweep.backend import tf
from maml_sweep.training.devices import Device
from maml_sweep.training.lanes import rounded
from maml_sweep.training.memory import GpuMemory, Memory, exhausted
from maml_sweep.training.program import Program
from maml_sweep.training.run import start
from maml_sweep.training.settings import Settings
from maml_sweep.training.stacking import arguments

log = logging.getLogger(__name__)

MOST = 1024  # trials; beyond them a GPU has long been busy
SHARE = 0.8  # of the memory that is given away: the rest is for judging and for fragments


def fitting(
    program: Program,
    settings: Settings,
    device: Device,
    *,
    tasks: int,
    workers: int = 1,
    memory: Memory | None = None,
) -> int | None:
    """How many trials of a program fit in memory at once, from 1 to `MOST`.

    Memory grows with the lanes of a call, along a straight line; two short packs tell which. They
    are runs of their own through a pure function, so nothing that is trained takes notice.

    Args:
      program: of the trials; compiled for two small packs if it has not been.
      settings: of any of its trials.
      device: what it runs on.
      tasks: the most that a trial may have in a meta-iteration, all its repeats together.
      workers: how many processes share the device.
      memory: what to measure; None: that of TensorFlow's first GPU.

    Returns:
      None where there is no GPU, or the driver does not say how much memory it has.
    """
    if not device.gpu:
        return None
    memory = memory or GpuMemory()
    total = memory.total()
    if total is None:
        log.warning("nvidia-smi does not say how much memory is free: no size of packs found")
        return None
    one, two = (_peak(program, settings, memory, count * tasks) for count in (1, 2))
    if one is None or two is None:
        return 1
    fits = _most(program, tasks, (one, two), SHARE * total / workers)
    log.info(
        "%d tasks take %d MiB, twice as many %d, of %d: %d trials fit",
        *(tasks, one >> 20, two >> 20, total >> 20, fits),
    )
    return fits


def _most(program: Program, tasks: int, peaks: tuple[int, int], room: float) -> int:
    """The most trials on the line through two peaks, of one trial and of two."""
    lanes = [_lanes(program, count * tasks) for count in (1, 2)]
    slope = max(0.0, (peaks[1] - peaks[0]) / (lanes[1] - lanes[0]))
    base = peaks[0] - slope * lanes[0]
    fit = [n for n in range(1, MOST + 1) if base + slope * _lanes(program, n * tasks) <= room]
    return max(fit, default=1)


def _lanes(program: Program, tasks: int) -> int:
    """Lanes of a call of so many tasks, with those that only fill up a shape."""
    return rounded(tasks) if program.compiled else tasks


def _peak(program: Program, settings: Settings, memory: Memory, tasks: int) -> int | None:
    """Bytes that an iteration of so many tasks takes, or None: they do not fit.

    All tasks take the program's most inner steps. The first call compiles, which takes memory of
    its own.
    """
    run = start(program, replace(settings, inner_steps=program.bound, meta_batch_size=tasks), 0)
    try:
        for _ in range(2):
            memory.reset()
            program.train(*arguments(program, [run], 1))
    except tf.errors.OpError as error:
        if not exhausted(error):
            raise
        return None
    return memory.peak()
