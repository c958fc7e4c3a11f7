"""The application's configuration, composed inside the test's own process."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

import maml_sweep.config  # noqa: F401  (registers the schema)
from maml_sweep.search.branches import build_space
from maml_sweep.search.command import Command
from maml_sweep.search.compose import Composer
from maml_sweep.search.space import Space

ROOT = Path(__file__).parent.parent


@cache
def _loader() -> ConfigLoader:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return GlobalHydra.instance().config_loader()


def composer(*hydra_overrides: str) -> Composer:
    """A composer over conf/."""
    return Composer(_loader(), "config", hydra_overrides)


def unchecked(cfg: DictConfig) -> None:
    """Accepts every value: for tests of the grammar and the schema alone."""


def space(*arguments: str, hydra_overrides: Sequence[str] = ()) -> Space:
    """The space of a command line."""
    composing = composer(*hydra_overrides)
    return build_space(composing, Command.read(composing, arguments), unchecked)[0]
