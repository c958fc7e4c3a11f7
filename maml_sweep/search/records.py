"""What a sweep leaves in its folder for people and programs to read.

`sweep.yaml` (what was asked for), `trials.csv` (a row a slot), `best.yaml` (the winner, ready to
paste) and `evaluations/<slot>.npz`. The storage holds the truth: all but the evaluations can be
written anew from it at any time.
"""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import optuna
import yaml  # type: ignore[import-untyped, unused-ignore]
from optuna.trial import FrozenTrial

from maml_sweep import typed
from maml_sweep.files import write_atomic
from maml_sweep.search.lock import folder_lock
from maml_sweep.search.slots import (
    ACTIVE,
    RESULTS,
    Attempts,
    begun,
    by_slot,
    drawn,
    reported,
)
from maml_sweep.search.study import Plan

__all__ = [
    "best_trial",
    "override_line",
    "run_line",
    "standing",
    "trial_rows",
    "write_atomic",
    "write_best",
    "write_evaluation",
    "write_sweep",
    "write_trials",
]

TRIALS, BEST, SWEEP, EVALUATIONS = "trials.csv", "best.yaml", "sweep.yaml", "evaluations"

_BEFORE = ("slot", "number", "state", "value")
_AFTER = (
    "iterations",
    "tasks",
    "seconds",
    "trial_seed",
    "attempts",
    "best_value",
    "best_step",
    "diverged",
    "known_results",
    "reason",
)


class Names(Protocol):
    """As much of `maml_sweep.search.space.Space` as the records need."""

    def values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Stored names to configuration keys."""

    def overrides(self, values: Mapping[str, Any]) -> list[str]:
        """Configuration keys to Hydra overrides."""


def write_trials(study: optuna.Study, plan: Plan, space: Names, folder: Path) -> None:
    """Writes `trials.csv`; empty cells stand for what is not known."""
    with folder_lock(folder):
        rows = trial_rows(study, plan, space)
        keys = dict.fromkeys(key for row in rows for key in row)
        params = [key for key in keys if key not in {*_BEFORE, *_AFTER}]
        text = io.StringIO()
        writer = csv.DictWriter(text, [*_BEFORE, *params, *_AFTER], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomic(folder / TRIALS, text.getvalue())


def trial_rows(study: optuna.Study, plan: Plan, space: Names) -> list[dict[str, Any]]:
    """A row for each slot, in the order of the slots.

    Columns: slot, number (of the trial that stands for it), state (as Optuna's; a diverged trial
    is PRUNED), value (a pruned trial's last), a column for every parameter, iterations, tasks
    (seen in training), seconds, trial_seed, attempts, best_value and best_step (of its curve),
    diverged (the iteration), known_results (when its parameters were drawn), reason (of a failure).
    """
    slots = by_slot(study.get_trials(deepcopy=False))
    return [_row(slots[slot], plan, space) for slot in sorted(slots)]


def _row(attempts: Attempts, plan: Plan, space: Names) -> dict[str, Any]:
    trial = standing(attempts)
    attrs = trial.user_attrs
    params, curve = drawn(attempts), reported(attempts)
    row = {"slot": attrs["slot"], "number": trial.number, "state": trial.state.name}
    row |= {"value": trial.value} | space.values(params) | _best_rung(curve, plan)
    row |= {"iterations": max(curve, default=None), "attempts": begun(attempts)}
    return row | {key: attrs[key] for key in _AFTER if key in attrs}


def standing(attempts: Attempts) -> FrozenTrial:
    """The trial that stands for a slot: its result, else the unfinished one, else the newest."""
    for states in (RESULTS, ACTIVE):
        found = [trial for trial in attempts if trial.state in states]
        if found:
            return found[0]
    return attempts[-1]


def _best_rung(curve: Mapping[int, float], plan: Plan) -> dict[str, Any]:
    finite = {step: value for step, value in curve.items() if np.isfinite(value)}
    if not finite:
        return {}
    step = min(sorted(finite), key=lambda step: plan.sign * finite[step])
    return {"best_value": finite[step], "best_step": step}


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    """The COMPLETE trial with the best value; None while there is none."""
    try:
        return study.best_trial
    except ValueError:
        return None


def override_line(space: Names, params: Mapping[str, Any]) -> str:
    """Stored parameters as overrides, quoted to be pasted behind the application's name."""
    return shlex.join(space.overrides(space.values(params)))


def run_line(trial: FrozenTrial, plan: Plan, space: Names) -> str:
    """The command that trains a trial again by itself."""
    line = " ".join([*map(shlex.quote, plan.fixed), override_line(space, trial.params)])
    seed = trial.user_attrs["trial_seed"]
    return f"{typed.command()} hydra.mode=RUN {line} trial_seed={seed}"


def write_best(
    trial: FrozenTrial, plan: Plan, space: Names, folder: Path, config: Mapping[str, Any]
) -> None:
    """Writes `best.yaml`.

    Args:
      trial: the winner, see `best_trial`.
      plan: the sweep's plan.
      space: its search space.
      folder: the study's folder.
      config: the whole configuration that the winner trained with, plain values.
    """
    content = {
        "study": plan.name,
        "slot": trial.user_attrs["slot"],
        "number": trial.number,
        "metric": plan.metric,
        "direction": plan.direction,
        "value": trial.value,
        "trial_seed": trial.user_attrs["trial_seed"],
        "overrides": override_line(space, trial.params),
        "parameters": space.values(trial.params),
        "config": dict(config),
    }
    write_atomic(folder / BEST, _yaml(content))


def write_sweep(plan: Plan, folder: Path) -> None:
    """Writes `sweep.yaml`: overrides, configuration, space, seeds, versions."""
    write_atomic(folder / SWEEP, _yaml(plan.to_json()))


def write_evaluation(folder: Path, slot: int, **arrays: Any) -> None:
    """Writes `evaluations/<slot>.npz`: arrays by name, such as [validation tasks, steps + 1].

    Not compressed, as that takes longer than all else; in single precision where it loses nothing.
    """
    buffer = io.BytesIO()
    np.savez(buffer, **{name: _narrowed(np.asarray(each)) for name, each in arrays.items()})  # type: ignore[arg-type]  # as in checkpoint
    write_atomic(folder / EVALUATIONS / f"{slot}.npz", buffer.getvalue())


def _narrowed(values: np.ndarray) -> np.ndarray:
    if values.dtype != np.float64:
        return values
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    return single if np.array_equal(single, values, equal_nan=True) else values


def _yaml(content: Mapping[str, Any]) -> str:
    return str(yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=100))
