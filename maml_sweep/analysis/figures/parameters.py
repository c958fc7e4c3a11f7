"""A study's parameters as figures need them: numbers on a scale, labels, an axis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from maml_sweep.analysis.drawing.marks import Axis
from maml_sweep.analysis.frames import Frames
from maml_sweep.analysis.settings import labels

FEW = 12  # integers that are each named on an axis
MARGIN = 0.04  # of an axis, beyond the bounds of the space


@dataclass(frozen=True, eq=False)
class Parameter:
    """A searched key or group, over all branches.

    Attributes:
      key: the configuration's.
      label: its last part, where that tells it from the others.
      categories: the choices in their order; empty for a number.
      low, high: the widest bounds of the space; of a categorical one 0 and the last index.
      log: whether every branch that has it draws it on a logarithmic scale.
      whole: whether its values are integers.
      values: float64 [trial], those of `Frames.trials` in their order; indices of categorical
        ones; NaN where a trial's branch lacks it, or nothing is drawn yet.
    """

    key: str
    label: str
    categories: tuple[str, ...]
    low: float
    high: float
    log: bool
    whole: bool
    values: np.ndarray

    @property
    def unit(self) -> np.ndarray:
        """Float64 [trial], 0 … 1 within the bounds on its scale; 0.5 if there is one value only."""
        return self.placed(self.values)

    def placed(self, values: np.ndarray) -> np.ndarray:
        """Where values lie: `unit` of any others."""
        low, high = self.low, self.high
        if self.log:
            values, low, high = np.log(values), np.log(low), np.log(high)
        if high <= low:
            return np.where(np.isnan(values), np.nan, 0.5)
        unit: np.ndarray = (values - low) / (high - low)
        return unit

    @property
    def named(self) -> dict[float, str] | None:
        """Position -> label, where each value has one."""
        if self.categories:
            return {float(index): name for index, name in enumerate(self.categories)}
        if self.whole and self.high - self.low <= FEW:
            return {float(x): f"{x}" for x in range(int(self.low), int(self.high) + 1)}
        return None

    @property
    def axis(self) -> Axis:
        """An axis of all its range; a categorical one's has numbers for positions."""
        low, high = float(self.low), float(self.high)
        if self.log:
            margin = (high / low) ** MARGIN if high > low else 2.0
            return Axis(self.label, "log", low / margin, high * margin, self.named)
        margin = 0.5 if self.categories or high <= low else MARGIN * (high - low)
        return Axis(self.label, "linear", low - margin, high + margin, self.named)

    def at(self, unit: np.ndarray) -> np.ndarray:
        """The inverse of `unit`."""
        if self.log:
            found: np.ndarray = self.low * (self.high / self.low) ** unit
        else:
            found = self.low + unit * (self.high - self.low)
        return found


def parameters(study: Frames) -> list[Parameter]:
    """All that the study searches, groups first."""
    keys = list(dict.fromkeys(study.space["parameter"]))
    names = labels(keys)
    return [_parameter(study, key, names[key]) for key in keys]


def _parameter(study: Frames, key: str, label: str) -> Parameter:
    rows = study.space[study.space["parameter"] == key]
    numeric = rows[rows["kind"] != "categorical"]
    column = study.trials[key]
    if len(numeric) == len(rows):
        values = pd.to_numeric(column, errors="coerce").astype("float64").to_numpy(copy=True)
        log, whole = bool(rows["log"].all()), bool((rows["kind"] == "int").all())
        low, high = float(rows["low"].min()), float(rows["high"].max())
        return Parameter(key, label, (), low, high, log, whole, values)
    categories = _categories(rows, column)
    ranks = {name: float(index) for index, name in enumerate(categories)}
    values = np.array([ranks.get(str(x), np.nan) for x in column], dtype=np.float64)
    return Parameter(key, label, categories, 0.0, len(categories) - 1.0, False, True, values)


def _categories(rows: pd.DataFrame, column: pd.Series) -> tuple[str, ...]:
    """The choices of all branches, then what else was drawn."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        drawn = [str(each) for each in column.cat.categories]
    else:
        drawn = sorted({str(each) for each in column.dropna()})
    listed = [part for choices in rows["choices"] for part in choices.split(" | ") if part]
    known = [name for name in dict.fromkeys(listed) if name in drawn]
    return tuple(dict.fromkeys([*known, *drawn]))
