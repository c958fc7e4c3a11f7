"""A trial's configuration: the sweep's fixed overrides, then what was drawn."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from maml_sweep.search.compose import Composer, assign, without_hydra
from maml_sweep.search.differences import key_of
from maml_sweep.search.space import Space
from maml_sweep.search.study import Plan


class TrialComposer:
    """Composes each branch once; a trial's own values are set on a copy, checked by the schema."""

    def __init__(self, composer: Composer, plan: Plan, space: Space) -> None:
        self._composer = composer
        self._fixed = plan.fixed
        self._space = space
        self._branches: dict[tuple[str, ...], DictConfig] = {}

    @classmethod
    def of_this_process(cls, config_name: str, plan: Plan, space: Space) -> TrialComposer:
        """With the search path of the Hydra application that runs in this process."""
        loader = GlobalHydra.instance().config_loader()
        # The user's own options may lie in a folder that only the command line names.
        paths = tuple(each for each in plan.overrides if key_of(each) == "hydra.searchpath")
        return cls(Composer(loader, config_name, paths), plan, space)

    def compose(self, values: Mapping[str, Any], trial_seed: int) -> DictConfig:
        """The configuration of the trial that drew these values."""
        groups = {key: value for key, value in values.items() if key in self._space.groups}
        overrides = tuple(self._space.overrides(groups))
        if overrides not in self._branches:
            composed = self._composer.compose([*self._fixed, *overrides])
            self._branches[overrides] = without_hydra(composed)
        config = deepcopy(self._branches[overrides])
        for key, value in values.items():
            if key not in groups:
                assign(config, key, value, add="+" in self._space.prefixes.get(key, ""))
        config.trial_seed = trial_seed
        return config

    def container(self, values: Mapping[str, Any], trial_seed: int) -> dict[str, Any]:
        """The same as plain, resolved values."""
        plain = OmegaConf.to_container(self.compose(values, trial_seed), resolve=True)
        assert isinstance(plain, dict)
        return {str(key): value for key, value in plain.items()}
