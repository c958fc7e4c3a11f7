"""What finished trials measured task by task: `evaluations/<slot>.npz` as arrays and frames."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from maml_sweep.analysis.columns import typed
from maml_sweep.analysis.statistics import intervals
from maml_sweep.search.records import EVALUATIONS


@dataclass(frozen=True)
class Evaluation:
    """One trial's.

    Attributes:
      metric: float64 [2S + 1, task], after 0 … 2S inner steps with its last weights.
      rung_step: int64 [rung], the rungs it came to.
      rung_metric: float64 [rung, task], after S inner steps at each.
    """

    metric: np.ndarray
    rung_step: np.ndarray
    rung_metric: np.ndarray

    @property
    def own_steps(self) -> int:
        """S: the inner steps with which it is judged."""
        return (len(self.metric) - 1) // 2

    @classmethod
    def read(cls, path: Path) -> Evaluation | None:
        """A file's; None where there is none, or none that can be used."""
        try:
            with np.load(path) as file:
                metric, rung_metric = (file[x].astype(float) for x in ("metric", "rung_metric"))
                return cls(metric, file["rung_step"], rung_metric)
        except (OSError, KeyError, ValueError, zipfile.BadZipFile):
            return None


def read(folder: Path, slots: Iterable[int]) -> dict[int, Evaluation]:
    """The evaluations that these slots have, in their order."""
    place = folder / EVALUATIONS
    found = {slot: Evaluation.read(place / f"{slot}.npz") for slot in slots}
    return {slot: each for slot, each in found.items() if each is not None}


def validation_frame(evaluations: Mapping[int, Evaluation]) -> pd.DataFrame:
    """A row a slot and task: the metric at its last rung."""
    last = {slot: each.rung_metric[-1:] for slot, each in evaluations.items()}
    return _long("validation", evaluations, last).drop(columns="step", errors="ignore")


def rung_frame(evaluations: Mapping[int, Evaluation]) -> pd.DataFrame:
    """A row a slot, rung and task."""
    rungs = {slot: each.rung_metric for slot, each in evaluations.items()}
    return _long("rung_tasks", evaluations, rungs)


def _long(
    table: str, evaluations: Mapping[int, Evaluation], values: Mapping[int, np.ndarray]
) -> pd.DataFrame:
    """[rung, task] arrays one below the other, as a table's columns."""
    columns: dict[str, list[np.ndarray]] = {"slot": [], "step": [], "task": [], "value": []}
    for slot, each in values.items():
        rungs, tasks = each.shape
        steps = evaluations[slot].rung_step[len(evaluations[slot].rung_step) - rungs :]
        columns["slot"].append(np.full(each.size, slot))
        columns["step"].append(np.repeat(steps, tasks))
        columns["task"].append(np.tile(np.arange(tasks), rungs))
        columns["value"].append(each.ravel())
    joined = {name: np.concatenate(parts) if parts else () for name, parts in columns.items()}
    return typed(table, joined)


def adaptation_frame(evaluations: Mapping[int, Evaluation]) -> pd.DataFrame:
    """A row a slot and inner step: the mean over tasks and its 95% interval."""
    rows = []
    for slot, each in evaluations.items():
        steps, tasks = each.metric.shape
        mean = each.metric.mean(axis=1)
        sd = each.metric.std(axis=1, ddof=1) if tasks > 1 else np.full(steps, math.nan)
        low, high = intervals(each.metric)
        for step in range(steps):
            row = (slot, step, mean[step], sd[step], low[step], high[step], tasks, each.own_steps)
            rows.append(row)
    return typed("adaptation", rows)
