"""A worker: claims slots, trains them in packs, reports, prunes and tells until none is left.

`work` is what Hydra's launcher runs in place of the application's function.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig
from optuna.trial import TrialState

from maml_sweep import build
from maml_sweep.build import Components, Structure
from maml_sweep.errors import InputError
from maml_sweep.files import spared
from maml_sweep.search import place as places
from maml_sweep.search import progress, pruners, records, study
from maml_sweep.search.claimed import Claimed
from maml_sweep.search.claims import Claims
from maml_sweep.search.composition import TrialComposer
from maml_sweep.search.deadline import INTERRUPTED, Deadline
from maml_sweep.search.heartbeat import Heartbeat
from maml_sweep.search.interruption import Interrupted, Interruption, listening
from maml_sweep.search.place import Place
from maml_sweep.search.pruners import PackPruner, Report
from maml_sweep.search.samplers import PerTrial
from maml_sweep.search.space import Space
from maml_sweep.search.study import Plan
from maml_sweep.search.teams import Team, Teams
from maml_sweep.search.tensorboard import Scalars
from maml_sweep.search.timeline import Timeline
from maml_sweep.search.turns import Group
from maml_sweep.training import checkpoint, trial
from maml_sweep.training.devices import Device, configure
from maml_sweep.training.dry_run import fitting
from maml_sweep.training.memory import DoesNotFit
from maml_sweep.training.pack import Trainer
from maml_sweep.training.program import Program

log = logging.getLogger(__name__)

CPU_PACK = 8  # fills two cores; larger packs gain little there and teach the sampler later
GPU_PACK = 32
PAUSE = 0.5  # seconds between two looks at what others are doing
KEEP = 1.0  # seconds from one checkpoint to the next where rungs are closer
KEEP_SHARE = 0.05  # of the time is spent on them at most
SHARE = 8  # about 1 / SHARE of the budget is in flight: the sampler learns before it draws again


def work(config: DictConfig) -> None:
    """Runs one worker of a sweep until no slot is left for it.

    Args:
      config: a composition with the plan's fixed overrides and `study.name`.

    Raises:
      SystemExit: 130 if it was interrupted, its state kept.
    """
    hydra = HydraConfig.get()
    folder = Path(hydra.sweep.dir)
    place = places.take(config, hydra)  # before TensorFlow looks at the machine
    with listening() as interruption:
        worker = Worker(config, folder, interruption, place)
        try:
            with Deadline(worker.let_go), worker.heart:
                worker.run()
        except Interrupted:
            raise SystemExit(INTERRUPTED) from None


class Worker:
    """Joins the search layer's parts: claims, space, programs, pruner and records."""

    def __init__(
        self, config: DictConfig, folder: Path, interruption: Interruption, place: Place
    ) -> None:
        self.config = config
        self.folder = folder
        self.interruption = interruption
        self.begin = time.monotonic()
        self.url = study.storage_url(config.study.storage, folder)
        self.pruner: PackPruner = pruners.build(instantiate(config.pruner))
        sampler = PerTrial(config.sampler, config.seed)
        self.study = study.open_study(self.url, config.study.name, sampler, self.pruner.stock)
        self.plan: Plan = study.plan_of(self.study)
        self.space = Space.from_description(self.plan.space)
        self.composer = TrialComposer(self.plan, self.space)
        self.claims = Claims(self.study, self.plan, folder, _identity())
        self.programs: dict[Structure, Program] = {}
        self.made: dict[str, Any] = {}  # parts that trials share, see `build.components`
        self.timeline = Timeline(folder, self.claims.worker)
        self.fits: list[int] = []  # trials of each program that a GPU's memory holds
        device = configure(config.device, place.cores)
        most = self.size(device) if config.pack.teams == "auto" else int(config.pack.teams)
        self.device: Device = device.in_teams(most)
        self.teams = Teams(self.device.teams)
        self.halted = threading.Event()
        self.claims.tell(launcher=place.launcher, device=self.device.describe())
        self.heart = Heartbeat(self.claims.renew, self.claims.renewal_seconds)
        self.display = progress.Progress(self.study, self.plan, self.space)
        self.scalars = Scalars(folder, self.plan.metric, config.study.tensorboard)

    # -- the loop -----------------------------------------------------------------------------

    def run(self) -> None:
        """Trains until nothing waits and nothing is in flight.

        Raises:
          Interrupted: a signal came; the trials were handed back.
          SystemExit: a scheduler's own handler of a signal ends the process; likewise.
        """
        ready = time.monotonic()
        self.claims.renew()
        self.claims.reconcile()
        try:
            with self.display:
                self._train()
        except (Interrupted, SystemExit):
            self.hand_back()
            raise
        except Exception:
            self.claims.abandon()  # nobody need wait for the lease to lapse
            raise
        finally:
            self.halted.set()
            self.teams.close()
            log.info(
                "%.2f s inside programs, %.2f of them tracing, of %.2f s since start-up",
                self.teams.inside.seconds,
                self.teams.tracing,
                time.monotonic() - ready,
            )
        self.claims.retire()

    def _train(self) -> None:
        while not self._time_is_up:
            self._fill()
            for team in self.teams.idle:
                if team.turns.in_flight:
                    self.teams.begin(team, self._advance)
            first = self.teams.next()
            if first is not None:
                self._hear(first)
            elif self.claims.unproven():
                self._pause()  # whoever holds the last slots may be dead, and they be ours to do
            else:
                return
        log.info("study.timeout=%s s is over", self.config.study.timeout)
        self.hand_back()

    def _pause(self) -> None:
        self.interruption.check()
        self.heart.beat()
        self._show_life()
        time.sleep(PAUSE)

    def hand_back(self) -> None:
        """Checkpoints every trial in flight where it stands and returns its slot."""
        self.halted.set()
        for team, group in self.teams.halt():
            self._settle(team, group)
        for claimed in self.teams.in_flight:
            if not self.claims.lost(claimed.asked):  # else it is another worker's to write
                self._keep(claimed)
        self.let_go()
        with spared("trials.csv"):
            records.write_trials(self.study, self.plan, self.space, self.folder)

    def let_go(self) -> None:
        """Returns every slot in flight; whoever takes it goes on from the checkpoint there is."""
        for claimed in self.teams.in_flight:
            self.claims.release(claimed.asked)
        self.claims.retire()

    def _keep(self, claimed: Claimed) -> None:
        with spared(f"the checkpoint of slot {claimed.slot}"):
            checkpoint.save(checkpoint.path_of(self.folder, claimed.slot), claimed.training)

    def size(self, device: Device) -> int:
        """How many trials to hold in flight: few enough for the sampler to learn meanwhile."""
        config = self.config
        if config.pack.size != "auto":
            return int(config.pack.size)
        fits = min(self.fits, default=GPU_PACK if device.gpu else CPU_PACK)
        return min(fits, max(1, round(self.plan.n_trials / SHARE / int(config.workers))))

    @property
    def _time_is_up(self) -> bool:
        limit = self.config.study.timeout
        return limit is not None and time.monotonic() - self.begin > limit

    def _fill(self) -> None:
        """Gives the free places of idle teams to new trials, or else to other teams' trials."""
        for team in self.teams.idle:
            self._fill_team(team)
        for team in self.teams.idle:
            if not team.turns.in_flight:
                self._share_with(team)

    def _fill_team(self, team: Team) -> None:
        held, room = len(self.teams.in_flight), self._room(team)
        most = held + (self.claims.share(busy=held > 0) if room else 0)
        while self._room(team) and len(self.teams.in_flight) < most:
            self.interruption.check()
            asked = self.claims.claim()
            if asked is None and self.claims.reap():
                continue
            if asked is None:
                return
            self._admit(asked, team)

    def _room(self, team: Team) -> int:
        """Free places of a team; a dry run may change the size."""
        places = self.teams.places(team, self.size(self.device))
        return max(0, places - len(team.turns.in_flight))

    def _share_with(self, team: Team) -> None:
        """Gives every other trial of the largest idle team to one that has none."""
        donor = max(self.teams.idle, key=lambda each: len(each.turns.in_flight))
        for claimed in donor.turns.in_flight[1::2]:
            structure = donor.turns.structure(claimed)
            donor.turns.remove(claimed)
            self._group(team, structure).trials.append(claimed)

    def _admit(self, asked: optuna.Trial, team: Team) -> None:
        """Draws a slot's parameters, builds its training and resumes it from its checkpoint."""
        values = self.space.suggest(asked)
        config = self.composer.compose(values, asked.user_attrs["trial_seed"])
        try:
            parts = build.components(config, self.made)
        except InputError as error:
            log.error("slot %d: %s", asked.user_attrs["slot"], error)
            self.claims.fail(asked, str(error))
            return
        bound = self.space.upper("algorithm.inner_steps", values) or parts.settings.inner_steps
        structure = build.structure(parts, config, bound)
        if structure not in self.programs:
            self.programs[structure] = build.program(parts, structure, config, self.device)
            self._measure(self.programs[structure], parts, values)
        group = self._group(team, structure)
        seed = asked.user_attrs["trial_seed"]
        with self.teams.inside():
            training = trial.start(group.trainer.program, parts.settings, seed, self.plan.repeats)
        claimed = Claimed(asked, training, values)
        if checkpoint.restore(checkpoint.path_of(self.folder, claimed.slot), training):
            log.info("slot %d goes on at iteration %d", claimed.slot, training.iteration)
        group.trials.append(claimed)
        self.display.admit(claimed)

    def _group(self, team: Team, structure: Structure) -> Group:
        """A team's trials of a structure."""

        def made() -> Group:
            program, index = self.programs[structure], list(self.programs).index(structure)
            trainer = Trainer(program, self.heart.beat, portion=1 / self.device.teams)
            return Group(trainer, program=index)

        return team.turns.group(structure, made)

    def _measure(self, program: Program, parts: Components, values: Mapping[str, Any]) -> None:
        """On a GPU, measures how many trials of a new program its memory holds."""
        if self.config.pack.size == "auto":
            largest = self.space.upper("training.meta_batch_size", values)
            tasks = self.plan.repeats * (largest or parts.settings.meta_batch_size)
            sharing = self.config.workers_per_device
            fits = fitting(program, parts.settings, self.device, tasks=tasks, workers=sharing)
            self.fits += [fits] if fits is not None else []

    def _advance(self, group: Group) -> None:
        """Trains a group to its next rungs and judges it there; in a team's thread."""
        trainings = [each.training for each in group.trials]
        tasks = self.config.training.validation_tasks
        with self.teams.inside(), self.timeline.turn(group):
            for _ in trial.advance(group.trainer, trainings):
                self.interruption.check()
                if self.halted.is_set():
                    raise Interrupted
            trial.judge(group.trainer, trainings, self.plan.seed, tasks)

    def _hear(self, team: Team) -> None:
        """Waits until a team's turn is over, then reports it, decides and tells."""
        try:
            group = self.teams.end(team, PAUSE, self._show_life)
        except DoesNotFit as error:
            self._give_up(error)
        else:
            self._show_life()
            self._settle(team, group)

    def _give_up(self, error: DoesNotFit) -> None:
        """Fails the one trial that no memory here can hold; the others go on."""
        claimed = next(c for c in self.teams.in_flight if error.run in c.training.runs)
        log.error("slot %d: %s", claimed.slot, error)
        self.claims.fail(claimed.asked, str(error))
        self.teams.of(claimed).turns.remove(claimed)

    def _show_life(self) -> None:
        slots = sorted(each.slot for each in self.teams.in_flight)
        self.claims.tell(rate=round(self.display.rate(self.teams), 1), trials=slots)
        self.display.update(self.teams, self.claims)

    # -- reporting ----------------------------------------------------------------------------

    def _report(self, team: Team, trials: Sequence[Claimed]) -> list[Report]:
        """Reports every trial's value at its rung; drops those that were taken from us."""
        lost = self.claims.report([(each.asked, *_rung(each)) for each in trials])
        reports = []
        for claimed in list(trials):
            number = claimed.asked.number
            if number in lost:
                log.warning("slot %d was taken over by another worker", claimed.slot)
                team.turns.remove(claimed)
            elif claimed.training.diverged is None:
                self.scalars.report(claimed)
                per_task = claimed.training.per_task[-1]
                reports.append(Report(number, claimed.slot, *_rung(claimed), per_task))
        return reports

    def _settle(self, team: Team, group: Group) -> None:
        """Reports a group; tells who diverged, finished or is pruned; checkpoints who goes on."""
        reports = self._report(team, group.trials)
        stop = self.pruner.decide(self.study, reports) if reports else set()
        held = list(group.trials)
        diverged = [each for each in held if each.training.diverged is not None]
        finished = [each for each in held if each.training.finished and each not in diverged]
        pruned = [each for each in held if each.asked.number in stop and each not in finished]
        self._evaluate(group, [*finished, *pruned])
        for claimed in finished:
            self._finish(team, claimed, TrialState.COMPLETE, claimed.training.values[-1])
        for claimed in (*pruned, *diverged):
            self._finish(team, claimed, TrialState.PRUNED, None)
        self._keep_all(group)

    def _keep_all(self, group: Group) -> None:
        """Checkpoints a group, if it is time to."""
        begin = time.monotonic()
        if begin < group.keep_at:
            return
        for claimed in group.trials:
            self._keep(claimed)
        end = time.monotonic()
        group.keep_at = end + max(KEEP, (end - begin) / KEEP_SHARE)

    def _evaluate(self, group: Group, trials: Sequence[Claimed]) -> None:
        """Writes the adaptation curves of trials that end here."""
        if not trials:
            return
        runs = [run for each in trials for run in each.training.runs]
        tasks = self.config.training.validation_tasks
        with self.teams.inside():
            curves = iter(group.trainer.curves(runs, "validation", self.plan.seed, tasks))
        for claimed in trials:
            training = claimed.training
            own = sum(next(curves) for _ in training.runs) / len(training.runs)
            rungs = training.settings.rungs[: len(training.values)]
            with spared(f"the evaluation of slot {claimed.slot}"):
                records.write_evaluation(
                    self.folder,
                    claimed.slot,
                    metric=own,  # [adaptation step, task]
                    rung_step=[rung.step for rung in rungs],
                    rung_metric=training.per_task,  # [rung, task]
                )

    def _finish(self, team: Team, claimed: Claimed, state: TrialState, value: float | None) -> None:
        told = self.claims.finish(claimed.asked, value=value, state=state, attrs=claimed.attrs)
        if told:
            checkpoint.path_of(self.folder, claimed.slot).unlink(missing_ok=True)
        team.turns.remove(claimed)
        self.scalars.close(claimed.slot)
        self.display.tell(claimed, state)


def _rung(claimed: Claimed) -> tuple[int, float]:
    """Where a trial stands, and its value there: NaN if it diverged."""
    training = claimed.training
    if training.diverged is not None:
        return training.next_rung.step, float("nan")
    return training.rung.step, training.values[-1]


def _identity() -> str:
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
