"""Optimisation history: every slot's value in the order of finishing, and the best so far."""

from __future__ import annotations

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
from maml_sweep.analysis.figures.common import (
    better,
    count,
    described,
    scattered,
    so,
    value_axis,
)
from maml_sweep.analysis.frames import Frames

KEY, TITLE = "history", "Optimisation history"
_ENDED = ("complete", "pruned", "diverged", "failed")
_COLUMNS = ["order", "slot", "state", "value", "best"]


def frame(study: Frames) -> pd.DataFrame:
    """The slots that ended, in the order in which they did.

    Returns:
      order (1 …), slot, state, value (the objective, or the last finite value of a trial that did
      not come to its end; NaN if there is none), best (the best objective so far; NaN before the
      first).
    """
    table = study.trials[study.trials["state"].isin(_ENDED)]
    table = table.sort_values(["finished", "slot"], kind="stable").reset_index(drop=True)
    table["order"] = table.index + 1
    loss = (study.sign * table["value"]).cummin().ffill()
    table["best"] = study.sign * loss
    table["value"] = table["value"].fillna(table["last"])
    return table[_COLUMNS]


def figure(answers: Answers) -> Drawing:
    """Draws `frame`."""
    study = answers.frames
    table = frame(study)
    if table["value"].notna().sum() < 2:
        return Words(KEY, TITLE, so(study, "there is no history of values to show"))
    table["text"] = table["slot"].map(described(study))
    drawn: list[Mark] = [*scattered(table, "order", "value")]
    if table["best"].notna().any():
        drawn.append(Line(table["order"], table["best"], "best so far", "accent", stepped=True))
    drawn += _winner(answers, table)
    y = value_axis(better(study), table["value"])
    caption = (
        "Each finished trial in the order of finishing; a pruned or diverged one at the last value "
        "that it reported. The line is the best value of a trial that came to its end."
    )
    panel = Panel(tuple(drawn), Axis("trials finished", low=0.0), y)
    return Figure(KEY, TITLE, caption, (panel,), note=_note(table))


def _winner(answers: Answers, table: pd.DataFrame) -> list[Points]:
    rows = table[table["slot"] == answers.best] if answers.best is not None else table[:0]
    if rows.empty:
        return []
    order, value, slots = (rows[name] for name in ("order", "value", "slot"))
    return [Points(order, value, "best", "accent", size=14, symbol="star", slots=slots)]


def _note(table: pd.DataFrame) -> str:
    lost = int(table["value"].isna().sum())
    return f"{count(lost, 'trial')} ended before a first finite value." if lost else ""
