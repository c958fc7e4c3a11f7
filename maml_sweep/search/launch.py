"""What the sweeper does: creates or resumes a study, and has Hydra's launcher start its workers."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from maml_sweep.errors import InputError
from maml_sweep.search import records, study
from maml_sweep.search.compose import Composer
from maml_sweep.search.differences import FREE, key_of, refuse_differences
from maml_sweep.search.grammar import text
from maml_sweep.search.plans import make_plan
from maml_sweep.search.study import Plan


@dataclass(frozen=True)
class Launch:
    """A study that stands, and how its workers are to be started.

    Attributes:
      config: the composition for the launcher, Hydra's node included.
      plan: what the study was created with.
      folder: of the study's files.
      url: of the study's storage.
    """

    config: DictConfig
    plan: Plan
    folder: Path
    url: str


def sweep(arguments: Sequence[str], config: DictConfig, context: HydraContext, root: str) -> Any:
    """Runs a sweep until its workers have stopped.

    Args:
      arguments: the command line's task overrides.
      config: the composition without the swept ones.
      context: Hydra's loader and callbacks.
      root: the folder of the studies' folders.

    Returns:
      What each worker returned.

    Raises:
      SystemExit: 2 and one line on stderr if the input is wrong; what a worker exits with.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # we say ourselves what happens
    try:
        launch = prepare(arguments, config, context, root)
        returns = _run(launch, context)
    except InputError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None  # an Exception would end in Hydra's traceback
    except KeyboardInterrupt:  # before a worker listens for it, or while it runs elsewhere
        raise SystemExit(130) from None
    from maml_sweep.search.worker import conclude  # late: a refusal needs nothing of it

    conclude(launch.plan.name, launch.url, launch.folder)
    return returns


def prepare(
    arguments: Sequence[str], config: DictConfig, context: HydraContext, root: str
) -> Launch:
    """Checks the command line and creates the study, or finds it.

    Raises:
      InputError: anything wrong; then no study was written.
    """
    hydra_overrides = [x for x in config.hydra.overrides.hydra if key_of(x) != "hydra.mode"]
    if any(key_of(x).startswith("hydra.sweep.") for x in hydra_overrides):
        raise InputError(
            "hydra.sweep: a sweep's folder is hydra.sweeper.root/<study.name>; set these instead"
        )
    composer = Composer(context.config_loader, config.hydra.job.config_name, tuple(hydra_overrides))
    name = _new_name(config) if config.study.name is None else config.study.name
    folder = study.folder(root, name)
    url = study.storage_url(config.study.storage, folder)
    if not study.exists(url, name):
        _refuse_unwritable(folder)
        _refuse_workers_in_turn(config)
        plan = make_plan(composer, arguments, name)
        try:
            _create(url, plan, folder)
            return Launch(_for_launcher(config, folder), plan, folder, url)
        except InputError:
            if not study.exists(url, name):  # else another process was faster: join its study
                raise
    return _resume(composer, arguments, name, url, folder)


def _create(url: str, plan: Plan, folder: Path) -> None:
    study.create(url, plan, folder)
    records.write_sweep(plan, folder)


def _new_name(config: DictConfig) -> str:
    """<task>-<model>-<algorithm>-<time>; a swept group goes by its default option."""
    choices = config.hydra.runtime.choices
    parts = [str(choices[group]) for group in ("task", "model", "algorithm")]
    return "-".join([*parts, datetime.now().strftime("%Y%m%d-%H%M%S")]).replace("/", "-")


def _resume(
    composer: Composer, arguments: Sequence[str], name: str, url: str, folder: Path
) -> Launch:
    """Joins a study under its stored command line followed by the new one.

    Raises:
      InputError: the two disagree about more than a resume may change.
    """
    stored = study.load_plan(url, name)
    hydras = [x for x in stored.overrides if key_of(x).startswith("hydra")]
    tasks = [x for x in stored.overrides if x not in hydras]
    if any(key_of(x) == "hydra/launcher" for x in composer.hydra_overrides):
        hydras = [x for x in hydras if not key_of(x).startswith("hydra.launcher")]
    hydras = _followed(hydras, composer.hydra_overrides)
    composer = Composer(composer.loader, composer.config_name, tuple(hydras))
    both = _followed(tasks, arguments)
    config = composer.compose(both, RunMode.MULTIRUN)
    _refuse_workers_in_turn(config)
    given = make_plan(composer, both, name)
    refuse_differences(stored, given)
    if any(key_of(x) == "study.n_trials" for x in arguments):
        study.extend(url, name, given.n_trials, folder)
    return Launch(_for_launcher(config, folder), study.load_plan(url, name), folder, url)


def _followed(stored: Sequence[str], given: Sequence[str]) -> list[str]:
    """The stored overrides, then the new ones; what is said again stands once (`+x=1` must)."""
    return [*(x for x in stored if x not in given), *given]


def _refuse_unwritable(folder: Path) -> None:
    """Refuses a folder that cannot be made or written to, without making it."""
    parent = folder
    while not os.path.exists(parent):
        parent = parent.parent
    try:
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise InputError(
            f"hydra.sweeper.root: cannot write to {parent} ({error.strerror}); choose another "
            f"folder, such as hydra.sweeper.root=/tmp/outputs"
        ) from None


def _refuse_workers_in_turn(config: DictConfig) -> None:
    """Hydra's basic launcher runs jobs one after another: its second worker would find no work."""
    if config.workers > 1 and str(config.hydra.launcher._target_).endswith(".BasicLauncher"):
        raise InputError(
            f"workers={config.workers}: Hydra's basic launcher runs one after another; add "
            f"hydra/launcher=joblib (pip install hydra-joblib-launcher) or leave workers=1"
        )


def _for_launcher(config: DictConfig, folder: Path) -> DictConfig:
    """The composition as the launcher reads it: where jobs run; its own log is for warnings."""
    config = deepcopy(config)
    with open_dict(config):
        config.hydra.sweep.dir = str(folder)
        config.hydra.sweep.subdir = "workers/${hydra.job.num}"
        if OmegaConf.select(config, "hydra.hydra_logging.root.level"):
            config.hydra.hydra_logging.root.level = "WARNING"
    return config


def _run(launch: Launch, context: HydraContext) -> list[Any]:
    """One launch of all workers; their results in order."""
    from maml_sweep.search.worker import work

    launcher = Plugins.instance().instantiate_launcher(
        task_function=work, config=launch.config, hydra_context=context
    )
    jobs = [_overrides(launch)] * launch.config.workers
    results = launcher.launch(jobs, initial_job_idx=0)
    for result in results:
        if isinstance(result._return_value, InputError):
            raise result._return_value
    return [result.return_value for result in results]  # raises what a worker raised


def _overrides(launch: Launch) -> list[str]:
    """A worker's command line: what every trial has, then what this launch decides."""
    free = [f"{key}={text(value)}" for key, value in _free_values(launch.config)]
    place = [f"study.name={text(launch.plan.name)}", f"study.n_trials={launch.plan.n_trials}"]
    if launch.config.study.storage is not None:
        place.append(f"study.storage={text(launch.config.study.storage)}")
    folders = [f"hydra.sweep.dir={text(str(launch.folder))}"]
    folders.append("hydra.sweep.subdir=workers/${hydra.job.num}")
    return [*launch.plan.fixed, *free, *place, *folders]


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
