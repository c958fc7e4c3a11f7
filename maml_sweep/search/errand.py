"""What a worker is sent with: overrides, and the storage without its password.

Launchers write what they hand to their jobs into files and command lines. So a storage's URL that
holds a password travels in the environment, which processes, Slurm and joblib pass on; only Ray
does not, and keeps what it hands over in memory.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from maml_sweep.errors import InputError
from maml_sweep.search import launchers
from maml_sweep.search.compose import one_line
from maml_sweep.search.differences import FREE, key_of
from maml_sweep.search.grammar import text
from maml_sweep.search.storage import masked
from maml_sweep.search.study import Plan

STORAGE = "MAML_SWEEP_STORAGE"  # environment variable: the URL of the study's storage


def overrides(config: DictConfig, plan: Plan, folder: Path) -> list[str]:
    """A worker's command line: what every trial has, then what this launch decides.

    Args:
      config: see `for_launcher`.
      plan: the sweep's.
      folder: the study's.
    """
    free = [f"{key}={text(value)}" for key, value in _free_values(config)]
    place = [f"study.name={text(plan.name)}", f"study.n_trials={plan.n_trials}"]
    if _written(config) is not None:
        place.append(f"study.storage={text(_written(config))}")
    if launchers.kind(config.hydra.launcher) == launchers.RAY:
        folder = folder.resolve()  # its workers start where Ray was started
    hydra = [f"hydra.sweep.dir={text(str(folder))}"]
    hydra.append("hydra.sweep.subdir=workers/${hydra.job.num}")
    hydra.append("hydra.output_subdir=null")  # sweep.yaml says all that a .hydra folder would
    return [*plan.fixed, *free, *place, *hydra]


def _free_values(config: DictConfig) -> list[tuple[str, Any]]:
    """(key, value) of each leaf that a resume may change."""
    pairs: list[tuple[str, Any]] = []
    for key in FREE:
        if key == "study.n_trials":
            continue  # the study knows better: it may have been raised meanwhile
        value = OmegaConf.select(config, key)
        leaves = value.items() if OmegaConf.is_dict(value) else [(None, value)]
        pairs += [(f"{key}.{name}" if name else key, leaf) for name, leaf in leaves]
    return pairs


def storage_of(config: DictConfig) -> str | None:
    """`study.storage`, with what it takes from the environment.

    Raises:
      InputError: it names a variable that is not set.
    """
    try:
        value = config.study.storage
    except OmegaConfBaseException as error:
        raise InputError(f"study.storage: {one_line(error)}; set it, or give the URL") from None
    return None if value is None else str(value)


def for_launcher(
    config: DictConfig, folder: Path, environ: MutableMapping[str, str] = os.environ
) -> DictConfig:
    """The composition as the launcher reads it: who starts workers, where they run, no password.

    Hydra's own log is for warnings.

    Args:
      config: the composition, Hydra's node included; not changed.
      folder: the study's.
      environ: gets the storage's URL if that holds a password.
    """
    config = deepcopy(config)
    with open_dict(config):
        if launchers.takes_local(config):
            _take_local(config)
            config.hydra.launcher.n_jobs = config.hydra.launcher.n_jobs or config.workers
        if launchers.kind(config.hydra.launcher) == launchers.RAY:
            _leave_store_alone(config)
        config.hydra.sweep.dir = str(folder)
        config.hydra.sweep.subdir = "workers/${hydra.job.num}"
        if OmegaConf.select(config, "hydra.hydra_logging.root.level"):
            config.hydra.hydra_logging.root.level = "WARNING"
        _hide_password(config, environ)
    return config


def _take_local(config: DictConfig) -> None:
    """Our launcher even if none was named. Jobs compose their configuration with it, too."""
    if launchers.kind(config.hydra.launcher) == launchers.LOCAL:
        return
    choice = f"{launchers.GROUP}={launchers.LOCAL}"
    config.hydra.launcher = ConfigStore.instance().load(f"{launchers.GROUP}/local.yaml").node
    if config.workers == 1:
        config.hydra.launcher.restarts = 0  # what fails alone would fail again
    config.hydra.overrides.hydra.append(choice)
    config.hydra.runtime.choices[launchers.GROUP] = launchers.LOCAL


def _leave_store_alone(config: DictConfig) -> None:
    """A cluster that runs has its object store; the launcher would ask it for one of 75 MiB."""
    init = config.hydra.launcher.ray.init
    if init.get("address") is not None:
        init.setdefault("object_store_memory", None)


def _hide_password(config: DictConfig, environ: MutableMapping[str, str]) -> None:
    url = storage_of(config)
    if url is None:
        return
    if launchers.kind(config.hydra.launcher) == launchers.RAY:
        config.study.storage = url
        return
    if masked(_written(config) or "") != _written(config):
        environ[STORAGE] = url
        config.study.storage = f"${{oc.env:{STORAGE}}}"
    said = [x for x in config.hydra.overrides.task if key_of(x) != "study.storage"]
    config.hydra.overrides.task = said
    config.hydra.job.override_dirname = ",".join(said)


def _written(config: DictConfig) -> str | None:
    """`study.storage` as it was written: a reference to the environment stays one."""
    node = OmegaConf.to_container(config.study, resolve=False)
    assert isinstance(node, dict)
    value = node["storage"]
    return None if value is None else str(value)
