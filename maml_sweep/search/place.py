"""What a worker computes on: its device among those of the machine, and its share of the cores.

A scheduler that hands out devices (Slurm, Ray) is taken at its word. Elsewhere worker i takes the
device i // workers_per_device among the visible ones. All of this happens before TensorFlow looks
at the machine; what a process has taken once it keeps, as TensorFlow does.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maml_sweep.errors import InputError
from maml_sweep.search.launchers import RAY, SCHEDULERS, SLURM, kind
from maml_sweep.training.devices import available_cores

log = logging.getLogger(__name__)

VISIBLE = "CUDA_VISIBLE_DEVICES"
_NONE = {"", "-1", "none", "nodevfiles", "void"}  # how schedulers and containers say: no device
_GPU = re.compile(r"GPU (\d+):")
_MIG = re.compile(r"\s+MIG .*\(UUID: (MIG-[^)]+)\)")
# What this process took before: a launcher may run two workers in it, TensorFlow keeps its device.
# By process id, so that a fork takes its own.
_kept: dict[int, list[str]] = {}


@dataclass(frozen=True)
class Place:
    """Where a worker computes.

    Attributes:
      index: the worker's, from 0.
      devices: its GPUs as CUDA names them: an index, or the identifier of a GPU or of a slice of
        one; empty on a CPU.
      cores: how many are its own.
      launcher: which one started it, see `maml_sweep.search.launchers.kind`.
    """

    index: int
    devices: list[str]
    cores: int
    launcher: str


def take(
    config: Any,
    hydra: Any,
    environ: MutableMapping[str, str] = os.environ,
    discover: Callable[[], list[str]] | None = None,
) -> Place:
    """Finds the calling worker's place, hides all other GPUs from CUDA, and logs a line.

    Args:
      config: the composition: workers, workers_per_device.
      hydra: Hydra's own node: launcher, job.num.
      environ: the environment; CUDA_VISIBLE_DEVICES is read and set.
      discover: names the GPUs of the machine; None: `discovered`.

    Raises:
      InputError: there are more workers than devices.
    """
    launcher, index = kind(hydra.launcher), int(hydra.job.num) % config.workers
    scheduled = launcher in SCHEDULERS
    among = _given(environ, launcher) if scheduled else visible(environ, discover)
    devices = _kept.get(os.getpid()) if environ is os.environ else None
    if devices is None:
        devices = among if scheduled else _own(index, among, config.workers_per_device)
    if among or scheduled:
        environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # as nvidia-smi and Slurm count
        environ[VISIBLE] = ",".join(devices)
    share = max(1, available_cores() // config.workers)
    cores = _allotted(environ, launcher) if scheduled else share
    if environ is os.environ:
        _kept[os.getpid()] = devices
    place = Place(index, devices, cores, launcher)
    log.info("%s", describe(place, len(among)))
    return place


def describe(place: Place, among: int) -> str:
    """One line for people, such as 'worker 1: GPU 1 (of 2), 4 cores'."""
    device = "CPU"
    if place.devices:
        device = f"GPU {','.join(place.devices)} (of {among})"
    return f"worker {place.index}: {device}, {place.cores} core{'s' if place.cores > 1 else ''}"


def visible(
    environ: Mapping[str, str] = os.environ, discover: Callable[[], list[str]] | None = None
) -> list[str]:
    """The GPUs that workers on this machine may share out, as CUDA names them."""
    said = environ.get(VISIBLE)
    if said is None:
        return (discover or discovered)()
    return _names(said)


def discovered() -> list[str]:
    """The GPUs of this machine, by nvidia-smi, or by their device files where it is missing.

    A GPU cut in slices (MIG) stands for its slices: CUDA gives a process no more than one of them.
    """
    listed = _ask_nvidia_smi()
    if listed is not None:
        return parse(listed)
    files = [path for path in Path("/dev").glob("nvidia*") if re.fullmatch(r"nvidia\d+", path.name)]
    return [str(index) for index in range(len(files))]


def parse(listed: str) -> list[str]:
    """The devices in what `nvidia-smi -L` prints: a line a GPU, indented ones for its slices."""
    devices: list[list[str]] = []
    for line in listed.splitlines():
        if gpu := _GPU.match(line):
            devices.append([gpu[1]])
        elif (mig := _MIG.match(line)) and devices:
            devices[-1].append(mig[1])
    return [name for gpu, *slices in devices for name in (slices or [gpu])]


def _ask_nvidia_smi() -> str | None:
    if shutil.which("nvidia-smi") is None:
        return None
    try:
        asked = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return asked.stdout


def _names(said: str) -> list[str]:
    """CUDA_VISIBLE_DEVICES as a list; CUDA ignores what stands behind -1."""
    names = []
    for name in map(str.strip, said.split(",")):
        if name.lower() in _NONE:
            break
        names.append(name)
    return names


def _own(index: int, devices: list[str], each: int) -> list[str]:
    """One worker's share of the visible devices."""
    if not devices:
        return []
    if index // each >= len(devices):
        raise InputError(
            f"workers: worker {index} finds no device, as {len(devices)} visible "
            f"GPU{'s' if len(devices) > 1 else ''} with workers_per_device={each} serve "
            f"{len(devices) * each}; lower workers, raise workers_per_device, or make more GPUs "
            f"visible"
        )
    return [devices[index // each]]


def _given(environ: Mapping[str, str], launcher: str) -> list[str]:
    """The devices that a scheduler allotted to this job; none where it says nothing of any."""
    names = [VISIBLE]
    if launcher == SLURM:
        names += ["SLURM_STEP_GPUS", "SLURM_JOB_GPUS"]
    return next((_names(environ[name]) for name in names if name in environ), [])


def _allotted(environ: Mapping[str, str], launcher: str) -> int:
    """The cores that a scheduler allotted to this job, no more than the process may run on."""
    names = ["SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"]
    if launcher == RAY:
        assigned = _ray_cores()
        names = ["OMP_NUM_THREADS"]
        if assigned is not None:
            return max(1, min(int(assigned), available_cores()))
    found = (int(environ[name]) for name in names if environ.get(name, "").isdigit())
    return max(1, min(next(found, available_cores()), available_cores()))


def _ray_cores() -> float | None:
    """What Ray assigned to the running task; None outside of one."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return None
    assigned = ray.get_runtime_context().get_assigned_resources()
    return float(assigned["CPU"]) if "CPU" in assigned else None
