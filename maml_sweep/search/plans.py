"""From a command line to the plan of a sweep; nothing is written here."""

from __future__ import annotations

import platform
import random
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from maml_sweep.build import components
from maml_sweep.checks import number, positive
from maml_sweep.errors import InputError
from maml_sweep.search import pruners, samplers
from maml_sweep.search.branches import build_space
from maml_sweep.search.command import Command
from maml_sweep.search.compose import Composer, one_line, without_hydra
from maml_sweep.search.differences import PLACE, comparable, is_free, key_of
from maml_sweep.search.space import Space
from maml_sweep.search.study import Plan
from maml_sweep.spelling import hint

_PACKAGES = ("maml_sweep", "hydra-core", "optuna", "tensorflow", "numpy")


def make_plan(composer: Composer, arguments: Sequence[str], name: str) -> Plan:
    """Reads and checks everything that a sweep is told.

    Args:
      composer: composes the application's configuration.
      arguments: the command line's task overrides, fixed and swept.
      name: the study's.

    Raises:
      InputError: whatever is wrong.
    """
    command = Command.read(composer, arguments)
    cfg = composer.compose(command.fixed)
    _refuse_unknown_search(composer, command)
    check_sweep(cfg)
    judge = _Judge()
    space, compositions = build_space(composer, command, judge.check)
    enqueue = _enqueued(cfg, space)
    n_trials = cfg.study.n_trials
    if cfg.sampler.get("_target_") == "optuna.samplers.GridSampler":
        enqueue = _with_grid(enqueue, space, cfg)
        n_trials = min(n_trials, len(enqueue))
    return Plan(
        name=name,
        direction=judge.direction,
        metric=judge.metric,
        n_trials=n_trials,
        seed=cfg.seed,
        repeats=cfg.study.repeats,
        max_retries=cfg.study.max_retries,
        overrides=[x for x in (*composer.hydra_overrides, *arguments) if key_of(x) not in PLACE],
        fixed=[x for x in command.fixed if not is_free(key_of(x))],
        config=comparable(without_hydra(cfg)),
        configs={name: comparable(each) for name, each in compositions.items()},
        space=space.describe(),
        enqueue=enqueue,
        versions=dict(_versions()),
    )


class _Judge:
    """Checks compositions, and that their tasks all measure the same thing."""

    def __init__(self) -> None:
        self.metric = ""
        self.direction = ""

    def check(self, cfg: DictConfig) -> None:
        task = components(cfg).task
        if not self.metric:
            self.metric, self.direction = task.metric, task.direction
        if (self.metric, self.direction) != (task.metric, task.direction):
            raise InputError(
                f"task: one sweep needs one objective, got {self.metric} ({self.direction}) and "
                f"{task.metric} ({task.direction}); sweep each task by itself"
            )


def check_sweep(cfg: DictConfig) -> None:
    """Checks the settings that belong to the sweep instead of a trial.

    Raises:
      InputError: a count below one and the like, or a sampler or pruner that cannot be built.
    """
    for key in ("study.n_trials", "study.repeats", "workers", "workers_per_device"):
        positive(key, OmegaConf.select(cfg, key))
    for key in ("size", "teams"):
        value = cfg.pack[key]
        if value != "auto" and (isinstance(value, str) or value < 1):
            raise InputError(f"pack.{key}={value}: expected auto or an integer of at least 1")
    number("study.max_retries", cfg.study.max_retries, least=0)
    if cfg.study.timeout is not None:
        number("study.timeout", cfg.study.timeout, above=0)
    samplers.build(cfg.sampler, cfg.seed, 0)
    try:
        pruners.build(instantiate(cfg.pruner))
    except InstantiationException as error:
        if isinstance(error.__cause__, InputError):
            raise error.__cause__ from None
        raise InputError(f"pruner: {one_line(error)}") from None


def _refuse_unknown_search(composer: Composer, command: Command) -> None:
    """The entry is optional, for tasks without a search; a file that was named must exist."""
    known = composer.options("search")
    for override in composer.parse(command.fixed):
        value = override.value() if override.key_or_group == "search" else None
        for name in value if isinstance(value, list) else [value]:
            if name is not None and name not in known:
                near = hint(name, known)
                raise InputError(f"search={name}: expected one of {', '.join(known)}{near}")


def _enqueued(cfg: DictConfig, space: Space) -> list[dict[str, Any]]:
    """The user's warm starts as stored parameters."""
    stored = []
    for index, values in enumerate(cfg.study.enqueue):
        given = {str(key): value for key, value in values.items()}
        try:
            stored.append(space.stored(given))
        except InputError as error:
            raise InputError(f"study.enqueue[{index}]: {error}") from None
    if len(stored) > cfg.study.n_trials:
        raise InputError(
            f"study.enqueue: {len(stored)} sets of parameters for study.n_trials="
            f"{cfg.study.n_trials}; raise it to at least {len(stored)}"
        )
    return stored


def _with_grid(
    enqueue: list[dict[str, Any]], space: Space, cfg: DictConfig
) -> list[dict[str, Any]]:
    """The warm starts, then the grid's other points; shuffled if the budget cuts them short."""
    points = [point for point in space.grid() if point not in enqueue]
    if len(enqueue) + len(points) > cfg.study.n_trials:
        random.Random(cfg.seed).shuffle(points)  # else a key's first values would be favoured
    return enqueue + points


def _versions() -> Iterator[tuple[str, str]]:
    yield "python", platform.python_version()
    for package in _PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            continue  # run from a source tree, or TensorFlow under another name
