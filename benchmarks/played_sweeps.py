"""Whole sweeps in a fraction of a second: the search is real, training is looked up."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import TrialState

from benchmarks.recorded_curves import RUNGS
from benchmarks.simulated_workers import Curves, Spent, Worker, make_plan
from maml_sweep.config_search import PRUNERS, SAMPLERS
from maml_sweep.search import pruners
from maml_sweep.search import study as studies
from maml_sweep.search.samplers import PerTrial
from maml_sweep.search.worker import CPU_PACK, SHARE

MOST = 400  # slots of a sweep that ends with its budget
RATES = {1: 1000, 8: 2600, 16: 2800, 32: 3000}  # pack -> trial-steps a second, 25 tasks, one step
STEPS, BATCH = "algorithm.inner_steps", "training.meta_batch_size"

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Contender:
    """A way to search.

    Attributes:
      name: what differs from the default.
      sampler: of `config_search.SAMPLERS`.
      pruner: of `config_search.PRUNERS`.
      pack: trials in flight; None: what `pack.size=auto` makes of the trials.
      teams: that the pack trains in; no more than it has trials.
      sampling: arguments other than the defaults.
      pruning: likewise.
    """

    name: str
    sampler: str = "tpe"
    pruner: str = "rungs"
    pack: int | None = None
    teams: int = 2
    sampling: Mapping[str, Any] = field(default_factory=dict)
    pruning: Mapping[str, Any] = field(default_factory=dict)


def auto_pack(trials: int) -> int:
    """What `pack.size=auto` holds in flight on a CPU, with one worker."""
    return min(CPU_PACK, max(1, round(trials / SHARE)))


@dataclass(frozen=True)
class Course:
    """How a sweep went, turn by turn.

    Attributes:
      steps: float64 [turn], trial-steps spent so far, of trials in flight too.
      seconds: float64 [turn], likewise, modelled.
      best: float64 [turn], the least last value of a trial that came to its end; infinite before.
    """

    steps: Array
    seconds: Array
    best: Array

    def after(self, steps: float) -> float:
        """The best value once that many trial-steps are spent; infinite if there is none yet."""
        turns = int(np.searchsorted(self.steps, steps, side="right"))
        return float(self.best[turns - 1]) if turns else math.inf


def play(
    curves: Curves, contender: Contender, seed: int, trials: int, budget: float | None = None
) -> Course:
    """Plays one sweep.

    Args:
      curves: in place of training.
      contender: how to search.
      seed: of the trials and of the sampler.
      trials: the sweep's slots.
      budget: trial-steps; with them it gets slots until they are spent, all else as for `trials`.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = _pruner(contender)
    study = optuna.create_study(
        study_name=f"seed-{seed}", sampler=PerTrial(_sampler(contender), seed), pruner=pruner.stock
    )
    plan = make_plan(curves, study.study_name, trials if budget is None else MOST, seed)
    study.set_user_attr(studies.PLAN, plan.to_json())
    studies.queue_missing(study, plan)
    pack = contender.pack or auto_pack(trials)
    count = min(contender.teams, pack)
    rows = [(0.0, 0.0, math.inf)]
    with tempfile.TemporaryDirectory(prefix="maml-quality-") as folder:
        teams = [
            Worker(study, curves, Path(folder), f"team-{i}", Spent(), places, pruner)
            for i in range(count)
            for places in [pack // count + (i < pack % count)]
        ]
        while teams and (budget is None or rows[-1][0] < budget):
            team = teams.pop(0)
            team.fill()
            drawn = [asked.params for asked, _, _ in team.riding.values()]
            if not team.turn():
                continue
            teams.append(team)
            steps, seconds, _ = rows[-1]
            rows.append((steps + RUNGS[0] * len(drawn), seconds + cost(drawn), _best(study)))
    return Course(*np.array(rows[1:]).T)


def _sampler(contender: Contender) -> dict[str, Any]:
    return {**asdict(SAMPLERS[contender.sampler]()), **contender.sampling}


def _pruner(contender: Contender) -> pruners.PackPruner:
    from hydra.utils import instantiate

    node = {**asdict(PRUNERS[contender.pruner]()), **contender.pruning}
    whole = {key: RUNGS[-1] for key in ("iterations", "max_resource") if key in node}
    return pruners.build(instantiate({**node, **whole}))


def _best(study: optuna.Study) -> float:
    """The least value of a trial that came to its end."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return min((float(trial.values[0]) for trial in done), default=math.inf)


def cost(drawn: Sequence[Mapping[str, Any]]) -> float:
    """Modelled seconds of a pack's way to its next rung."""
    rate = np.interp(math.log2(len(drawn) or 1), np.log2(list(RATES)), list(RATES.values()))
    units = sum(values[STEPS] * values[BATCH] / 25 for values in drawn)
    return float(RUNGS[0] * units / rate)
