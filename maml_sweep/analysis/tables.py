"""The frames that come from the trials alone: trials, values, cost."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from maml_sweep.analysis.columns import typed
from maml_sweep.analysis.merging import Slot
from maml_sweep.analysis.settings import STEPS


def trial_frame(slots: Sequence[Slot], sign: int) -> pd.DataFrame:
    """A row a slot, without its parameters.

    Args:
      slots: in their order.
      sign: 1 to minimise, -1 to maximise.
    """
    return typed("trials", [_trial(slot, sign) for slot in slots])


def _trial(slot: Slot, sign: int) -> tuple[Any, ...]:
    attrs, finite = slot.trial.user_attrs, slot.finite
    best = min(finite, key=lambda step: sign * finite[step], default=None)
    return (
        slot.slot,
        slot.trial.number,
        slot.state,
        slot.branch.name if slot.branch else "",
        slot.trial.value if slot.state == "complete" else math.nan,
        finite[max(finite)] if finite else math.nan,
        max(slot.curve, default=None),
        math.nan if best is None else finite[best],
        best,
        slot.iterations,
        slot.tasks,
        attrs.get("seconds", math.nan),
        slot.attempts,
        attrs.get("diverged"),
        attrs.get("known_results"),
        attrs.get("trial_seed"),
        attrs.get("worker", ""),
        _seconds(slot.trial.datetime_start),
        _seconds(slot.trial.datetime_complete),
        attrs.get("reason", ""),
    )


def _seconds(at: datetime | None) -> float | None:
    """Since the epoch; Optuna's times are local ones without a zone."""
    return at.timestamp() if at else None


def value_frame(slots: Iterable[Slot], rungs: Sequence[int]) -> pd.DataFrame:
    """A row a slot and rung that it came to.

    Args:
      slots: in their order.
      rungs: every step of the study, increasing.
    """
    index = {step: rung for rung, step in enumerate(rungs)}
    rows = ((slot.slot, index[step], step, x) for slot in slots for step, x in slot.curve.items())
    return typed("values", list(rows))


def cost_frame(trials: pd.DataFrame, slots: Sequence[Slot]) -> pd.DataFrame:
    """A row a slot.

    Args:
      trials: `trial_frame`.
      slots: of the same.
    """
    steps = np.array([slot.setting(STEPS, math.nan) for slot in slots], float)
    tasks = trials["tasks"].astype("float64").to_numpy()
    names = ("slot", "state", "iterations", "tasks", "seconds", "value", "last")
    columns = {name: trials[name] for name in names}
    return typed("cost", columns | {"gradient_steps": tasks * steps})
