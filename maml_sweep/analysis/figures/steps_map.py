"""The map of inner learning rate and inner steps, and the ridges of constant α·steps.

Gradient flow moves by about α·steps, so where the inner loss is smooth, trials of one product do
alike, and the good ones lie along a diagonal of the map: a ridge.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from maml_sweep.analysis.drawing import marks
from maml_sweep.analysis.figures.common import count, so
from maml_sweep.analysis.figures.knobs import knob
from maml_sweep.analysis.settings import ALPHA, STEPS

if TYPE_CHECKING:
    from maml_sweep.analysis.answers import Answers

KEY, TITLE = "steps-map", "Inner learning rate × inner steps"
_SERIES = 8  # most numbers of steps with a colour of their own
_TICKS = 10  # most numbers of steps that are named
_MARGIN = 1.2  # a factor by which the map goes beyond the least and the most steps


def frame(answers: Answers) -> pd.DataFrame:
    """The trials that have a standing, an α and inner steps.

    Returns:
      slot, alpha, steps, product (α·steps), standing (0 the best … 1 the worst), state, last; the
      best last, which is thus drawn on top.
    """
    study = answers.frames
    table = study.trials[["slot", "state", "last"]].copy()
    table["alpha"] = knob(study, ALPHA)
    table["steps"] = knob(study, STEPS)
    table["product"] = table["alpha"] * table["steps"]
    table["standing"] = table["slot"].map(answers.standing).astype(float)
    table = table[(table["alpha"] > 0) & (table["steps"] > 0)]
    columns = ["slot", "alpha", "steps", "product", "standing", "state", "last"]
    table = table.dropna(subset=["standing"])
    return table.sort_values(["standing", "slot"], ascending=False)[columns].reset_index(drop=True)


def products(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten, or only powers) between two bounds."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        found = [digit * 10.0**each for each in exponents for digit in digits]
        found = [value for value in found if low <= value <= high]
        if len(found) <= most:
            return found
    return found[:: math.ceil(len(found) / most)]


def figure(answers: Answers) -> marks.Drawing:
    """Draws the map, and beside it the standing against the product."""
    table = frame(answers)
    if len(table) < 2:
        return marks.Words(KEY, TITLE, _nothing(answers))
    if table["alpha"].nunique() == 1 and table["steps"].nunique() == 1:
        steps = count(int(table["steps"][0]), "inner step")
        return marks.Words(KEY, TITLE, f"All trials had α = {table['alpha'][0]:g} and {steps}.")
    panels = (_map(table), _ridge(table))
    caption = (
        "Every trial at its α and inner steps, coloured by how it stands among all trials. Dashed: "
        "lines of equal α·steps; if good trials lie along one, the product is what matters, and "
        "few steps with a large α do as well."
    )
    return marks.Figure(KEY, TITLE, caption, panels, columns=2)


def _nothing(answers: Answers) -> str:
    study = answers.frames
    known = np.isfinite(knob(study, ALPHA)) & np.isfinite(knob(study, STEPS))
    if len(answers.standing) < 2 or known.any():
        return so(study, "there is no map of α and inner steps")
    return f"The trials of this study have no {ALPHA} and {STEPS} of their own."


def _map(table: pd.DataFrame) -> marks.Panel:
    points = marks.Points(
        table["alpha"].to_numpy(),
        table["steps"].to_numpy(),
        values=table["standing"].to_numpy(),
        scale=marks.Scale("standing", kind="standing"),
        size=9,
        text=words(table),
        slots=table["slot"].to_numpy(),
    )
    steps = np.unique(table["steps"])
    ticks = {float(step): f"{step:g}" for step in steps[:: math.ceil(len(steps) / _TICKS)]}
    low, high = steps[0] / _MARGIN, steps[-1] * _MARGIN
    return marks.Panel(
        (*_lines(table), points),
        marks.Axis("α (algorithm.inner_lr)", kind="log"),
        marks.Axis("inner steps", kind="log", low=low, high=high, ticks=ticks),
        title="Map",
    )


def _lines(table: pd.DataFrame) -> list[marks.Line]:
    """Equal α·steps, cut to the box that the trials fill."""
    low, high = table["steps"].min() / _MARGIN, table["steps"].max() * _MARGIN
    left, right = table["alpha"].min(), table["alpha"].max()
    lines = []
    for product in products(table["product"].min(), table["product"].max()):
        ends = np.clip(product / np.array([high, low]), left, right)
        x = np.geomspace(ends[0], ends[1], 30)
        if ends[0] < ends[1]:
            words = [f"α·steps = {product:g}"] * len(x)
            lines.append(
                marks.Line(x, product / x, "equal α·steps", "muted", dash=True, width=1, text=words)
            )
    return lines


def _ridge(table: pd.DataFrame) -> marks.Panel:
    steps = np.unique(table["steps"])
    groups = {"": table}
    if len(steps) <= _SERIES:
        groups = {count(int(each), "step"): table[table["steps"] == each] for each in steps}
    points = tuple(
        marks.Points(
            group["product"].to_numpy(),
            group["standing"].to_numpy(),
            name=name,
            colour=f"series{index}",
            size=8,
            text=words(group),
            slots=group["slot"].to_numpy(),
        )
        for index, (name, group) in enumerate(groups.items())
    )
    return marks.Panel(
        points,
        marks.Axis("α·steps", kind="log"),
        marks.Axis("standing (0: best)", low=-0.03, high=1.03),
        title="Standing against the product",
    )


def words(table: pd.DataFrame) -> list[str]:
    """What the hover label of each trial says beyond its place and colour."""
    columns = (table[name] for name in ("last", "state", "alpha", "steps"))
    return [
        (f"{last:.4g}, " if np.isfinite(last) else "")
        + f"{state}\nα {alpha:.3g}, {count(int(steps), 'step')}"
        for last, state, alpha, steps in zip(*columns, strict=True)
    ]
