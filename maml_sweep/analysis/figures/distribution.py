"""Empirical distribution: what share of the trials came to a value at least as good."""

from __future__ import annotations

import pandas as pd

from maml_sweep.analysis.answers import Answers
from maml_sweep.analysis.drawing.marks import Axis, Drawing, Figure, Line, Panel, Words
from maml_sweep.analysis.drawing.palette import SERIES
from maml_sweep.analysis.figures.common import better, so, value_axis
from maml_sweep.analysis.frames import Frames

KEY, TITLE = "distribution", "Distribution of values"
_RESULTS = ["complete", "pruned", "diverged"]


def frame(study: Frames) -> pd.DataFrame:
    """The completed trials of every branch, from the best to the worst.

    Pruned and diverged trials count among the trials, as worse than every value: a rule that
    prunes much would otherwise make a bad space look good.

    Returns:
      branch, slot, value, share (of the branch's results that are at least as good).
    """
    table = study.trials[study.trials["state"].isin(_RESULTS)][["branch", "slot", "value"]].copy()
    table["loss"] = study.sign * table["value"]
    number = table.groupby("branch")["slot"].transform("size")
    table["share"] = table.groupby("branch")["loss"].rank(method="max") / number
    table = table.dropna(subset=["value"]).sort_values(["branch", "loss", "slot"])
    return table[["branch", "slot", "value", "share"]].reset_index(drop=True)


def figure(answers: Answers) -> Drawing:
    """Draws `frame`, a step a trial, a line a branch."""
    study = answers.frames
    table = frame(study)
    if len(table) < 2:
        return Words(KEY, TITLE, so(study, "there is no distribution of objectives to show"))
    branches = list(dict.fromkeys(table["branch"]))
    shown = branches[: len(SERIES)]
    lines = tuple(_line(table, name, SERIES[index]) for index, name in enumerate(shown))
    ended = study.trials["state"].isin(_RESULTS).sum()
    caption = (
        "The share of trials whose objective is at least as good as a value, so the steeper and "
        "the higher the better. Trials that were pruned or diverged count as worse than all; "
        f"{len(table)} of {ended} came to their end."
    )
    y = Axis("share of trials", low=0.0)
    panel = Panel(lines, value_axis(better(study), table["value"]), y)
    left = len(branches) - len(shown)
    note = f"{left} branch{'es' * (left > 1)} left out." if left else ""
    return Figure(KEY, TITLE, caption, (panel,), note=note)


def _line(table: pd.DataFrame, branch: str, colour: str) -> Line:
    rows = table[table["branch"] == branch]
    rows = pd.concat([rows[:1].assign(share=0.0), rows])  # it rises from 0 at the best value
    return Line(rows["value"], rows["share"], branch, colour, stepped=True, slots=rows["slot"])
