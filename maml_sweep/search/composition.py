"""A trial's configuration: its branch's, as the plan has it, then what was drawn."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from maml_sweep.search.compose import assign
from maml_sweep.search.space import Space
from maml_sweep.search.study import Plan


class TrialComposer:
    """Makes configurations from the plan alone.

    No configuration file is read again, so a worker on another machine, and whoever trains the
    winners next year, gets what the sweep was started with.
    """

    def __init__(self, plan: Plan, space: Space) -> None:
        self._configs = plan.configs
        self._space = space
        self._made: dict[str, bytes] = {}  # branch -> its configuration, pickled: quick to copy

    def compose(self, values: Mapping[str, Any], trial_seed: int) -> DictConfig:
        """The configuration of the trial that drew these values (config key -> value)."""
        branch = self._space.branch(values)
        if branch.name not in self._made:
            self._made[branch.name] = pickle.dumps(OmegaConf.create(self._configs[branch.name]))
        config: DictConfig = pickle.loads(self._made[branch.name])
        for key, value in values.items():
            if key not in branch.choices:
                assign(config, key, value, add="+" in self._space.prefixes.get(key, ""))
        config.trial_seed = trial_seed
        return config

    def container(self, values: Mapping[str, Any], trial_seed: int) -> dict[str, Any]:
        """The same as plain values."""
        plain = OmegaConf.to_container(self.compose(values, trial_seed), resolve=True)
        assert isinstance(plain, dict)
        return {str(key): value for key, value in plain.items()}
