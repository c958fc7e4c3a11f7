"""Value against what it cost: tasks seen and seconds, with the front that nothing beats."""

from __future__ import annotations

import numpy as np
import pandas as pd

from maml_sweep.analysis.answers import Answers
from maml_sweep.analysis.drawing.marks import Drawing, Figure, Line, Mark, Panel, Words
from maml_sweep.analysis.figures.common import better, scattered, so, value_axis
from maml_sweep.analysis.frames import Frames

KEY, TITLE = "cost", "Value against cost"
COSTS = {"tasks": "training tasks seen", "seconds": "seconds of training"}


def frame(study: Frames) -> pd.DataFrame:
    """The trials with a value and a cost.

    Returns:
      slot, state, tasks, seconds, value (of a trial that did not come to its end the last), and
      tasks_front, seconds_front: whether no completed trial was at least as good for less of it.
    """
    table = study.cost[["slot", "state", "tasks", "seconds"]].copy()
    table["tasks"] = table["tasks"].astype("float64")
    objective = study.cost["value"]
    table["value"] = objective.fillna(study.cost["last"])
    for cost in COSTS:
        table[f"{cost}_front"] = front(table[cost].to_numpy(), (study.sign * objective).to_numpy())
    return table[table["value"].notna()].reset_index(drop=True)


def front(cost: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Which of n trials no other beats: none costs as little and is as good, but itself.

    Of equal trials the first stays. NaN in either is beaten.

    Args:
      cost: float [n].
      loss: float [n].

    Returns:
      bool [n].
    """
    found, lowest = np.zeros(len(cost), dtype=bool), np.inf
    for index in np.lexsort((loss, cost)):
        if loss[index] < lowest and np.isfinite(cost[index]):
            found[index], lowest = True, loss[index]
    return found


def figure(answers: Answers) -> Drawing:
    """Draws `frame`."""
    study = answers.frames
    table = frame(study)
    if len(table) < 2:
        return Words(KEY, TITLE, so(study, "there is no value to set against its cost"))
    y = value_axis(better(study), table["value"])
    panels = tuple(
        Panel(_marks(table, cost), value_axis(title, table[cost]), y)
        for cost, title in COSTS.items()
    )
    caption = (
        "The stepped line is the Pareto front: the best objective that so much bought. Equal "
        "iterations favour large meta-batches and many inner steps, so a trial should be judged "
        "here, too. Pruned trials stand at the last value that they reached and what they had "
        "cost by then."
    )
    return Figure(KEY, TITLE, caption, panels, columns=2)


def _marks(table: pd.DataFrame, cost: str) -> tuple[Mark, ...]:
    drawn: list[Mark] = [*scattered(table, cost, "value")]
    rows = table[table[f"{cost}_front"]].sort_values(cost)
    if len(rows):
        x = np.append(rows[cost].to_numpy(), table[cost].max())  # it holds for all that costs more
        y = np.append(rows["value"].to_numpy(), rows["value"].to_numpy()[-1])
        slots = np.append(rows["slot"].to_numpy(), rows["slot"].to_numpy()[-1])
        drawn.append(Line(x, y, "Pareto front", "accent", stepped=True, slots=slots))
    return tuple(drawn)
