"""What the sweeper does: creates or resumes a study, and has Hydra's launcher start its workers."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from maml_sweep.errors import InputError
from maml_sweep.search import launchers, place, records, study
from maml_sweep.search.compose import Composer
from maml_sweep.search.crew import INTERRUPTED, Crew, Launch, Outcome, look
from maml_sweep.search.differences import key_of, refuse_differences
from maml_sweep.search.errand import for_launcher, storage_of
from maml_sweep.search.launchers import SCHEDULERS
from maml_sweep.search.plans import make_plan
from maml_sweep.search.slots import tally
from maml_sweep.search.study import Plan
from maml_sweep.training.devices import available_cores

log = logging.getLogger(__name__)

HERE = {launchers.BASIC, launchers.LOCAL, "joblib"}  # their workers share this machine out


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
      SystemExit: 2 and one line on stderr if the input is wrong; 130 if it was interrupted, its
        state kept; 1 and one line if workers died too often.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # we say ourselves what happens
    try:
        launch = prepare(arguments, config, context, root)
        outcome = _run(launch, context)
    except InputError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None  # an Exception would end in Hydra's traceback
    except KeyboardInterrupt:  # before there is a study
        raise SystemExit(INTERRUPTED) from None
    from maml_sweep.search.conclusion import conclude  # late: a refusal needs nothing of it

    conclude(launch.plan.name, launch.url, launch.folder)
    _say_end(outcome, launch)
    return outcome.returns


def _run(launch: Launch, context: HydraContext) -> Outcome:
    """The workers' course, an interruption told to the user.

    Raises:
      InputError: the launcher could not start any, or what they were given is wrong.
      SystemExit: 130 if the sweep was interrupted.
    """
    try:
        outcome = Crew(launch, context).run()
    except KeyboardInterrupt:  # a worker of ours does not raise it: it runs elsewhere
        raise _interrupted(launch) from None
    except SystemExit as stop:
        raise (_interrupted(launch) if stop.code == INTERRUPTED else stop) from None
    if look(launch).open:
        if outcome.refused is not None:
            raise outcome.refused
        if outcome.interrupted:
            raise _interrupted(launch)
    return outcome


def _interrupted(launch: Launch) -> SystemExit:
    from maml_sweep.search import progress  # late, as it knows rich

    opened = study.open_study(launch.url, launch.plan.name)
    counts = tally(opened.get_trials(deepcopy=False), launch.plan.max_retries)
    progress.say_interrupted(launch.plan.name, counts, launch.folder, launch.url)
    if launch.launcher in SCHEDULERS:
        print(f"jobs that {launch.launcher} started already go on until you cancel them there")
    return SystemExit(INTERRUPTED)


def _say_end(outcome: Outcome, launch: Launch) -> None:
    """Says who died and whether that cost anything, and who is still at work.

    Raises:
      SystemExit: 1 if slots are left because workers died.
    """
    died = [*outcome.failures, *([str(outcome.refused)] if outcome.refused else [])]
    now = look(launch)
    if now.open and now.live:
        print(f"{_count(now.open - now.free, 'slot')} are with "
              f"{_count(now.live, 'other worker')}, which go on")  # fmt: skip
    if not died:
        return
    last = f"{_count(len(died), 'worker')} died, the last of: {died[-1]}"
    where = launch.folder / "workers"
    if now.open == 0:
        print(f"{last}; the others did their work (logs: {where})", file=sys.stderr)
    elif now.free:
        left = f"{launch.plan.name}: {_count(now.free, 'slot')} are left"
        print(f"{left}; {last}; logs: {where}", file=sys.stderr)
        raise SystemExit(1)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


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
    url = study.storage_url(storage_of(config), folder)
    if not study.exists(url, name):
        _refuse_unwritable(folder)
        _refuse_workers(config, hydra_overrides)
        plan = make_plan(composer, arguments, name)
        try:
            _create(url, plan, folder)
            return Launch(for_launcher(config, folder), plan, folder, url)
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
    hydras = _followed(_of_here(hydras, composer.hydra_overrides), composer.hydra_overrides)
    composer = Composer(composer.loader, composer.config_name, tuple(hydras))
    both = _followed(tasks, arguments)
    config = composer.compose(both, RunMode.MULTIRUN)
    _refuse_workers(config, hydras)
    given = make_plan(composer, both, name)
    refuse_differences(stored, given)
    _make_files(stored, folder)
    if any(key_of(x) == "study.n_trials" for x in arguments):
        study.extend(url, name, given.n_trials, folder)
    return Launch(for_launcher(config, folder), study.load_plan(url, name), folder, url)


def _of_here(stored: list[str], given: Sequence[str]) -> list[str]:
    """The stored overrides of Hydra's node, without a launcher that does not fit here and now.

    It gives way, its settings too, to one that is named now; and to ours where it is not installed
    (on another machine than the one that it was chosen for) or is Hydra's own basic one.
    """
    name = launchers.named(stored)
    if launchers.named(given) is None and (
        name is None or (launchers.installed(name) and name != launchers.BASIC)
    ):
        return stored
    if launchers.named(given) is None and name != launchers.BASIC:
        log.warning("hydra/launcher=%s, with which the sweep began, is not installed here", name)
    ours = (launchers.GROUP, "hydra.launcher")
    return [x for x in stored if not key_of(x).startswith(ours)]


def _make_files(plan: Plan, folder: Path) -> None:
    """The folder of a sweep that this machine joins, with what tells people what it is."""
    study.make_folder(folder)
    if not (folder / records.SWEEP).exists():
        records.write_sweep(plan, folder)


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


def _refuse_workers(config: DictConfig, hydra_overrides: Sequence[str]) -> None:
    """Refuses workers that would find nothing to do or nothing to do it on.

    More workers than cores are only warned of: they are slower than fewer, but they work.
    """
    launchers.refuse_absent(config.hydra.launcher)
    launcher = launchers.kind(config.hydra.launcher)
    if config.workers == 1 or launcher not in HERE:
        return
    if launcher == launchers.BASIC and launchers.named(hydra_overrides) == launchers.BASIC:
        raise InputError(
            f"workers={config.workers}: hydra/launcher=basic runs them one after another, and the "
            f"second would find no work; leave it out (then hydra/launcher=local starts them side "
            f"by side), or set workers=1"
        )
    devices = len(place.visible())
    if devices and config.workers > devices * config.workers_per_device:
        raise InputError(
            f"workers={config.workers}: {devices} GPU{'s' if devices > 1 else ''} here and "
            f"workers_per_device={config.workers_per_device} serve "
            f"{devices * config.workers_per_device}; lower workers or raise workers_per_device"
        )
    cores = available_cores()
    if not devices and config.workers > cores:
        log.warning("workers=%d share %d core%s here: fewer would be faster",
                    config.workers, cores, "s" if cores > 1 else "")  # fmt: skip
