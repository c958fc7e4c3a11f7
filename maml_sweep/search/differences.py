"""What a resumed sweep may change, and what else it was told to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from maml_sweep.errors import InputError
from maml_sweep.search.distributions import wording
from maml_sweep.search.space import Space
from maml_sweep.search.study import Plan

# What a resume may change: nothing here touches a trial's result.
FREE = (
    "workers",
    "workers_per_device",
    "pack",
    "device",
    "study.n_trials",
    "study.timeout",
    "study.tensorboard",
)
PLACE = ("study.name", "study.storage")  # where the study lies: it is found before it is compared


def key_of(override: str) -> str:
    """The key of an override string, `+` and `~` left out."""
    return override.partition("=")[0].lstrip("+~")


def is_free(key: str) -> bool:
    """Whether a setting may differ between a sweep and its resumption."""
    return any(key == each or key.startswith(f"{each}.") for each in (*FREE, *PLACE))


def comparable(cfg: DictConfig) -> dict[str, Any]:
    """The resolved configuration (without Hydra's node), less what a resume may change."""
    plain = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(plain, dict)
    for key in (*FREE, *PLACE):
        *parents, last = key.split(".")
        node = plain
        for parent in parents:
            node = node[parent]
        node.pop(last, None)
    return {str(key): value for key, value in plain.items()}


def refuse_differences(stored: Plan, given: Plan) -> None:
    """Refuses to resume a sweep under another configuration or space.

    Raises:
      InputError: the settings that differ, each with what is stored and what was given.
    """
    before, after = ({**flat(x.config), **_searched(x.space)} for x in (stored, given))
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    if keys:
        listed = "; ".join(f"{x}: {_show(before, x)} -> {_show(after, x)}" for x in sorted(keys))
        raise InputError(
            f"study.name={stored.name} exists with other settings ({listed}); resume it without "
            f"them, or choose another study.name"
        )


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found.update(flat(value, f"{prefix}{key}."))
        else:
            found[f"{prefix}{key}"] = value
    return found


def _searched(space: Mapping[str, Any]) -> dict[str, str]:
    """{"search of <key>": the distribution in words}, by branch where there are several."""
    return {
        " in ".join(filter(None, (f"search of {key}", branch.name))): wording(distribution)
        for branch in Space.from_description(space).branches
        for key, distribution in branch.distributions.items()
    }


def _show(values: Mapping[str, Any], key: str) -> str:
    return str(values[key]) if key in values else "absent"
