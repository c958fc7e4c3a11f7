"""Plans of sweeps that nobody typed: a space from expressions, the sinusoid's configuration."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from optuna.distributions import BaseDistribution
from simulated import BATCH, META_RATE, RATE, STEPS

from maml_sweep.search.grammar import choices, distribution
from maml_sweep.search.space import Branch, Space
from maml_sweep.search.study import Plan

Expressions = Mapping[str, str | BaseDistribution]
FOUR = {
    RATE: "tag(log, interval(1e-3, 1e-1))",
    STEPS: "range(1, 6)",
    META_RATE: "tag(log, interval(3e-4, 1e-2))",
    BATCH: "tag(log, int(interval(8, 64)))",
}
CONFIG: dict[str, Any] = {
    "seed": 0,
    "trial_seed": None,
    "task": {
        "_target_": "maml_sweep.tasks.Sinusoid",
        "shots": 10,
        "queries": 10,
        "amplitude": [0.1, 5.0],
        "phase": [0.0, math.pi],
        "domain": [-5.0, 5.0],
    },
    "model": {"_target_": "maml_sweep.models.MLP", "widths": [40, 40], "activation": "relu"},
    "algorithm": {
        "_target_": "maml_sweep.algorithms.MAML",
        "inner_lr": 0.01,
        "inner_steps": 1,
        "first_order": False,
        "inner_clip": None,
    },
    "optimizer": {
        "kind": "adam",
        "meta_lr": 0.001,
        "schedule": "constant",
        "clip": None,
        "beta1": 0.9,
        "beta2": 0.999,
        "epsilon": 1e-08,
    },
    "training": {
        "meta_batch_size": 25,
        "iterations": 2000,
        "budget": "iterations",
        "reference_meta_batch_size": 25,
        "report_every": 100,
        "validation_tasks": 200,
        "eval_steps": None,
        "test": False,
        "test_tasks": 600,
        "precision": "float32",
        "max_loss": 100000000.0,
    },
    "study": {"repeats": 1, "enqueue": [], "max_retries": 3},
    "sampler": {"_target_": "optuna.samplers.RandomSampler"},
    "pruner": {
        "_target_": "maml_sweep.search.pruners.RungPruner",
        "iterations": 2000,
        "grace": 0.12,
        "keep": 0.2,
        "smooth": 2,
    },
}


def make_space(space: Expressions, groups: Mapping[str, Mapping[str, Expressions]]) -> Space:
    """Branches for every combination of the groups' options."""
    branches = []
    for options in itertools.product(*groups.values()):
        picks = dict(zip(groups, options, strict=True))
        searched = dict(space)
        for group, option in picks.items():
            searched |= groups[group][option]
        each = {key: _distribution(key, value) for key, value in searched.items()}
        structured = frozenset(key for key, value in searched.items() if _is_structured(key, value))
        branches.append(Branch(",".join(options), picks, each, structured))
    return Space(tuple(branches))


def trained_with(plan: Plan, space: Space, values: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of one point's branch with its values put in."""
    config = deepcopy(plan.configs[space.branch(values).name])
    for key, value in values.items():
        if key in space.groups:
            continue
        *path, last = key.split(".")
        node = config
        for part in path:
            node = node.setdefault(part, {})
        node[last] = value
    return config


def _distribution(key: str, expression: str | BaseDistribution) -> BaseDistribution:
    if isinstance(expression, BaseDistribution):
        return expression
    return distribution(_override(key, expression), None)


def _is_structured(key: str, expression: str | BaseDistribution) -> bool:
    """Whether lists or dictionaries are among the choices."""
    if isinstance(expression, BaseDistribution):
        return False
    override = _override(key, expression)
    return override.is_choice_sweep() and any(isinstance(x, list | dict) for x in choices(override))


def _override(key: str, expression: str) -> Override:
    return OverridesParser.create().parse_override(f"{key}={expression}")


def make_plan(config: dict[str, Any], space: Space, **other: Any) -> Plan:
    """A plan with the rest filled in; each branch has the same configuration."""
    values: dict[str, Any] = {
        "repeats": 1,
        "max_retries": 3,
        "overrides": [],
        "fixed": [],
        "config": config,
        "configs": {branch.name: config for branch in space.branches},
        "space": space.describe(),
        "enqueue": [],
        "versions": {"python": "3.11.2", "maml_sweep": "0.2.0", "optuna": optuna.__version__},
    }
    return Plan(**(values | other))
