"""What a worker computes on, and how it is set up before TensorFlow starts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from maml_sweep.backend import tf

MOST_SHARDS = 8  # each is a copy of the step in the program, so tracing grows with them


@dataclass(frozen=True)
class Device:
    """How programs are built for the device at hand.

    Attributes:
      shards: parts of a pack computed side by side.
      compiled: whether XLA compiles the programs.
      gpu: whether there is a GPU.
    """

    shards: int = 1
    compiled: bool = False
    gpu: bool = False


def configure(settings: Any) -> Device:
    """Sets TensorFlow's threads and says how to build programs.

    On a CPU small matrices gain more from one thread a shard than from threads within an
    operation, and XLA's batched products are slower than Eigen's and oneDNN's; on a GPU one
    compiled shard is right. Settings left at null follow that.

    Args:
      settings: the `device` section: inter_op, intra_op, compile (null: chosen here).
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    inter_op = settings.inter_op or min(cores or 1, MOST_SHARDS)
    intra_op = settings.intra_op or max(1, (cores or 1) // inter_op)
    _set_threads(inter_op, intra_op)
    gpu = bool(tf.config.list_physical_devices("GPU"))
    compiled = gpu if settings.compile is None else settings.compile
    return Device(shards=1 if gpu or compiled else inter_op, compiled=compiled, gpu=gpu)


def _set_threads(inter_op: int, intra_op: int) -> None:
    """Sets the thread pools; they are fixed once TensorFlow has run, and stay as they are then."""
    try:
        tf.config.threading.set_inter_op_parallelism_threads(inter_op)
        tf.config.threading.set_intra_op_parallelism_threads(intra_op)
    except RuntimeError:
        return
