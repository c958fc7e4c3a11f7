"""Which trials of a study are trained again, and from which seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from omegaconf import DictConfig
from optuna.trial import FrozenTrial, TrialState

from maml_sweep import streams, typed
from maml_sweep.checks import positive
from maml_sweep.errors import InputError
from maml_sweep.search.composition import TrialComposer
from maml_sweep.search.records import override_line, standing
from maml_sweep.search.slots import by_slot
from maml_sweep.search.space import Space
from maml_sweep.search.study import Plan
from maml_sweep.spelling import hint

_SHOWN = 20  # slots in a message


@dataclass(frozen=True)
class Request:
    """What is asked for; the names are those of the command's options.

    Attributes:
      top: how many of the best trials.
      seeds: fresh seeds each.
      iterations: meta-iterations instead of the study's own; None: the study's.
      tasks: meta-test tasks.
      slots: these slots instead of the best ones.
      each: a swept setting or group: the best trial of each of its options; None: the best of all.

    Raises:
      InputError: a count below one, a slot named twice, or two ways to choose at once.
    """

    top: int = 1
    seeds: int = 3
    iterations: int | None = None
    tasks: int = 600
    slots: tuple[int, ...] = ()
    each: str | None = None

    def __post_init__(self) -> None:
        positive("--top", self.top)
        positive("--seeds", self.seeds)
        positive("--tasks", self.tasks)
        if self.iterations is not None:
            positive("--iterations", self.iterations)
        if len(set(self.slots)) < len(self.slots):
            raise InputError(f"--slots={_listed(self.slots)}: expected every slot once")
        if self.each and (self.slots or self.top > 1):
            other = "--slots" if self.slots else "--top"
            raise InputError(f"--each={self.each}: chooses by itself; leave {other} out")


@dataclass(frozen=True)
class Winner:
    """A trial that is trained again.

    Attributes:
      slot: its slot in the study.
      value: its objective in the search.
      parameters: config key -> value, as drawn.
      line: the same as overrides for the command line.
      config: all it trains with.
    """

    slot: int
    value: float
    parameters: dict[str, Any]
    line: str
    config: DictConfig


def fresh_seed(plan: Plan, slot: int, index: int) -> int:
    """The seed of a winner's `index`-th training, of a name that no seed of the search has."""
    return streams.derive_seed("winner", plan.seed, slot, index)


def choose(study: optuna.Study, plan: Plan, request: Request) -> list[Winner]:
    """The winners asked for, best first (or in the order of `request.slots`).

    Raises:
      InputError: fewer trials have come to their end than asked for, or not those slots, or
        `request.each` is not searched.
    """
    slots = by_slot(study.get_trials(deepcopy=False))
    found = {slot: standing(attempts) for slot, attempts in slots.items()}
    complete = {s: t for s, t in found.items() if t.state == TrialState.COMPLETE}
    if not complete:
        raise InputError(
            f"{plan.name}: no trial has come to its end yet; go on with "
            f"`{typed.command()} study.name={plan.name}`"
        )
    space = Space.from_description(plan.space)
    ranked = _best(complete, plan)
    if request.each:
        ranked = _best_of_each(request.each, [complete[slot] for slot in ranked], space)
    chosen = request.slots or (ranked if request.each else ranked[: request.top])
    if len(chosen) < request.top and not request.slots:
        raise InputError(
            f"--top={request.top}: expected at most {len(complete)}, as many trials have come to "
            f"their end"
        )
    missing = [slot for slot in chosen if slot not in complete]
    if missing:
        raise InputError(
            f"--slots={_listed(missing)}: expected slots whose trial came to its end, which are "
            f"{_listed(sorted(complete))}"
        )
    return [_winner(complete[slot], plan, space, request.iterations) for slot in chosen]


def _best(complete: dict[int, FrozenTrial], plan: Plan) -> list[int]:
    """The slots of complete trials, best first; of equal ones the first."""
    return sorted(complete, key=lambda slot: (plan.sign * float(complete[slot].value or 0), slot))


def _best_of_each(key: str, ranked: Sequence[FrozenTrial], space: Space) -> list[int]:
    """The first slot of every option of a searched group or setting."""
    known = {*space.groups, *(name for each in space.branches for name in each.distributions)}
    if key not in known:
        raise InputError(
            f"--each={key}: expected something that the study searched{hint(key, known)}: "
            f"{', '.join(sorted(known))}"
        )
    found: dict[str, int] = {}
    for trial in ranked:
        value = space.values(trial.params).get(key)
        if value is not None:
            found.setdefault(str(value), int(trial.user_attrs["slot"]))
    return list(found.values())


def _winner(trial: FrozenTrial, plan: Plan, space: Space, iterations: int | None) -> Winner:
    values = space.values(trial.params)
    slot = int(trial.user_attrs["slot"])
    config = TrialComposer(plan, space).compose(values, trial.user_attrs["trial_seed"])
    if iterations is not None:
        config.training.iterations = iterations
    line = override_line(space, trial.params)
    return Winner(slot, float(trial.value or 0), values, line, config)


def _listed(slots: Sequence[int]) -> str:
    more = ",…" if len(slots) > _SHOWN else ""
    return ",".join(map(str, slots[:_SHOWN])) + more
