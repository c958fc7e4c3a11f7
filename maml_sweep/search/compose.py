"""Compositions of the configuration, with Hydra's refusals turned into one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from maml_sweep.errors import InputError
from maml_sweep.spelling import hint

_TYPES = {"IntegerNode": int, "FloatNode": float, "BooleanNode": bool, "StringNode": str}


@dataclass(frozen=True)
class Composer:
    """Composes the application's configuration as Hydra does for a job.

    Attributes:
      loader: Hydra's, with the application's search path.
      config_name: of the primary configuration.
      hydra_overrides: overrides of Hydra's own node.
    """

    loader: ConfigLoader
    config_name: str | None
    hydra_overrides: tuple[str, ...]

    def parse(self, overrides: Sequence[str]) -> list[Override]:
        """Reads overrides; those with a glob know the groups' options."""
        try:
            parser = OverridesParser.create(config_loader=self.loader)
            return parser.parse_overrides(list(overrides))
        except HydraException as error:
            raise InputError(one_line(error)) from None

    def compose(self, overrides: Sequence[str], mode: RunMode = RunMode.RUN) -> DictConfig:
        """The whole configuration, Hydra's node included.

        Raises:
          InputError: an unknown key or option, a wrong type.
        """
        try:
            return self.loader.load_configuration(
                self.config_name,
                [*self.hydra_overrides, *overrides],
                run_mode=mode,
                from_shell=False,
            )
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            raise InputError(one_line(error)) from None

    def files(self, group: str, overrides: Sequence[str]) -> list[str]:
        """The options of a group that a composition takes in, those that others name included."""
        taken = self.loader.compute_defaults_list(
            self.config_name, [*self.hydra_overrides, *overrides], RunMode.RUN
        )
        paths = [each.config_path or "" for each in taken.defaults]
        return [path.removeprefix(f"{group}/") for path in paths if path.startswith(f"{group}/")]

    def options(self, group: str) -> list[str]:
        """The options of a config group; empty if there is no such group."""
        return list(_options(self.loader, self.config_name, self.hydra_overrides, group))


@cache
def _options(
    loader: ConfigLoader, config_name: str | None, overrides: tuple[str, ...], group: str
) -> tuple[str, ...]:
    return tuple(
        loader.get_group_options(
            group, ObjectType.CONFIG, config_name=config_name, overrides=list(overrides)
        )
    )


def one_line(error: BaseException) -> str:
    """Hydra's message in one line: its first line and the first line of its cause."""
    lines = [str(error).strip().splitlines(), str(error.__cause__ or "").strip().splitlines()]
    parts = [each[0].strip().rstrip(".") for each in lines if each]
    return ": ".join(dict.fromkeys(parts))


def without_hydra(cfg: DictConfig) -> DictConfig:
    """A copy without Hydra's node, cheap to copy again."""
    with open_dict(cfg):
        hydra = cfg.pop("hydra")
    try:
        return deepcopy(cfg)
    finally:
        with open_dict(cfg):
            cfg.hydra = hydra


def leaves(cfg: DictConfig) -> Iterator[str]:
    """Every dotted key whose value is no mapping."""
    for name, value in cfg.items_ex(resolve=False):
        assert isinstance(name, str)
        if isinstance(value, DictConfig) and not (value._is_none() or value._is_missing()):
            yield from (f"{name}.{inner}" for inner in leaves(value))
        else:
            yield name


def has(cfg: DictConfig, key: str) -> bool:
    """Whether the configuration holds this dotted key."""
    head, _, rest = key.partition(".")
    if not OmegaConf.is_dict(cfg) or head not in list(cfg.keys()):
        return False
    return not rest or has(cfg._get_node(head), rest)  # type: ignore[arg-type]


def kind(cfg: DictConfig, key: str) -> type | None:
    """The type that the schema gives to a key; None where it leaves it open."""
    head, _, rest = key.partition(".")
    node = cfg._get_node(head)
    if rest:
        return kind(node, rest) if isinstance(node, DictConfig) else None
    if OmegaConf.is_list(node):
        return list
    return _TYPES.get(type(node).__name__)


def assign(cfg: DictConfig, key: str, value: Any, add: bool = False) -> None:
    """Sets one key of a composed configuration, checked by the schema.

    Raises:
      InputError: no such key, or a value of the wrong type.
    """
    if not add and not has(cfg, key):
        raise InputError(f"{key}: no such setting{hint(key, leaves(cfg))}; see --cfg job")
    try:
        OmegaConf.update(cfg, key, value, force_add=add)
    except OmegaConfBaseException as error:
        raise InputError(f"{key}={value}: {one_line(error)}") from None
