"""What a worker computes on, and how it is set up before TensorFlow starts."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

from maml_sweep.backend import tf
from maml_sweep.kernels import prepare

MOST_SHARDS = 8  # each is a copy of the step in the program, so tracing grows with them


@dataclass(frozen=True)
class Device:
    """How programs are built for the device at hand.

    Attributes:
      shards: parts of a program computed side by side.
      compiled: whether XLA compiles the programs.
      gpu: whether there is a GPU.
      name: what people call it.
      tf32: whether a GPU multiplies float32 in TensorFloat-32.
      kernels: whether kernels of our own compute what they can; None: if they can be compiled.
      teams: parts of a pack that train by themselves, side by side.
    """

    shards: int = 1
    compiled: bool = False
    gpu: bool = False
    name: str = "CPU"
    tf32: bool = False
    kernels: bool | None = False
    teams: int = 1

    def in_teams(self, most: int) -> Device:
        """The same with a team for every thread, but no more than these.

        Each team's program keeps its shards, so a trial's sums are the same in a team and alone;
        while but one team trains, it has all threads.
        """
        return replace(self, teams=min(self.shards, most))

    def describe(self) -> str:
        """One line for people: 'CPU, 2 shards, 2 teams', 'GPU NVIDIA H100 (0), XLA, TF32'."""
        words = [self.name]
        if not self.gpu and not self.compiled:
            words.append(f"{self.shards} shard{'s' if self.shards > 1 else ''}")
        words += [f"{self.teams} teams"] * (self.teams > 1)
        words += ["XLA"] * self.compiled + ["TF32"] * self.tf32
        return ", ".join(words)


class Machine:
    """What TensorFlow sees of this machine and lets one set; tests put fakes in its place."""

    def gpus(self) -> list[Any]:
        """The GPUs it may use, the one it uses first."""
        return list(tf.config.list_physical_devices("GPU"))

    def name(self, gpu: Any) -> str:
        """What the maker calls it; empty where the driver does not say."""
        details = tf.config.experimental.get_device_details(gpu)
        return str(details.get("device_name", ""))

    def set_threads(self, inter_op: int, intra_op: int) -> None:
        """Sets the thread pools.

        Raises:
          RuntimeError: TensorFlow has run, and they are fixed.
        """
        tf.config.threading.set_inter_op_parallelism_threads(inter_op)
        tf.config.threading.set_intra_op_parallelism_threads(intra_op)

    def let_grow(self, gpu: Any) -> None:
        """Has a GPU's memory taken as it is needed instead of all at once.

        Raises:
          RuntimeError: TensorFlow has run, and it is taken.
        """
        tf.config.experimental.set_memory_growth(gpu, True)

    def skip_rewrites(self) -> None:
        """Leaves out rewrites of graphs that take long on ours and find nothing to gain."""
        passes = ("constant_folding", "layout_optimizer", "remapping")
        tf.config.optimizer.set_experimental_options(dict.fromkeys(passes, False))

    def set_tf32(self, enabled: bool) -> None:
        """Says whether GPUs may multiply float32 in TensorFloat-32."""
        tf.config.experimental.enable_tensor_float_32_execution(enabled)


def configure(settings: Any, cores: int | None = None, machine: Machine | None = None) -> Device:
    """Sets up TensorFlow for this process and says how to build programs.

    On a CPU small matrices gain more from one thread a shard than from threads within an
    operation, and XLA's batched products are slower than Eigen's and oneDNN's; on a GPU one
    compiled shard is right. Settings left at null follow that. TensorFlow has TensorFloat-32 on
    by itself; here it is off unless asked for, so that float32 means the same on every device.

    Args:
      settings: the `device` section: inter_op, intra_op, compile (null: chosen here), tf32,
        kernels.
      cores: how many are this worker's; None: all that the process may run on.
      machine: what to ask and to set; None: TensorFlow.
    """
    machine = machine or Machine()
    cores = cores or available_cores()
    # Studies of before there were any do not say.
    kernels = getattr(settings, "kernels", False)
    if kernels is not False and not settings.compile:
        prepare()
    inter_op = settings.inter_op or min(cores, MOST_SHARDS)
    intra_op = settings.intra_op or max(1, cores // inter_op)
    _unless_running(machine.set_threads, inter_op, intra_op)
    gpus = machine.gpus()
    compiled = bool(gpus) if settings.compile is None else settings.compile
    if not gpus:
        machine.skip_rewrites()
        return Device(shards=1 if compiled else inter_op, compiled=compiled, kernels=kernels)
    for gpu in gpus:
        _unless_running(machine.let_grow, gpu)
    machine.set_tf32(settings.tf32)
    name = f"GPU {machine.name(gpus[0])} ({visible_index()})".replace("  ", " ")
    return Device(compiled=compiled, gpu=True, name=name, tf32=settings.tf32)


def available_cores() -> int:
    """How many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def visible_index() -> str:
    """The GPU that TensorFlow calls 0 as the machine names it: a number, or an identifier."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0].strip() or "0"


def _unless_running(change: Any, *arguments: Any) -> None:
    """Makes a change that TensorFlow refuses once it has run; it stays as it is then."""
    try:
        change(*arguments)
    except RuntimeError:
        return
