"""Hydra's launchers: which there are, where they come from, and their failures in one line."""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from hydra_plugins.maml_sweep_local_launcher._server import FORKS
from maml_sweep.errors import InputError

GROUP = "hydra/launcher"
LOCAL = "local"
BASIC = "basic"
SLURM, RAY = "submitit_slurm", "ray"
SCHEDULERS = {SLURM, RAY}  # they hand out devices and cores
ANSWER = 10.0  # seconds that a cluster has to answer in
# launcher -> (what it takes to be there, our extra that brings it)
PACKAGES = {
    "joblib": (("hydra_plugins.hydra_joblib_launcher", "joblib"), "joblib"),
    "submitit_local": (("hydra_plugins.hydra_submitit_launcher", "submitit"), "slurm"),
    "submitit_slurm": (("hydra_plugins.hydra_submitit_launcher", "submitit"), "slurm"),
    "ray": (("hydra_plugins.hydra_ray_launcher", "ray"), "ray"),
}
_KINDS = {
    "hydra._internal.core_plugins.basic_launcher.BasicLauncher": BASIC,
    "hydra_plugins.maml_sweep_local_launcher.maml_sweep_local_launcher.LocalLauncher": LOCAL,
    "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher": "joblib",
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher": "submitit_local",
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher": "submitit_slurm",
    "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher": "ray",
}
# what launchers raise when a job of theirs died, by the name of a base class
_DEATHS = {"UncompletedJobError", "BrokenExecutor", "RayError"}
# submitit's words for a job that was killed; behind them stands the end of its log
_SILENT = re.compile(r"Job (\S+) .*\n?has not produced any output \(state: ([^)]*)\)")


def kind(launcher: Any) -> str:
    """The name of a launcher from its node in a composition; its class if we know it not."""
    return _KINDS.get(str(launcher._target_), str(launcher._target_))


def takes_local(config: Any) -> bool:
    """Whether workers are processes of our launcher: it is named, or none is.

    One worker needs no process of its own, but is ready sooner in one that is forked from another
    which loaded TensorFlow meanwhile. `hydra/launcher=basic` leaves it in the sweep's own, where
    a debugger can stop it.

    Args:
      config: a composition, Hydra's node included.
    """
    name = kind(config.hydra.launcher)
    if name != BASIC:
        return name == LOCAL
    chosen = named(config.hydra.overrides.hydra) == BASIC
    return config.workers > 1 or (FORKS and not chosen)


def installed(name: str) -> bool:
    """Whether a launcher can be used here; one that we do not know is Hydra's to judge."""
    needed, _ = PACKAGES.get(name, ((), ""))
    return all(_found(module) for module in needed)


def _found(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def named(arguments: Sequence[str]) -> str | None:
    """The launcher that the last `hydra/launcher=…` of a command line names."""
    given = [x.partition("=") for x in arguments]
    names = [value.strip("'\"") for key, _, value in given if key.lstrip("+") == GROUP]
    return names[-1] if names else None


def missing(arguments: Sequence[str]) -> str | None:
    """What to say where the command line names a launcher that is not installed; else None."""
    name = named(arguments)
    if name is None or installed(name):
        return None
    extra = PACKAGES[name][1]
    return (
        f"{GROUP}={name}: that launcher is not installed; pip install 'maml-sweep[{extra}]', or "
        f"use {GROUP}={LOCAL}"
    )


def is_death(error: BaseException) -> bool:
    """Whether a launcher says that a job died, rather than that it could start none."""
    names = {each.__name__ for each in type(error).__mro__}
    refused = isinstance(error.__cause__, subprocess.CalledProcessError)  # by sbatch
    return bool(names & _DEATHS) and not refused


def reason(error: BaseException) -> str:
    """What a job died of, in one line: the last of its traceback, if it brought one."""
    if isinstance(error, SystemExit):
        return f"exit code {error.code}"
    if silent := _SILENT.search(str(error)):
        return f"job {silent[1]} ended without a result in state {silent[2]}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" -=")]
    return (lines[-1] if lines else type(error).__name__).rstrip(".")


def refuse_absent(launcher: Any) -> None:
    """Looks whether what a scheduler's launcher is to use is there, before anything is written.

    Args:
      launcher: its node in a composition.

    Raises:
      InputError: Slurm names other partitions, or nobody listens where Ray is to be.
    """
    if kind(launcher) == SLURM:
        _refuse_partition(launcher)
    if kind(launcher) == RAY:
        _refuse_silence(launcher)


def _refuse_partition(launcher: Any) -> None:
    """Where Slurm tells its partitions; else sbatch will say what is wrong."""
    if not launcher.partition:
        return
    asked, there = str(launcher.partition), _partitions()
    if there and not set(asked.split(",")) <= set(there):
        raise _no_partition(asked, there)


def _no_partition(asked: str, there: Sequence[str]) -> InputError:
    return InputError(
        f"hydra.launcher.partition={asked}: Slurm has no such partition"
        + (f"; there are {', '.join(there)}" if there else "; see sinfo")
    )


def _refuse_silence(launcher: Any) -> None:
    """Ray itself would ask a cluster that is not there for minutes."""
    host, _, port = str(launcher.ray.init.get("address") or "").rpartition(":")
    if not host or "/" in host or not port.isdigit():
        return  # auto, local, ray://…: Ray's own to find
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER).close()
    except (OSError, OverflowError):
        raise _no_ray(launcher) from None


def _no_ray(launcher: Any) -> InputError:
    address = launcher.ray.init.get("address")
    return InputError(
        f"hydra.launcher.ray.init.address={address}: no Ray cluster answers there; start one "
        f"(ray start --head), or leave the address out to have one on this machine"
    )


def refusal(error: BaseException, launcher: Any) -> InputError:
    """One line on why a launcher could not start any job."""
    name = kind(launcher)
    if name == SLURM:
        return _slurm_refusal(error, launcher)
    if name == RAY and isinstance(error, ConnectionError):
        return _no_ray(launcher)
    return InputError(f"{GROUP}={name}: cannot start workers: {type(error).__name__}: "
                      f"{reason(error)}")  # fmt: skip


def _slurm_refusal(error: BaseException, launcher: Any) -> InputError:
    said = reason(error).removeprefix("sbatch: error: ")
    if "invalid partition" in str(error).lower():
        return _no_partition(launcher.partition, _partitions())
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        return InputError(
            f"{GROUP}=submitit_slurm: sbatch and srun are not found here; start the sweep on a "
            f"machine of the cluster, or use {GROUP}={LOCAL}"
        )
    return InputError(f"{GROUP}=submitit_slurm: sbatch refused the workers: {said}; see "
                      f"hydra.launcher.* with {shlex.join(['--cfg', 'hydra'])}")  # fmt: skip


def _partitions() -> list[str]:
    """The partitions that Slurm names."""
    try:
        asked = subprocess.run(
            ["sinfo", "-h", "-o", "%R"], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return sorted(set(asked.stdout.split()))
