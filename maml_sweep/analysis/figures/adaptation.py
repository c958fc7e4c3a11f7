"""How fast the best trials adapt: the metric after 0 … 2S test-time steps (S: their own).

The validation tasks are the same for all, so curves may be compared step by step; what happens
beyond S tells whether a trial was overfitted to its number of steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from maml_sweep.analysis.drawing import marks
from maml_sweep.analysis.figures.common import better, so, value_axis
from maml_sweep.analysis.frames import Frames

if TYPE_CHECKING:
    from maml_sweep.analysis.answers import Answers

KEY, TITLE = "adaptation", "Adaptation of the best trials"
SHOWN = 4


def best_slots(answers: Answers, most: int = SHOWN) -> list[int]:
    """The complete trials with the best values, the best first."""
    trials = answers.frames.trials
    done = trials[trials["state"] == "complete"].dropna(subset=["value"])
    loss = (answers.frames.sign * done["value"]).sort_values(kind="stable")
    return [int(slot) for slot in done.loc[loss.index[:most], "slot"]]


def without(study: Frames, consequence: str) -> str:
    """A sentence for `Words` where no trial to the end has left an evaluation."""
    if (study.trials["state"] == "complete").any():
        return f"The folder holds no evaluations of the complete trials, so {consequence}."
    return so(study, consequence)


def frame(answers: Answers, most: int = SHOWN) -> pd.DataFrame:
    """The adaptation curves of the best trials, the best first.

    Returns:
      slot, step (0 … 2S), mean, low, high (95% over the tasks), own_steps (S).
    """
    curves = answers.frames.adaptation
    order = {slot: rank for rank, slot in enumerate(best_slots(answers, most))}
    curves = curves[curves["slot"].isin(order)]
    rank = curves["slot"].map(order)
    columns = ["slot", "step", "mean", "low", "high", "own_steps"]
    return curves.assign(rank=rank).sort_values(["rank", "step"])[columns].reset_index(drop=True)


def figure(answers: Answers) -> marks.Drawing:
    """Draws one curve with its band for each of the best trials."""
    table, study = frame(answers), answers.frames
    if table.empty:
        return marks.Words(KEY, TITLE, without(study, "there is no adaptation to show"))
    drawn: list[marks.Mark] = []
    for index, (_, curve) in enumerate(table.groupby("slot", sort=False)):
        drawn += _curve(curve, f"series{index}")
    axis = value_axis(better(study), table["low"], table["high"])
    panel = marks.Panel((*drawn, *_rules(table)), marks.Axis("adaptation steps"), axis)
    improves = "falls" if study.sign > 0 else "rises"
    caption = (
        f"{study.metric} of the best trials after each step of adaptation, averaged over "
        f"{_tasks(answers, table)} validation tasks; the bands hold the mean with 95% confidence. "
        "The vertical lines mark the steps S a trial was trained for: a curve that still "
        f"{improves} there gains from more of them at test time."
    )
    return marks.Figure(KEY, TITLE, caption, (panel,))


def _tasks(answers: Answers, table: pd.DataFrame) -> str:
    curves = answers.frames.adaptation
    counts = curves.loc[curves["slot"].isin(table["slot"]), "tasks"]
    low, high = int(counts.min()), int(counts.max())
    return f"{low}" if low == high else f"{low} to {high}"


def _curve(curve: pd.DataFrame, colour: str) -> tuple[marks.Line, marks.Band]:
    """One trial's curve and its band; the legend shows what comes first."""
    step, slots = curve["step"].to_numpy(), curve["slot"].to_numpy()
    name = f"slot {slots[0]} (S = {curve['own_steps'].iloc[0]})"
    low, high = curve["low"].to_numpy(), curve["high"].to_numpy()
    text = [f"95%: {a:.4g} … {b:.4g}" for a, b in zip(low, high, strict=True)]
    mean = curve["mean"].to_numpy()
    line = marks.Line(step, mean, name, colour, text=text, markers=True)
    return line, marks.Band(step, low, high, name, colour)


def _rules(table: pd.DataFrame) -> list[marks.Rule]:
    """One line at each number of steps that a shown trial trained with."""
    return [marks.Rule(x=float(own), name=f"S = {own}") for own in sorted(set(table["own_steps"]))]
