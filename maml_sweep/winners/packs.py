"""All fresh trainings of a structure in one pack, checkpointed wherever they stop."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from omegaconf import OmegaConf

from maml_sweep import build, streams
from maml_sweep.backend import tf
from maml_sweep.build import Components, Structure
from maml_sweep.errors import InputError
from maml_sweep.search.study import Plan
from maml_sweep.tasks.base import Task
from maml_sweep.training import checkpoint, trial
from maml_sweep.training.devices import Device
from maml_sweep.training.pack import Trainer
from maml_sweep.training.program import Program
from maml_sweep.training.trial import Trial
from maml_sweep.winners.choice import Winner, fresh_seed

SECTIONS = ("task", "model", "algorithm", "optimizer", "training")  # what a training hangs on


class Member(NamedTuple):
    """A winner and what its configuration builds."""

    winner: Winner
    parts: Components


@dataclass(frozen=True, eq=False)
class Training:
    """One winner from one fresh seed.

    Attributes:
      winner: whose parameters it has.
      index: which of the winner's seeds.
      trial: the training; it has one run.
      checkpoint: where its state is kept until the results are written.
    """

    winner: Winner
    index: int
    trial: Trial
    checkpoint: Path


@dataclass(frozen=True)
class Pack:
    """Trainings that share a program."""

    trainer: Trainer
    trainings: list[Training]

    @property
    def healthy(self) -> list[Training]:
        """Those that have not diverged."""
        return [each for each in self.trainings if each.trial.diverged is None]

    @property
    def unfinished(self) -> list[Training]:
        """Those with rungs before them."""
        return [each for each in self.healthy if not each.trial.finished]

    def keep(self) -> None:
        """Writes the checkpoints of those that have begun and have something left to do."""
        for each in self.unfinished:
            if each.trial.iteration:
                checkpoint.save(each.checkpoint, each.trial)

    def forget(self) -> None:
        """Removes the checkpoints; the results are written."""
        for each in self.trainings:
            each.checkpoint.unlink(missing_ok=True)


def make(
    winners: Sequence[Winner],
    plan: Plan,
    seeds: int,
    folder: Path,
    device: Device,
    after_call: Callable[[], None],
) -> list[Pack]:
    """Builds a pack a structure, every training where its checkpoint left it.

    Args:
      winners: what to train.
      plan: of their study.
      seeds: trainings a winner.
      folder: of the checkpoints.
      device: how to build programs.
      after_call: run after every call of a program.

    Raises:
      InputError: something cannot be built here, or a task has no meta-test split.
    """
    groups: dict[str, list[Member]] = {}
    for winner in winners:
        member = Member(winner, build.components(winner.config))
        description = build.structure(member.parts, winner.config, 1).description
        groups.setdefault(description, []).append(member)
    packs = []
    for description, members in groups.items():
        program = _program(description, members, device)
        _check_test_split(program.task, program.dtype)
        trainings = [
            _training(program, member, index, plan, folder)
            for member in members
            for index in range(seeds)
        ]
        packs.append(Pack(Trainer(program, after_call), trainings))
    return packs


def _program(description: str, members: Sequence[Member], device: Device) -> Program:
    """The program of a structure, for the longest adaptation among its members."""
    settings = [member.parts.settings for member in members]
    bound = max(each.inner_steps for each in settings)
    eval_bound = max(each.eval_steps for each in settings)
    structure = Structure(description, bound, eval_bound)
    return build.program(members[0].parts, structure, members[0].winner.config, device)


def _training(program: Program, of: Member, index: int, plan: Plan, folder: Path) -> Training:
    winner = of.winner
    started = trial.start(program, of.parts.settings, fresh_seed(plan, winner.slot, index))
    path = folder / f"{winner.slot}-{index}-{_fingerprint(winner):012x}.npz"
    checkpoint.restore(path, started)
    return Training(winner, index, started, path)


def _fingerprint(winner: Winner) -> int:
    """Tells trainings of one slot and seed apart that go by different settings: 48 bits."""
    parts = [OmegaConf.to_container(winner.config[key], resolve=True) for key in SECTIONS]
    return streams.derive_seed("settings", json.dumps(parts, sort_keys=True)) >> 15


def _check_test_split(task: Task, dtype: object) -> None:
    """Draws a meta-test task before hours are spent on the way to it."""
    key = tf.constant(streams.key("evaluation", "test", 0)[np.newaxis])
    try:
        task.episodes("test", key, dtype)
    except (
        ArithmeticError,
        LookupError,
        OSError,
        RuntimeError,
        ValueError,
        tf.errors.OpError,
    ) as e:
        reason = " ".join(str(e).split()) or type(e).__name__
        raise InputError(
            f"task {type(task).__name__}: expected a meta-test split, but none can be drawn "
            f"({reason})"
        ) from None


def train(pack: Pack, seed: int, tasks: int) -> Iterator[None]:
    """Trains a pack to its end, yielding whenever a rung is judged.

    Before a rung is judged everything is checkpointed, so a kill costs the iterations since then.
    What stands in the last checkpoint is a training whose only remaining work is to be judged.

    Args:
      pack: what to train.
      seed: fixes the validation tasks.
      tasks: how many of them.
    """
    while pack.unfinished:
        trainings = [each.trial for each in pack.unfinished]
        for _ in trial.advance(pack.trainer, trainings):
            pass
        pack.keep()
        trial.judge(pack.trainer, trainings, seed, tasks)
        yield


def curves(pack: Pack, seed: int, tasks: int) -> dict[Training, np.ndarray]:
    """The meta-test metric of each healthy training after 0 … 2S steps: float [step, task].

    One that is not finite after S steps, the training's own `eval_steps`, counts as divergence.

    Args:
      pack: trained to its end.
      seed: fixes the meta-test tasks.
      tasks: how many of them.
    """
    if not pack.healthy:
        return {}
    runs = [each.trial.runs[0] for each in pack.healthy]
    found = dict(zip(pack.healthy, pack.trainer.curves(runs, "test", seed, tasks), strict=True))
    for each, curve in found.items():
        if not np.isfinite(curve[each.trial.settings.eval_steps]).all():
            each.trial.runs[0].diverged = each.trial.iteration
    return {each: curve for each, curve in found.items() if each.trial.diverged is None}


def measures(pack: Pack, seed: int, tasks: int) -> dict[str, dict[Training, np.ndarray]]:
    """The task's further measures of each healthy training after S steps: by name, float [task].

    Args:
      pack: trained to its end, its `curves` drawn.
      seed: fixes the meta-test tasks.
      tasks: how many of them.
    """
    runs = [each.trial.runs[0] for each in pack.healthy]
    if not runs:
        return {}
    found = {
        name: pack.trainer.evaluate(runs, "test", seed, tasks, name)
        for name in pack.trainer.program.task.measures
    }
    return {name: dict(zip(pack.healthy, values, strict=True)) for name, values in found.items()}
