"""Learning curves: every trial's value at its rungs, and where it ended."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from maml_sweep.analysis.answers import Answers
from maml_sweep.analysis.drawing.marks import (
    Axis,
    Drawing,
    Figure,
    Line,
    Mark,
    Panel,
    Points,
    Words,
)
from maml_sweep.analysis.figures.common import LOOKS, better, so, value_axis
from maml_sweep.analysis.frames import Frames

KEY, TITLE = "curves", "Learning curves"
_STATES = ("pruned", "diverged", "failed", "running", "complete")  # the last are drawn on top


def frame(study: Frames) -> pd.DataFrame:
    """Every finite value of a curve.

    Returns:
      slot, state, step, value; a slot's steps ascending.
    """
    table = study.values.dropna(subset=["value"]).merge(study.trials[["slot", "state"]], on="slot")
    table = table[table["value"].abs() < np.inf].sort_values(["slot", "step"])
    return table[["slot", "state", "step", "value"]].reset_index(drop=True)


def ends(table: pd.DataFrame) -> pd.DataFrame:
    """The last row of every slot."""
    found: pd.DataFrame = table[~table["slot"].duplicated(keep="last")]
    return found


def broken(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of several slots as one line with a gap (a NaN value) behind each slot."""
    gaps = ends(table).assign(value=np.nan)
    joined = pd.concat([table, gaps]).sort_values(["slot", "step"], kind="stable")
    return joined.reset_index(drop=True)


def figure(answers: Answers) -> Drawing:
    """Draws `frame`, a line a state."""
    study = answers.frames
    table = frame(study)
    if table["step"].nunique() < 2:
        return Words(KEY, TITLE, so(study, "no trial has reported at two rungs"))
    drawn = (*_lines(table), *_ends(table), *_best(answers, table))
    words = "iterations"
    if study.plan.config.get("training", {}).get("budget") == "tasks":
        words = "iterations of the reference meta-batch"
    caption = (
        "Each trial's validation value at its rungs. A pruned trial ends in a dot at the rung "
        "where it was stopped, one that diverged in an × at its last finite value."
    )
    panel = Panel(drawn, Axis(words), value_axis(better(study), table["value"]))
    return Figure(KEY, TITLE, caption, (panel,), height=460, note=_note(study, table))


def _lines(table: pd.DataFrame) -> Iterator[Mark]:
    for state in _STATES:
        rows = table[table["state"] == state]
        if len(rows):
            look, many = LOOKS[state], rows["slot"].nunique()
            rows = broken(rows)
            opacity = float(np.clip(8 / many**0.7, 0.08, 0.7))
            yield Line(
                rows["step"],
                rows["value"],
                state,
                look.colour,
                width=1.2,
                slots=rows["slot"],
                opacity=opacity,
            )


def _ends(table: pd.DataFrame) -> Iterator[Mark]:
    last = ends(table)
    for state in ("pruned", "diverged"):
        rows, look = last[last["state"] == state], LOOKS[state]
        if len(rows):
            yield Points(
                rows["step"],
                rows["value"],
                colour=look.colour,
                size=look.size,
                symbol=look.symbol,
                slots=rows["slot"],
                opacity=0.8,
            )


def _best(answers: Answers, table: pd.DataFrame) -> Iterator[Mark]:
    rows = table[table["slot"] == answers.best] if answers.best is not None else table[:0]
    if len(rows):
        yield Line(rows["step"], rows["value"], "best", "accent", width=2.6, slots=rows["slot"])


def _note(study: Frames, table: pd.DataFrame) -> str:
    diverged = study.trials[study.trials["state"] == "diverged"]
    lost = int((~diverged["slot"].isin(table["slot"])).sum())
    return f"{lost} diverged before a first finite value and have no curve." if lost else ""
