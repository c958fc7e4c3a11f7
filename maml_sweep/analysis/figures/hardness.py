"""Spread over the validation tasks: how the best trials do on each, and which tasks stay hard."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from maml_sweep.analysis.drawing import marks
from maml_sweep.analysis.figures.adaptation import best_slots, without
from maml_sweep.analysis.figures.common import better, value_axis

if TYPE_CHECKING:
    from maml_sweep.analysis.answers import Answers

KEY, TITLE = "hardness", "Spread over the validation tasks"
SHOWN = 5
_SERIES = 3  # of the trials shown, how many get a curve of their own


def values(answers: Answers, most: int = SHOWN) -> tuple[list[int], np.ndarray]:
    """The best trials with an evaluation and their metric on each validation task.

    Returns:
      slots, the best first, and float64 [trial, task].
    """
    table = answers.frames.validation
    wide = table.pivot(index="slot", columns="task", values="value")
    slots = [slot for slot in best_slots(answers, most) if slot in wide.index]
    return slots, wide.loc[slots].to_numpy(dtype=float)


def frame(answers: Answers, most: int = SHOWN) -> pd.DataFrame:
    """The tasks by how hard they are for the best trials, the hardest first.

    Returns:
      rank (0 the hardest), task, mean, best, worst (over the best trials), and one column
      `slot <n>` a trial.
    """
    slots, each = values(answers, most)
    sign = answers.frames.sign
    columns = ["rank", "task", "mean", "best", "worst"]
    if not slots:
        return pd.DataFrame({name: pd.Series(dtype=float) for name in columns})
    mean, losses = each.mean(axis=0), sign * each
    order = np.argsort(-sign * mean, kind="stable")
    ends = sign * losses.min(axis=0), sign * losses.max(axis=0)
    found = {"rank": np.arange(len(order)), "task": order, "mean": mean[order]}
    found |= {"best": ends[0][order], "worst": ends[1][order]}
    found |= {f"slot {slot}": row[order] for slot, row in zip(slots, each, strict=True)}
    return pd.DataFrame(found)


def agreement(each: np.ndarray) -> float:
    """Mean rank correlation (Spearman) between trials over tasks; NaN for fewer than two.

    Args:
      each: [trial, task].
    """
    varied = each[each.std(axis=1) > 0]
    if len(varied) < 2 or varied.shape[1] < 3:
        return math.nan
    matrix = np.corrcoef(rankdata(varied, axis=1))
    return float(matrix[np.triu_indices(len(varied), 1)].mean())


def words(answers: Answers) -> str:
    """What the hardest tenth of the tasks does, and whether trials agree on which it is."""
    table = frame(answers)
    metric, mean = answers.frames.metric, table["mean"]
    tenth = max(1, len(table) // 10)
    said = (
        f"The hardest {tenth} of {len(table)} tasks average {metric} {mean[:tenth].mean():.4g}, "
        f"the others {mean[tenth:].mean():.4g}."
        if len(table) > 1
        else ""
    )
    same = agreement(values(answers)[1])
    if not math.isfinite(same):
        return said
    judged = "mostly agree" if same > 0.6 else "partly agree" if same > 0.3 else "hardly agree"
    return f"{said} The best trials {judged} on which tasks are hard (rank correlation {same:.2f})."


def figure(answers: Answers) -> marks.Drawing:
    """Draws each trial's tasks sorted by themselves, and all of them in one common order."""
    table = frame(answers)
    if table.empty:
        return marks.Words(KEY, TITLE, without(answers.frames, "no task can be called hard"))
    panels = (_sorted(answers, table), _common(answers, table))
    caption = (
        "Left: each trial's tasks sorted by themselves, so a steep end means a few tasks decide. "
        "Right: all in one order, from the task that is hardest on average; where even the best "
        "trial's edge of the band is bad, the task is hard for all."
    )
    return marks.Figure(KEY, TITLE, caption, panels, columns=2, note=words(answers))


def _sorted(answers: Answers, table: pd.DataFrame) -> marks.Panel:
    sign = answers.frames.sign
    names = [str(name) for name in table if str(name).startswith("slot ")][:_SERIES]
    share = (np.arange(len(table)) + 0.5) / len(table)
    lines = tuple(
        marks.Line(share, sign * np.sort(sign * table[name].to_numpy())[::-1], name, f"series{k}")
        for k, name in enumerate(names)
    )
    x = marks.Axis("share of the tasks, hardest first", low=0.0, high=1.0)
    return marks.Panel(
        lines,
        x,
        value_axis(better(answers.frames), table["best"], table["worst"]),
        title="Each trial by itself",
    )


def _common(answers: Answers, table: pd.DataFrame) -> marks.Panel:
    rank = table["rank"].to_numpy()
    text = [
        f"task {task}: {mean:.4g} on average"
        for task, mean in zip(table["task"], table["mean"], strict=True)
    ]
    low, high = table[["best", "worst"]].min(axis=1), table[["best", "worst"]].max(axis=1)
    drawn = (
        marks.Line(rank, table["mean"].to_numpy(), "mean of them", "series3", text=text),
        marks.Band(rank, low.to_numpy(), high.to_numpy(), "best … worst of them", "series3"),
    )
    x = marks.Axis("task, hardest first")
    return marks.Panel(
        drawn,
        x,
        value_axis(better(answers.frames), table["best"], table["worst"]),
        title="The best trials together",
    )
