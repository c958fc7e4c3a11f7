"""Hydra's face of the search: the class that `hydra/sweeper=maml_sweep` names.

Hydra imports this module in every application it starts, so it stays light; what a sweep needs is
imported when one runs. Hydra insists on the namespace `hydra_plugins` (no `__init__.py` there).
Its scanner runs the module before listing it in sys.modules, where a dataclass would look up
postponed annotations: so no `from __future__ import annotations` here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from maml_sweep.files import STUDIES


@dataclass
class MamlSweeperConf:
    """hydra/sweeper=maml_sweep."""

    _target_: str = "hydra_plugins.maml_sweep_sweeper.maml_sweep_sweeper.MamlSweeper"
    params: dict[str, Any] = field(default_factory=dict)  # key -> sweep expression: group `search`
    root: str = STUDIES  # the folder of the studies' folders


ConfigStore.instance().store(
    group="hydra/sweeper", name="maml_sweep", node=MamlSweeperConf, provider="maml_sweep"
)


class MamlSweeper(Sweeper):
    """Creates or resumes a study and launches its workers.

    Args:
      params: the search of the group `search`; read again from each branch's composition.
      root: the folder of the studies' folders.
    """

    def __init__(self, params: Mapping[str, Any], root: str) -> None:
        self.root = root
        self.config: DictConfig | None = None
        self.hydra_context: HydraContext | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keeps what `sweep` needs; the application's own function is not used."""
        self.hydra_context = hydra_context
        self.config = config

    def sweep(self, arguments: list[str]) -> Any:
        """Runs the sweep that the command line's task overrides describe.

        Raises:
          SystemExit: 2, one line on stderr, if the user's input is wrong.
        """
        from hydra_plugins.maml_sweep_local_launcher._server import load_ahead
        from maml_sweep.ahead import LOADED
        from maml_sweep.search.launchers import takes_local

        assert self.config is not None and self.hydra_context is not None
        if takes_local(self.config):  # its workers load what they need while the plan is made
            load_ahead(LOADED)
        from maml_sweep.search.launch import sweep

        return sweep(arguments, self.config, self.hydra_context, self.root)
