"""From an open study to judged trainings of its winners and the files they leave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import optuna

from maml_sweep.config import Device
from maml_sweep.search.interruption import Interrupted, Interruption
from maml_sweep.search.study import Plan, plan_of
from maml_sweep.training import devices
from maml_sweep.winners import packs, records
from maml_sweep.winners.choice import Request, choose
from maml_sweep.winners.outcome import Outcome
from maml_sweep.winners.packs import Pack, Training
from maml_sweep.winners.view import View


def retrain(
    study: optuna.Study, folder: Path, request: Request, interruption: Interruption
) -> list[Outcome]:
    """Trains the winners of a study anew and judges them on the meta-test tasks.

    Args:
      study: open.
      folder: of the study's files; only `winners/` in it is written to.
      request: what is asked for.
      interruption: looked at after every call of a program.

    Returns:
      One outcome a winner, in the order of `choose`.

    Raises:
      InputError: it cannot be done; before anything is trained.
      Interrupted: a signal came; checkpoints let the same request go on.
    """
    plan = plan_of(study)
    winners = choose(study, plan, request)
    home = folder / records.WINNERS
    view = View(plan.metric)

    def after_call() -> None:
        view.update()
        interruption.check()

    device = devices.configure(Device())
    checkpoints = home / records.CHECKPOINTS
    made = packs.make(winners, plan, request.seeds, checkpoints, device, after_call)
    with view:
        view.follow(made)
        found = _trained(made, plan, request, view)
    outcomes = [found[winner.slot] for winner in winners]
    records.write(outcomes, plan, request, home)
    for pack in made:
        pack.forget()
    with suppress(OSError):  # others' checkpoints may lie there
        checkpoints.rmdir()
    return outcomes


def _trained(made: Sequence[Pack], plan: Plan, request: Request, view: View) -> dict[int, Outcome]:
    """Slot -> outcome of all packs, one after the other; they are kept if a signal comes."""
    try:
        return {x.winner.slot: x for pack in made for x in _judged(pack, plan, request, view)}
    except Interrupted:
        for pack in made:
            pack.keep()
        raise


def _judged(pack: Pack, plan: Plan, request: Request, view: View) -> Iterator[Outcome]:
    """Trains a pack to its end and judges it."""
    validation_tasks = pack.trainings[0].winner.config.training.validation_tasks
    for _ in packs.train(pack, plan.seed, validation_tasks):
        view.rung()
    curves = packs.curves(pack, plan.seed, request.tasks)
    further = packs.measures(pack, plan.seed, request.tasks)
    for slot in dict.fromkeys(each.winner.slot for each in pack.trainings):
        own = [each for each in pack.trainings if each.winner.slot == slot]
        yield _outcome(pack, own, curves, further, plan.metric)


def _outcome(
    pack: Pack,
    own: Sequence[Training],
    curves: Mapping[Training, np.ndarray],
    further: Mapping[str, Mapping[Training, np.ndarray]],
    metric: str,
) -> Outcome:
    """Gathers the trainings of one winner."""
    settings = own[0].trial.settings
    healthy = [each for each in own if each in curves]
    layout, steps = pack.trainer.program.layout, settings.inner_steps
    return Outcome(
        winner=own[0].winner,
        metric=metric,
        steps=settings.eval_steps,
        iterations=settings.iterations,
        seeds={each.index: each.trial.seed for each in own},
        diverged={each.index: x for each in own if (x := each.trial.diverged) is not None},
        validation={each.index: each.trial.values[-1] for each in healthy},
        curves={each.index: curves[each] for each in healthy},
        further={name: {x.index: found[x] for x in healthy} for name, found in further.items()},
        weights={each.index: layout.named(each.trial.runs[0].theta, steps) for each in healthy},
    )
