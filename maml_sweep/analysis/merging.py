"""A study's trials merged by slot: what all attempts at one drew, reported and came to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial

from maml_sweep.errors import InputError
from maml_sweep.search.records import standing
from maml_sweep.search.slots import Attempts, begun, by_slot, drawn, reported, slot_state
from maml_sweep.search.space import Branch, Space
from maml_sweep.search.study import Plan


@dataclass(frozen=True)
class Slot:
    """One unit of the budget.

    Attributes:
      slot: its number.
      trial: the Optuna trial that stands for it.
      state: a field of `maml_sweep.search.slots.Counts`.
      branch: the branch its groups chose; None before they are drawn.
      values: group or config key -> value.
      curve: step -> reported value, in the order of the steps; NaN where it diverged.
      attempts: how many workers began it.
      config: the configuration of its branch, without its values.
    """

    slot: int
    trial: FrozenTrial
    state: str
    branch: Branch | None
    values: Mapping[str, Any]
    curve: Mapping[int, float]
    attempts: int
    config: Mapping[str, Any]

    @property
    def finite(self) -> dict[int, float]:
        """The finite part of its curve."""
        return {step: value for step, value in self.curve.items() if math.isfinite(value)}

    @property
    def iterations(self) -> int | None:
        """Meta-iterations done; of an unfinished one as many as led to its last rung."""
        told: int | None = self.trial.user_attrs.get("iterations")
        if told is not None or not self.curve:
            return told
        return self.iterations_at(max(self.curve))

    def iterations_at(self, step: int) -> int:
        """Its own meta-iterations at a rung, as `maml_sweep.training.settings` counts them."""
        if self.setting("training.budget") != "tasks":
            return step
        reference = float(self.setting("training.reference_meta_batch_size", 1))
        batch = float(self.setting("training.meta_batch_size", 1))
        return max(1, round(step * (reference / batch)))

    @property
    def tasks(self) -> int | None:
        """Training tasks seen in those."""
        told: int | None = self.trial.user_attrs.get("tasks")
        batch = self.setting("training.meta_batch_size")
        if told is not None or self.iterations is None or batch is None:
            return told
        return self.iterations * int(batch)

    def setting(self, key: str, default: Any = None) -> Any:
        """What it trains with for one dotted key."""
        if key in self.values:
            return self.values[key]
        return lookup(self.config, key, default)

    def configuration(self) -> dict[str, Any]:
        """All that it trains with: its branch's configuration, its values put in."""
        config = deepcopy(dict(self.config))
        chosen = self.branch.choices if self.branch else {}
        for key, value in self.values.items():
            if key not in chosen:
                put(config, key, value)
        return config | {"trial_seed": self.trial.user_attrs.get("trial_seed")}


def merged(trials: Sequence[FrozenTrial], plan: Plan, space: Space) -> list[Slot]:
    """The slots of a study in their order."""
    found = by_slot(trials)
    return [_merge(slot, found[slot], plan, space) for slot in sorted(found)]


def lookup(config: Mapping[str, Any], key: str, default: Any = None) -> Any:
    """A dotted key's value in a configuration."""
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return default
        node = node[part]
    return node


def put(config: dict[str, Any], key: str, value: Any) -> None:
    """Sets a dotted key, making the mappings on the way to it where they lack."""
    *path, last = key.split(".")
    for part in path:
        below = config.get(part)
        config[part] = below if isinstance(below, dict) else {}
        config = config[part]
    config[last] = value


def _merge(slot: int, attempts: Attempts, plan: Plan, space: Space) -> Slot:
    trial = standing(attempts)
    values = space.values(drawn(attempts))
    branch = _branch(space, values)
    return Slot(
        slot=slot,
        trial=trial,
        state=slot_state(attempts, plan.max_retries),
        branch=branch,
        values=values,
        curve=dict(sorted(reported(attempts).items())),
        attempts=begun(attempts),
        config=plan.configs.get(branch.name if branch else "", plan.config),
    )


def _branch(space: Space, values: Mapping[str, Any]) -> Branch | None:
    """The branch that was drawn; killed before the last group was, there is none."""
    try:
        return space.branch(values) if values or not space.groups else None
    except InputError:
        return None
