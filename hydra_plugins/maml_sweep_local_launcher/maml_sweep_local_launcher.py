"""Hydra's face of workers on this machine: the class that `hydra/launcher=local` names.

Hydra imports this module in every application it starts, so it stays light; see the sweeper's
plugin for why there is no `from __future__ import annotations`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class LocalLauncherConf:
    """hydra/launcher=local."""

    _target_: str = (
        "hydra_plugins.maml_sweep_local_launcher.maml_sweep_local_launcher.LocalLauncher"
    )
    restarts: int = 3  # how often each process that dies is started again
    n_jobs: int | None = None  # processes at once; null: all workers of a sweep, else one a core


ConfigStore.instance().store(
    group="hydra/launcher", name="local", node=LocalLauncherConf, provider="maml_sweep"
)


class LocalLauncher(Launcher):
    """Runs each job in a process of its own, which is started again if it dies.

    Devices are not its business: our workers find theirs themselves (`maml_sweep.search.place`).

    Args:
      restarts: how often each process that dies is started again.
      n_jobs: how many processes run at once; None: one a core.
    """

    def __init__(self, restarts: int, n_jobs: int | None) -> None:
        self.restarts = restarts
        self.n_jobs = n_jobs
        self.config: DictConfig | None = None
        self.task_function: TaskFunction | None = None
        self.hydra_context: HydraContext | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keeps what a launch needs."""
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Any:
        """Runs all jobs; see `_jobs.launch`."""
        from hydra_plugins.maml_sweep_local_launcher._jobs import launch

        return launch(self, job_overrides, initial_job_idx)
