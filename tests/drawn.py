"""Marks, figures and parallel coordinates to draw, with every oddity that data may have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from maml_sweep.analysis.drawing import marks
from maml_sweep.analysis.drawing.marks import Axis, Figure, Panel, Scale

NASTY = 'é <b>"x"</b> & $a_1$ %{y}'
ESCAPED = 'é &lt;b&gt;"x"&lt;/b&gt; &amp; $a_1$ %{y}'
STANDING = Scale("standing", "standing")
VALUE = Scale(NASTY, log=True)
HOURS = pd.date_range("2025-03-01", periods=3, freq="h", tz="UTC")
LINEAR, LOG, WORDS, TIME = Axis("x"), Axis("x", "log"), Axis("x", "category"), Axis("x", "time")

# every kind of mark, on every kind of axis that it may stand on
MARKS: dict[str, tuple[marks.Mark, Axis, Axis]] = {
    "points": (marks.Points([1, 2, np.nan], [1.0, np.inf, 3], NASTY), LINEAR, LINEAR),
    "coloured": (
        marks.Points([1, 2, 3], [1, 2, 3], values=[0.1, np.nan, -1], scale=VALUE, slots=[0, 1, 2]),
        LOG,
        LINEAR,
    ),
    "errors": (marks.Points([1, 2], [3, 4], low=[2, 3], high=[5, 6]), LINEAR, LINEAR),
    "categories": (marks.Points(["b", NASTY], [3, 4], text=["x", NASTY]), WORDS, LOG),
    "line": (marks.Line([1, 2, 3], [1, np.nan, 0], NASTY, stepped=True), LINEAR, LOG),
    "faint": (marks.Line([1, 2, 3], [1, np.nan, 2], NASTY, opacity=0.1), LINEAR, LINEAR),
    "time": (marks.Line(HOURS, [1, 2, 3], markers=True, dash=True), TIME, LINEAR),
    "band": (marks.Band([1, 2], [0, 1], [2, 3], NASTY), LINEAR, LINEAR),
    "bars": (marks.Bars([NASTY, "b"], [1, 2], low=[0, 1], high=[2, 3]), LINEAR, WORDS),
    "spans": (marks.Spans(["a", NASTY], HOURS[:2], HOURS[1:], slots=[3, 4]), TIME, WORDS),
    "valued spans": (
        marks.Spans(["a", "b"], [0, 1], [1, 2], values=[0.2, np.nan], scale=STANDING),
        LINEAR,
        WORDS,
    ),
    "heat": (marks.Heat([0.1, 1, 10], [1, 2], np.eye(2, 3), VALUE, name="cell"), LOG, LINEAR),
    "worded heat": (marks.Heat(["a"], [1, 2], [[0], [1]], STANDING, [["p"], ["q"]]), WORDS, LINEAR),
    "upright rule": (marks.Rule(x=10, name=NASTY), LOG, LINEAR),
    "level rule": (marks.Rule(y=10, name=NASTY), LINEAR, LOG),
}


def figure(*shown: marks.Mark, x: Axis = LINEAR, y: Axis = LINEAR, **settings: Any) -> Figure:
    return Figure("key", "Title", "Caption.", (Panel(shown, x, y),), **settings)


def grid(columns: int, panels: int = 3, **settings: Any) -> Figure:
    panel = Panel((marks.Line([1, 2], [1, 2], "a"),), LINEAR, LINEAR, title=NASTY)
    return Figure("key", "t", "c", (panel,) * panels, columns, **settings)


def parallel(**settings: Any) -> marks.Parallel:
    dimensions = (
        marks.Dimension(NASTY, [0.01, 1.0], log=True),
        marks.Dimension("steps", [1, 3]),
        marks.Dimension("kind", [0, 1], ticks={0: "<a>", 1: "b"}),
        marks.Dimension("same", [2.5, 2.5]),
    )
    return marks.Parallel("p", "t", "c", dimensions, [0.0, 1.0], STANDING, **settings)
