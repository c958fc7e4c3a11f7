"""What the columns of every frame hold, and their types.

Counts that may lack are `Int64`, numbers that may lack float64 with NaN, words `str` and empty
where there is nothing to say, times UTC. An empty study's frames have the same types.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

STATES = ("complete", "pruned", "diverged", "failed", "running", "waiting")
STATE = pd.CategoricalDtype(list(STATES))
TIME = "datetime64[us, UTC]"

_SLOT = ("int64", "the slot, a unit of the sweep's budget")
_TASK = ("int64", "index of the validation task, the same task in every trial of the study")
_STEP = ("int64", "rung: iterations, or reference iterations with training.budget=tasks")

TABLES: dict[str, dict[str, tuple[Any, str]]] = {
    "trials": {
        "slot": _SLOT,
        "number": ("int64", "Optuna's number of the trial that stands for the slot"),
        "state": (STATE, "complete, pruned, diverged, failed (given up), running or waiting"),
        "branch": ("str", "the swept groups' options, joined by commas; empty if none is swept"),
        "value": ("float64", "the objective: the metric at the last rung; only if complete"),
        "last": ("float64", "the last finite value reported"),
        "step": ("Int64", "the last rung reported, that at which it diverged included"),
        "best_value": ("float64", "the best value of its curve; never what is optimised"),
        "best_step": ("Int64", "the rung of that"),
        "iterations": ("Int64", "meta-iterations done; of a running trial those by its last rung"),
        "tasks": ("Int64", "training tasks seen in those, one run's"),
        "seconds": ("float64", "its share of the time inside programs"),
        "attempts": ("int64", "how many workers began it"),
        "diverged": ("Int64", "the iteration at which it diverged"),
        "known_results": ("Int64", "slots that were finished when its parameters were drawn"),
        "trial_seed": ("Int64", "fixes its tasks and its initial weights"),
        "worker": ("str", "who holds or finished it"),
        "started": (TIME, "when that attempt began"),
        "finished": (TIME, "when it ended"),
        "reason": ("str", "of a failure"),
    },
    "space": {
        "branch": ("str", "where it is searched; empty for a swept group, or if there is none"),
        "parameter": ("str", "the configuration's key, or the group"),
        "kind": (pd.CategoricalDtype(["float", "int", "categorical"]), "of its values"),
        "low": ("float64", "the least value; NaN if categorical"),
        "high": ("float64", "the greatest value; NaN if categorical"),
        "log": ("bool", "whether it is drawn on a logarithmic scale"),
        "step": ("float64", "between two values; NaN if continuous or categorical"),
        "choices": ("str", "of a categorical one, joined by ' | '"),
    },
    "parameters": {
        "slot": _SLOT,
        "parameter": ("str", "the configuration's key, or the group"),
        "value": ("str", "as an override would give it"),
        "number": ("float64", "the value; NaN if categorical"),
        "unit": ("float64", "0 … 1 within its branch's range, on its scale; a choice's rank"),
    },
    "values": {
        "slot": _SLOT,
        "rung": ("int64", "which of the study's rungs, from 0"),
        "step": _STEP,
        "value": ("float64", "the metric, averaged over validation tasks; NaN where it diverged"),
    },
    "validation": {
        "slot": _SLOT,
        "task": _TASK,
        "value": ("float64", "the metric at the trial's last rung; complete and pruned trials"),
    },
    "rung_tasks": {
        "slot": _SLOT,
        "step": _STEP,
        "task": _TASK,
        "value": ("float64", "the metric"),
    },
    "adaptation": {
        "slot": _SLOT,
        "step": ("int64", "inner steps taken on the support set, 0 … twice its own"),
        "mean": ("float64", "the metric, averaged over validation tasks"),
        "sd": ("float64", "its standard deviation over tasks"),
        "low": ("float64", "of the mean's 95% interval over tasks"),
        "high": ("float64", "of the same"),
        "tasks": ("int64", "how many"),
        "own_steps": ("int64", "inner steps with which the trial is judged"),
    },
    "cost": {
        "slot": _SLOT,
        "state": (STATE, "as in trials"),
        "iterations": ("Int64", "as in trials"),
        "tasks": ("Int64", "as in trials"),
        "seconds": ("float64", "as in trials"),
        "gradient_steps": ("float64", "inner gradient steps in training: tasks times inner steps"),
        "value": ("float64", "as in trials: only if complete"),
        "last": ("float64", "as in trials: also of pruned and running ones"),
    },
    "turns": {
        "worker": ("str", "who"),
        "started": (TIME, "when"),
        "seconds": ("float64", "inside training calls, of a team times its portion of the device"),
        "judge_seconds": ("float64", "likewise inside evaluation calls"),
        "tracing": ("float64", "seconds of first calls, included in the others"),
        "program": ("int64", "index of the structure among the worker's programs"),
        "slots": ("str", "of the trials that took part, joined by spaces"),
        "runs": ("int64", "how many were trained at once"),
        "iterations": ("int64", "meta-iterations of the program, whatever it trained at once"),
        "trial_iterations": ("int64", "the same, each times the runs it trained"),
        "lane_steps": ("int64", "inner steps of all runs' tasks"),
    },
    "workers": {
        "worker": ("str", "who: host, process, something random"),
        "host": ("str", "its machine and process namespace; empty if it left no lease"),
        "alive": ("bool", "whether its lease holds"),
        "expires": (TIME, "when that lapses; NaT once it said goodbye"),
        "trials": ("int64", "how many attempts it began"),
    },
}
COLUMNS: dict[str, dict[str, str]] = {
    table: {column: text for column, (_, text) in columns.items()}
    for table, columns in TABLES.items()
}


def typed(table: str, columns: Mapping[str, Any] | Sequence[Sequence[Any]]) -> pd.DataFrame:
    """A frame with a table's columns in their order and types.

    Args:
      table: one of `COLUMNS`.
      columns: its columns by name, or its rows; every column that the table names.
    """
    kinds = {column: kind for column, (kind, _) in TABLES[table].items()}
    if not isinstance(columns, Mapping):
        columns = dict(zip(kinds, zip(*columns, strict=True), strict=True)) if columns else {}
    return pd.DataFrame(
        {column: _series(columns.get(column, ()), kind) for column, kind in kinds.items()}
    )


def _series(values: Any, kind: Any) -> Any:
    if kind == TIME:  # given as seconds since the epoch, None where there is none
        microseconds = (pd.Series(values, dtype="float64") * 1e6).round()
        times: Any = pd.to_datetime(microseconds, unit="us", utc=True)
        return times.astype(TIME)
    return pd.Series(list(values) if isinstance(values, tuple) else values, dtype=kind)
