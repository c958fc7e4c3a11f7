"""Hydra jobs as processes: what goes into one, what runs there, and what comes back."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle  # type: ignore[import-untyped, unused-ignore]
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from hydra_plugins.maml_sweep_local_launcher._children import begin
from hydra_plugins.maml_sweep_local_launcher._processes import Died, Processes

if TYPE_CHECKING:
    from hydra_plugins.maml_sweep_local_launcher.maml_sweep_local_launcher import LocalLauncher


def launch(
    launcher: LocalLauncher, job_overrides: Sequence[Sequence[str]], first: int
) -> list[JobReturn]:
    """Runs jobs side by side, each in a process of its own.

    Args:
      launcher: set up.
      job_overrides: each job's overrides.
      first: number of the first job.

    Returns:
      What came of each, in order. A job that exited by itself (codes 0, 2 and 130) or died more
      often than it may be started again has failed with SystemExit or `Died`.

    Raises:
      SystemExit: 130 if a signal to stop came; then every process has ended.
    """
    setup_globals()
    config, context = launcher.config, launcher.hydra_context
    assert config is not None and context is not None
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    Path(str(config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)

    @cache  # once for all jobs of the same overrides, and here, as they may have to wait anyhow
    def compose(*overrides: str) -> DictConfig:
        return context.config_loader.load_sweep_config(config, list(overrides))

    what = (context, launcher.task_function, Singleton.get_state())
    jobs = {
        index: cloudpickle.dumps((dict(os.environ), (index, compose(*overrides), *what)))
        for index, overrides in enumerate(job_overrides, first)
    }
    processes = Processes(run, jobs, launcher.n_jobs or _cores(), launcher.restarts)
    outcomes = processes.run()
    if processes.stopped:
        raise SystemExit(130)
    return [_returned(outcomes[index]) for index in jobs]


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _returned(outcome: bytes | int | Died) -> JobReturn:
    """A process's outcome: what it sent, the code it exited with, or how it died."""
    if isinstance(outcome, bytes):
        returned = pickle.loads(outcome)
        assert isinstance(returned, JobReturn)
        return returned
    error = outcome if isinstance(outcome, Died) else SystemExit(outcome)
    return JobReturn(status=JobStatus.FAILED, _return_value=error)


# -- in the new process -----------------------------------------------------------------------


def run(payload: bytes, results: Connection) -> None:
    """Runs one job and sends what came of it; the entry of a process.

    Args:
      payload: see `launch`.
      results: where the pickled JobReturn goes.

    Raises:
      SystemExit: what the job exited with.
    """
    begin(results)
    environment, job = pickle.loads(payload)
    os.environ.update(environment)  # as it is by now where the launching process is
    index, *_ = job
    if index > 0 and sys.stdout.isatty():
        # One live view is enough on a terminal; a job's lines are in its own log file, too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    returned = _run_job(*job)
    with suppress(ConnectionError):  # the parent died, and nobody asks any more
        results.send_bytes(_pickled(returned))


def _run_job(
    index: int, job: DictConfig, context: HydraContext, task: TaskFunction, singletons: Any
) -> JobReturn:
    """As every launcher of Hydra does it (see hydra_plugins.hydra_joblib_launcher._core)."""
    setup_globals()
    Singleton.set_state(singletons)
    with open_dict(job):
        job.hydra.job.id = f"{job.hydra.job.name}_{index}"
        job.hydra.job.num = index
    HydraConfig.instance().set_config(job)
    return run_job(
        hydra_context=context,
        config=job,
        task_function=task,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )


def _pickled(returned: JobReturn) -> bytes:
    """A result that cannot travel travels as its text, as a failure."""
    try:
        sent = cloudpickle.dumps(returned)
        pickle.loads(sent)  # an exception may be written and not read
    except Exception as error:  # noqa: BLE001  (anything a user's class may raise)
        value = RuntimeError(f"{returned._return_value!r} ({error})")
        sent = cloudpickle.dumps(JobReturn(status=JobStatus.FAILED, _return_value=value))
    return bytes(sent)
