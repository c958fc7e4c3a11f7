"""What a sweep searches: branches of config groups, each with its own distributions.

Optuna draws the groups first, then the parameters of the branch they lead to. It refuses one name
with two kinds or scales; such a parameter is stored as `key@branch`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    distribution_to_json,
    json_to_distribution,
)

from maml_sweep.errors import InputError
from maml_sweep.search import storage
from maml_sweep.search.distributions import every, fitting, kind, suggest, widest
from maml_sweep.search.grammar import text
from maml_sweep.spelling import hint


@dataclass(frozen=True)
class Branch:
    """One combination of the swept groups' options.

    Attributes:
      name: the options joined by commas; empty if no group is swept.
      choices: group -> option.
      distributions: config key -> distribution.
      structured: keys whose categories are lists or dictionaries, written as JSON.
    """

    name: str
    choices: Mapping[str, str]
    distributions: Mapping[str, BaseDistribution]
    structured: frozenset[str] = frozenset()

    def value(self, key: str, drawn: Any) -> Any:
        """What Optuna drew as the value that the configuration takes."""
        return json.loads(drawn) if key in self.structured else drawn

    def drawn(self, key: str, value: Any) -> Any:
        """The inverse of `value`, checked.

        Raises:
          InputError: the value lies outside the distribution.
        """
        listed = json.dumps(value) if key in self.structured else value
        return fitting(key, listed, self.distributions[key])


@dataclass(frozen=True)
class Space:
    """Every branch of a sweep.

    Attributes:
      branches: in the order of the groups' options.
      prefixes: key or group -> "+" where the configuration lacks it and it is to be added.
    """

    branches: tuple[Branch, ...]
    prefixes: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def groups(self) -> dict[str, list[str]]:
        """Swept group -> its options, both in the order given."""
        return {
            group: list(dict.fromkeys(branch.choices[group] for branch in self.branches))
            for group in self.branches[0].choices
        }

    @cached_property
    def _split(self) -> frozenset[str]:
        """Keys whose kind or scale differs between branches."""
        found: dict[str, set[str]] = {}
        for branch in self.branches:
            for key, distribution in branch.distributions.items():
                found.setdefault(key, set()).add(kind(distribution))
        return frozenset(key for key, kinds in found.items() if len(kinds) > 1)

    def _name(self, branch: Branch, key: str) -> str:
        return f"{key}@{branch.name}" if key in self._split else key

    def _named(self) -> Iterator[tuple[str, Branch, str]]:
        """(stored name, branch, key) of every parameter."""
        for branch in self.branches:
            for key in branch.distributions:
                yield self._name(branch, key), branch, key

    def branch(self, values: Mapping[str, Any]) -> Branch:
        """The branch that the groups among `values` choose.

        Raises:
          InputError: a group's choice is missing or no option of the sweep.
        """
        for group, options in self.groups.items():
            if values.get(group) not in options:
                got = values.get(group, "nothing")
                wanted = ", ".join(options)
                raise InputError(
                    f"{group}: expected one of {wanted}, got {got}{hint(got, options)}"
                )
        chosen = {group: values[group] for group in self.groups}
        return next(branch for branch in self.branches if branch.choices == chosen)

    def suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        """Draws the groups, then that branch's parameters: {group or config key: value}."""
        with storage.at_once(trial):
            values: dict[str, Any] = {
                group: trial.suggest_categorical(group, options)
                for group, options in self.groups.items()
            }
            branch = self.branch(values)
            for key, distribution in branch.distributions.items():
                drawn = suggest(trial, self._name(branch, key), distribution)
                values[key] = branch.value(key, drawn)
        return values

    def overrides(self, values: Mapping[str, Any]) -> list[str]:
        """Hydra's overrides that set these values, groups first."""
        ordered = [key for key in self.groups if key in values]
        ordered += [key for key in values if key not in self.groups]
        return [f"{self.prefixes.get(key, '')}{key}={text(values[key])}" for key in ordered]

    def stored(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Config keys to the names and values that Optuna stores; parameters may be left out.

        Raises:
          InputError: an unknown name, a missing group, a value outside the space.
        """
        known = {*self.groups, *(key for _, _, key in self._named())}
        for key in values:
            if key not in known:
                raise InputError(f"{key} is not searched{hint(key, known)}: {_list(known)} are")
        branch = self.branch(values)
        params: dict[str, Any] = {group: values[group] for group in self.groups}
        for key, value in values.items():
            if key in branch.distributions:
                params[self._name(branch, key)] = branch.drawn(key, value)
            elif key not in self.groups:
                raise InputError(f"{key} is not searched where {_list(branch.choices.values())} is")
        return params

    def values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Stored names to config keys, the inverse of `stored`."""
        keys = {name: (branch, key) for name, branch, key in self._named()}
        values: dict[str, Any] = {}
        for name, drawn in params.items():
            branch, key = keys.get(name, (None, name))
            values[key] = branch.value(key, drawn) if branch else drawn
        return values

    def grid(self) -> list[dict[str, Any]]:
        """Every point as stored parameters.

        Raises:
          InputError: a parameter has infinitely many values.
        """
        points: list[dict[str, Any]] = []
        for branch in self.branches:
            axes = [every(key, each) for key, each in branch.distributions.items()]
            names = [self._name(branch, key) for key in branch.distributions]
            points += [
                {**branch.choices, **dict(zip(names, point, strict=True))}
                for point in itertools.product(*axes)
            ]
        return points

    def distributions(self) -> dict[str, BaseDistribution]:
        """Every stored name; where only the bounds differ between branches, the widest."""
        found: dict[str, BaseDistribution] = {
            group: CategoricalDistribution(options) for group, options in self.groups.items()
        }
        for name, branch, key in self._named():
            distribution = branch.distributions[key]
            found[name] = widest(found.get(name, distribution), distribution)
        return found

    def upper(self, key: str, values: Mapping[str, Any]) -> Any | None:
        """The largest value of `key` in these values' branch; None if it is not searched there."""
        distribution = self.branch(values).distributions.get(key)
        if isinstance(distribution, CategoricalDistribution):
            numbers = [x for x in distribution.choices if isinstance(x, int | float)]
            return max(numbers, default=None)
        return getattr(distribution, "high", None)

    def describe(self) -> dict[str, Any]:
        """The space as JSON can hold it; equal for equal spaces."""
        return {
            "prefixes": dict(self.prefixes),
            "branches": [
                {
                    "name": branch.name,
                    "choices": dict(branch.choices),
                    "parameters": {
                        key: json.loads(distribution_to_json(distribution))
                        for key, distribution in branch.distributions.items()
                    },
                    "structured": sorted(branch.structured),
                }
                for branch in self.branches
            ],
        }

    @classmethod
    def from_description(cls, d: Mapping[str, Any]) -> Space:
        """The inverse of `describe`."""
        branches = (
            Branch(
                each["name"],
                each["choices"],
                {key: json_to_distribution(json.dumps(x)) for key, x in each["parameters"].items()},
                frozenset(each["structured"]),
            )
            for each in d["branches"]
        )
        return cls(tuple(branches), d["prefixes"])


def _list(names: Any) -> str:
    return ", ".join(sorted(names))
